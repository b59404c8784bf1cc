"""Predictions in the notebooks: whoever has said what will come looks at what came.

A loop of a notebook is a piece of text and the code cells below it.  The text of each loop that shows something asks for a
prediction, with the bold word **Predict**.  Exercises, and the loop above the first heading (imports), are left out.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PREDICT = re.compile(r"\*\*[Pp]redict\b")


@dataclass
class Loop:
    """A text and the code below it."""

    section: str
    text: str
    code: int = 0
    shows: bool = False

    @property
    def predicted(self) -> bool:
        """Whether the text asks for a prediction."""
        return PREDICT.search(self.text) is not None


def loops(cells: list[dict[str, Any]]) -> list[Loop]:
    """Return the loops up to the exercises."""
    found = [Loop("", "")]
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            found[-1].code += 1
            found[-1].shows |= bool(cell["outputs"])
            continue
        headings = re.findall(r"^## (.+)$", source, re.MULTILINE)
        if "Exercises" in headings:
            break
        if found[-1].code:
            found.append(Loop(found[-1].section, ""))
        found[-1].text += source
        found[-1].section = headings[-1] if headings else found[-1].section
    return [loop for loop in found if loop.section and loop.code]


def unpredicted(cells: list[dict[str, Any]]) -> list[str]:
    """Return what is wrong: a loop that shows what nobody was asked to predict, a prediction of nothing."""
    there = loops(cells)
    wrong = [f"nothing to predict in {loop.section!r}" for loop in there if loop.shows and not loop.predicted]
    wrong += [f"no output after the prediction in {loop.section!r}" for loop in there if loop.predicted and not loop.shows]
    return wrong


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_prediction_comes_before_the_output(notebook: Path) -> None:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert sum(loop.shows for loop in loops(cells)) >= 5
    assert unpredicted(cells) == []


def _text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": [source]}


def _code(*outputs: str) -> dict[str, Any]:
    return {"cell_type": "code", "source": ["x"], "outputs": list(outputs)}


def test_the_rule_can_fail() -> None:
    good = [_text("# Why?"), _code(), _text("## A\n\n**Predict** one."), _code("1"), _text("So."), _code(), _text("**Predict**: three"), _code("3")]
    assert unpredicted(good) == []
    assert unpredicted([*good, _text("## B"), _code("4")]) == ["nothing to predict in 'B'"]
    assert unpredicted([*good, _text("so"), _code("4")]) == ["nothing to predict in 'A'"]
    assert unpredicted([*good, _text("**Predict** this."), _code()]) == ["no output after the prediction in 'A'"]
    assert unpredicted([*good, _text("## Exercises"), _code("4")]) == []
    assert unpredicted([*good, _text("unpredictable, said the **Predictor**"), _code("4")]) == ["nothing to predict in 'A'"]
