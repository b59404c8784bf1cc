"""Errors of devices and descriptions.  Expected outcomes are values; these are for what went wrong."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ConnectionRefused",
    "ConnectionReset",
    "ConnectionTimedOut",
    "DescriptionError",
    "DeviceError",
    "DeviceTypeError",
    "Disconnected",
    "IsReadOnly",
    "LocalProtocolError",
    "MirageError",
    "Mismatch",
    "RemoteProtocolError",
    "Unimplemented",
    "UnknownKey",
    "UnknownName",
]


class MirageError(Exception):
    """Whatever the lab itself raises; the message names the place, the reason and the way out."""


class ProtocolError(MirageError):
    """A rule of a protocol was broken; `code` is the wire code (TLS alert, ICMP code, Xen errno) where there is one."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class LocalProtocolError(ProtocolError):
    """Our caller broke the rules."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the rules: malformed bytes, or bytes out of place."""


class DeviceError(MirageError):
    """A device cannot do what was asked."""


class Disconnected(DeviceError):
    """The device is not connected, or no longer."""


class Unimplemented(DeviceError):
    """This implementation of the signature does not offer the operation."""


class IsReadOnly(DeviceError):
    """Writing to something that can only be read."""


class UnknownKey(DeviceError):
    """A key-value store has no such key."""


class UnknownName(DeviceError):
    """DNS has no such name, or the name no record of the type asked for."""


class ConnectionRefused(MirageError):
    """The peer answered a connection request with a reset, or is not reachable at all."""


class ConnectionReset(MirageError):
    """The peer, or we, broke the connection off: what was not read is lost."""


class ConnectionTimedOut(MirageError):
    """The peer did not answer, however often it was asked."""


class DescriptionError(MirageError):
    """A description (a unikernel, a device, a job) was used as if it were running, or put together wrongly."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An edge of a device graph that cannot be: what was to be built, its hole, what that wants, what was given, what fits."""

    above: str
    hole: str
    wanted: str
    given: str
    found: str
    fits: tuple[str, ...] = ()


class DeviceTypeError(DescriptionError, TypeError):
    """A hole was filled with a device of another module type; `mismatch` is the edge."""

    def __init__(self, message: str, mismatch: Mismatch | None = None) -> None:
        super().__init__(message)
        self.mismatch = mismatch
