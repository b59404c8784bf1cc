"""frames: what a plot needs to know of each captured frame.

The bytes are read by `tcpip.dissect`; here a frame gets a sender and a receiver by address, an IP address where there is
one, so that an ARP question and the TCP segment it was asked for come from the same host.  Sequence numbers in `info` are
relative to the first of their direction, as Wireshark shows them, also when that one is not among the frames selected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirage_lab.plot.hosts import Hosts
from mirage_lab.tcpip.dissect import Packet, dissect
from mirage_lab.tcpip.wire.tcp import ACK, SYN
from mirage_lab.tracing.selection import Selection

if TYPE_CHECKING:
    from mirage_lab.tracing.capture import Capture, Frame

__all__ = ["Seen", "read"]


class Seen:
    """A frame: number, time (ns), sender and receiver, protocol, length (bytes), a line, why it was lost, `arrived` (ns) if known."""

    __slots__ = ("arrived", "broadcast", "dst", "info", "length", "lost", "n", "protocol", "src", "t")

    def __init__(self, frame: Frame, packet: Packet, info: str) -> None:
        self.n, self.t, self.lost = frame.n, frame.t, frame.lost
        self.length = len(frame.data)
        self.src, self.dst, self.broadcast = packet.src, packet.dst, packet.broadcast
        self.protocol = packet.protocol
        self.info = info
        self.arrived: int | None = None


def read(capture: Capture, hosts: Hosts | None = None, *, start: int = 1, count: int | None = None) -> list[Seen]:
    """Return the kept frames from number `start` on, `count` at most; `hosts` learns the addresses in order."""
    found: list[Seen] = []
    bases: dict[tuple[str, str, int, int], int] = {}
    some = capture if isinstance(capture, Selection) else None
    met: set[bytes] = set()
    for frame in capture.frames if some is None else some.source.frames:
        shown = frame.n >= start and (some is None or some.frame_number(frame.n) is not None)
        if not shown and ((some is not None and frame.n > some.last) or not _tells(frame.data, met)):
            continue
        packet = dissect(frame.data)
        info = _info(packet, bases)
        if hosts is not None:
            for address in (packet.src, packet.dst)[: 1 if packet.broadcast else 2]:
                hosts.meet(hosts.name(address))
        if shown:
            found.append(Seen(frame, packet, info))
            if count is not None and len(found) >= count:
                break
    return found


def _tells(data: bytes, met: set[bytes]) -> bool:
    """Tell whether a frame that is not shown may have what those shown need: a host or a direction not met before, a SYN."""
    if len(data) < 54:
        ends = data
    elif data[14] != 0x45:
        return True
    else:  # MACs, fragment, protocol, addresses, ports, of a SYN the number, flags
        ends = data[:14] + data[20:22] + data[23:24] + data[26 : 42 if data[47] & SYN else 38] + data[47:48]
    if ends in met:
        return False
    met.add(ends)
    return True


def _info(packet: Packet, bases: dict[tuple[str, str, int, int], int]) -> str:
    tcp = packet.tcp
    if tcp is None:
        return packet.info
    there = (packet.src, packet.dst, tcp.src_port, tcp.dst_port)
    back = (packet.dst, packet.src, tcp.dst_port, tcp.src_port)
    if tcp.flags & SYN or there not in bases:
        bases[there] = tcp.seq
    if tcp.flags & ACK:
        bases.setdefault(back, (tcp.ack - 1) & 0xFFFF_FFFF)
    return packet.info.replace(tcp.info(), tcp.info(bases[there], bases.get(back, 0)))
