"""grid: the cells of a sweep: every combination of parameters, each with every seed."""

from __future__ import annotations

import inspect
import itertools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from mirage_lab.signatures.errors import MirageError

__all__ = ["MOST_CELLS", "Cell", "Grid", "SweepError", "cells"]

MOST_CELLS: Final = 100_000
RESERVED: Final = ("seed", "error")

Cell = dict[str, Any]
"""Arguments of one call: the parameters of the grid, and `seed`."""

Grid = Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]]
"""{"loss": [0, 0.01], "rate": [1e6]}: every combination; or the points themselves, [{"loss": 0, "rate": 1e6}, ...]."""


class SweepError(MirageError):
    """A sweep that cannot begin or go on: the message names the place, the reason and the way out."""


def cells(function: Callable[..., Any], grid: Grid, seeds: Iterable[int]) -> list[Cell]:
    """Return the calls in order: the last parameter changes faster than the first, the seed fastest.

    Raises SweepError for a grid that is empty or too large (100,000 cells), and for a cell the function does not take.
    """
    if not isinstance(seeds, Iterable):
        raise SweepError(f"seeds={seeds!r}: a list of seeds is wanted, such as seeds=range(1, 4)")
    numbers = [_seed(seed) for seed in _listed("seeds", seeds)]
    found: list[Cell] = []
    for point in _points(grid):
        taken = [name for name in RESERVED if name in point]
        if taken:
            raise SweepError(f"the grid has {taken[0]!r}, a column the table needs for itself; seeds have a place of their own: seeds=[1, 2, 3]")
        found += [{**point, "seed": seed} for seed in numbers]
        if len(found) > MOST_CELLS:
            raise SweepError(f"the grid has more than {MOST_CELLS:,} cells: fewer values, or several sweeps")
    if not found:
        raise SweepError("the grid has no cells: one of its lists is empty")
    _fits(function, found)
    return found


def _seed(seed: Any) -> int:
    try:
        return operator.index(seed)
    except TypeError:
        raise SweepError(f"seeds: {seed!r} is no whole number") from None


def _points(grid: Grid) -> Iterable[Cell]:
    if isinstance(grid, Mapping):
        names = [_name(name) for name in grid]
        columns = []
        for name, values in grid.items():
            if isinstance(values, str) or not isinstance(values, Iterable):
                raise SweepError(f"grid: {name!r} has {values!r}; a list of values is wanted: [{values!r}]")
            columns.append(_listed(name, values))
        return (dict(zip(names, values, strict=True)) for values in itertools.product(*columns))
    if not isinstance(grid, Iterable) or isinstance(grid, str):
        raise SweepError(f"grid: {grid!r} is neither a dict of lists nor a list of dicts")
    return map(_point, grid)


def _point(point: object) -> Cell:
    if not isinstance(point, Mapping):
        raise SweepError(f"grid: {point!r} is not a dict of parameters")
    return {_name(name): value for name, value in point.items()}


def _listed(name: str, values: Iterable[Any]) -> list[Any]:
    """Return at most so many values that an endless iterable is noticed."""
    found = list(itertools.islice(values, MOST_CELLS + 1))
    if len(found) > MOST_CELLS:
        raise SweepError(f"{name!r} has more than {MOST_CELLS:,} values")
    return found


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise SweepError(f"grid: {name!r} is not the name of a parameter")
    return name


def _fits(function: Callable[..., Any], found: list[Cell]) -> None:
    """Raise SweepError if the function cannot be called with a cell; before anything runs."""
    if not callable(function):
        raise SweepError(f"{function!r} is not a function")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    for cell in found:
        try:
            signature.bind(**cell)
        except TypeError as error:
            name = getattr(function, "__name__", "the function")
            raise SweepError(f"{name}{signature} cannot be called with {', '.join(cell)}: {error}") from None
