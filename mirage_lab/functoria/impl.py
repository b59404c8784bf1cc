"""Impl: an implementation of a module type, described: which one, on top of which others, with which keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from mirage_lab.signatures.errors import DescriptionError, DeviceTypeError, Mismatch

__all__ = ["Connect", "Impl", "NotRunning"]

LONGEST = 80
"""Characters of a key's value in a label; a longer one (a zone file) is left out."""

Connect = Callable[..., Any]
"""`connect(os, keys, *connected)`: the running device, or an awaitable of it."""


class NotRunning(DescriptionError, AttributeError):
    """Something only a running device has was asked of its description."""


class Impl:
    """A device described.  Two with equal name, keys and arguments are the same device and are connected once."""

    __slots__ = ("args", "connect", "fitting", "holes", "implementation", "keys", "module_type", "name", "targets", "why")

    def __init__(
        self,
        name: str,
        module_type: str,
        *,
        connect: Connect,
        implementation: str,
        args: tuple[Impl, ...] = (),
        holes: tuple[str, ...] = (),
        keys: Mapping[str, Any] | None = None,
        targets: tuple[str, ...] = ("xen", "unix"),
        why: str = "",
        fitting: Callable[[str], tuple[str, ...]] = lambda module_type: (),
    ) -> None:
        """`holes`: the module types `args` must have; `why`: what it is there for, in a few words."""
        self.name = name
        self.module_type = module_type
        self.args = args
        self.holes = holes
        self.keys = MappingProxyType(dict(keys or {}))
        self.implementation = implementation
        self.targets = targets
        self.why = why
        self.connect = connect
        self.fitting = fitting
        for wanted, given in zip(holes, args, strict=True):
            self._check(wanted, given)

    def _check(self, wanted: str, given: Any) -> None:
        found = getattr(given, "module_type", None)
        if found == wanted and isinstance(given, Impl):
            return
        fitting = tuple(f"devices.{name}" for name in self.fitting(wanted))
        fits = ", ".join(fitting)
        what = f"{given.name} is {found}" if isinstance(given, Impl) else f"{given!r} is no device"
        name = given.name if isinstance(given, Impl) else repr(given)[:60]
        mismatch = Mismatch(self.name, wanted.lower(), wanted, name, str(found or "no device"), fitting)
        raise DeviceTypeError(f"{self.name} is built on {wanted}, and {what}{'; what fits: ' + fits if fits else ''}", mismatch)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What makes two descriptions the same device."""
        keys = tuple((name, repr(value)) for name, value in sorted(self.keys.items()))
        return (self.name, keys, tuple(arg.identity for arg in self.args))

    @property
    def label(self) -> str:
        """The name with its keys: `netif('0')`."""
        told = ", ".join(f"{name}={value!r}" for name, value in self.keys.items() if value is not None and name != "files" and len(repr(value)) <= LONGEST)
        return f"{self.name}({told})" if told else self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Impl) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __repr__(self) -> str:
        on = f" on {', '.join(arg.label for arg in self.args)}" if self.args else ""
        return f"{self.label}: {self.module_type}{on}"

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        thing = "ports" if self.module_type in ("STACKV4", "TCPV4", "UDPV4") else "it"
        raise NotRunning(f"{self.name}.{name}: {self.name} is a description of a {self.module_type}; only the running unikernel has {thing}")

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise DescriptionError(f"{self.name} is a device already: hand it over without calling it, web({self.name}, ...)")
