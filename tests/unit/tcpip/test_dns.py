"""DNS as stories: zone files, a server's answers, a resolver's questions, and both in a lab."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab import Lab, devices, ms, seconds, unikernel
from mirage_lab.runtime import tasks
from mirage_lab.signatures import Dns, DnsServer
from mirage_lab.signatures.errors import ConnectionTimedOut, DeviceError, LocalProtocolError, UnknownName
from mirage_lab.signatures.units import Ns
from mirage_lab.skeleton import dns as dns_unikernel
from mirage_lab.skeleton import lookup
from mirage_lab.tcpip.dns import DnsResolver, Server, Zone, ZoneError
from mirage_lab.tcpip.dns import DnsServer as TheServer
from mirage_lab.tcpip.dns.cache import ENTRIES, Cache
from mirage_lab.tcpip.dns.exchange import Done, Effect, Exchange, Tcp, Udp
from mirage_lab.tcpip.dns.framing import Frames, framed
from mirage_lab.tcpip.dns.records import duration, text_of
from mirage_lab.tcpip.dns.walk import Answer, walk
from mirage_lab.tcpip.dns.zonefile import parse
from mirage_lab.tcpip.wire import dns as wire
from mirage_lab.tcpip.wire import dnsname
from mirage_lab.tcpip.wire.dns import Edns, Message, Question, Rcode, Record, Type, type_text
from mirage_lab.tcpip.wire.dnsname import name
from mirage_lab.testing import Pair

ZONE = r"""
$ORIGIN example.org.
$TTL 1h
@       SOA   ns admin ( 2026112301 3h ; who keeps it
                         1h 1w 5m )
        NS    ns
        MX    10 mail
        MX    20 mail.elsewhere.net.
ns      A     10.0.0.53
mail    A     10.0.0.54
        AAAA  fd00::54
www 60  CNAME web
web     A     10.0.0.80
        TXT   "say \"hi\"" two\032words "; no comment"
far     CNAME www.elsewhere.net.
loop    CNAME pool
pool    CNAME loop
a.b.c   A     10.0.0.1
*.wild  TXT   "anybody"
fixed.wild A  10.0.0.2
sub     NS    ns.sub
        NS    ns.elsewhere.net.
