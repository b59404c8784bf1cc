"""Exercises of the notebooks: each check fails on the untouched notebook, passes on the solution, fails on a wrong answer.

A cell with the tag `exercise-1` is an exercise: a starting point, and in its last line the check.  tests/solutions has a file
per notebook with EXERCISES = {"exercise-1": {...}}:

    right    what a learner could put in place of the starting point (the check in the last line stays)
    wrong    a plausible mistake
    says     a piece of what the check tells the wrong answer: it fails for the reason that is meant
    secret   pieces of the answer, which neither the untouched notebook nor the wrong answer may be told
"""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from mirage_lab.testing.attempt import Attempt

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS = ROOT / "tests" / "solutions"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(notebook: Path) -> list[tuple[str | None, str]]:
    """Return the code cells: the tag of the exercise or None, and the source."""
    found: list[tuple[str | None, str]] = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            tags = [tag for tag in cell["metadata"].get("tags", ()) if tag.startswith("exercise-")]
            found.append((tags[0] if tags else None, "".join(cell["source"])))
    return found


def exercises(notebook: Path) -> dict[str, dict[str, Any]]:
    """Return the solutions of a notebook."""
    path = SOLUTIONS / f"{notebook.stem}.py"
    return runpy.run_path(str(path))["EXERCISES"] if path.exists() else {}


def tried(shell: Any, notebook: Path, kind: str) -> dict[str, Attempt]:
    """Run a notebook with its exercises "untouched", "right" or "wrong"; return what each check said."""
    solutions, said = exercises(notebook), {}
    shell.display_formatter.active_types = ["text/plain"]
    for tag, source in cells(notebook):
        if tag is not None and kind != "untouched":
            source = f"{solutions[tag][kind].strip()}\n{source.splitlines()[-1]}"
        done = shell.run_cell(source)
        done.raise_error()
        if tag is not None:
            said[tag] = done.result
    return said


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_exercise_has_a_solution_and_every_solution_an_exercise(notebook: Path) -> None:
    tags = [tag for tag, _ in cells(notebook) if tag is not None]
    assert len(set(tags)) == len(tags)
    assert set(tags) == set(exercises(notebook))
    for tag, source in cells(notebook):
        assert tag is None or source.splitlines()[-1].startswith("check_"), source


def test_every_file_of_solutions_has_its_notebook() -> None:
    assert {path.stem for path in SOLUTIONS.glob("*.py")} <= {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("kind", ["untouched", "right", "wrong"])
@pytest.mark.parametrize("notebook", [path for path in NOTEBOOKS if exercises(path)], ids=lambda path: path.stem)
def test_checks_pass_on_the_solution_and_on_nothing_else(notebook: Path, kind: str, ipython: Any, require: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRAGE_LAB_PROGRESS", "off")
    for program in json.loads(notebook.read_text(encoding="utf-8"))["metadata"]["mirage_lab"]["needs"].split(", "):
        if program != "nothing":
            require(program)
    with ipython() as shell:
        solutions, said = exercises(notebook), tried(shell, notebook, kind)
    assert set(said) == set(solutions)
    for tag, attempt in said.items():
        assert isinstance(attempt, Attempt), f"{tag}: the last line of an exercise is its check"
        assert attempt.passed == (kind == "right"), f"{tag}, {kind}: {attempt}"
        if kind == "wrong":
            assert solutions[tag]["says"] in repr(attempt), f"{tag}: {attempt}"
        for secret in () if kind == "right" else solutions[tag]["secret"]:
            assert secret not in repr(attempt), f"{tag}, {kind}: the check gives the answer away: {attempt}"
