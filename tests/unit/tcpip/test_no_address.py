"""A stack that has no address yet, takes one, changes it and gives it back, as DHCP makes it do."""

from __future__ import annotations

from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.tcpip.stack import Stack
from mirage_lab.tcpip.wire.address import mac_text
from mirage_lab.testing import Pair

MOMENT = ms(10)


def bare(pair: Pair) -> Stack:
    return Stack(pair.queues[0], pair.nets[0], address="0.0.0.0")


def later(pair: Pair, duration: Ns = MOMENT) -> None:
    pair.world.advance(Ns(pair.world.now + duration))


def test_without_an_address_only_broadcasts_leave() -> None:
    pair = Pair()
    stack = bare(pair)
    stack.udpv4.write("10.0.0.2", 7, b"to somebody")
    stack.udpv4.write("255.255.255.255", 67, b"to all", src_port=68)
    later(pair, seconds(5))
    [frame] = pair.frames()
    assert frame[:6] == b"\xff" * 6 and frame[26:34] == b"\0\0\0\0\xff\xff\xff\xff"
    assert stack.ipv4.statistics().dropped == {"no route": 1}


def test_without_an_address_what_is_sent_to_the_station_is_passed_up() -> None:
    """RFC 2131 section 4.1: a client should take packets to its hardware address before it knows its own."""
    pair = Pair()
    stack, heard = bare(pair), list[bytes]()
    stack.listen_udpv4(68, lambda src, port, data: heard.append(data))
    pair.other.arp.table[pair.other.ipv4.address + 7] = stack.ethif.mac_octets
    pair.other.udpv4.write("10.0.0.9", 68, b"an offer", src_port=67)
    later(pair)
    assert heard == [b"an offer"]
    stack.ipv4.set_ip("10.0.0.1/24")
    pair.other.udpv4.write("10.0.0.9", 68, b"for somebody else", src_port=67)
    later(pair)
    assert heard == [b"an offer"]


def test_an_address_is_taken_announced_changed_and_given_back() -> None:
    pair = Pair()
    stack = bare(pair)
    assert (stack.ipv4.get_ip(), stack.arp.get_ips()) == ("0.0.0.0", [])
    stack.ipv4.set_ip("10.0.0.1/24", "10.0.0.254")
    later(pair)
    assert [frame[28:32] for frame in pair.frames()] == [b"\x0a\0\0\x01"]
    assert pair.other.ipv4.get_ip() == "10.0.0.2" and pair.run(stack.icmpv4.ping("10.0.0.2")) > 0
    stack.ipv4.set_ip("10.0.1.5/16")
    assert (stack.arp.get_ips(), stack.ipv4.get_netmask(), stack.ipv4.get_gateways()) == (["10.0.1.5"], "255.255.0.0", [])
    stack.ipv4.set_ip("0.0.0.0")
    assert (stack.arp.get_ips(), stack.ipv4.get_netmask()) == ([], "0.0.0.0")


def test_a_probe_finds_who_has_the_address_and_teaches_nobody_ours() -> None:
    """RFC 5227 section 2.1.1: the sender's address of a probe is 0, so that no table changes."""
    pair = Pair()
    stack, found = bare(pair), list[bytes | None]()
    assert pair.other.arp.get_ips() == ["10.0.0.2"]
    later(pair)
    stack.arp.probe("10.0.0.2", found.append)
    stack.arp.probe("10.0.0.3", found.append)
    later(pair, seconds(5))
    assert found == [pair.other.ethif.mac_octets]
    assert mac_text(stack.ethif.mac_octets) not in pair.other.arp.statistics().known.values()


def test_two_that_probe_for_one_address_find_each_other() -> None:
    """RFC 5227 section 2.1.1: a probe by another station for the same address is a conflict too."""
    pair = Pair()
    stacks = [Stack(queue, net, address="0.0.0.0") for queue, net in zip(pair.queues, pair.nets, strict=True)]
    found: list[bytes | None] = []
    for stack in stacks:
        stack.arp.probe("10.0.0.3", found.append)
    later(pair)
    assert sorted(map(bytes, filter(None, found))) == [stack.ethif.mac_octets for stack in stacks]