ns.sub  A     10.0.0.60
_http._tcp SRV 1 2 80 web
x       CAA   0 issue "ca.example"
odd     TYPE731 \# 3 0a0b0c
big     TXT   """ + " ".join('"' + "x" * 200 + '"' for _ in range(9)) + "\n"


def server(*zones: str) -> Server:
    return Server(Zone.of(zone) for zone in zones or (ZONE,))


def ask(of: Server, what: str, kind: str = "A", *, udp: bool = True, edns: Edns | None = None) -> Message:
    data = of.receive(wire.encode(wire.query(7, name(what), Type.CODES.get(kind, 731), edns=edns)), udp=udp)
    assert data is not None
    return wire.decode(data)


def told(records: tuple[Record, ...]) -> list[str]:
    return [f"{dnsname.text(record.name)} {type_text(record.type)} {text_of(record.type, record.data)}" for record in records]


# zone files ------------------------------------------------------------------------------------------------------


def test_a_zone_file_says_what_it_says() -> None:
    """RFC 1035 section 5.1: relative names, the name before, @, parentheses, quotes, comments, escapes; RFC 2308: $TTL."""
    records = parse(ZONE)
    lines = told(tuple(records))
    assert lines[:4] == [
        "example.org. SOA ns.example.org. admin.example.org. 2026112301 10800 3600 604800 300",
        "example.org. NS ns.example.org.",
        "example.org. MX 10 mail.example.org.",
        "example.org. MX 20 mail.elsewhere.net.",
    ]
    assert r'web.example.org. TXT "say \"hi\"" "two words" "; no comment"' in lines and r"odd.example.org. TYPE731 \# 3 0a0b0c" in lines
    assert {record.ttl for record in records} == {60, 3600}


def test_what_is_written_out_is_read_again_as_it_was() -> None:
    for record in Zone.of(ZONE):
        line = f"{dnsname.text(record.name)} {record.ttl} IN {type_text(record.type)} {text_of(record.type, record.data)}"
        assert parse(line) == [record]


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("www A 10.0.0.1", 1, "no .ORIGIN yet"),
        ("$ORIGIN a.\nwww A 10.0.0.1", 2, "no TTL"),
        ("$ORIGIN a.\n$TTL 5\n\n  A 10.0.0.1", 4, "none"),
        ("$ORIGIN a.\n$TTL 5\nwww A 10.0.0.256", 3, "not an IPv4 address"),
        ("$ORIGIN a.\n$TTL 5\nwww A", 3, "0 words of data; a A record has 1"),
        ("$ORIGIN a.\n$TTL 5\nwww", 3, "has no type"),
        ("$ORIGIN a.\n$TTL 5\nwww 5", 3, "has no type"),
        ("$ORIGIN a.\n$TTL 5\nwww WAX 5", 3, "no type of a record"),
        ("$ORIGIN a.\n$TTL 5\nwww OPT 5", 3, "no type of a record"),
        ("$ORIGIN a.\n$TTL 5\nwww TYPE70000 5", 3, "no type of a record"),
        ("$ORIGIN a.\n$TTL 5\nwww MX 99999 m", 3, "0 to 65535"),
        ("$ORIGIN a.\n$TTL 5\nwww CH A 1.2.3.4", 3, "only the class IN"),
        ("$ORIGIN a.\n$TTL 5\nwww AAAA 10.0.0.1", 3, "not an IPv6"),
        ("$ORIGIN a.\n$TTL 5\nwww TXT", 3, "one string"),
        ("$ORIGIN a.\n$TTL 5\nwww TXT " + "x" * 256, 3, "255 at most"),
        ('$ORIGIN a.\n$TTL 5\nwww TXT "open', 3, "closing quotation"),
        ("$ORIGIN a.\n$TTL 5\nwww TXT (\n open\n", 3, "never closed"),
        ("$ORIGIN a.\n$TTL 5\nwww TXT x )", 3, "parentheses"),
        ("$ORIGIN a.\n$TTL 5\nwww TXT (( x ))", 3, "parentheses"),
        ("$ORIGIN a.\n$TTL 5\nwww TYPE9 \\# 2 0a", 3, "its length"),
        ("$ORIGIN a.\n$TTL 5\nwww A \\# 3 0a0b0c", 3, "not what its length says"),
        ("$ORIGIN a.\n$TTL 5\nwww TYPE9 words", 3, "RFC 3597"),
        ("$ORIGIN a.\n$TTL 5\nwww CAA 0 - x", 3, "no tag"),
        ("$ORIGIN a.\n$TTL x", 2, "no time"),
        ("$INCLUDE other", 1, "not read"),
        ("$WHAT x", 1, "are understood"),
        ("$ORIGIN a.\n$TTL 5\n" + "x" * 64 + " A 10.0.0.1", 3, "1 to 63"),
    ],
)
def test_a_zone_file_that_cannot_be_read_names_the_line(text: str, line: int, why: str) -> None:
    with pytest.raises(ZoneError, match=why) as told_:
        parse(text)
    assert told_.value.line == line


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("@ NS ns", "one SOA record, this has 0"),
        ("@ SOA a b 1 2 3 4 5\n@ SOA c d 1 2 3 4 5\n@ NS a", "this has 2"),
        ("@ SOA a b 1 2 3 4 5", "no NS record"),
        ("@ SOA a b 1 2 3 4 5\n@ NS a\nx.other. A 1.2.3.4", "not in the zone"),
        ("@ SOA a b 1 2 3 4 5\n@ NS a\nx CNAME a\nx A 1.2.3.4", "nothing stands beside a CNAME"),
        ("@ SOA a b 1 2 3 4 5\n@ NS a\nx CNAME a\nx CNAME b", "nothing stands beside a CNAME"),
    ],
)
def test_a_zone_that_cannot_be_is_refused(text: str, why: str) -> None:
    with pytest.raises(ZoneError, match=why):
        Zone.of(f"$TTL 5\n{text}\n", "a.test")


@given(st.text(alphabet='ab.@$();"\\ \t\n019#-OTL', max_size=200))
def test_any_text_is_a_zone_or_a_zone_error(text: str) -> None:
    for said in (text, "$ORIGIN a.\n$TTL 5\n" + text, "$ORIGIN a.\n$TTL 5\nx TXT " + text):
        try:
            parse(said)
        except ZoneError:
            continue


def test_times_have_units() -> None:
    assert [duration(said) for said in ("0", "90", "1h30m", "1w")] == [0, 90, 5400, 604800]


# the server ------------------------------------------------------------------------------------------------------


def test_a_name_is_answered_with_authority() -> None:
    said = ask(server(), "WEB.example.org")
    assert (said.aa, said.ra, said.rcode, said.response, told(said.answers)) == (True, False, 0, True, ["WEB.example.org. A 10.0.0.80"])


def test_no_such_name_and_no_such_type_are_two_things_and_both_tell_the_soa() -> None:
    """RFC 2308 section 2: NXDOMAIN, NODATA; section 3: the SOA's TTL is the lesser of its own and its minimum."""
    nothing, no_type, empty = (ask(server(), what, kind) for what, kind in (("no.example.org", "A"), ("ns.example.org", "TXT"), ("b.c.example.org", "A")))
    assert [said.rcode for said in (nothing, no_type, empty)] == [Rcode.NXDOMAIN, 0, 0]
    for said in (nothing, no_type, empty):
        assert said.aa and not said.answers and [(record.type, record.ttl) for record in said.authority] == [(Type.SOA, 300)]


def test_an_alias_is_followed_inside_the_zone_and_named_at_its_border() -> None:
    """RFC 1034 section 3.6.2."""
    assert told(ask(server(), "www.example.org").answers) == ["www.example.org. CNAME web.example.org.", "web.example.org. A 10.0.0.80"]
    assert told(ask(server(), "www.example.org", "CNAME").answers) == ["www.example.org. CNAME web.example.org."]
    far = ask(server(), "far.example.org")
    assert told(far.answers) == ["far.example.org. CNAME www.elsewhere.net."] and (far.rcode, far.authority) == (0, ())
    assert told(ask(server(), "loop.example.org").answers) == ["loop.example.org. CNAME pool.example.org.", "pool.example.org. CNAME loop.example.org."]


def test_a_wildcard_stands_for_what_is_not_there_and_for_nothing_else() -> None:
    """RFC 4592 section 2.2.1."""
    assert told(ask(server(), "q.wild.example.org", "TXT").answers) == ['q.wild.example.org. TXT "anybody"']
    assert told(ask(server(), "deep.q.wild.example.org", "TXT").answers) == ['deep.q.wild.example.org. TXT "anybody"']
    there = ask(server(), "fixed.wild.example.org", "TXT")
    assert there.rcode == 0 and not there.answers
    assert ask(server(), "q.fixed.wild.example.org", "TXT").rcode == Rcode.NXDOMAIN
    assert ask(server(), "q.wild.example.org", "A").rcode == 0
    assert ask(server(), "wild.example.org", "TXT").rcode == 0


