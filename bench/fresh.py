"""fresh: programs in a Python of their own, with the compiled files of an installed package."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Fresh"]

ROOT = Path(__file__).resolve().parent.parent


class Fresh:
    """Runs programs; compiled files are kept in a directory, so that from the second run on only loading is measured."""

    def __init__(self, cache: str) -> None:
        self._env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._env["PYTHONPYCACHEPREFIX"] = cache

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[Fresh]:
        """Yield a runner whose compiled files are thrown away at the end."""
        with tempfile.TemporaryDirectory() as cache:
            yield cls(cache)

    def run(self, program: str, *words: str) -> list[float]:
        """Run a program and return the numbers it prints."""
        done = subprocess.run([sys.executable, "-c", program, *words], cwd=ROOT, env=self._env, capture_output=True, text=True, check=True)
        return [float(word) for word in done.stdout.split()]
