"""The `unikernel` marker: a typed function is a functor.

    @unikernel
    async def web(console: Console, stack: StackV4) -> None: ...

Parameters annotated with a signature are holes; keyword-only parameters with plain types are keys.  Calling fills holes, by
position from the left or by name, and returns a new value; nothing runs.  When no hole is left it is a job.  In the
original: `foreign "Unikernel.Main" (console @-> stackv4 @-> job)` and `main $ default_console $ stack`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn

from mirage_lab.signatures.errors import DescriptionError, DeviceTypeError, Mismatch

__all__ = ["Hole", "Key", "Unikernel", "unikernel"]

_PLAIN = (str, int, float, bool, bytes)


@dataclass(frozen=True, slots=True)
class Hole:
    """A parameter that wants a device: its name and the signature."""

    name: str
    signature: type[Any]

    @property
    def module_type(self) -> str:
        """The signature's name in MirageOS."""
        return str(self.signature.module_type)

    def __repr__(self) -> str:
        return f"{self.name} ({self.module_type})"


@dataclass(frozen=True, slots=True)
class Key:
    """A keyword-only parameter of a plain type: set at the call, in `configure(..., keys={})`, or at `create`."""

    name: str
    type: type[Any]
    default: Any = None
    required: bool = False


class Unikernel:
    """A unikernel described: a function, its holes and keys, and what fills them so far.  A value: calls return new ones."""

    __slots__ = ("filled", "function", "holes", "key_values", "keys")

    def __init__(
        self,
        function: Callable[..., Any],
        holes: tuple[Hole, ...],
        keys: tuple[Key, ...],
        filled: Mapping[str, Any] | None = None,
        key_values: Mapping[str, Any] | None = None,
    ) -> None:
        self.function = function
        self.holes = holes
        self.keys = keys
        self.filled: Mapping[str, Any] = MappingProxyType(dict(filled or {}))
        self.key_values: Mapping[str, Any] = MappingProxyType(dict(key_values or {}))

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    @property
    def open_holes(self) -> tuple[Hole, ...]:
        """The holes not yet filled."""
        return tuple(hole for hole in self.holes if hole.name not in self.filled)

    @property
    def is_job(self) -> bool:
        """True when no hole is left."""
        return not self.open_holes

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The devices in the order of the holes (of the filled ones)."""
        return tuple(self.filled[hole.name] for hole in self.holes if hole.name in self.filled)

    def __call__(self, *devices: Any, **named: Any) -> Unikernel:
        """Fill holes from the left, or by name, and set keys; returns a new value.

        Raises DeviceTypeError for a device of another module type, DescriptionError for what does not fit otherwise.
        """
        if not devices and not named:
            self._not_running(f"{self.name}()")
        filled, values = dict(self.filled), dict(self.key_values)
        open_holes = list(self.open_holes)
        if len(devices) > len(open_holes):
            self._too_many(devices)
        for hole, device in zip(open_holes, devices, strict=False):
            filled[hole.name] = self._checked(hole, device)
        for name, value in named.items():
            wanted = next((hole for hole in self.holes if hole.name == name), None)
            if wanted is not None:
                if name in filled:
                    raise DescriptionError(f"{self.name}: the hole {wanted} is filled already, with {_named(filled[name])}")
                filled[name] = self._checked(wanted, value)
                continue
            key = next((key for key in self.keys if key.name == name), None)
            if key is None:
                known = ", ".join([hole.name for hole in self.holes] + [key.name for key in self.keys]) or "none"
                raise DescriptionError(f"{self.name} has no hole or key called {name!r}; it has {known}")
            values[name] = check_key(self.name, key, value)
        return Unikernel(self.function, self.holes, self.keys, filled, values)

    def _too_many(self, devices: tuple[Any, ...]) -> NoReturn:
        if not self.holes:
            raise DescriptionError(f"{self.name} needs no devices; {_named(devices[0])} has no hole to go to")
        if not self.open_holes:
            raise DescriptionError(f"{self.name} is a job: all its holes are filled ({_pairs(self)}); filling one again is an error")
        raise DescriptionError(
            f"{self.name} has {len(self.open_holes)} open holes ({', '.join(map(repr, self.open_holes))}), and {len(devices)} devices were given"
        )

    def _checked(self, hole: Hole, device: Any) -> Any:
        given = getattr(device, "module_type", None)
        if given == hole.module_type and not isinstance(device, type):
            return device
        if isinstance(device, Unikernel):
            what = f"{device.name} is a unikernel"
        elif callable(device) and given is None and hasattr(device, "__name__"):
            what = f"{device.__name__} is a function (call it: devices.{device.__name__}(...))"
        else:
            what = f"{_named(device)} is {given or 'no device but a ' + type(device).__name__}"
        fitting = tuple(f"devices.{name}" for name in device.fitting(hole.module_type)) if callable(getattr(device, "fitting", None)) else ()
        fits = f"; what fits: {', '.join(fitting)}" if fitting else ""
        mismatch = Mismatch(self.name, hole.name, hole.module_type, _named(device), str(given or "no device"), fitting)
        raise DeviceTypeError(f"{self.name}: the hole {hole.name} wants {hole.module_type}, and {what}{fits}", mismatch)

    def _not_running(self, what: str) -> NoReturn:
        way = "lab.create(...)" if self.is_job else f"{self.name}(devices...), then configure, build and lab.create"
        raise DescriptionError(f"{what}: {self.name} is a description, not a running program; {way} makes one run")

    def __await__(self) -> Generator[Any, Any, Any]:
        self._not_running(f"await {self.name}")

    @property
    def signature_line(self) -> str:
        """The type as MirageOS writes it: `CONSOLE -> STACKV4 -> JOB`."""
        return " -> ".join([*(hole.module_type for hole in self.open_holes), "JOB"])

    def __repr__(self) -> str:
        if self.is_job:
            given = f" with {_pairs(self)}" if self.holes else ""
            return f"{self.name} is a job{given}. In MirageOS: JOB. next: configure({self.name if not self.holes else 'job'}, name={self.name!r})"
        count = len(self.open_holes)
        still = " more" if self.filled else ""
        needs = ", ".join(map(repr, self.open_holes))
        return f"{self.name} needs {count}{still} device{'' if count == 1 else 's'}: {needs}. In MirageOS: {self.signature_line}"


def check_key(owner: str, key: Key, value: Any) -> Any:
    """Return `value` if it is of the key's type; raises DescriptionError."""
    ok = isinstance(value, key.type) and not (key.type in (int, float) and isinstance(value, bool))
    if key.type is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not ok:
        raise DescriptionError(f"{owner}: the key {key.name} is {key.type.__name__}, and {value!r} is {type(value).__name__}")
    return value


