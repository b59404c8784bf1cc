"""links: NETWORK, ETHIF, ARP, IPV4, ICMPV4: the promises of frames, addresses and packets.

Suites of two devices want both on one lan: `Pair` makes one.  `frames` is a function that returns the frames that have
been on the wire so far: what a device sends is seen there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from mirage_lab.runtime import tasks
from mirage_lab.signatures import Arp, Ethif, IcmpV4, IpV4, Network
from mirage_lab.signatures.errors import ConnectionTimedOut, LocalProtocolError
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip.dissect import dissect
from mirage_lab.tcpip.wire import ipv4 as wire
from mirage_lab.tcpip.wire.address import ip_int, ip_text, mac_bytes
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.testing.suite import Promise, Tell, suite

__all__ = ["Frames", "check_arp", "check_ethif", "check_icmpv4", "check_ipv4", "check_network"]

Frames = Callable[[], Sequence[bytes]]
"""Returns the frames that have been on the wire so far."""

EXPERIMENT: Final = 0x88B5
"""EtherType for experiments (IEEE 802); the next one is free too."""

PROTO: Final = 253
"""Protocol for experiments (RFC 3692)."""

NOBODY: Final = "10.0.0.250"
FLOOD: Final = 2_000
ARRIVES: Final = ms(500)


def _cards(promise: Promise, *devices: Network | Ethif) -> None:
    for device in devices:
        promise.true("mac", re.fullmatch(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", str(device.mac)), device.mac, "six pairs of hexadecimal digits with colons")
        promise.true("mtu", isinstance(device.mtu, int) and device.mtu >= 576, device.mtu, "bytes of payload, 576 at least")


@suite
async def check_network(tell: Tell, one: Network, other: Network) -> None:
    """NETWORK: two interfaces of one Ethernet: frames whole and in order, counters, writev, what is dropped or refused."""
    await tell.shape(Network, one, other)
    async with tell("it has a MAC address and an MTU") as promise:
        _cards(promise, one, other)
    head = mac_bytes(other.mac) + mac_bytes(one.mac) + EXPERIMENT.to_bytes(2, "big")
    heard: list[bytes] = []

    def ours() -> list[bytes]:
        return [frame for frame in heard if frame[12:14] == head[12:14]]

    async with tell("frames that arrive before listen are dropped") as promise:
        one.write(head + b"too early" + bytes(60))
        await tasks.sleep(ARRIVES)
        other.listen(heard.append)
        await tasks.sleep(ARRIVES)
        promise.equal("what listen heard", ours(), [])
    frames = [head + bytes(range(256))[:size] for size in (46, 100, 256)] + [head + bytes(one.mtu)]
    async with tell("every frame arrives, whole and in order") as promise:
        one.reset_stats_counters()
        other.reset_stats_counters()
        heard.clear()
        for frame in frames:
            one.write(frame)
        await tasks.sleep(ARRIVES)
        promise.equal("the lengths of what listen heard", list(map(len, ours())), list(map(len, frames)))
        promise.equal("what listen heard", ours(), frames)
    async with tell("writev is one frame made of its pieces") as promise:
        one.writev([head, b"in ", b"pieces", bytes(50)])
        await tasks.sleep(ARRIVES)
        promise.equal("what listen heard", ours()[4:], [head + b"in pieces" + bytes(50)])
    async with tell("the counters count frames and bytes, sent and received") as promise:
        sent, got = one.get_stats_counters(), other.get_stats_counters()
        promise.equal("get_stats_counters(): tx_pkts, tx_bytes", (sent.tx_pkts, sent.tx_bytes), (5, sum(map(len, frames)) + 73))
        promise.equal("get_stats_counters(): rx_pkts, rx_bytes", (got.rx_pkts, got.rx_bytes), (len(heard), sum(map(len, heard))))
    async with tell("reset_stats_counters sets them to zero") as promise:
        one.reset_stats_counters()
        sent = one.get_stats_counters()
        promise.equal("get_stats_counters()", (sent.rx_bytes, sent.rx_pkts, sent.tx_bytes, sent.tx_pkts), (0, 0, 0, 0))
    async with tell("a frame over the MTU is a LocalProtocolError") as promise, _refusing(promise):
        one.write(head + bytes(one.mtu + 1))
    async with tell("write never fails when more is written than fits: what does not is dropped") as promise:
        for _ in range(FLOOD):
            one.write(frames[0])
        await tasks.sleep(seconds(5))
        heard.clear()
        one.write(frames[1])
        await tasks.sleep(ARRIVES)
        promise.equal("what listen heard, after the flood", ours(), frames[1:2])
    async with tell("a second listen replaces the first") as promise:
        again: list[bytes] = []
        other.listen(again.append)
        heard.clear()
        one.write(frames[2])
        await tasks.sleep(ARRIVES)
        promise.equal("what the first listen heard", ours(), [])
        promise.equal("what the second listen heard", frames[2] in again, True)


def _refusing(promise: Promise) -> _Refusing:
    return _Refusing(promise)


class _Refusing:
    """`promise.refuses` for LocalProtocolError, as an async block beside the promise's own."""

    def __init__(self, promise: Promise) -> None:
        self._refuses = promise.refuses("write(more than the MTU)", LocalProtocolError)

    async def __aenter__(self) -> None:
        self._refuses.__enter__()

    async def __aexit__(self, *error: object) -> bool | None:
        return self._refuses.__exit__(*error)  # type: ignore[arg-type]


