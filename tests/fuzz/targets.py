"""Every parser of the lab as a target: bytes in; it accepts them or raises its one error, in bounded time.

`TARGETS` has them by name, each with bytes it accepts, from which mutations start.  `tests/unit/test_parsers.py` tries every
truncation and many changes; `python -m tests.fuzz NAME` goes on for as long as it is told to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from mirage_lab.irmin import Repo
from mirage_lab.irmin.contents import BYTES, TYPES
from mirage_lab.irmin.errors import ContentsError, ObjectError, PathError, StoreError
from mirage_lab.irmin.exchange import export, load
from mirage_lab.irmin.log import frame, read_frames
from mirage_lab.irmin.objects import Info, decode_commit, decode_tree, encode_commit, encode_tree
from mirage_lab.irmin.pack import index_of, read_index
from mirage_lab.irmin.path import steps_of
from mirage_lab.irmin.record import read_record, write_record
from mirage_lab.lab.gdbpackets import Packets
from mirage_lab.lab.gdbpackets import encode as gdb_packet
from mirage_lab.runtime import World
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns, ms
from mirage_lab.tcpip.displayfilter import FilterError, compile_filter
from mirage_lab.tcpip.dissect import dissect
from mirage_lab.tcpip.dns.framing import Frames
from mirage_lab.tcpip.dns.zonefile import ZoneError
from mirage_lab.tcpip.dns.zonefile import parse as parse_zone
from mirage_lab.tcpip.routes import parse_route
from mirage_lab.tcpip.stack import Stack
from mirage_lab.tcpip.wire import arp, dhcp, dns, dnsname, ethernet, icmp, icmpv6, ipv4, ipv6, nd, tcp, udp
from mirage_lab.tcpip.wire.address import ip_int, mac_bytes, network
from mirage_lab.tcpip.wire.address6 import ip6_int, network6
from mirage_lab.tcpip.wire.error import WireError
from mirage_lab.testing import Broken, tcp_story
from mirage_lab.tracing.pcapng import PcapError
from mirage_lab.tracing.savefile import parse as parse_savefile
from mirage_lab.vcpu.symbols import read_symbols
from mirage_lab.vnetif import Netif, Segment
from mirage_lab.vnetif.faults import marked, pure_ack
from mirage_lab.xen.dom0.elf import ImageError, read_elf
from mirage_lab.xen.xenstore.history import decode_entry, encode_entry
from mirage_lab.xen.xenstore.store import StoreError as XenstoreError
from mirage_lab.xen.xenstore.store import parse_perms
from tests.machinecode import BASE, elf32, note, says, with_symbols

__all__ = ["TARGETS", "Target"]

ONE, TWO = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"


@dataclass(frozen=True)
class Target:
    """A parser: `run(data)`, the errors it documents, bytes it accepts, and the module and function it is."""

    name: str
    run: Callable[[bytes], Any]
    errors: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]
    of: str = ""

    def take(self, data: bytes) -> bool:
        """Return whether `data` was accepted; any other error than the documented one goes through."""
        try:
            self.run(data)
        except self.errors:
            return False
        return True


def _gdb(data: bytes) -> Any:
    """Feed what a gdb says, in two pieces."""
    packets = Packets()
    return [packets.feed(data[: len(data) // 2]), packets.feed(data[len(data) // 2 :])]


def _text(run: Callable[[str], Any]) -> Callable[[bytes], Any]:
    return lambda data: run(data.decode("utf-8", "replace"))


def _frame(ethertype: int, packet: bytes) -> bytes:
    return TWO + ONE + ethertype.to_bytes(2, "big") + packet


def _ip(proto: int, payload: bytes, **header: Any) -> bytes:
    return ipv4.encode(ipv4.Header(0x0A000001, 0x0A000002, proto, 20 + len(payload) + len(header.get("options", b"")), **header)) + payload


def _ip6(proto: int, payload: bytes) -> bytes:
    return ipv6.encode(ipv6.Header(1, 2, proto, len(payload))) + payload


SYN = tcp.encode(tcp.Segment(1_025, 80, 7, 0, tcp.SYN, 65_535, tcp.Options(1_460, 3, True, (1, 0)).encode()), 0)
DATA = tcp.encode(tcp.Segment(1_025, 80, 7, 9, tcp.ACK, 500, tcp.Options(stamps=(9, 8), sack=((1, 2), (5, 9))).encode(), b"GET / HTTP/1.1\r\n\r\n"), 0)
NAME = dnsname.name("www.example.org.")
QUERY = dns.encode(dns.query(77, NAME, dns.Type.A, rd=True, edns=dns.Edns()))
ZONE = b"""$ORIGIN example.org.
$TTL 1h
@ IN SOA ns hostmaster ( 1 1d 2h 4w 300 )
  IN NS ns