def test_below_a_delegation_there_is_a_referral_with_glue_and_without_authority() -> None:
    """RFC 1034 section 4.2.1; section 4.3.2 step 3b."""
    for what in ("sub.example.org", "deep.sub.example.org"):
        said = ask(server(), what)
        assert (said.aa, said.rcode, said.answers) == (False, 0, ())
        assert told(said.authority) == ["sub.example.org. NS ns.sub.example.org.", "sub.example.org. NS ns.elsewhere.net."]
        assert told(said.additional) == ["ns.sub.example.org. A 10.0.0.60"]


def test_addresses_of_machines_named_are_told_along() -> None:
    said = ask(server(), "example.org", "MX")
    assert told(said.additional) == ["mail.example.org. A 10.0.0.54", "mail.example.org. AAAA fd00::54"]
    assert told(ask(server(), "_http._tcp.example.org", "SRV").additional) == ["web.example.org. A 10.0.0.80"]


def test_other_zones_other_classes_transfers_and_other_opcodes_are_refused() -> None:
    refused = server()
    assert ask(refused, "elsewhere.net").rcode == ask(refused, "example.org", "AXFR").rcode == ask(refused, "example.org", "IXFR").rcode == Rcode.REFUSED
    assert refused.reply(Message(1, (Question(name("example.org"), Type.A, 3),))).rcode == Rcode.REFUSED
    assert refused.reply(Message(1, (Question(name("example.org"), Type.A),), opcode=5)).rcode == Rcode.NOTIMP
    assert refused.reply(Message(1)).rcode == Rcode.FORMERR
    assert refused.reply(Message(1, (Question(name("example.org"), Type.A),) * 2)).rcode == Rcode.FORMERR
    assert ask(refused, "example.org", edns=Edns(version=1)).rcode == Rcode.BADVERS


def test_any_is_answered_with_one_set() -> None:
    """RFC 8482 section 4.1."""
    said = ask(server(), "web.example.org", "ANY")
    assert told(said.answers) == ["web.example.org. A 10.0.0.80"]


def test_over_udp_a_long_answer_is_cut_and_says_so_and_over_tcp_it_is_whole() -> None:
    """RFC 1035 section 4.2.1; RFC 6891 section 6.2.5."""
    plain, more, most = (ask(server(), "big.example.org", "TXT", edns=edns) for edns in (None, Edns(1_000), Edns(65_535)))
    for said in (plain, more, most):
        assert said.tc and not said.answers
    assert len(ask(server(), "big.example.org", "TXT", udp=False).answers) == 1
    answers = "\n".join(f"many A 10.0.1.{n}" for n in range(40))
    several = server(ZONE + answers)
    assert ask(several, "many.example.org").tc and not ask(several, "many.example.org", edns=Edns(1_232)).tc
    assert not ask(several, "web.example.org", "TXT", edns=Edns(12)).tc, "a size below 512 counts as 512"
    whole = wire.encode(wire.query(7, name("many.example.org"), Type.A, edns=Edns(1_232)))
    small = several.receive(whole, udp=True, most=548)
    assert small is not None and wire.decode(small).tc, "what the interface can send counts too"


def test_what_is_no_query_is_dropped_or_called_malformed() -> None:
    """RFC 1035 section 4.1.1; an answer is never answered: two servers would talk for ever."""
    of = server()
    assert of.receive(bytes(11), udp=True) is None
    assert of.receive(wire.encode(Message(1, (Question(name("web.example.org"), Type.A),), response=True)), udp=True) is None
    data = of.receive(b"\x12\x34\x01\x00\x00\x05" + bytes(6), udp=True)
    assert data is not None and wire.decode(data) == Message(0x1234, response=True, rd=True, rcode=Rcode.FORMERR)
    assert of.asked == {"dropped": 2, "format error": 1}


@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_are_answered_or_dropped(data: bytes, udp: bool) -> None:
    of = server()
    whole = wire.encode(wire.query(7, name("www.example.org"), Type.A))
    for said in (data, whole[:12] + data, whole[: len(data)] + data):
        answer = of.receive(said, udp=udp)
        assert answer is None or (wire.decode(answer).response and len(answer) <= (512 if udp else 65_535))


def test_the_longest_zone_answers() -> None:
    both = server(ZONE, "$ORIGIN sub.example.org.\n$TTL 5\n@ SOA a b 1 2 3 4 5\n@ NS a\nwww A 10.9.9.9\n")
    assert told(ask(both, "www.sub.example.org").answers) == ["www.sub.example.org. A 10.9.9.9"]
    root = server("$ORIGIN .\n$TTL 5\n@ SOA a b 1 2 3 4 5\n@ NS a\norg NS ns.org\nns.org A 10.0.0.1\n")
    assert told(ask(root, "x.org").additional) == ["ns.org. A 10.0.0.1"] and ask(root, "x.com").rcode == Rcode.NXDOMAIN


def test_messages_on_a_stream_come_out_whole_however_they_are_cut() -> None:
    """RFC 7766 section 8."""
    stream = framed(b"one") + framed(b"") + framed(b"three" * 100)
    for size in (1, 2, 3, 7, len(stream)):
        frames, found = Frames(), list[bytes]()
        for at in range(0, len(stream), size):
            found += frames.feed(stream[at : at + size])
        assert found == [b"one", b"", b"three" * 100]
    with pytest.raises(LocalProtocolError):
        framed(bytes(65_536))


