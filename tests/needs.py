"""What a notebook needs beside Python, by the names in its metadata; `-p tests.needs` leaves out notebooks that cannot run here.

Under MIRAGE_LAB_REQUIRE=all nothing is left out: a notebook whose program is missing fails.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

__all__ = ["found", "missing"]

FILES = {"grub-xen-host": Path("/usr/lib/grub-xen/grub-i386-xen_pvh.bin")}
"""Needs that are no programs: packages, and a file of each."""


def found(need: str) -> str | None:
    """Return where a program, or the file of a package, is; None if it is not here."""
    if need in FILES:
        return str(FILES[need]) if FILES[need].exists() else None
    return shutil.which(need)


def missing(notebook: Path) -> list[str]:
    """Return what a notebook needs and this machine has not."""
    needs = json.loads(notebook.read_text(encoding="utf-8"))["metadata"]["mirage_lab"]["needs"].split(", ")
    return [need for need in needs if need != "nothing" and found(need) is None]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out a notebook that needs what is not here."""
    if collection_path.suffix != ".ipynb" or os.environ.get("MIRAGE_LAB_REQUIRE") == "all":
        return None
    return True if missing(collection_path) else None


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say which notebooks are left out, and why."""
    if os.environ.get("MIRAGE_LAB_REQUIRE") == "all":
        return []
    paths = sorted((config.rootpath / "notebooks").glob("*.ipynb"))
    return [f"{path.stem} is left out: {', '.join(missing(path))} is not here" for path in paths if missing(path)]
