"""travel: a function as bytes for another process; where it cannot be, the error names the variable that keeps it here.

cloudpickle packs a function of a notebook cell with the globals and closure it uses.  What it cannot pack (a Lab, a lock, an open
file) it reports from somewhere deep inside; here the names are followed from the function until the one it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from mirage_lab.sweep.grid import Cell, SweepError

__all__ = ["pack", "pack_cell"]

DEEPEST: Final = 8
"""Steps from the function that are followed."""

WIDEST: Final = 1_000
"""Members of a container that are looked at."""

REFUSED = (Exception, RecursionError)
Named = tuple[str, object]


def pack(function: Callable[..., Any]) -> bytes:
    """Return the function as bytes; raises SweepError that names what cannot travel."""
    packed, refused = _dumps(function)
    if packed is not None:
        return packed
    name = getattr(function, "__name__", type(function).__name__)
    way, culprit = _culprit(function, name)
    if culprit is function:
        raise SweepError(f"{name} cannot travel to another process: {refused}")
    _, why = _dumps(culprit)
    raise SweepError(f"{name} cannot travel to another process: {way}, a {type(culprit).__name__}, cannot ({why}); make it inside {name}")


def pack_cell(cell: Cell) -> bytes:
    """Return a cell as bytes; raises SweepError that names the parameter that cannot travel."""
    packed, why = _dumps(cell)
    if packed is not None:
        return packed
    for name, value in cell.items():
        if _dumps(value)[0] is None:
            raise SweepError(f"the grid's {name!r} has a {type(value).__name__}, which cannot travel to another process ({_dumps(value)[1]})")
    raise SweepError(f"the grid cannot travel to another process: {why}")


def _dumps(value: object) -> tuple[bytes | None, str]:
    """Return the bytes, or None and why there are none."""
    import cloudpickle

    try:
        return cloudpickle.dumps(value), ""
    except RecursionError:
        return None, "it is nested too deeply"
    except Exception as error:
        return None, str(error).partition("\n")[0] or type(error).__name__


def _culprit(function: object, name: str) -> Named:
    """Return the way to the innermost named thing that cannot travel, and the thing."""
    way, value, seen = name, function, {id(function)}
    for _ in range(DEEPEST):
        for step, inner in _parts(value):
            if id(inner) not in seen and _dumps(inner)[0] is None:
                way, value = (f"{way} uses {step}" if value is not function else step), inner
                if isinstance(value, FunctionType):
                    way = f"{step}, which it uses," if way == step else way
                seen.add(id(inner))
                break
        else:
            break
    return way, value


def _parts(value: object) -> Iterator[Named]:
    """Yield what a value takes along, by the names a person gave it."""
    if isinstance(value, functools.partial):
        yield "the function of a partial", value.func
        yield from (_quoted("argument", name, inner) for name, inner in [*enumerate(value.args), *value.keywords.items()])
    elif isinstance(value, MethodType):
        yield "the object of the method", value.__self__
        yield "the method", value.__func__
    elif isinstance(value, FunctionType):
        yield from _closure(value)
    elif isinstance(value, Mapping):
        yield from (_quoted("entry", name, inner) for name, inner in list(value.items())[:WIDEST])
    elif isinstance(value, list | tuple | set | frozenset):
        yield from (_quoted("entry", number, inner) for number, inner in enumerate(list(value)[:WIDEST]))


def _closure(function: FunctionType) -> Iterator[Named]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield _quoted("variable", name, cell.cell_contents)
        except ValueError:
            continue
    for name in _globals(function.__code__):
        if name in function.__globals__ and not isinstance(function.__globals__[name], ModuleType | BuiltinFunctionType):
            yield _quoted("global", name, function.__globals__[name])
    yield from (_quoted("default", number, value) for number, value in enumerate(function.__defaults__ or ()))
    yield from (_quoted("default", name, value) for name, value in (function.__kwdefaults__ or {}).items())


def _globals(code: CodeType) -> Iterator[str]:
    """Yield the names a function and the functions in it look up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals(constant)


def _quoted(what: str, name: object, value: object) -> Named:
    return f"{what} {name!r}", value
