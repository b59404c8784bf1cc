"""The fields of DNS and DHCP are read from a trace of the lab as tshark reads them, and tshark finds nothing wrong with it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mirage_lab import Lab, devices, ms, seconds
from mirage_lab.lab.trace import Trace
from mirage_lab.skeleton import dns, lookup
from mirage_lab.tcpip.displayfilter.applications import APPLICATIONS
from mirage_lab.tcpip.displayfilter.fields import Kind
from mirage_lab.tcpip.displayfilter.places import Seen
from mirage_lab.tcpip.wire.address import ip_text

ZONE = """
$ORIGIN example.org.
$TTL 1h
@   SOA   ns admin 1 1h 1h 1w 5m
    NS    ns
    MX    10 web
ns  A     10.0.0.53
www CNAME web
web A     10.0.0.80
    A     10.0.0.81
sub NS    ns.sub
ns.sub A  10.0.0.60
big TXT   """ + " ".join('"' + "x" * 200 + '"' for _ in range(9)) + "\n"

FILTERS = """
dns
dhcp
dns or dhcp
dns.flags.response == 1
dns.flags.response == 0 and dns.flags.recdesired == 1
dns.flags.rcode == 3
dns.flags.authoritative == 1
dns.flags.truncated == 1
dns.qry.name == "www.example.org"
dns.qry.name != "www.example.org"
dns.qry.name contains "example"
dns.qry.name in {"no.example.org", "x.sub.example.org"}
dns.qry.name < "o"
dns.qry.type == 16
dns.a == 10.0.0.80
dns.a == 10.0.0.80/28
dns.cname == "web.example.org"
dns.cname == "WEB.example.org"
dns.ns
dns.count.answers > 1
dns[2:2] == 85:00
dns contains "example"
dhcp.option.dhcp == 1
dhcp.option.dhcp in {2, 5}
dhcp.ip.your == 10.0.0.0/24
dhcp.hw.mac_addr[0:3] == 00:16:3e
dhcp.option.hostname == "client"
dhcp.option.ip_address_lease_time >= 3600
dhcp.option.dhcp_server_id == 10.0.0.1
dhcp.type == 2
udp and not (dns or dhcp)
""".strip().splitlines()


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[tuple[Trace, Path]]:
    with Lab(seed=1, name="names") as lab:
        lan = lab.lan("br0", latency=ms(1), dhcp={"dns": ("10.0.0.53",)})
        trace = lab.capture(lan)
        stack = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.53/24", gateway="10.0.0.1")
        lab.create(dns(devices.default_console, devices.crunch({"test.zone": ZONE}), devices.dns_server(stack)), vif=[lan]).unpause()
        lab.run(seconds(1))
        resolver = devices.dns_resolver(devices.direct_stackv4_with_dhcp(devices.netif("0")))
        for name, kind in (("www.example.org", "A"), ("no.example.org", "A"), ("x.sub.example.org", "A"), ("big.example.org", "TXT"), ("example.org", "MX")):
            lab.create(lookup(devices.default_console, resolver, name=name, kind=kind), vif=[lan], name="client").unpause()
            lab.run(seconds(3))
        trace.save(tmp_path / "names.pcap")
        yield trace, tmp_path / "names.pcap"


def tshark(program: str, path: Path, *words: str) -> list[str]:
    return subprocess.run([program, "-n", "-r", path, *words], capture_output=True, check=True, timeout=60, text=True).stdout.splitlines()


def test_the_same_frames_pass(require: Callable[[str], str], trace: tuple[Trace, Path]) -> None:
    program, (ours, path) = require("tshark"), trace
    for text in FILTERS:
        # DNS over TCP is tshark's alone
        theirs = [int(line) for line in tshark(program, path, "-Y", f"udp and ({text})", "-T", "fields", "-e", "frame.number")]
        assert ours.filter(text).numbers == theirs, text
        assert theirs or "WEB" in text or text.startswith("udp and not"), text


def test_every_field_of_every_message_is_read_as_tshark_reads_it(require: Callable[[str], str], trace: tuple[Trace, Path]) -> None:
    program, (ours, path) = require("tshark"), trace
    names = [word for field in APPLICATIONS for word in ("-e", field.name)]
    lines = tshark(program, path, "-Y", "udp", "-T", "fields", "-E", "occurrence=a", "-E", "separator=|", *names)
    frames = [frame.data for frame in ours.capture.frames if frame.data[12:14] == b"\x08\x00" and frame.data[23] == 17]
    assert len(lines) == len(frames) > 20
    for frame, line in zip(frames, lines, strict=True):
        seen = Seen(1, 0, frame)
        for field, text in zip(APPLICATIONS, line.split("|"), strict=True):
            values = field.read(seen)
            if field.kind == Kind.LAYER:
                assert bool(values) == bool(text), field.name
                continue
            mine = [ip_text(value) if field.kind == Kind.ADDRESS else value.hex(":") if isinstance(value, bytes) else str(value) for value in values]
            numbers = field.kind in (Kind.NUMBER, Kind.FLAG)
            said = [str(int(one, 0)) if numbers else one for one in text.split(",")] if text else []
            assert sorted(mine) == sorted(said), field.name


def test_tshark_finds_nothing_wrong(require: Callable[[str], str], trace: tuple[Trace, Path]) -> None:
    program, (_, path) = require("tshark"), trace
    checks = ("-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE")
    assert tshark(program, path, *checks, "-Y", "_ws.malformed or _ws.expert.severity >= 6291456") == []
    said = "\n".join(tshark(program, path, "-Y", "dns or dhcp"))
    assert "DHCP Discover" in said and "Standard query response" in said and "No such name A no.example.org" in said
