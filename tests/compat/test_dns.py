"""dig, unmodified, against our name server, over TCP through a forward."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from mirage_lab import Lab, devices, ms, seconds
from mirage_lab.lab.handles import Site
from mirage_lab.skeleton import dns

ZONE = r"""
$ORIGIN example.org.
$TTL 1h
@      SOA   ns admin 2026112301 3h 1h 1w 5m
       NS    ns
       MX    10 mail
ns     A     10.0.0.53
mail   A     10.0.0.54
       AAAA  fd00::54
www 60 CNAME web
web    A     10.0.0.80
       TXT   "say \"hi\"" "a; b"
*.any  TXT   "anybody"
sub    NS    ns.sub
ns.sub A     10.0.0.60
_s._tcp SRV  1 2 80 web
x      CAA   0 issue "ca.example"
odd    TYPE731 \# 3 0A0B0C
""" + "".join(f"big A 10.1.{n // 250}.{n % 250 + 1}\n" for n in range(2_000))

Dig = Callable[..., str]


@pytest.fixture
def dig(require: Callable[[str], str]) -> Iterator[Dig]:
    """Return `dig(*arguments)`: its output; the server runs meanwhile."""
    program = require("dig")
    with Lab(seed=1, name="dig") as lab:
        lan = lab.lan("br0", latency=ms(1))
        stack = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.53/24", gateway="10.0.0.1")
        vm = lab.create(dns(devices.default_console, devices.crunch({"test.zone": ZONE}), devices.dns_server(stack)), vif=[lan])
        vm.unpause()
        lab.run(seconds(1))
        site: Site = lab.forward(vm, 53)
        port = str(lab.machine.forwards["dns", 53].host_port)
        assert site

        def ask(*arguments: str) -> str:
            done = subprocess.run(
                [program, "@127.0.0.1", "-p", port, "+tcp", "+tries=1", "+time=20", *arguments], capture_output=True, text=True, check=True, timeout=60
            )
            return done.stdout

        with lab.playing_meanwhile():
            yield ask


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (("www.example.org", "A"), "web.example.org.\n10.0.0.80\n"),
        (("example.org", "MX"), "10 mail.example.org.\n"),
        (("mail.example.org", "AAAA"), "fd00::54\n"),
        (("web.example.org", "TXT"), '"say \\"hi\\"" "a; b"\n'),
        (("q.any.example.org", "TXT"), '"anybody"\n'),
        (("_s._tcp.example.org", "SRV"), "1 2 80 web.example.org.\n"),
        (("x.example.org", "CAA"), '0 issue "ca.example"\n'),
        (("odd.example.org", "TYPE731"), "\\# 3 0A0B0C\n"),
        (("example.org", "SOA"), "ns.example.org. admin.example.org. 2026112301 10800 3600 604800 300\n"),
    ],
)
def test_dig_reads_what_the_zone_says(dig: Dig, question: tuple[str, str], answer: str) -> None:
    assert dig("+short", *question) == answer


def test_dig_sees_flags_sections_and_status(dig: Dig) -> None:
    said = dig("web.example.org", "A")
    assert "status: NOERROR" in said and "flags: qr aa rd;" in said and "EDNS: version: 0, flags:; udp: 1232" in said
    assert "WARNING: Message parser reports malformed" not in said
    nothing = dig("no.example.org", "A")
    assert "status: NXDOMAIN" in nothing and "example.org.\t\t300\tIN\tSOA\tns.example.org." in nothing
    refers = dig("+norec", "x.sub.example.org", "A")
    assert "flags: qr; QUERY: 1, ANSWER: 0, AUTHORITY: 1, ADDITIONAL: 2" in refers and "ns.sub.example.org.\t3600\tIN\tA\t10.0.0.60" in refers
    assert "status: REFUSED" in dig("elsewhere.net", "A")
    assert "status: NOTIMP" in dig("+opcode=UPDATE", "example.org", "SOA")
    assert "status: BADVERS" in dig("+edns=1", "+noednsnegotiation", "example.org", "SOA")
    assert "Transfer failed" in dig("example.org", "AXFR")


def test_dig_reads_thirty_two_kilobytes_of_addresses(dig: Dig) -> None:
    assert len(dig("+short", "big.example.org", "A").split()) == 2_000


def test_dig_asks_several_times_over_one_connection(dig: Dig) -> None:
    said = dig("+keepopen", "+short", "ns.example.org", "A", "web.example.org", "A", "mail.example.org", "A")
    assert said.split() == ["10.0.0.53", "10.0.0.80", "10.0.0.54"]
