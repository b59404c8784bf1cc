"""Linux's own TCP/IP and its tools beside unikernels on one lan, over TAP, in a network namespace that each test makes.

No root is needed where the kernel lets people make user namespaces.  Where it does not these tests cannot run, whatever
MIRAGE_LAB_REQUIRE says: `.ci/run` tells so.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = Path(__file__).with_name("beside_linux.py")
CHECKED = ("-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE")
PLAIN = ("-d", "tcp.port==5201,data", "-d", "tcp.port==9000,data")
"""Ports whose bytes mean nothing: a dissector that guesses would find errors in them."""
CONGESTION = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")

Scenario = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def namespace() -> list[str]:
    """Return the words before a command that give it a network of its own, with TAP; skip where there is no way."""
    if not sys.platform.startswith("linux"):
        pytest.skip("network namespaces and TAP are Linux's")
    for words in (["unshare", "-rn"], ["unshare", "-n"]):
        try:
            done = subprocess.run([*words, "ip", "tuntap", "add", "mode", "tap", "name", "probe"], capture_output=True, check=False)
        except FileNotFoundError:
            break
        if done.returncode == 0:
            return words
    pytest.skip("this machine cannot make a network namespace with a TAP interface in it")


@pytest.fixture
def beside(namespace: list[str], require: Callable[[str], str], tmp_path: Path) -> Scenario:
    """Return `beside(scenario, *words, needs=...)`: what it saw, after the expert of tshark found no error in its trace."""

    def play(scenario: str, *words: str, needs: str = "") -> dict[str, Any]:
        for program in needs.split():
            require(program)
        tshark = require("tshark")
        command = [*namespace, sys.executable, SCENARIOS, scenario, tmp_path, *words]
        here = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, env=here)
        assert done.returncode == 0, done.stdout + done.stderr
        trace = tmp_path / "trace.pcapng"
        # Linux writes a checksum of 0 as 0xffff, the same sum (skb_checksum_help); tshark calls that wrong (RFC 1624). We write 0, see test_wire.
        others = " || ".join(f"{layer}.checksum.status == 0" for layer in ("ip", "udp", "icmp", "icmpv6"))
        wrong = f"(tcp.checksum.status == 0 && tcp.checksum != 0xffff) || {others}"
        asked = [tshark, "-n", "-r", trace, *CHECKED, *PLAIN, "-q", "-z", "expert,error", "-z", f"io,stat,0,{wrong}"]
        found = subprocess.run(asked, capture_output=True, check=True)
        told = found.stdout.decode()
        assert "Error" not in told and re.search(r"\|\s*0\s*\|\s*0\s*\|", told), told
        seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return seen

    return play


def test_ping_single_in_fragments_and_as_a_flood(beside: Scenario) -> None:
    sizes = ("0", "56", "1472", "1473", "4000", "65507")
    seen = beside("pinged", *sizes, needs="ping")
    for size in sizes:
        assert "3 packets transmitted, 3 received, 0% packet loss" in seen[size]
    assert "2000 packets transmitted, 2000 received, 0% packet loss" in seen["flood"]


def test_curl_here_and_a_server_there(beside: Scenario) -> None:
    seen = beside("browsed", needs="curl")
    assert "200 OK" in seen["index"] and seen["index"].endswith("<h1>it works</h1>\n")
    assert seen["curl got"] and seen["codes"] == ["404"] * 8
    assert seen["status"] == 200 and seen["we got"]


@pytest.mark.parametrize("congestion", ["reno", "cubic", "bbr"])
@pytest.mark.parametrize("role", ["connect", "listen"])
def test_each_congestion_control_of_linux_as_client_and_as_server(beside: Scenario, role: str, congestion: str) -> None:
    if congestion not in CONGESTION.read_text().split():
        pytest.skip(f"this kernel has no {congestion}")
    seen = beside("exchanged", role, congestion, "4")
    assert seen["linux got"] == seen["we sent"] and seen["we got"] == seen["linux sent"]
    assert seen["replays"], "seed and journal do not make the same packets again"


@pytest.mark.parametrize(("role", "congestion"), [("connect", "reno"), ("listen", "cubic")])
def test_what_a_lan_loses_doubles_and_holds_back_comes_byte_for_byte(beside: Scenario, role: str, congestion: str) -> None:
    faults = {"latency": 2_000_000, "loss": 0.01, "reorder": 0.02, "duplicate": 0.01}
    seen = beside("exchanged", role, congestion, "2", json.dumps(faults))
    assert seen["linux got"] == seen["we sent"] and seen["we got"] == seen["linux sent"]
    assert seen["retransmits"] > 0 and seen["replays"]


def test_a_hundred_megabytes_each_way_byte_for_byte(beside: Scenario) -> None:
    seen = beside("exchanged", "connect", "cubic", "100")
    assert seen["linux got"] == seen["we sent"] and seen["we got"] == seen["linux sent"] and seen["we got"][0] == str(100 << 20)


def test_iperf3_measures_us_and_we_measure_iperf3(beside: Scenario) -> None:
    seen = beside("measured", needs="iperf3")
    for words, size in (("-n 8M", 8 << 20), ("-n 4M -P 2", 4 << 20)):
        assert 0 < seen[words]["sum_received"]["bytes"] <= seen[words]["sum_sent"]["bytes"] >= size
    assert 8 << 20 <= seen["-n 8M -R"]["sum_received"]["bytes"] <= seen["-n 8M -R"]["sum_sent"]["bytes"]
    assert seen["-t 1 -C reno"]["sender_tcp_congestion"] == "reno"
    assert seen["server"].count("Mbit/s") == 4 and seen["udp"] != 0
    assert re.fullmatch(r"iperf3: 4,194,304 bytes sent, the server counted [\d,]+, [\d.]+ Mbit/s\n", seen["sent"])
    assert re.fullmatch(r"iperf3: [\d,]+ bytes received, the server counted [\d,]+, [\d.]+ Mbit/s\n", seen["received"])


def test_dig_asks_our_name_server_over_udp_and_tcp(beside: Scenario) -> None:
    seen = beside("named", needs="dig")
    assert "10.0.0.80" in seen["www.example.org"] and "status: NOERROR" in seen["www.example.org"] and "(UDP)" in seen["www.example.org"]
    assert "status: NXDOMAIN" in seen["nobody.example.org"] and "(TCP)" in seen["+tcp www.example.org"]
    assert seen["big.example.org"].count("\tA\t10.1.") == 200 and "(TCP)" in seen["big.example.org"]
    assert re.search(r"flags: qr aa tc", seen["+bufsize=512 +ignore big.example.org"])


def test_udhcpc_gets_an_address_of_our_server(beside: Scenario) -> None:
    seen = beside("leased", needs="udhcpc ping")
    assert re.search(r"^10\.0\.0\.1\d\d/24 10\.0\.0\.1 ", seen["udhcpc"], re.MULTILINE), seen["udhcpc"]
    assert "2 received, 0% packet loss" in seen["ping"]


def test_ipv6_echoes_fragments_and_the_web_both_ways(beside: Scenario) -> None:
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this kernel has no IPv6")
    seen = beside("sixed", needs="ping curl")
    for size in ("56", "1452", "4000"):
        assert "3 packets transmitted, 3 received, 0% packet loss" in seen[size]
    assert "500 packets transmitted, 500 received, 0% packet loss" in seen["flood"]
    assert seen["curl got"] and seen["we got"]