@suite
async def check_ethif(tell: Tell, one: Ethif, other: Ethif) -> None:
    """ETHIF: two interfaces of one Ethernet: payloads by EtherType, for us only."""
    await tell.shape(Ethif, one, other)
    async with tell("it has a MAC address and an MTU") as promise:
        _cards(promise, one, other)
    heard: list[bytes] = []
    second: list[bytes] = []
    payload = bytes(range(100))
    async with tell("a payload arrives in a frame with both addresses and the EtherType before it") as promise:
        other.listen(EXPERIMENT, heard.append)
        other.listen(EXPERIMENT + 1, second.append)
        one.write(other.mac, EXPERIMENT, payload)
        await tasks.sleep(ARRIVES)
        promise.equal("what listen heard", heard, [mac_bytes(other.mac) + mac_bytes(one.mac) + EXPERIMENT.to_bytes(2, "big") + payload])
    async with tell("each EtherType goes to its own listener, and an unknown one to none") as promise:
        heard.clear()
        one.write(other.mac, EXPERIMENT + 1, payload)
        one.write(other.mac, 0x0600, payload)
        await tasks.sleep(ARRIVES)
        promise.equal("frames heard by the two listeners", (len(heard), len(second)), (0, 1))
    async with tell("a broadcast is passed up") as promise:
        one.write("ff:ff:ff:ff:ff:ff", EXPERIMENT, payload)
        await tasks.sleep(ARRIVES)
        promise.equal("frames heard", len(heard), 1)
    async with tell("frames for other stations are not passed up") as promise:
        heard.clear()
        one.write("02:00:00:00:99:99", EXPERIMENT, payload)
        await tasks.sleep(ARRIVES)
        promise.equal("frames heard", len(heard), 0)
    async with tell("a payload over the MTU is a LocalProtocolError") as promise, _refusing(promise):
        one.write(other.mac, EXPERIMENT, bytes(one.mtu + 1))


@suite
async def check_arp(tell: Tell, one: Arp, other: Arp, address: str, mac: str, nobody: str = NOBODY) -> None:
    """ARP: `one` asks, `other`, at the station `mac`, answers for `address`; nobody has the address `nobody`."""
    await tell.shape(Arp, one, other)
    more = ip_text(ip_int(nobody) - 1)
    async with tell("get_ips has what add_ip added") as promise:
        for ip in (address, more):
            other.add_ip(ip)
            promise.true("get_ips()", ip in other.get_ips(), other.get_ips(), f"{ip} among them")
    async with tell("query finds the station of an address") as promise:
        for ip in (address, more):
            promise.equal(f"query({ip!r})", await one.query(ip), mac)
    async with tell("what is known is told at once") as promise:
        before = await tasks.now()
        promise.equal(f"query({address!r})", await one.query(address), mac)
        took = await tasks.now() - before
        promise.true(f"query({address!r})", took == 0, took, "no time at all")
    async with tell("an address nobody has is ConnectionTimedOut") as promise:
        with promise.refuses(f"query({nobody!r})", ConnectionTimedOut):
            await one.query(nobody)


