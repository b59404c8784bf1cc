"""services: the small services of old, as mirage's examples/services.ml: echo (RFC 862), discard (RFC 863), chargen (RFC 864).

`echo_serve`, `discard_serve` and `chargen_serve` serve one flow each, whatever carries it.  Over UDP a service never answers a
port below 1,024: two of them would answer each other for ever (CERT advisory CA-1996-01).
"""

from __future__ import annotations

from collections.abc import Iterator

from mirage_lab.signatures import Console, Flow, StackV4, unikernel
from mirage_lab.signatures.errors import MirageError

ECHO = 7
DISCARD = 9
CHARGEN = 19
SYSTEM_PORTS = 1_024

FIRST, LAST = 0x20, 0x7E
LINE = 72


async def echo_serve(flow: Flow) -> None:
    """Send back what arrives, until its end (RFC 862)."""
    while data := await flow.read():
        await flow.write(data)
    await flow.close()


async def discard_serve(flow: Flow) -> None:
    """Throw away what arrives, until its end (RFC 863)."""
    while await flow.read():
        pass
    await flow.close()


def chargen_lines() -> Iterator[bytes]:
    """Yield the pattern of RFC 864 for ever: 72 of the 95 printing characters a line, each line one further."""
    ring = bytes(range(FIRST, LAST + 1)) * 2
    while True:
        for at in range(LAST - FIRST + 1):
            yield ring[at : at + LINE] + b"\r\n"


async def chargen_serve(flow: Flow) -> None:
    """Send characters until the other end has enough (RFC 864)."""
    lines = chargen_lines()
    try:
        while True:
            await flow.write(b"".join(next(lines) for _ in range(95)))
    except MirageError:
        await flow.close()


@unikernel
async def services(console: Console, stack: StackV4) -> None:
    """Serve echo, discard and chargen over TCP and UDP."""
    lines = chargen_lines()

    def echo_datagram(src: str, src_port: int, data: bytes) -> None:
        if src_port >= SYSTEM_PORTS:
            stack.udpv4.write(src, src_port, data, src_port=ECHO)

    def chargen_datagram(src: str, src_port: int, data: bytes) -> None:
        if src_port >= SYSTEM_PORTS:
            stack.udpv4.write(src, src_port, next(lines), src_port=CHARGEN)

    stack.listen_tcpv4(ECHO, echo_serve)
    stack.listen_tcpv4(DISCARD, discard_serve)
    stack.listen_tcpv4(CHARGEN, chargen_serve)
    stack.listen_udpv4(ECHO, echo_datagram)
    stack.listen_udpv4(DISCARD, lambda src, src_port, data: None)
    stack.listen_udpv4(CHARGEN, chargen_datagram)
    console.log("echo on port 7, discard on port 9, chargen on port 19")
    await stack.listen()