# the resolver: exchange, cache, walk ------------------------------------------------------------------------------

WWW = Question(name("www.example.org"), Type.A)


def exchange(*servers: str) -> Exchange:
    return Exchange(WWW, servers or ("10.0.0.53",), random.Random(1), rd=True)


def sent(effects: list[Effect]) -> tuple[Udp, Message]:
    [udp] = effects
    assert isinstance(udp, Udp)
    return udp, wire.decode(udp.data)


def answer(to: Message, **changes: Any) -> bytes:
    fields: dict[str, Any] = {"id": to.id, "questions": to.questions, "answers": (Record(WWW.name, Type.A, 60, b"\x0a\0\0\x50"),), "response": True}
    return wire.encode(Message(**(fields | changes)))


def test_an_answer_counts_only_from_where_and_for_what_was_asked() -> None:
    """RFC 5452 section 9.1: source address, ports, number, question."""
    of = exchange()
    udp, query = sent(of.start(Ns(0)))
    for src, src_port, port, data in (
        ("10.0.0.66", 53, udp.port, answer(query)),
        (udp.server, 54, udp.port, answer(query)),
        (udp.server, 53, udp.port ^ 1, answer(query)),
        (udp.server, 53, udp.port, answer(query, id=query.id ^ 1)),
        (udp.server, 53, udp.port, answer(query, response=False)),
        (udp.server, 53, udp.port, answer(query, questions=(Question(name("evil.example.org"), Type.A),))),
        (udp.server, 53, udp.port, answer(query, questions=())),
        (udp.server, 53, udp.port, b"nonsense"),
    ):
        assert of.receive(src, src_port, port, data, Ns(1)) == []
    assert sum(of.dropped.values()) == 8
    [done] = of.receive(udp.server, 53, udp.port, answer(query), Ns(1))
    assert isinstance(done, Done) and done.answer is not None and of.next_deadline() is None
    assert of.receive(udp.server, 53, udp.port, answer(query), Ns(1)) == []


def test_servers_are_asked_in_turn_three_times_with_new_numbers_and_ports() -> None:
    of = exchange("10.0.0.1", "10.0.0.2")
    effects, asked = of.start(Ns(0)), []
    while not isinstance(effects[0], Done):
        udp, query = sent(effects)
        asked.append((udp.server, udp.port, query.id))
        due = of.next_deadline()
        assert due is not None
        effects = of.on_deadline(due)
    assert [server_ for server_, _, _ in asked] == ["10.0.0.1", "10.0.0.2"] * 3 and due == seconds(2 * (1 + 2 + 4))
    assert len({port for _, port, _ in asked}) == len({number for _, _, number in asked}) == 6
    assert effects == [Done(None)] and of.failed == "no server answered"


def test_a_cut_answer_is_asked_for_again_over_tcp() -> None:
    """RFC 7766 section 5."""
    of = exchange("10.0.0.1", "10.0.0.2")
    udp, query = sent(of.start(Ns(0)))
    [tcp] = of.receive(udp.server, 53, udp.port, answer(query, answers=(), tc=True), Ns(1))
    assert tcp == Tcp("10.0.0.1", udp.data)
    [done] = of.tcp_answer(answer(query), Ns(2))
    assert isinstance(done, Done) and done.answer is not None
    again = exchange("10.0.0.1", "10.0.0.2")
    udp, query = sent(again.start(Ns(0)))
    again.receive(udp.server, 53, udp.port, answer(query, tc=True), Ns(1))
    assert sent(again.tcp_answer(None, Ns(2)))[0].server == "10.0.0.2"


def test_a_server_that_does_not_know_edns_is_asked_without_and_one_that_fails_no_more() -> None:
    """RFC 6891 section 6.2.2."""
    of = exchange("10.0.0.1", "10.0.0.2")
    udp, query = sent(of.start(Ns(0)))
    assert query.edns is not None
    udp, query = sent(of.receive(udp.server, 53, udp.port, answer(query, questions=(), answers=(), rcode=Rcode.FORMERR), Ns(1)))
    assert (udp.server, query.edns) == ("10.0.0.1", None)
    udp, query = sent(of.receive(udp.server, 53, udp.port, answer(query, answers=(), rcode=Rcode.SERVFAIL), Ns(1)))
    assert udp.server == "10.0.0.2"
    assert of.receive(udp.server, 53, udp.port, answer(query, answers=(), rcode=Rcode.REFUSED), Ns(1)) == [Done(None)]
    assert of.failed == "10.0.0.2 answered refused"


def test_a_cache_counts_down_and_forgets() -> None:
    cache = Cache()
    cache.put(WWW.name, Type.A, (Record(WWW.name, Type.A, 60, b"abcd"), Record(WWW.name, Type.A, 50, b"efgh")), Ns(0))
    found = cache.get((b"WWW", *WWW.name[1:]), Type.A, seconds(20))
    assert found is not None and [record.ttl for record in found.records] == [40, 30]
    assert cache.get(WWW.name, Type.A, seconds(50)) is None and len(cache) == 0
    cache.put(WWW.name, Type.A, (Record(WWW.name, Type.A, 0, b"abcd"),), Ns(0))
    assert len(cache) == 0


