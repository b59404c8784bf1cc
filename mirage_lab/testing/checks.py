"""The suites.  Each runs inside tasks of a world and checks promises and refusals of the signature it is named after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirage_lab.runtime import tasks
from mirage_lab.signatures import Clock, Console, KvRo, Network, StackV4, Time
from mirage_lab.signatures.errors import ConnectionRefused, Disconnected, LocalProtocolError, MirageError, UnknownKey
from mirage_lab.signatures.flow import Flow
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.signatures.units import Ns, ms

__all__ = ["check_console", "check_flow", "check_kv_ro", "check_network", "check_stackv4", "check_time"]

PATTERN = bytes(range(256))


def _say(promise: str, kept: bool) -> None:
    if not kept:
        raise AssertionError(f"broken: {promise}")


async def _read(flow: Flow, count: int) -> bytes:
    got = b""
    while len(got) < count:
        data = await flow.read()
        _say("FLOW: a read returns at least a byte before end of file", bool(data))
        got += data
    return got


async def check_flow(one: Flow, other: Flow) -> None:
    """FLOW: two ends of a connection: order, both directions at once, writev, half-close, end of file, close twice."""
    await one.write(b"hello")
    _say("FLOW: bytes arrive", await _read(other, 5) == b"hello")
    await other.writev([b"a", b"", b"bc"])
    _say("FLOW: writev is the pieces one after the other", await _read(one, 3) == b"abc")
    big = PATTERN * 2_000
    got: dict[str, bytes] = {}

    async def take(name: str, flow: Flow) -> None:
        got[name] = await _read(flow, len(big))

    async with tasks.nursery() as both:
        both.start(take("one", one))
        both.start(take("other", other))
        both.start(one.write(big))
        both.start(other.write(big[::-1]))
    _say("FLOW: much more than a buffer passes, both ways at once, in order", got == {"one": big[::-1], "other": big})
    await one.close()
    await one.close()
    _say("FLOW: after close the peer reads end of file", await other.read() == b"")
    await other.write(b"still here")
    _say("FLOW: the peer may still send after our close", await _read(one, 10) == b"still here")
    try:
        await one.write(b"x")
    except Disconnected:
        pass
    else:
        _say("FLOW: writing after close is Disconnected", False)
    await other.close()
    _say("FLOW: then we read end of file too, and again", await one.read() == b"" and await one.read() == b"")


async def check_stackv4(client: StackV4, server: StackV4, address: str, port: int) -> None:
    """STACKV4: two stacks, `server` at `address`: listening, a flow's ends, refusal; the flow is checked as a FLOW."""
    accepted: tasks.Mailbox[TcpFlow] = tasks.Mailbox()

    async def serve(flow: TcpFlow) -> None:
        await accepted.put(flow)

    server.listen_tcpv4(port, serve)
    flow = await client.tcpv4.create_connection((address, port))
    other = await accepted.get()
    _say("STACKV4: a flow knows its peer", flow.dst == (address, port))
    await check_flow(flow, other)
    try:
        await client.tcpv4.create_connection((address, port + 1))
    except ConnectionRefused:
        pass
    else:
        _say("STACKV4: a port nobody listens on refuses", False)


async def check_network(one: Network, other: Network) -> None:
    """NETWORK: two interfaces of one Ethernet: frames whole, counters, writev, the MTU refused."""
    heard: list[bytes] = []
    other.listen(heard.append)
    one.reset_stats_counters()
    head = b"\xff" * 6 + bytes.fromhex(one.mac.replace(":", "")) + b"\x88\xb5"
    frames = [head + PATTERN[:size] * 1 for size in (46, 100, 256)] + [head + bytes(one.mtu)]
    for frame in frames:
        one.write(frame)
    one.writev([head, b"in ", b"pieces"])
    await tasks.sleep(ms(50))
    _say("NETWORK: every frame arrives, whole and in order", [frame for frame in heard if frame[12:14] == b"\x88\xb5"] == [*frames, head + b"in pieces"])
    counters = one.get_stats_counters()
    _say("NETWORK: counters count frames and bytes", (counters.tx_pkts, counters.tx_bytes) == (5, sum(map(len, frames)) + len(head) + 9))
    try:
        one.write(head + bytes(one.mtu + 1))
    except LocalProtocolError:
        pass
    else:
        _say("NETWORK: a frame over the MTU is refused", False)


async def check_kv_ro(store: KvRo, values: Mapping[str, bytes]) -> None:
    """KV_RO: values whole and in part, sizes, unknown keys."""
    for key, value in values.items():
        _say("KV_RO: a value is read whole", await store.read(key) == value)
        _say("KV_RO: its size is its length", await store.size(key) == len(value))
        _say("KV_RO: a part is a slice, short at the end", await store.read(key, 1, 3) == value[1:4] and await store.read(key, len(value), 5) == b"")
    for key in ("no such key", "../" + next(iter(values), ""), ""):
        try:
            await store.read(key)
        except UnknownKey:
            continue
        _say(f"KV_RO: {key!r} is an UnknownKey", False)


async def check_console(console: Console) -> None:
    """CONSOLE: printing never fails, whatever the text; what is read back is the caller's to compare."""
    for text in ("plain", "", "tab\tand ünïcödé", "<img src=x onerror=alert(1)>", "\ud800", "x" * 5_000):
        console.log(text)
        await console.log_s(text)
    await console.write(b"\xff\xfe raw\n")


async def check_time(time: Time, clock: Clock) -> None:
    """TIME and CLOCK: never early, and the clock has moved by as much."""
    for duration in (Ns(0), ms(1), ms(250)):
        before = clock.time()
        await time.sleep(duration)
        _say("TIME: a sleep does not end early", clock.time() - before >= duration / 1e9 - 1e-6)


async def outcome(check: Any) -> str:
    """Await a check and return "ok", or what it said: for a unikernel that prints it."""
    try:
        await check
    except (AssertionError, MirageError) as error:
        return str(error)
    return "ok"
