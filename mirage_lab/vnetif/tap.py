"""Tap: a port of a segment that is a network interface of this computer: Linux's own TCP/IP is a station on the lan.

    Linux ─ tap0 ─ /dev/net/tun ─ read ─ submit ─▶ │ port "tap0" ─ bridge ─▶ unikernels
    Linux ◀──────────────── write ◀────────────────│ port "tap0" ◀─ bridge ◀─ unikernels

Left of the bar is the host.  What Linux sends is a journalled command at the next 1 ms tick, all frames of a tick in one, so
that a replay opens no device.  The file is non-blocking both ways: what Linux does not take is lost and counted, as on any
wire.  One frame is one read or write (IFF_NO_PI), checksums are in it (no IFF_VNET_HDR).  Linux only; making the interface
needs root once (`ip tuntap add ... user $USER`), or a network namespace of one's own.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mirage_lab.runtime import World
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.vnetif.segment import Port, Segment

__all__ = ["Tap", "TapStatistics"]

DEVICE: Final = "/dev/net/tun"
TUNSETIFF: Final = 0x4004_54CA
IFF_TAP: Final = 0x0002
IFF_NO_PI: Final = 0x1000
NAME_BYTES: Final = 15
FRAME: Final = 65_549
TURN: Final = 64
"""Frames read before the world gets its turn."""
WAITING: Final = 1_024
"""Frames that may wait for their tick; more stay in Linux's queue, which drops what does not fit."""


@dataclass(frozen=True, slots=True)
class TapStatistics:
    """Frames and bytes from Linux and to Linux, and frames to Linux that were lost, by reason."""

    from_host: int
    bytes_from_host: int
    to_host: int
    bytes_to_host: int
    lost: dict[str, int]


def checked_name(name: str) -> str:
    """Return `name` if Linux takes it for an interface; raises LocalProtocolError."""
    fits = 0 < len(name.encode()) <= NAME_BYTES and name.isascii() and name.isprintable()
    if not fits or set(name) & set("/%: ") or name in (".", ".."):
        raise LocalProtocolError(f"{name!r} cannot be the name of an interface: 1 to {NAME_BYTES} letters and digits, such as tap0")
    return name


def opened(name: str) -> int:
    """Return a non-blocking file descriptor of the TAP interface `name`, made if it was not there.  Raises LocalProtocolError."""
    try:
        import fcntl
    except ImportError:
        raise LocalProtocolError(f"{name}: this system has no TAP interfaces, only Linux has; lab.forward(vm, port) works everywhere") from None
    file = -1
    try:
        file = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    except OSError as error:
        if file >= 0:
            os.close(file)
        raise LocalProtocolError(f"{name}: {_refused(name, file, error)}") from None
    return file


def _refused(name: str, file: int, error: OSError) -> str:
    mine = f"sudo ip tuntap add dev {name} mode tap user $USER"
    if file < 0 and error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"there is no {DEVICE} here: `sudo modprobe tun` brings it, or lab.forward(vm, port) does without"
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"you may not open this interface ({error.strerror}): `{mine}` makes one that is yours, `unshare -rn` a network where you may"
    if error.errno == errno.EBUSY:
        return "another program holds this interface (a lab that is still open?): close it there, or choose another name"
    if error.errno == errno.EINVAL:
        return f"there is an interface of this name that is no TAP (or of several queues): choose another name, or `{mine}`"
    return f"{DEVICE}: {error.strerror or error}: `{mine}` makes the interface"


class Tap:
    """A TAP interface plugged into `segment`; `open` and `shut` are its host side, the port is there in a replay too."""

    def __init__(self, world: World, segment: Segment, name: str) -> None:
        """Plug in; nothing of the host is touched.  Raises LocalProtocolError for a bad name."""
        self.name = checked_name(name)
        self.segment = segment
        self.world = world
        self.port: Port = segment.attach(name, self._to_host)
        self._file = -1
        self._waiting = 0
        self._unwatched = False
        self._from = self._from_bytes = self._to = self._to_bytes = 0
        self._lost: dict[str, int] = {}
        self._command = f"tap.frames@{name}"
        world.on_command(self._command, self._on_frames)
        world.on_command(f"tap.gone@{name}", self._on_gone)

    def __repr__(self) -> str:
        return f"<Tap {self.name} on {self.segment.name} {self.state}: {self._from:,} frames from this computer, {self._to:,} to it>"

    @property
    def state(self) -> str:
        """`open`, or `closed`."""
        return "open" if self._file >= 0 else "closed"

    def fileno(self) -> int:
        """The host's file descriptor."""
        return self._file

    def statistics(self) -> TapStatistics:
        """Return the counters."""
        return TapStatistics(self._from, self._from_bytes, self._to, self._to_bytes, dict(self._lost))

    # the host's side ---------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make the interface, or take the one of that name.  Raises LocalProtocolError."""
        if self._file < 0:
            self._file = opened(self.name)
            self.world.host_connections += 1
            self.world.host.register(self, self._read)

    def shut(self) -> None:
        """Let go of the interface: one that was not made persistent is gone."""
        if self._file >= 0:
            self.world.host.unregister(self)
            os.close(self._file)
            self._file = -1
            self._waiting = 0
            self.world.host_connections -= 1

    def _read(self) -> None:
        frames: list[bytes] = []
        file, room = self._file, WAITING - self._waiting
        try:
            frames.extend(os.read(file, FRAME) for _ in range(min(TURN, room)))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self.shut()
            self.world.submit(f"tap.gone@{self.name}", why=error.strerror or str(error))
        if frames:
            self._waiting += len(frames)
            self.world.submit(self._command, frames=tuple(frames))
            if self._waiting >= WAITING and self._file >= 0:
                self._unwatched = True
                self.world.host.unregister(self)

    # the world's side --------------------------------------------------------------------------------------------

    def _on_frames(self, frames: Sequence[bytes]) -> None:
        self._waiting = max(0, self._waiting - len(frames))
        if self._unwatched and self._file >= 0:
            self._unwatched = False
            self.world.host.register(self, self._read)
        send = self.port.send
        self._from += len(frames)
        self._from_bytes += sum(map(len, frames))
        for frame in frames:
            send(frame)

    def _on_gone(self, why: str) -> None:
        self.world.report(self.name, f"{self.name}: the interface is gone ({why}): somebody deleted it; lab.tap(lan, name={self.name!r}) makes it again")

    def _to_host(self, frame: bytes) -> None:
        """A frame of the lan for Linux.  In a replay it was sent before."""
        if self._file >= 0:
            try:
                os.write(self._file, frame)
            except OSError as error:
                reason = "interface down" if error.errno == errno.EIO else "not taken" if error.errno == errno.EAGAIN else error.strerror or "refused"
                self._lost[reason] = self._lost.get(reason, 0) + 1
                return
        self._to += 1
        self._to_bytes += len(frame)

    def close(self) -> None:
        """Unplug and let go of the interface."""
        self.shut()
        self.segment.detach(self.port)
