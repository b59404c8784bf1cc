"""Import: how long `import mirage_lab` and the three names of the first cell take, in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.row import Row, best_of

__all__ = ["run"]


def _import(line: str) -> float:
    root = Path(__file__).resolve().parent.parent
    return best_of(5, lambda: subprocess.run([sys.executable, "-c", line], cwd=root, check=True))


def run() -> list[Row]:
    """Measure."""
    empty = _import("pass")
    bare, three = _import("import mirage_lab") - empty, _import("from mirage_lab import Lab, configure, devices") - empty
    return [
        Row("import mirage_lab", bare, "s", "< 0.2", bare < 0.2),
        Row("from mirage_lab import Lab, configure, devices", three, "s"),
    ]
