"""sealing: a unikernel's code as it is now, cut off from the notebook.

The function is copied with new globals that hold only what its code names: functions of the same notebook sealed along
with it, modules and values as they are now.  Each boot gets globals of its own, in which `print` writes to the domain's
console, and `time` and `asyncio` say what a unikernel uses instead.  A mutable value is shared with the notebook: a warning.
"""

from __future__ import annotations

import asyncio
import builtins
import hashlib
import time
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, Final

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.functor import Unikernel

__all__ = ["Sealed", "digest", "seal"]

MUTABLE: Final = (list, dict, set, bytearray)
ADVICE: Final = "take a Time device: await time.sleep(seconds(1))"
FUNCTIONS: Final = 256


class _Advice:
    """Stands where a module or function of the host was named: using it is an error that says what to use."""

    def __init__(self, name: str, original: Any = None) -> None:
        self._name = name
        self._original = original

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        found = getattr(self._original, attribute)
        blocks = attribute in ("sleep", "sleep_ms") or self._name == "asyncio"
        return _Advice(f"{self._name}.{attribute}", found) if blocks else found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise LocalProtocolError(f"{self._name}() belongs to the host and would stop the whole unikernel: {ADVICE}")


class Sealed:
    """Code of a unikernel and the globals it names; `start(print)` returns a function to call."""

    def __init__(self, function: Callable[..., Any], names: dict[str, Any], warnings: tuple[str, ...]) -> None:
        self.function = function
        self.names = names
        self.warnings = warnings
        self.digest = digest(function)

    def start(self, log: Callable[[str], None]) -> Callable[..., Any]:
        """Return the unikernel with globals of its own; `print` goes to `log`."""
        fresh = dict(vars(builtins))
        fresh["print"] = _printer(log)
        fresh["input"] = _no_keyboard
        fresh["__import__"] = _importing
        there: dict[str, Any] = {"__builtins__": fresh, "__name__": "unikernel", "__doc__": None}
        for name, value in self.names.items():
            there[name] = _copied(value, there) if _is_sealed(value, self.function) else _replaced(value)
        return _copied(self.function, there)


def _printer(log: Callable[[str], None]) -> Callable[..., None]:
    def to_console(*values: object, sep: str | None = " ", end: str | None = "\n", file: object = None, flush: bool = False) -> None:
        text = (" " if sep is None else sep).join(map(str, values)) + ("\n" if end is None else end)
        log(text[:-1] if text.endswith("\n") else text)

    return to_console


def _no_keyboard(prompt: object = "") -> str:
    raise LocalProtocolError("input() reads the keyboard of this computer: a unikernel has its console, await console.read()")


def _importing(name: str, *how: Any, **more: Any) -> Any:
    """Import inside a unikernel: modules of the host's time give advice, as they do when imported in the notebook."""
    return _replaced(builtins.__import__(name, *how, **more))


def _replaced(value: Any) -> Any:
    if value is time:
        return _Advice("time", time)
    if value is asyncio:
        return _Advice("asyncio", asyncio)
    if value is time.sleep:
        return _Advice("time.sleep")
    if value is asyncio.sleep:
        return _Advice("asyncio.sleep")
    return value


def _is_sealed(value: Any, function: Callable[..., Any]) -> bool:
    """True for a function written beside the unikernel, which is sealed with it."""
    return isinstance(value, FunctionType) and value.__globals__ is getattr(function, "__globals__", None)


def _copied(function: Any, there: dict[str, Any]) -> FunctionType:
    closure = tuple(_cell(cell) for cell in function.__closure__ or ()) or None
    copy = FunctionType(function.__code__, there, function.__name__, function.__defaults__, closure)
    copy.__kwdefaults__ = dict(function.__kwdefaults__) if function.__kwdefaults__ else None
    copy.__qualname__ = function.__qualname__
    return copy


def _cell(cell: CellType) -> CellType:
    try:
        return CellType(_replaced(cell.cell_contents))
    except ValueError:
        return CellType()


def _named(code: CodeType) -> Iterator[str]:
    """Yield every global name the code, and code inside it, uses."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _named(constant)


def seal(function: Callable[..., Any]) -> Sealed:
    """Return the function as it is now, with the globals it names; raises LocalProtocolError when it names too many functions."""
    namespace: dict[str, Any] = getattr(function, "__globals__", {})
    names: dict[str, Any] = {}
    waiting, seen = [function.__code__], 0
    while waiting:
        seen += 1
        if seen > FUNCTIONS:
            raise LocalProtocolError(f"{function.__name__} reaches more than {FUNCTIONS} functions of the notebook: put them into a module and import it")
        for name in _named(waiting.pop()):
            if name in names or name not in namespace:
                continue
            names[name] = value = namespace[name]
            if _is_sealed(value, function):
                waiting.append(value.__code__)
    captured = {**names, **dict(zip(function.__code__.co_freevars, _contents(function)))}
    warnings = tuple(
        f"{function.__name__} uses the {type(value).__name__} {name} of the notebook: it is shared with it, and not put back by a rewind or reset"
        for name, value in sorted(captured.items())
        if isinstance(value, MUTABLE)
    )
    return Sealed(function, names, warnings)


def _contents(function: Any) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            yield None


def digest(function: Callable[..., Any]) -> str:
    """Return a hash of what the code does: the same for the same text in another place, another for an edited one."""
    found = hashlib.sha256()
    namespace: dict[str, Any] = getattr(function, "__globals__", {})
    seen: set[int] = set()

    def add(thing: Any) -> None:
        if isinstance(thing, CodeType):
            found.update(repr((thing.co_code, thing.co_names, thing.co_varnames, thing.co_argcount, thing.co_flags)).encode())
            for constant in thing.co_consts:
                add(constant)
        elif isinstance(thing, FunctionType):
            if id(thing) in seen:
                return
            seen.add(id(thing))
            add(thing.__code__)
            found.update(repr((thing.__defaults__, thing.__kwdefaults__)).encode())
            for name in sorted(set(_named(thing.__code__))):
                value = namespace.get(name)
                if isinstance(value, FunctionType) and value.__globals__ is namespace:
                    add(value)
                elif isinstance(value, (str, int, float, bytes, bool)):
                    found.update(repr((name, value)).encode())
        elif not isinstance(thing, (ModuleType, Unikernel)):
            found.update(repr(thing).encode())

    add(function)
    return found.hexdigest()