def test_a_no_is_remembered_as_long_as_the_soa_says() -> None:
    """RFC 2308 section 5: the minimum field; without an SOA not at all; NXDOMAIN for every type."""
    cache, zone = Cache(), Zone.of(ZONE)
    cache.put_negative(WWW.name, Type.A, Rcode.NXDOMAIN, (), Ns(0))
    assert len(cache) == 0
    cache.put_negative(WWW.name, Type.A, Rcode.NXDOMAIN, (zone.soa,), Ns(0))
    found = cache.get(WWW.name, Type.TXT, seconds(299))
    assert found is not None and (found.rcode, found.records) == (Rcode.NXDOMAIN, ())
    assert cache.get(WWW.name, Type.TXT, seconds(300)) is None
    cache.put_negative(WWW.name, Type.A, Rcode.NOERROR, (zone.soa,), Ns(0))
    assert cache.get(WWW.name, Type.A, Ns(0)) is not None and cache.get(WWW.name, Type.TXT, Ns(0)) is None


def test_a_cache_is_bounded() -> None:
    cache = Cache()
    for number in range(ENTRIES + 100):
        cache.put((str(number).encode(),), Type.A, (Record((), Type.A, 60, b"abcd"),), Ns(0))
    assert len(cache) == ENTRIES and cache.get((b"99",), Type.A, Ns(0)) is None and cache.get((b"100",), Type.A, Ns(0)) is not None


TREE = {
    "10.0.0.1": """
$ORIGIN .
$TTL 1d
@ SOA a.root b 1 2 3 4 60
@ NS a.root
a.root A 10.0.0.1
org NS ns.org
ns.org A 10.0.0.2
net NS ns.net
ns.net A 10.0.0.4
""",
    "10.0.0.2": """
$ORIGIN org.
$TTL 1d
@ SOA ns b 1 2 3 4 60
@ NS ns
ns A 10.0.0.2
example NS ns.example
ns.example A 10.0.0.3
glueless NS ns.elsewhere.net.
""",
    "10.0.0.3": """
$ORIGIN example.org.
$TTL 60
@ SOA ns b 1 2 3 4 30
@ NS ns
ns A 10.0.0.3
www A 10.0.0.80
alias CNAME www.elsewhere.net.
x CNAME www
""",
    "10.0.0.4": """
$ORIGIN net.
$TTL 1d
@ SOA ns b 1 2 3 4 60
@ NS ns
ns A 10.0.0.4
elsewhere NS ns.elsewhere
ns.elsewhere A 10.0.0.5
""",
    "10.0.0.5": """
$ORIGIN elsewhere.net.
$TTL 60
@ SOA ns b 1 2 3 4 30
@ NS ns
ns A 10.0.0.5
www A 10.0.0.81
back CNAME alias.example.org.
""",
}

Twist = Callable[[str, Message], Message]


class Tree:
    """The five servers of TREE, asked by a walk; `twist` bends what one of them says."""

    def __init__(self, twist: Twist = lambda server, message: message) -> None:
        self.servers = {address: server(zone) for address, zone in TREE.items()}
        self.cache = Cache()
        self.twist = twist
        self.asked: list[tuple[str, str]] = []
        self.now = Ns(0)

    def resolve(self, what: str, kind: str = "A") -> Answer:
        asking = walk(Question(name(what), Type.CODES[kind]), self.cache, lambda: self.now, roots=("10.0.0.1",))
        try:
            ask_ = next(asking)
            while True:
                address = ask_.servers[0]
                self.asked.append((address, dnsname.text(ask_.question.name)))
                found = self.servers.get(address)
                ask_ = asking.send(self.twist(address, found.reply(Message(1, (ask_.question,)))) if found is not None else "no server answered")
        except StopIteration as stop:
            said: Answer = stop.value
            return said


def test_a_name_is_found_from_the_root_down_and_the_next_one_from_where_it_is_known() -> None:
    """RFC 1034 section 5.3.3."""
    tree = Tree()
    assert told(tree.resolve("www.example.org").records) == ["www.example.org. A 10.0.0.80"]
    assert [address for address, _ in tree.asked] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert tree.resolve("no.example.org").rcode == Rcode.NXDOMAIN
    assert tree.resolve("no.example.org", "TXT").rcode == Rcode.NXDOMAIN and tree.resolve("www.example.org").records
    assert [address for address, _ in tree.asked][3:] == ["10.0.0.3"]
    tree.now = seconds(61)
    assert tree.resolve("www.example.org").records and len(tree.asked) == 5


def test_aliases_lead_across_zones() -> None:
    tree = Tree()
    said = tree.resolve("back.elsewhere.net")
    assert told(said.aliases) == ["back.elsewhere.net. CNAME alias.example.org.", "alias.example.org. CNAME www.elsewhere.net."]
    assert told(said.records) == ["www.elsewhere.net. A 10.0.0.81"]
    assert told(tree.resolve("x.example.org").records) == ["www.example.org. A 10.0.0.80"]


def test_a_server_without_glue_is_looked_up_first() -> None:
    tree = Tree()
    said = tree.resolve("x.glueless.org")
    assert ("10.0.0.4", "ns.elsewhere.net.") in tree.asked and tree.asked[-1] == ("10.0.0.5", "x.glueless.org.")
    assert said.rcode == Rcode.REFUSED or said.failed or not said.records


