"""places: what a person calls a place in the code: "cell 2, line 5" in a notebook."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from mirage_lab.runtime.places import plain_place

__all__ = ["cell_place"]

_NUMBER = re.compile(r"\d+")


def cell_place(ipython: Any) -> Callable[[str, int], str]:
    """Return a function from file and line to words; cells are named by their number."""

    def place(filename: str, line: int) -> str:
        named = ipython.compile.format_code_name(filename)
        number = _NUMBER.search(named[1]) if named else None
        return f"cell {number[0]}, line {line}" if number else plain_place(filename, line)

    return place
