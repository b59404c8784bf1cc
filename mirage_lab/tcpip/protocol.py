"""protocol: what UDP and TCP ask of an IP: Ipv4 and Ipv6 both have it, so the same code serves the two families.

An address is a number inside, text at the border.  In the originals UDP and TCP are functors over IP for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from mirage_lab.runtime import RunQueue

__all__ = ["Ip", "Receive"]

Receive = Callable[[int, int, bytes], None]
"""`receive(src, dst, payload)`."""


class Ip(Protocol):
    """An Internet protocol under UDP and TCP."""

    header: ClassVar[int]
    """Bytes of its header without options: 20 or 40."""
    octets: ClassVar[int]
    """Bytes of an address: 4 or 16."""
    queue: RunQueue
    profile: str
    mtu: int
    ecn: int
    """The two ECN bits of the packet that is being passed up."""

    @property
    def id(self) -> str:
        """The interface's name."""

    def get_ip(self) -> str:
        """Return our address, the first of several."""

    def text(self, address: int, /) -> str:
        """Return an address as text."""

    def parse(self, address: str, /) -> int:
        """Return an address as a number; raises LocalProtocolError."""

    def pseudo(self, src: int, dst: int, proto: int, length: int, /) -> int:
        """Return the sum of the pseudo header."""

    def source(self, dst: int) -> int:
        """Return the address of ours that packets to `dst` come from, 0 if there is none."""

    def ours(self, address: int) -> bool:
        """True for an address of this station alone."""

    def path_mtu(self, dst: int) -> int:
        """Return the bytes of the largest packet that is known to get to `dst`."""

    def register(self, proto: int, receive: Receive) -> None:
        """Call `receive(src, dst, payload)` for packets of this protocol; again replaces."""

    def output(self, dst: int, proto: int, payload: bytes, src: int | None = None, ecn: int = 0) -> None:
        """Send a packet.  Raises LocalProtocolError when it cannot be sent."""

    def doubt(self, dst: int) -> None:
        """What was sent to `dst` went unanswered again and again."""