def test_a_server_cannot_speak_for_other_zones() -> None:
    """RFC 5452 section 6: out of bailiwick: the server of example.org says where www.elsewhere.net is; nobody listens."""
    poison = Record(name("www.elsewhere.net"), Type.A, 9_999, b"\x06\x06\x06\x06")

    def lie(address: str, message: Message) -> Message:
        if address != "10.0.0.3":
            return message
        return Message(**{**_fields(message), "answers": (*message.answers, poison), "additional": (poison,)})

    tree = Tree(lie)
    assert told(tree.resolve("alias.example.org").records) == ["www.elsewhere.net. A 10.0.0.81"]
    assert told(tree.resolve("www.elsewhere.net").records) == ["www.elsewhere.net. A 10.0.0.81"]


def test_a_referral_up_or_sideways_leads_nowhere() -> None:
    def up(address: str, message: Message) -> Message:
        if address != "10.0.0.3":
            return message
        away = Record((), Type.NS, 60, dnsname.encode(name("a.root")))
        return Message(1, message.questions, authority=(away,), response=True)

    said = Tree(up).resolve("www.example.org")
    assert said.failed == "the servers of example.org. do not know it, nor who does"


def test_a_server_that_refers_to_itself_leads_nowhere() -> None:
    def self_(address: str, message: Message) -> Message:
        if address != "10.0.0.3":
            return message
        same = Record(name("example.org"), Type.NS, 60, dnsname.encode(name("ns.example.org")))
        glue = Record(name("ns.example.org"), Type.A, 60, b"\x0a\0\0\3")
        return Message(1, message.questions, authority=(same,), additional=(glue,), response=True)

    tree = Tree(self_)
    assert tree.resolve("www.example.org").failed and len(tree.asked) == 3


def test_glue_counts_only_for_servers_inside_the_delegation() -> None:
    """RFC 5452 section 6: org. may not say where ns.elsewhere.net is, even as glue."""

    def lie(address: str, message: Message) -> Message:
        if address != "10.0.0.2":
            return message
        return Message(**{**_fields(message), "additional": (Record(name("ns.elsewhere.net"), Type.A, 60, b"\x06\x06\x06\x06"),)})

    tree = Tree(lie)
    tree.resolve("x.glueless.org")
    assert tree.asked[-1] == ("10.0.0.5", "x.glueless.org.") and "6.6.6.6" not in {address for address, _ in tree.asked}


def test_delegations_without_glue_cost_little() -> None:
    def inside(address: str, message: Message) -> Message:
        cut = message.questions[0].name[-1:]
        return Message(1, message.questions, authority=(Record(cut, Type.NS, 60, dnsname.encode((b"ns", *cut))),), response=True)

    tree = Tree(inside)
    assert "no address" in tree.resolve("www.example.org").failed and len(tree.asked) == 1

    def further(address: str, message: Message) -> Message:
        cut = message.questions[0].name[-1:]
        away = tuple(Record(cut, Type.NS, 60, dnsname.encode((b"ns", b"%d" % n + cut[0]))) for n in range(5))
        return Message(1, message.questions, authority=away, response=True)

    tree = Tree(further)
    assert tree.resolve("www.example.org").failed and len(tree.asked) == 1 + 3 + 9 + 27
    assert max(len(what) for _, what in tree.asked[1:]) == len("ns.000org.")


def test_a_long_chain_of_aliases_is_given_up() -> None:
    def onward(address: str, message: Message) -> Message:
        asked = message.questions[0].name
        alias = Record(asked, Type.CNAME, 60, dnsname.encode((b"x" + asked[0], *asked[1:])))
        return Message(1, message.questions, (alias,), response=True, aa=True)

    tree = Tree(onward)
    assert "too far" in tree.resolve("a.org").failed and len(tree.asked) == 9


def test_what_exists_after_all_is_no_longer_denied() -> None:
    cache = Cache()
    cache.put_negative(WWW.name, Type.A, Rcode.NXDOMAIN, (Zone.of(ZONE).soa,), Ns(0))
    cache.put(WWW.name, Type.A, (Record(WWW.name, Type.A, 60, b"abcd"),), Ns(0))
    assert cache.get(WWW.name, Type.TXT, Ns(0)) is None


def test_a_set_has_one_ttl_and_each_record_once() -> None:
    """RFC 2181 section 5."""
    zone = Zone.of("$TTL 9\n@ SOA a b 1 2 3 4 5\n@ NS a\nx 60 A 1.1.1.1\nx 30 A 2.2.2.2\nx 30 A 1.1.1.1\n@ MX 1 x\n@ MX 2 x\n", "t")
    assert [(record.ttl, record.data[0]) for record in zone.lookup(name("x.t"), Type.A).answers] == [(30, 1), (30, 2)]
    assert len(zone.lookup(name("t"), Type.MX).additional) == 2


def test_a_referral_whose_glue_does_not_fit_is_cut() -> None:
    """RFC 9471 section 3.1: glue is not optional."""
    lines = "".join(f"many NS a-server-with-a-long-name-{n}.many\na-server-with-a-long-name-{n}.many A 10.0.3.{n}\n" for n in range(9))
    said = ask(server(ZONE + lines), "x.many.example.org")
    assert said.tc and not said.authority
    assert len(ask(server(ZONE + lines), "x.many.example.org", edns=Edns(1_232)).additional) == 9