@suite
async def check_ipv4(tell: Tell, ip: IpV4, dst: str, frames: Frames) -> None:
    """IPV4: what it sends to `dst`, a neighbour, as seen on the wire."""
    await tell.shape(IpV4, ip)
    async with tell("it has an address, a netmask and gateways") as promise:
        for call, came in (("get_ip()", ip.get_ip()), ("get_netmask()", ip.get_netmask()), *(("get_gateways()", gateway) for gateway in ip.get_gateways())):
            promise.true(call, re.fullmatch(r"\d+(?:\.\d+){3}", str(came)), came, "four numbers with dots")
    async with tell("a packet goes out whole, from us to there, with a good header") as promise:
        ip.write(dst, PROTO, b"payload")
        await tasks.sleep(seconds(5))
        sent = _packets(promise, frames(), dst)
        promise.equal("packets on the wire", sent, [(ip.get_ip(), dst, PROTO, b"payload")])
    async with tell("packets keep their order") as promise:
        before = len(_packets(promise, frames(), dst))
        for at in range(5):
            ip.write(dst, PROTO, bytes([at]))
        await tasks.sleep(ARRIVES)
        promise.equal("payloads on the wire", [payload for *_, payload in _packets(promise, frames(), dst)][before:], [bytes([at]) for at in range(5)])
    async with tell("a packet over the MTU is a LocalProtocolError") as promise:
        with promise.refuses(f"write({dst!r}, {PROTO}, 65,536 bytes)", LocalProtocolError):
            ip.write(dst, PROTO, bytes(65_536))
    if not ip.get_gateways():
        async with tell("without a route a packet is dropped, and nothing fails") as promise:
            ip.write("192.0.2.1", PROTO, b"lost")
            await tasks.sleep(seconds(5))
            promise.equal("packets on the wire", _packets(promise, frames(), "192.0.2.1"), [])


def _packets(promise: Promise, frames: Sequence[bytes], dst: str) -> list[tuple[str, str, int, bytes]]:
    """Return (source, destination, protocol, payload) of the experiment's packets to `dst`."""
    found = []
    for frame in frames:
        if frame[12:14] != b"\x08\x00" or frame[23:24] != bytes([PROTO]) or frame[30:34] != ip_int(dst).to_bytes(4, "big"):
            continue
        try:
            head = wire.decode(frame, 14)
        except WireError as error:
            promise.fail(f"expected  a packet that can be read, {dissect(frame)!r}", f"came      {error}")
        found.append((ip_text(head.src), ip_text(head.dst), head.proto, frame[14 + head.header_length : 14 + head.length]))
    return found


@suite
async def check_icmpv4(tell: Tell, icmp: IcmpV4, address: str, nobody: str = NOBODY) -> None:
    """ICMPV4: echoes to a neighbour at `address`; nobody has the address `nobody`."""
    await tell.shape(IcmpV4, icmp)
    async with tell("an echo comes back, and ping tells its round-trip time") as promise:
        await icmp.ping(address)
        before = await tasks.now()
        took = await icmp.ping(address)
        passed = await tasks.now() - before
        promise.true(f"ping({address!r})", passed * 0.9 <= took <= passed, took, f"{passed} ns, the time that passed")
    async with tell("an echo may have any size that fits a packet"):
        for size in (0, 1, 1_400):
            await icmp.ping(address, size)
    async with tell("several at once each find their answer") as promise:
        took_all: list[Ns] = []

        async def one() -> None:
            took_all.append(await icmp.ping(address))

        async with tasks.nursery() as pings:
            for _ in range(4):
                pings.start(one())
        promise.equal("answers to four pings at once", len(took_all), 4)
    async with tell("nobody there is ConnectionTimedOut, after the timeout and not much later") as promise:
        before = await tasks.now()
        with promise.refuses(f"ping({nobody!r}, timeout=seconds(2))", ConnectionTimedOut):
            await icmp.ping(nobody, timeout=seconds(2))
        passed = await tasks.now() - before
        promise.true(f"ping({nobody!r}, timeout=seconds(2))", seconds(2) <= passed <= seconds(2.1), passed, "2 s")
