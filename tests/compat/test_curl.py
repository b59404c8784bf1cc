"""curl, unmodified, against a unikernel on the emulated Xen."""

from __future__ import annotations

import hashlib
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mirage_lab import Lab, devices, ms, native, seconds, unikernel
from mirage_lab.signatures import Console, StackV4
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.skeleton import static_website

BIG = random.Random(1).randbytes(10_000_000)


def site_in(lab: Lab, **faults: object) -> str:
    lan = lab.lan("br0", latency=ms(1), **faults)
    lab.capture(lan)
    tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24", gateway="10.0.0.1")
    files = devices.crunch({"index.html": "<h1>it works</h1>\n", "big.bin": BIG})
    vm = lab.create(static_website(devices.default_console, files, tcpip), vif=[lan])
    vm.unpause()
    lab.run(seconds(1))
    return lab.forward(vm, 80).url


def test_curl_gets_ten_megabytes_byte_for_byte(require: Callable[[str], str], tmp_path: Path) -> None:
    with Lab(seed=1, name="curl") as lab:
        url = site_in(lab)
        with lab.playing_meanwhile():
            done = subprocess.run([require("curl"), "-sS", "--max-time", "60", "-o", tmp_path / "big.bin", f"{url}big.bin"], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert hashlib.sha256((tmp_path / "big.bin").read_bytes()).digest() == hashlib.sha256(BIG).digest()


def test_curl_gets_pages_headers_and_a_404(require: Callable[[str], str]) -> None:
    with Lab(seed=1, name="curl") as lab:
        url = site_in(lab)
        with lab.playing_meanwhile():
            page = subprocess.run([require("curl"), "-sS", "-i", "--max-time", "20", url], capture_output=True, check=True).stdout
            parallel = [
                subprocess.Popen(["curl", "-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", f"{url}nothing/{n}"], stdout=subprocess.PIPE)
                for n in range(8)
            ]
            codes = [process.communicate(timeout=30)[0] for process in parallel]
    assert b"200 OK" in page and page.endswith(b"<h1>it works</h1>\n")
    assert codes == [b"404"] * 8


def test_curl_over_a_lan_that_loses_five_percent(require: Callable[[str], str]) -> None:
    with Lab(seed=1, name="curl") as lab:
        url = site_in(lab, loss=0.05)
        with lab.playing_meanwhile():
            done = subprocess.run(
                [require("curl"), "-sS", "--max-time", "100", "-r", "0-", "-o", "-", f"{url}index.html"], capture_output=True, check=False, timeout=110
            )
    assert done.stdout == b"<h1>it works</h1>\n"


def test_a_path_of_html_stays_text(require: Callable[[str], str]) -> None:
    payload = "<img%20src=x%20onerror=alert(1)>"
    with Lab(seed=1, name="curl") as lab:
        url = site_in(lab)
        with lab.playing_meanwhile():
            subprocess.run([require("curl"), "-sS", "-g", "--max-time", "20", f"{url}{payload}", "-o", "/dev/null"], check=True)
        lab.pause()
        shown = [lab.traces[0]._repr_html_() or "", lab._repr_svg_() or "", lab.vm("static_website")._repr_svg_() or ""]
        assert "onerror" in lab.vm("static_website").console.text
        assert not any("<img" in picture for picture in shown)


MIB = 1 << 20


def mebibyte(number: int) -> bytes:
    """Return a MiB that is like no other."""
    return hashlib.sha256(number.to_bytes(8, "big")).digest() * (MIB // 32)


@unikernel
async def store(console: Console, stack: StackV4) -> None:
    """Give 100 MiB to who GETs, and tell the hash of what is PUT."""

    async def serve(flow: TcpFlow) -> None:
        head, _, body = (await flow.read()).partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if not head.startswith(b"PUT") or length is None:
            await flow.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % (100 * MIB))
            for number in range(100):
                await flow.write(mebibyte(number))
        else:
            if b"100-continue" in head:
                await flow.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            whole, left = hashlib.sha256(body), int(length[1]) - len(body)
            while left > 0 and (data := await flow.read()):
                whole.update(data)
                left -= len(data)
            await flow.write(b"HTTP/1.0 200 OK\r\nContent-Length: 64\r\n\r\n" + whole.hexdigest().encode())
        await flow.close()

    stack.listen_tcpv4(80, serve)
    await stack.listen()


def test_a_hundred_megabytes_each_way_through_a_forward(require: Callable[[str], str], tmp_path: Path) -> None:
    program, there = require("curl"), tmp_path / "there.bin"
    whole = hashlib.sha256()
    for number in range(100):
        whole.update(mebibyte(number))
    with Lab(seed=1, name="curl") as lab:
        tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24", gateway="10.0.0.1")
        vm = lab.create(store(devices.default_console, tcpip), vif=[lab.lan("br0")])
        vm.unpause()
        lab.run(seconds(1))
        url = lab.forward(vm, 80).url
        with lab.playing_meanwhile():
            subprocess.run([program, "-sS", "--max-time", "60", "-o", there, url], check=True)
            with there.open("rb") as file:
                assert hashlib.file_digest(file, "sha256").digest() == whole.digest()
            told = subprocess.run([program, "-sS", "--max-time", "60", "-T", there, url], check=True, capture_output=True).stdout
    assert told.decode() == whole.hexdigest()


@pytest.mark.parametrize("arch", ["x86_64", "aarch64", "armv7"])
def test_curl_gets_a_page_of_a_guest_in_c_and_tshark_has_nothing_to_say_of_its_packets(arch: str, require: Callable[[str], str], tmp_path: Path) -> None:
    pytest.importorskip("unicorn")
    pytest.importorskip("ziglang")
    with Lab(seed=1, name="curl") as lab:
        lan = lab.lan("br0", latency=ms(1))
        trace = lab.capture(lan)
        vm = lab.create(native.httpd(arch, memory_mib=8), vif=[lan])
        vm.unpause()
        lab.run(seconds(1))
        url = lab.forward(vm, 80).url
        with lab.playing_meanwhile():
            words = [require("curl"), "-sS", "--max-time", "20"]
            pages = [subprocess.run([*words, url], capture_output=True, check=True).stdout for _ in range(3)]
        trace.save(tmp_path / "c.pcapng")
    assert {page.decode().partition(" on ")[0] for page in pages} == {"hello from machine code"}
    checks = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    told = subprocess.run([require("tshark"), "-n", "-r", tmp_path / "c.pcapng", *checks, "-q", "-z", "expert,warn"], capture_output=True, check=True).stdout
    assert b"Warn" not in told and b"Error" not in told, told
