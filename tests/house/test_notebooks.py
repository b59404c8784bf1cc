"""Notebooks as pages: one live view in each section at most, for each that is in sight is told of the world all the time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
LIVE = ("image/svg+xml", "text/html")


def shown(cell: dict[str, Any]) -> bool:
    """True for a cell whose last line names a thing that has a live view: words, and beside them a picture or a table."""
    source = "".join(cell["source"]).strip()
    kinds = [kind for output in cell.get("outputs", ()) for kind in output.get("data", ())]
    return bool(source) and source.splitlines()[-1].isidentifier() and any(kind in kinds for kind in LIVE)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_section_has_one_live_view_at_most(path: Path) -> None:
    section, views = "", {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            section = next((line for line in reversed(text.splitlines()) if line.startswith("#")), section)
        elif shown(cell):
            views.setdefault(section, []).append(text.strip().splitlines()[-1])
    assert {where: names for where, names in views.items() if len(names) > 1} == {}


def test_the_notebooks_show_live_views_at_all() -> None:
    cells = [cell for path in NOTEBOOKS for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert sum(map(shown, cells)) > 6


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_notebook_keeps_the_time_of_the_clock_on_the_wall(path: Path) -> None:
    assert all("execution" not in cell["metadata"] for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])
