"""NETWORK, ETHIF, ARP, IPV4, ICMPV4: each promise, and a device that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mirage_lab.runtime import tasks
from mirage_lab.signatures.errors import ConnectionTimedOut
from mirage_lab.signatures.network import NetworkStats
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip.ethif import Ethif
from mirage_lab.testing import Pair, Story, check_arp, check_ethif, check_icmpv4, check_ipv4, check_network
from mirage_lab.testing.links import PROTO

Prove = Callable[..., None]
Change = Callable[[Any], Any]

SECOND = seconds(1)
MANY = 50
"""Frames in one step that a mutant can bear."""


def network(change: Change) -> Story:
    pair = Pair(latency=ms(1))
    return check_network(*map(change, pair.nets))


def eager() -> Any:
    """Return a listen that hands over what came before it."""

    def listen(net: Any, receive: Callable[[bytes], None]) -> None:
        early = [frame.data for frame in net._segment.captures[0].frames]
        net.listen(receive)
        for frame in early:
            net.queue.post(receive, frame)

    return listen


def cut(net: Any, frame: bytes) -> None:
    net.write(frame[:1_000] if len(frame) <= 1_514 else frame)


def piece_by_piece(net: Any, pieces: Any) -> None:
    for piece in pieces:
        net.write(piece)


def frames_only(net: Any) -> NetworkStats:
    stats = net.get_stats_counters()
    return NetworkStats(0, stats.rx_pkts, 0, stats.tx_pkts)


def half_reset() -> Any:
    """Return a reset that works twice, for the two of a bench."""
    left = [1, 1]

    def reset(net: Any) -> None:
        if left:
            left.pop()
            net.reset_stats_counters()

    return reset


def jumbo(net: Any, frame: bytes) -> None:
    net.write(frame[:1_514])


def proud() -> Any:
    """Return a write that fails when more than MANY frames are written at a time."""
    at: dict[Any, list[Any]] = {}

    def write(net: Any, frame: bytes) -> None:
        now, count = at.get(net, (None, 0))
        at[net] = [net.queue.now, count + 1 if now == net.queue.now else 1]
        if at[net][1] > MANY:
            raise BufferError("the queue is full")
        net.write(frame)

    return write


def everyone() -> Any:
    """Return a listen that keeps all who listen."""
    heard: list[Any] = []

    def listen(net: Any, receive: Callable[[bytes], None]) -> None:
        heard.append(receive)
        net.listen(lambda frame: [each(frame) for each in list(heard)])

    return listen


def test_each_promise_of_a_network(prove: Prove) -> None:
    prove(
        network,
        [
            ("it has a MAC address and an MTU", {"mac": "02-00-00-00-00-01"}),
            ("frames that arrive before listen are dropped", {"listen": eager()}),
            ("every frame arrives, whole and in order", {"write": cut}),
            ("writev is one frame made of its pieces", {"writev": piece_by_piece}),
            ("the counters count frames and bytes, sent and received", {"get_stats_counters": frames_only}),
            ("reset_stats_counters sets them to zero", {"reset_stats_counters": half_reset()}),
            ("a frame over the MTU is a LocalProtocolError", {"write": jumbo}),
            ("write never fails when more is written than fits: what does not is dropped", {"write": proud()}),
            ("a second listen replaces the first", {"listen": everyone()}),
        ],
    )


def ethif(change: Change) -> Story:
    pair = Pair(latency=ms(1))
    return check_ethif(*(change(Ethif(queue, net)) for queue, net in zip(pair.queues, pair.nets, strict=True)))


def anonymous(ethif: Any, dst: str, ethertype: int, payload: bytes) -> None:
    ethif.send(bytes.fromhex(dst.replace(":", "")) + bytes(6) + ethertype.to_bytes(2, "big") + payload)


def any_type() -> Any:
    """Return a listen whose listeners hear every EtherType."""
    heard: list[Any] = []

    def listen(ethif: Any, ethertype: int, receive: Any) -> None:
        heard.append(receive)
        ethif.listen(ethertype, lambda frame: [each(frame) for each in heard])

    return listen


def only_ours(ethif: Any, ethertype: int, receive: Any) -> None:
    ethif.listen(ethertype, lambda frame: receive(frame) if frame[:6] == ethif.mac_octets else None)


def promiscuous(ethif: Any, ethertype: int, receive: Any) -> None:
    ethif.listen(ethertype, receive)
    own = ethif.mac_octets

    def all_of_them(frame: bytes) -> None:
        ethif.input(frame if frame[0] & 1 else own + frame[6:])

    ethif.netif.listen(all_of_them)


def over(ethif: Any, dst: str, ethertype: int, payload: bytes) -> None:
    ethif.write(dst, ethertype, payload[: ethif.mtu])


def test_each_promise_of_an_ethif(prove: Prove) -> None:
    prove(
        ethif,
        [
            ("it has a MAC address and an MTU", {"mtu": 100}),
            ("a payload arrives in a frame with both addresses and the EtherType before it", {"write": anonymous}),
            ("each EtherType goes to its own listener, and an unknown one to none", {"listen": any_type()}),
            ("a broadcast is passed up", {"listen": only_ours}),
            ("frames for other stations are not passed up", {"listen": promiscuous}),
            ("a payload over the MTU is a LocalProtocolError", {"write": over}),
        ],
    )


def arp(change: Change) -> Story:
    pair = Pair(latency=ms(1))
    return check_arp(change(pair.one.arp), change(pair.other.arp), "10.0.0.2", pair.nets[1].mac)


async def asks_again(arp: Any, ip: str) -> str:
    await tasks.sleep(ms(2))
    return str(await arp.query(ip))


async def invents(arp: Any, ip: str) -> str:
    try:
        return str(await arp.query(ip))
    except ConnectionTimedOut:
        return "ff:ff:ff:ff:ff:ff"


async def own_mac(arp: Any, ip: str) -> str:
    await arp.query(ip)
    return str(arp.ethif.mac)


def test_each_promise_of_an_arp(prove: Prove) -> None:
    prove(
        arp,
        [
            ("get_ips has what add_ip added", {"get_ips": lambda arp: arp.get_ips()[:1]}),
            ("query finds the station of an address", {"query": own_mac}),
            ("what is known is told at once", {"query": asks_again}),
            ("an address nobody has is ConnectionTimedOut", {"query": invents}),
        ],
    )


def test_the_arp_of_2014_waits_for_ever_for_an_address_nobody_has() -> None:
    pair = Pair(latency=ms(1), profile="2014")
    try:
        check_arp(pair.one.arp, pair.other.arp, "10.0.0.2", pair.nets[1].mac)
    except AssertionError as told:
        assert "✗ 5. an address nobody has is ConnectionTimedOut\n       came      nothing within 60 s of virtual time" in str(told)
    else:
        raise AssertionError("it did not wait")


def ipv4(change: Change) -> Story:
    pair = Pair(latency=ms(1))
    return check_ipv4(change(pair.one.ipv4), pair.other.ipv4.get_ip(), pair.frames)


def other_proto(ip: Any, dst: str, proto: int, payload: bytes) -> None:
    ip.write(dst, proto, payload)
    ip.write(dst, proto, payload)


def bad_header(ip: Any, dst: str, proto: int, payload: bytes) -> None:
    send = ip.ethif.send
    ip.ethif.send = lambda frame: send(frame[:24] + b"\0\0" + frame[26:] if frame[23] == PROTO else frame)
    try:
        ip.write(dst, proto, payload)
    finally:
        ip.queue.call_later(ms(100), lambda: setattr(ip.ethif, "send", send))


def backwards() -> Any:
    """Return a write that sends every second packet before the one it follows."""
    held: list[Any] = []

    def write(ip: Any, dst: str, proto: int, payload: bytes) -> None:
        if len(payload) != 1:
            ip.write(dst, proto, payload)
            return
        held.append(payload)
        if len(held) == 5:
            for each in reversed(held):
                ip.write(dst, proto, each)

    return write


def fragments(ip: Any, dst: str, proto: int, payload: bytes) -> None:
    ip.write(dst, proto, payload[:1_480])


def anywhere(ip: Any, dst: str, proto: int, payload: bytes) -> None:
    if dst == "192.0.2.1":
        ip.gateway = int.from_bytes(bytes([10, 0, 0, 2]), "big")
    ip.write(dst, proto, payload)


def test_each_promise_of_an_ipv4(prove: Prove) -> None:
    prove(
        ipv4,
        [
            ("it has an address, a netmask and gateways", {"get_netmask": lambda ip: "/24"}),
            ("a packet goes out whole, from us to there, with a good header", {"write": other_proto}),
            ("a packet goes out whole, from us to there, with a good header", {"write": bad_header}),
            ("packets keep their order", {"write": backwards()}),
            ("a packet over the MTU is a LocalProtocolError", {"write": fragments}),
            ("without a route a packet is dropped, and nothing fails", {"write": anywhere}),
        ],
    )


def icmpv4(change: Change) -> Story:
    pair = Pair(latency=ms(1))
    return check_icmpv4(change(pair.one.icmpv4), pair.other.ipv4.get_ip())


async def one_way(icmp: Any, dst: str, size: int = 56, timeout: Ns = SECOND) -> Any:
    return await icmp.ping(dst, size, timeout) // 2


async def never_empty(icmp: Any, dst: str, size: int = 56, timeout: Ns = SECOND) -> Any:
    if not size:
        raise ValueError("an echo has data")
    return await icmp.ping(dst, size, timeout)


def confused() -> Any:
    """Return a ping for which there is only one answer at a time."""
    waiting: list[Any] = []

    async def ping(icmp: Any, dst: str, size: int = 56, timeout: Ns = SECOND) -> Any:
        if waiting:
            await tasks.Condition().wait()
        waiting.append(dst)
        try:
            return await icmp.ping(dst, size, timeout)
        finally:
            waiting.clear()

    return ping


async def impatient(icmp: Any, dst: str, size: int = 56, timeout: Ns = SECOND) -> Any:
    return await icmp.ping(dst, size)


def test_each_promise_of_an_icmpv4(prove: Prove) -> None:
    prove(
        icmpv4,
        [
            ("an echo comes back, and ping tells its round-trip time", {"ping": one_way}),
            ("an echo may have any size that fits a packet", {"ping": never_empty}),
            ("several at once each find their answer", {"ping": confused()}),
            ("nobody there is ConnectionTimedOut, after the timeout and not much later", {"ping": impatient}),
        ],
    )
