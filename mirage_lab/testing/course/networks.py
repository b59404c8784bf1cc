"""Exercises of 04-ip-icmp-fragments, and the unikernel that asks in them."""

from __future__ import annotations

from typing import Final

from mirage_lab.signatures import Console, StackV4, unikernel
from mirage_lab.tcpip.wire import ipv4
from mirage_lab.testing.attempt import exercise
from mirage_lab.testing.course.worlds import story
from mirage_lab.testing.exercises import Claims, Traced
from mirage_lab.testing.story import Story

__all__ = ["check_lost_piece", "check_pieces", "check_routers", "pieces", "teller"]

TTL: Final = 64
UDP_HEADER: Final = 8


@unikernel
async def teller(console: Console, stack: StackV4, *, size: int = 100, to: str = "10.1.0.2", port: int = 7) -> None:
    """A unikernel that sends one datagram of `size` bytes to an echo, and says what comes back."""
    stack.listen_udpv4(5_000, lambda src, port, data: console.log(f"{src} sent {len(data)} bytes back"))
    stack.udpv4.write(to, port, bytes(n % 251 for n in range(size)), 5_000)
    await stack.listen()


def pieces(trace: Traced, src: str = "10.0.0.2") -> list[str]:
    """Return the IPv4 packets that `src` sent, a line for each: where in its datagram it lies, and whether more follows."""
    lines = []
    for seen in Claims(trace).frames("packet", lambda packet: packet.src == src).where(src=src):
        if seen.frame.data[12:14] == b"\x08\0":
            header = ipv4.decode(seen.frame.data, 14)
            at, size = (header.fragment & ipv4.OFFSET) * 8, header.length - header.header_length
            flags = " more follows" * bool(header.fragment & ipv4.MF) + " do not fragment" * bool(header.fragment & ipv4.DF)
            lines.append(f"packet {header.ident}: bytes {at} to {at + size - 1}, ttl {header.ttl}{flags}")
    return lines


@exercise
def check_pieces(near: object, far: object, size: int = 6_000, mtus: tuple[int, int] = (1_500, 600)) -> Story:
    """In how many pieces a datagram of `size` bytes crosses the first lan, and then the second, which takes less."""
    told = story("counting pieces")
    whole = ipv4.encode(ipv4.Header(1, 2, ipv4.UDP, 28 + size, 5, 0)) + bytes(UDP_HEADER + size)
    first = ipv4.cut(whole, mtus[0])
    second = [small for large in first for small in ipv4.cut(large, mtus[1])]
    for what, given, truth in (("the first lan", near, len(first)), ("the second lan", far, len(second))):
        told.true(f"{what}: a number is given", given is not ..., "nothing is there yet: replace the dots")
        told.true(f"{what}: it is a whole number", isinstance(given, int) and not isinstance(given, bool), f"{given!r} is not")
        hint = "who cuts for the second lan, and what does it get to cut?" if truth == len(second) else "how many bytes of data fit, and in units of what?"
        told.true(f"{what}: so many pieces cross it", given == truth, f"{given!r} do not", hint)
    return told


@exercise
def check_routers(count: object, left: int = 57) -> Story:
    """How many routers a packet has passed that arrives with a time to live of `left`."""
    told = story("counting routers")
    told.true("a number is given", count is not ..., "nothing is there yet: replace the dots")
    told.true("it is a whole number", isinstance(count, int) and not isinstance(count, bool), f"{count!r} is not")
    hint = "with which number do packets begin here? pieces(near_trace) shows it"
    told.true("so many routers took one each", count == TTL - left, f"{count!r} did not", hint)
    return told


@exercise
def check_lost_piece(trace: Traced, client: str = "10.0.0.2", server: str = "10.1.0.2") -> Story:
    """A trace of the second lan in which one fragment in the middle of a datagram was lost, and the sender was told of it."""
    claims = Claims(trace, "one piece is lost")
    later = claims.frames("later fragment", lambda packet: packet.src == client and "fragment" in packet.info)
    claims.that("a datagram is on its way in pieces", len(later) >= 2, later, hide=True)
    claims.exactly(1, claims.lost(), say="the lan loses one frame and no other")
    gone = claims.lost()[0].frame.data
    header = ipv4.decode(gone, 14)
    claims.that("it is a piece from the middle", header.fragment & ipv4.OFFSET and header.fragment & ipv4.MF, claims.lost())
    told = claims.frames("time exceeded", lambda packet: packet.src == server and packet.info == "time exceeded")
    claims.exactly(1, told, say="the server gives up, and says so")
    return claims.story