def test_a_hostile_tree_costs_forty_questions() -> None:
    def deeper(address: str, message: Message) -> Message:
        asked = message.questions[0].name
        depth = 1 + deeper.calls  # type: ignore[attr-defined]
        deeper.calls = depth  # type: ignore[attr-defined]
        cut = asked[-depth:]
        return Message(
            1,
            message.questions,
            authority=(Record(cut, Type.NS, 60, dnsname.encode((b"n", *cut))),),
            additional=(Record((b"n", *cut), Type.A, 60, b"\x0a\0\0\1"),),
            response=True,
        )

    deeper.calls = 0  # type: ignore[attr-defined]
    tree = Tree(deeper)
    said = tree.resolve(".".join("a" for _ in range(100)))
    assert len(tree.asked) == 40 and "too many questions" in said.failed
    alias = dnsname.encode(name("a.a.a"))
    circle = Tree(lambda address, message: Message(1, message.questions, (Record(message.questions[0].name, Type.CNAME, 60, alias),), response=True))
    assert "circle" in circle.resolve("b.org").failed


def _fields(message: Message) -> dict[str, Any]:
    return {field: getattr(message, field) for field in Message.__dataclass_fields__}


# on stacks -------------------------------------------------------------------------------------------------------


def pair(**faults: Any) -> tuple[Pair, DnsResolver, TheServer]:
    both = Pair(latency=ms(1), **faults)
    return both, DnsResolver(both.one, ["10.0.0.2"]), TheServer(both.other, [Zone.of(ZONE)])


def test_a_resolver_and_a_server_are_what_they_say() -> None:
    _, resolver, of = pair()
    assert isinstance(resolver, Dns) and isinstance(of, DnsServer)


def test_names_addresses_and_other_records_are_asked_for() -> None:
    both, resolver, of = pair()
    of.load_zone("$TTL 5\n@ SOA a b 1 2 3 4 5\n@ NS a\n80.0.0 PTR web.example.org.\n", "10.in-addr.arpa")
    assert both.run(resolver.gethostbyname("www.example.org")) == ["10.0.0.80"]
    assert both.run(resolver.gethostbyaddr("10.0.0.80")) == "web.example.org"
    assert both.run(resolver.resolve("example.org", "MX")) == ["10 mail.example.org.", "20 mail.elsewhere.net."]
    assert both.run(resolver.gethostbyname("www.example.org")) == ["10.0.0.80"] and resolver.statistics().sent == 3
    for what, error in (("no.example.org", UnknownName), ("ns.sub.example.org", UnknownName), ("elsewhere.net", DeviceError)):
        with pytest.raises(error):
            both.run(resolver.resolve(what, "A"))
    with pytest.raises(DeviceError, match="no type of a record"):
        both.run(resolver.resolve("a", "AXFR"))


def test_a_long_answer_comes_over_tcp() -> None:
    both, resolver, of = pair()
    [text] = both.run(resolver.resolve("big.example.org", "TXT"))
    assert text.count("x") == 1_800
    assert [event.fields["transport"] for event in both.world.recorder.events("dns.query")] == ["UDP", "TCP"]
    both.world.advance(Ns(both.world.now + seconds(1)))
    assert of.statistics().connections == 0


def test_a_lan_that_loses_frames_is_asked_again_and_ports_are_given_back() -> None:
    both, resolver, _ = pair(loss=0.3, seed=2)
    before = set(both.one.udpv4._listeners)
    assert both.run(resolver.gethostbyname("www.example.org")) == ["10.0.0.80"]
    assert set(both.one.udpv4._listeners) == before


def test_nobody_answers_and_nobody_is_known() -> None:
    both = Pair()
    with pytest.raises(ConnectionTimedOut, match="no server answered"):
        both.run(DnsResolver(both.one, ["10.0.0.2"]).gethostbyname("a.b"))
    with pytest.raises(DeviceError, match="no server is known"):
        both.run(DnsResolver(both.one).gethostbyname("a.b"))


def test_the_same_question_at_the_same_time_is_asked_once() -> None:
    both, resolver, _ = pair()

    async def twice() -> list[list[str]]:
        each = [both.one.queue.spawn(resolver.gethostbyname("web.example.org")) for _ in range(5)]
        return await tasks.join(*each)

    assert both.run(twice()) == [["10.0.0.80"]] * 5 and resolver.statistics().sent == 1


def test_a_connection_carries_several_queries_and_is_closed_when_idle() -> None:
    """RFC 7766 sections 6.2.1 and 6.2.3."""
    both, _, of = pair()
    query = framed(wire.encode(wire.query(7, name("web.example.org"), Type.A)))

    async def talk() -> tuple[int, int, bytes]:
        flow = await both.one.tcpv4.create_connection(("10.0.0.2", 53))
        frames, found = Frames(), list[bytes]()
        await flow.write(query + query[:5])
        await flow.write(query[5:] + query)
        while len(found) < 3:
            found += frames.feed(await flow.read())
        began = both.one.queue.now
        rest = await flow.read()
        await flow.close()
        return len(found), both.one.queue.now - began, rest

    count, idle, rest = both.run(talk())
    assert (count, rest) == (3, b"") and seconds(9.9) < idle < seconds(10.1) and of.statistics().connections == 0


def test_connections_are_bounded_and_nonsense_ends_one() -> None:
    both, _, of = pair()

    async def many() -> list[bytes]:
        flows = [await both.one.tcpv4.create_connection(("10.0.0.2", 53)) for _ in range(65)]
        await tasks.sleep(ms(10))
        most = of.statistics().connections
        assert most == 64
        last = await flows[-1].read()
        assert most == 64
        await flows[0].write(framed(b"nonsense"))
        return [last, await flows[0].read()]

    assert both.run(many()) == [b"", b""]