ns A 10.0.0.2
www 60 IN CNAME ns ; a comment
text TXT "a \\"quoted\\" text" second
mail MX 10 ns
"""
ARP = arp.encode(arp.Arp(arp.REQUEST, ONE, 0x0A000001, bytes(6), 0x0A000002))
ECHO = icmp.encode(icmp.Icmp(icmp.ECHO_REQUEST, 0, 5, b"hello"))
UNREACHABLE = icmp.encode(icmp.Icmp(icmp.UNREACHABLE, 3, 0, _ip(17, bytes(8))))
DATAGRAM = udp.encode(udp.Datagram(53, 53, QUERY), 0x0A000001, 0x0A000002)
SOLICIT = nd.encode(nd.NeighborSolicit(5, ONE))
STORY = b"connect\nexpect SYN\nat 1 s expect SYN mss 1460\nreceive SYN ACK ack 1 mss 900\nexpect ACK\nwrite 5\nexpect ACK data 5\nclose\nexpect FIN ACK"
CONTENTS = (b"5", b'{"a": [1, 2]}', b'["a", "b"]', b'[1, "a"]', b'[1, ["a"]]', "é".encode())
DISCOVER = dhcp.encode(dhcp.Message(dhcp.REQUEST, 5, ONE, ((53, b"\x01"), (12, b"web"))))
FRAMES = (
    _frame(0x0806, ARP),
    _frame(0x0800, _ip(1, ECHO)),
    _frame(0x0800, _ip(1, UNREACHABLE)),
    _frame(0x0800, _ip(17, DATAGRAM)),
    _frame(0x0800, _ip(6, SYN)),
    _frame(0x0800, _ip(6, DATA)),
    _frame(0x0800, _ip(17, DATAGRAM[:24], fragment=ipv4.MF)),
    _frame(0x86DD, _ip6(58, icmpv6.encode(SOLICIT, 1, 2))),
    _frame(0x86DD, _ip6(6, SYN)),
)
LENGTH = len(FRAMES[0]).to_bytes(4, "little")
PCAP = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 ffff0000 01000000  01000000 02000000") + LENGTH + LENGTH + FRAMES[0]
_PADDED = FRAMES[0] + bytes(-len(FRAMES[0]) % 4)
_SIZE = (32 + len(_PADDED)).to_bytes(4, "little")
PCAPNG = (
    bytes.fromhex("0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1c000000  01000000 14000000 0100 0000 ffff0000 14000000  06000000")
    + (_SIZE + bytes(12) + LENGTH + LENGTH + _PADDED + _SIZE)
)


def _repo() -> Repo:
    repo = Repo(BYTES)
    store = repo.branch("main")
    store.set("a/b", b"one")
    store.set("a/c", b"two")
    return repo


@cache
def _head() -> Any:
    head = _repo().branch("main").head
    assert head is not None
    return head


def _export() -> bytes:
    return export([_head()]).encode()


def _record() -> bytes:
    return write_record("main", _head(), [*_head().parents, _head()], {})


class _Station:
    """A whole stack that takes any frame; a new one now and then, so that one run stays bounded."""

    def __init__(self) -> None:
        self.left = 0

    def take(self, data: bytes) -> None:
        if not self.left:
            self.world = World(1)
            self.netif = Netif(self.world.queue("one"), Segment(self.world, "br0"), "02:00:00:00:00:02", "one")
            self.stack = Stack(self.netif.queue, self.netif, address="10.0.0.2/24")
            self.stack.listen_udpv4(53, lambda src, port, data: None)
            self.stack.tcpv4.listen(80, _serve)
            self.left = 200
        self.left -= 1
        self.netif._take(data)
        self.world.advance(Ns(self.world.now + ms(1)))


async def _serve(flow: Any) -> None:
    while await flow.read():
        pass


_STATION = _Station()


def _numbers(data: bytes) -> None:
    for message in Frames().feed(data):
        assert len(message) <= 65_535


def _rows() -> bytes:
    return index_of([(bytes([n]) * 20, 12 + n, n) for n in range(4)], bytes(20))


_WIRE = (WireError,)
_ALL = (
    Target("ethernet", ethernet.decode, _WIRE, (FRAMES[0],), "tcpip.wire.ethernet.decode"),
    Target("arp", arp.decode, _WIRE, (ARP,), "tcpip.wire.arp.decode"),
    Target("ipv4", ipv4.decode, _WIRE, (_ip(1, ECHO), _ip(6, SYN)), "tcpip.wire.ipv4.decode"),
    Target("ipv4 cut", lambda data: ipv4.cut(data, 28 + len(data) // 3), _WIRE, (_ip(17, DATAGRAM, options=b"\x94\x04\0\0\x07\x04\0\0"),)),
    Target("ipv6", ipv6.decode, _WIRE, (_ip6(6, SYN),), "tcpip.wire.ipv6.decode"),
    Target(
        "ipv6 extension headers",
        lambda data: ipv6.walk(data, data[0] if data else 0, 1 if data else 0, len(data)),
        _WIRE,
        (bytes((0, 6, 0, 1, 4, 0, 0, 0, 0)) + SYN, bytes((44, 6, 0, 0, 1, 0, 0, 0, 5)) + SYN, bytes((43, 6, 0, 3, 0, 0, 0, 0, 0)) + SYN),
        "tcpip.wire.ipv6.walk",
    ),
    Target("icmp", icmp.decode, _WIRE, (ECHO, UNREACHABLE), "tcpip.wire.icmp.decode"),
    Target("icmpv6", lambda data: icmpv6.decode(data, 1, 2), _WIRE, (icmpv6.encode(SOLICIT, 1, 2),), "tcpip.wire.icmpv6.decode"),
    Target(
        "neighbour discovery",
        lambda data: nd.decode(icmpv6.Icmpv6(data[0] if data else 135, 0, int.from_bytes(data[1:5], "big"), data[5:])),
        _WIRE,
        tuple(bytes((said.type,)) + said.rest.to_bytes(4, "big") + said.data for said in (SOLICIT, nd.encode(nd.RouterSolicit(ONE)))),
        "tcpip.wire.nd.decode",
    ),
    Target("udp", lambda data: udp.decode(data, 0x0A000001, 0x0A000002), _WIRE, (DATAGRAM,), "tcpip.wire.udp.decode"),
    Target("tcp", tcp.decode, _WIRE, (SYN, DATA), "tcpip.wire.tcp.decode"),
    Target("tcp options", tcp.parse_options, _WIRE, (SYN[20:], DATA[20:52], b"\x01\x01\x01\x00"), "tcpip.wire.tcp.parse_options"),
    Target("dns", dns.decode, _WIRE, (QUERY,), "tcpip.wire.dns.decode"),
    Target("dns name", lambda data: dnsname.decode(data, 0), _WIRE, (b"\x03www\x07example\0", b"\x03www\0"), "tcpip.wire.dnsname.decode"),
    Target("dns over tcp", _numbers, (), (len(QUERY).to_bytes(2, "big") + QUERY,)),
    Target("dhcp", dhcp.decode, _WIRE, (DISCOVER,), "tcpip.wire.dhcp.decode"),
    Target("zone file", _text(parse_zone), (ZoneError,), (ZONE,), "tcpip.dns.zonefile.parse"),
    Target("display filter", _text(compile_filter), (FilterError,), (b"tcp.port == 80 and not (ip.src == 10.0.0.0/8 or tcp.flags & 2)", b'frame contains "x"'),
           "tcpip.displayfilter.grammar.parse"),
    Target("dissect", dissect, (), FRAMES),
    Target("marks of a queue", lambda data: (marked(data), pure_ack(data)) if len(data) >= 14 else None, (), FRAMES),
    Target("a whole stack", _STATION.take, (), FRAMES),
    Target("capture file", lambda data: [0 for _ in parse_savefile(data)], (PcapError,), (PCAP, PCAPNG), "tracing.savefile.parse"),
    Target("ipv4 address", _text(ip_int), (LocalProtocolError,), (b"10.0.0.2",)),
    Target("ipv4 network", _text(network), (LocalProtocolError,), (b"10.0.0.2/24",)),
    Target("ipv4 route", _text(parse_route), (LocalProtocolError,), (b"10.1.0.0/16 via 10.0.0.9", b"default via 10.0.0.1")),
    Target("ipv6 address", _text(ip6_int), (LocalProtocolError,), (b"2001:db8::2", b"::ffff:10.0.0.2")),
    Target("ipv6 network", _text(network6), (LocalProtocolError,), (b"2001:db8::2/64",)),
    Target("mac address", _text(mac_bytes), (LocalProtocolError,), (b"02:00:00:00:00:01",)),
    Target("tcp story", _text(tcp_story), (LocalProtocolError, Broken), (STORY,)),
    Target("gdb packets", _gdb, (), (gdb_packet(b"qSupported:swbreak+") + b"+" + gdb_packet(b"m100000,40") + b"\x03", gdb_packet(b"vCont;c"))),
    Target("symbols", read_symbols, (), (with_symbols(elf32(says(b"hello")), {"_start": (BASE, 64), "main": (BASE + 64, 0)}),), "vcpu.symbols.read_symbols"),
    Target("kernel", read_elf, (ImageError,), (elf32(says(b"hello")), elf32(b"\xf4", notes=note(18, bytes(8)))), "xen.dom0.elf.read_elf"),
    Target("xenstore entry", decode_entry, (ObjectError,), (encode_entry(b"value", ((0, "r"), (5, "b"))),), "xen.xenstore.history.decode_entry"),
    Target("xenstore permissions", lambda data: parse_perms(data.decode("latin-1").split("\0")), (XenstoreError,), (b"n0\0r5",)),
    Target("irmin log", read_frames, (), (frame(b"one") + frame(b"two"),), "irmin.log.read_frames"),
    Target("irmin record", lambda data: read_record(data, [], lambda name: None), (ObjectError,), (_record(),), "irmin.record.read_record"),
    Target("irmin slice", _text(lambda text: load(Repo(BYTES), text)), (ObjectError,), (_export(), b"{}"), "irmin.exchange.load"),
    Target("irmin path", _text(steps_of), (PathError,), (b"a/b/c",)),
    Target("pack index", read_index, (StoreError,), (_rows(),), "irmin.pack.read_index"),
    Target("git tree", decode_tree, (ObjectError,), (encode_tree([("a", False, bytes(20)), ("b", True, bytes(20))]),), "irmin.objects.decode_tree"),
    Target("git commit", decode_commit, (ObjectError,), (encode_commit(bytes(20), [bytes(20)], Info(5, "one", "two")),), "irmin.objects.decode_commit"),
    *(Target(f"contents {each.name}", each.decode, (ContentsError,), CONTENTS) for each in TYPES),
)  # fmt: skip
TARGETS = {target.name: target for target in _ALL}
