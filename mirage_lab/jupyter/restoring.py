"""restoring: a fresh copy of a notebook of the course, beside the one that was worked in.

The notebooks are in the checkout, in notebooks/ beside the package; a student usually works in that very file.  So what is
fresh is the committed version, if git can be asked, and otherwise the file as it is there, and the message says which.
Outputs are cleared: predictions come before them.  Nothing that exists is written over.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

from mirage_lab.lab import LabError

__all__ = ["restore"]

HERE: Final = Path(__file__).resolve().parents[2] / "notebooks"
PATIENCE: Final = 10.0
"""Seconds git may take."""


def restore(wanted: str, into: Path, course: Path = HERE) -> str:
    """Write the notebook `wanted` ("05", "5" or "05-handshake") to the directory `into` under a free name; return a line.

    Raises LabError when there are no notebooks (an install without the checkout), or none, or more than one, of that name.
    """
    path = _find(wanted, course)
    committed = _committed(path)
    notebook = _cleared(committed if committed is not None else path.read_text(encoding="utf-8"), path.name)
    target = _write(notebook, path.stem, into)
    if committed is not None:
        return f"{target.name}: a fresh copy of {path.stem}, outputs cleared; yours is as it was"
    return f"{target.name}: a copy of {path.name} as it is in {path.parent.name}/, outputs cleared; git is not there to say whether that file was worked in"


def _find(wanted: str, course: Path) -> Path:
    there = sorted(course.glob("[0-9][0-9]-*.ipynb"))
    if not there:
        raise LabError("the notebooks are not beside this installation: they come with the checkout, in notebooks/; unpack it and copy one from there")
    name = wanted.removesuffix(".ipynb")
    number = f"{int(name):02d}" if re.fullmatch(r"[0-9]{1,2}", name) else None
    found = [path for path in there if path.stem == name or (number is not None and path.stem.startswith(f"{number}-"))]
    if len(found) != 1:
        raise LabError(f"there is {'no' if not found else 'more than one'} notebook {wanted!r}: {', '.join(path.stem for path in there)}")
    return found[0]


def _committed(path: Path) -> str | None:
    """Return the text of the file as it was committed, or None without git or without a commit that has it."""
    words = ["git", "-C", str(path.parent), "show", f"HEAD:./{path.name}"]
    try:
        done = subprocess.run(words, capture_output=True, check=False, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        return done.stdout.decode("utf-8") if done.returncode == 0 else None
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None


def _cleared(text: str, name: str) -> dict[str, Any]:
    try:
        notebook: dict[str, Any] = json.loads(text)
        for cell in notebook["cells"]:
            cell["metadata"].pop("execution", None)
            if cell["cell_type"] == "code":
                cell["outputs"], cell["execution_count"] = [], None
    except (ValueError, TypeError, KeyError):
        raise LabError(f"{name} is not a notebook any more, and git is not there to say what it was: unpack the checkout again") from None
    return notebook


def _write(notebook: dict[str, Any], stem: str, into: Path) -> Path:
    for number in range(1, 1_000):
        target = into / f"{stem}-fresh{'' if number == 1 else f'-{number}'}.ipynb"
        try:
            with target.open("x", encoding="utf-8") as file:
                json.dump(notebook, file, indent=1, ensure_ascii=False)
                file.write("\n")
        except FileExistsError:
            continue
        except OSError as error:
            raise LabError(f"{target.name} cannot be written here: {error.strerror}") from None
        return target
    raise LabError(f"there are 999 fresh copies of {stem} here already: use one of them")