def test_a_client_that_drips_is_closed_after_ten_seconds_too() -> None:
    """RFC 7766 section 6.2.3: idle means without a whole query."""
    both, _, of = pair()

    async def drip() -> int:
        flow = await both.one.tcpv4.create_connection(("10.0.0.2", 53))
        began = both.one.queue.now
        for byte in framed(bytes(20))[:5]:
            await flow.write(bytes((byte,)))
            await tasks.sleep(seconds(1.5))
        await flow.read()
        return both.one.queue.now - began

    assert seconds(9.9) < both.run(drip()) < seconds(10.2) and of.statistics().answered == {}


def test_one_forged_datagram_is_not_believed() -> None:
    both, resolver, _ = pair()
    forged = wire.encode(Message(0, (WWW,), (Record(WWW.name, Type.A, 60, b"\x06\x06\x06\x06"),), response=True))
    send = both.one.udpv4.write

    def overheard(dst: str, dst_port: int, data: bytes, src_port: int = 0) -> None:
        send(dst, dst_port, data, src_port)
        both.other.udpv4.write("10.0.0.1", src_port, forged, src_port=53)

    both.one.udpv4.write = overheard  # type: ignore[method-assign]
    assert both.run(resolver.gethostbyname("www.example.org")) == ["10.0.0.80"]
    assert resolver.statistics().dropped == {"another number": 1}


# in a lab --------------------------------------------------------------------------------------------------------


def stack(address: str) -> Any:
    return devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address=f"{address}/24", gateway="10.0.0.1")


def run_tree(seed: int) -> tuple[str, list[bytes]]:
    with Lab(seed=seed, name="dns") as lab:
        lan = lab.lan("br0", latency=ms(1), loss=0.05, dhcp={"dns": ("10.0.0.11",)})
        trace = lab.capture(lan)
        zones = {f"10.0.0.1{address[-1]}": zone.replace("10.0.0.", "10.0.0.1") for address, zone in TREE.items()}
        for address, zone in zones.items():
            files = devices.crunch({"test.zone": zone})
            lab.create(dns_unikernel(devices.default_console, files, devices.dns_server(stack(address))), vif=[lan], name=f"ns{address[-1]}").unpause()
        lab.run(seconds(1))
        resolver = devices.dns_resolver(devices.direct_stackv4_with_dhcp(devices.netif("0")), roots=["10.0.0.11"])
        vm = lab.create(lookup(devices.default_console, resolver, name="back.elsewhere.net"), vif=[lan])
        vm.unpause()
        lab.run(seconds(30))
        return vm.console.text, [frame.data for frame in trace.capture.frames]


def test_a_tree_of_name_servers_answers_a_domain_that_booted_with_dhcp_and_the_same_seed_gives_the_same_bytes() -> None:
    (said, frames), again = run_tree(4), run_tree(4)
    assert said.splitlines()[-1] == "back.elsewhere.net A 10.0.0.181"
    assert again == (said, frames) and run_tree(5)[1] != frames


def test_the_script_of_a_lab_with_dhcp_and_dns_makes_the_same_packets() -> None:
    def frames(lab: Lab) -> list[bytes]:
        return [frame.data for frame in lab.traces[0].capture.frames]

    with Lab(seed=1, name="dns") as lab:
        lan = lab.lan("br0", latency=ms(1))
        lab.capture(lan)
        lab.lan("br0", dhcp={"dns": ("10.0.0.53",)})
        resolver = devices.dns_resolver(devices.direct_stackv4_with_dhcp(devices.netif("0")), nameserver="10.0.0.53")
        files = devices.crunch({"test.zone": ZONE})
        lab.create(dns_unikernel(devices.default_console, files, devices.dns_server(stack("10.0.0.53"), zones=[TREE["10.0.0.1"]])), vif=[lan]).unpause()
        lab.create(lookup(devices.default_console, resolver), vif=[lan]).unpause()
        lab.run(seconds(5))
        text, before = lab.script(), frames(lab)
    namespace: dict[str, Any] = {}
    exec(compile(text, "script", "exec"), namespace)
    assert frames(namespace["lab"]) == before
    namespace["lab"].close()


def test_dhcp_tells_the_server_to_ask_and_a_lookup_says_what_went_wrong() -> None:
    with Lab(seed=1, name="dns") as lab:
        lan = lab.lan("br0", latency=ms(1), dhcp={"dns": ("10.0.0.53",)})
        lab.create(_served(devices.dns_server(stack("10.0.0.53"), zones=[ZONE])), vif=[lan], name="ns").unpause()
        resolver = devices.dns_resolver(devices.direct_stackv4_with_dhcp(devices.netif("0")))
        for what, said in (("www.example.org", "www.example.org A 10.0.0.80"), ("no.example.org", "no.example.org: there is no such name")):
            vm = lab.create(lookup(devices.default_console, resolver, name=what), vif=[lan], name="client")
            vm.unpause()
            lab.run(seconds(5))
            assert vm.console.text.splitlines()[-1] == said
        assert lab.events("dns.answer")[-1].fields["rcode"] == "no such name"
    assert repr(devices.dns_server(stack("10.0.0.53"), zones=[ZONE])).startswith("dns_server: DNS_SERVER on direct_stackv4_with_static_ipv4")


@unikernel
async def _served(server: DnsServer) -> None:
    await server.listen()


def test_a_zone_that_cannot_be_read_is_refused_where_it_is_written() -> None:
    with pytest.raises(LocalProtocolError, match="line 2"):
        devices.dns_server(stack("10.0.0.53"), zones=["$TTL 5\nwww A 10.0.0.1"])