def _named(device: Any) -> str:
    return str(getattr(device, "name", None) or repr(device))


def _pairs(unikernel: Unikernel) -> str:
    return ", ".join(f"{hole.name} = {_named(unikernel.filled[hole.name])}" for hole in unikernel.holes)


def unikernel(function: Callable[..., Any]) -> Unikernel:
    """Mark an `async def` as a unikernel.

    Raises DescriptionError, naming the parameter, for one that is neither a hole (annotated with a signature) nor a key
    (keyword-only, of a plain type), and for a function that is not `async`.
    """
    if isinstance(function, Unikernel):
        return function
    if not inspect.iscoroutinefunction(function):
        raise DescriptionError(f"{function.__name__} is not async: a unikernel waits for its devices, write async def {function.__name__}(...)")
    hints = _hints(function)
    holes: list[Hole] = []
    keys: list[Key] = []
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name)
        if isinstance(hint, type) and isinstance(getattr(hint, "module_type", None), str):
            holes.append(Hole(parameter.name, hint))
        elif parameter.kind is parameter.KEYWORD_ONLY and hint in _PLAIN:
            required = parameter.default is parameter.empty
            keys.append(Key(parameter.name, hint, None if required else parameter.default, required))
        else:
            raise DescriptionError(
                f"{function.__name__}: the parameter {parameter.name} is neither a hole nor a key; a hole is annotated with a signature "
                f"({parameter.name}: Console), a key is keyword-only with a plain type (*, {parameter.name}: str)"
            )
    return Unikernel(function, tuple(holes), tuple(keys))


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except NameError as error:
        raise DescriptionError(
            f"{function.__name__}: {error.name} in its annotations is not defined; from mirage_lab.signatures import {error.name}"
        ) from None
