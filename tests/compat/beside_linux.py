"""What test_linux runs inside a network namespace: `python beside_linux.py SCENARIO DIRECTORY [WORD...]`.

A lab and Linux share the lan br0 over tap0: the unikernel is 10.0.0.2, Linux 10.0.0.9.  A scenario returns what it saw, which
is printed as JSON, and leaves the trace in DIRECTORY.
"""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mirage_lab import Lab, devices, ms, seconds, unikernel
from mirage_lab.lab.handles import Lan, Vm
from mirage_lab.lab.machine import Machine
from mirage_lab.lab.trace import Trace
from mirage_lab.signatures import Console, StackV4
from mirage_lab.signatures.network import TcpFlow
from mirage_lab.skeleton import dns, iperf3, iperf3_client, services, static_website
from mirage_lab.tcpip.stack46 import Stack46
from mirage_lab.vnetif import Netif

US, LINUX = "10.0.0.2", "10.0.0.9"
BLOCK = 1 << 20
PAGE = bytes(n * n % 251 for n in range(2_000_000))
ZONE = "$ORIGIN example.org.\n$TTL 1h\n@ SOA ns admin 1 3h 1h 1w 5m\n NS ns\nns A 10.0.0.2\nwww A 10.0.0.80\n" + "".join(
    f"big A 10.1.{n // 250}.{n % 250 + 1}\n" for n in range(200)
)
LEASE = """#!/bin/sh
ip link set $interface up
[ "$1" = bound ] && ip address add $ip/$mask dev $interface && echo "$ip/$mask $router $dns $lease"
exit 0
"""

Seen = dict[str, Any]


def run(*words: str, timeout: float = 60) -> str:
    """Return what a program prints; raises CalledProcessError."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=timeout)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Beside:
    """A lab and Linux on one lan."""

    def __init__(self, directory: Path, *, limit_bytes: int = 64 << 20, configured: bool = True, **lan: Any) -> None:
        self.directory = directory
        self.lab = Lab(seed=1, name="linux")
        self.lan: Lan = self.lab.lan("br0", **lan)
        self.trace: Trace = self.lab.capture(self.lan, limit_bytes=limit_bytes)
        self.tap = self.lab.tap(self.lan)
        run("ip", "link", "set", "lo", "up")
        if configured:
            run("ip", "address", "add", f"{LINUX}/24", "dev", "tap0")
        run("ip", "link", "set", "tap0", "up")

    def create(self, make: Callable[..., Any], *more: Any, name: str = "guest", **keys: Any) -> Vm:
        stack = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address=f"{US}/24", gateway=LINUX)
        vm = self.lab.create(make(devices.default_console, *more, stack, **keys), name=name, vif=[self.lan])
        vm.unpause()
        self.lab.run(ms(50))
        return vm

    def replays(self) -> bool:
        """True if seed and journal, without Linux, make the same packets again."""
        self.lab.pause()
        again = Machine.replayed(self.lab.seed, self.lab.journal, self.lab.places)
        before, after = (machine.captures["br0"].since(1, 1 << 20) for machine in (self.lab.machine, again))
        again.close()
        return [(frame.t, frame.data) for frame in before[: len(after)]] == [(frame.t, frame.data) for frame in after] and len(after) > len(before) // 2

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, kind: object, *ignored: object) -> None:
        self.lab.pause()
        self.trace.save(self.directory / "trace.pcapng")
        self.lab.close()


# bytes both ways ---------------------------------------------------------------------------------------------------


def block(number: int) -> bytes:
    """Return a MiB that is like no other."""
    return (hashlib.sha256(number.to_bytes(8, "big")).digest() * (BLOCK // 32 + 1))[:BLOCK]


def digest_of(count: int, first: int) -> str:
    whole = hashlib.sha256()
    for number in range(first, first + count):
        whole.update(block(number))
    return whole.hexdigest()


async def exchange(flow: TcpFlow, console: Console, mib: int, ours: int, *, listens: bool) -> None:
    """Send our MiB and end, and take theirs, in this order when we connected, in the other when we were connected to."""
    whole, size = hashlib.sha256(), 0
    for sending in (not listens, listens):
        if sending:
            for number in range(ours, ours + mib):
                await flow.write(block(number))
            await flow.close()
        else:
            while data := await flow.read():
                whole.update(data)
                size += len(data)
    console.log(f"{size} {whole.hexdigest()}")


@unikernel
async def exchanger(console: Console, stack: StackV4, *, mib: int) -> None:
    """Exchange with each who connects to port 9000."""

    async def serve(flow: TcpFlow) -> None:
        await exchange(flow, console, mib, 1_000, listens=True)

    stack.listen_tcpv4(9_000, serve)
    await stack.listen()


@unikernel
async def connector(console: Console, stack: StackV4, *, mib: int) -> None:
    """Connect to Linux and exchange."""
    flow = await stack.tcpv4.create_connection((LINUX, 9_000))
    await exchange(flow, console, mib, 1_000, listens=False)
    await stack.listen()


def peer(role: str, congestion: str, mib: int) -> None:
    """Linux's end, in a process of its own: role `connect` sends first, role `listen` receives first."""
    whole, size = hashlib.sha256(), 0
    listener = socket.create_server((LINUX, 9_000)) if role == "listen" else None
    if listener is not None:
        print("ready", flush=True)
        sock, _ = listener.accept()
        listener.close()
    else:
        sock = socket.create_connection((US, 9_000))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
    with sock:
        for sending in (listener is None, listener is not None):
            if sending:
                for number in range(mib):
                    sock.sendall(block(number))
                sock.shutdown(socket.SHUT_WR)
            else:
                while data := sock.recv(1 << 18):
                    whole.update(data)
                    size += len(data)
    print(f"{size} {whole.hexdigest()}")


def exchanged(directory: Path, role: str, congestion: str, mib: str, lan: str = "{}") -> Seen:
    """Both directions of one connection; `role` is Linux's, `lan` the faults as JSON."""
    words = [sys.executable, __file__, "peer", role, congestion, mib]
    with Beside(directory, limit_bytes=16 << 20, **json.loads(lan)) as beside, subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if role == "listen":
            process.stdout.readline()
        vm = beside.create(exchanger if role == "connect" else connector, mib=int(mib))
        with beside.lab.playing_meanwhile():
            theirs = process.stdout.readline()
        process.wait()
        beside.lab.run(ms(300))
        for _ in range(300):  # the end of what Linux sent may be lost, and come with its timeouts
            if vm.console.text:
                break
            beside.lab.run(ms(100))
        flows = beside.lab.events("tcp.retransmit")
        return {
            "linux got": theirs.split(), "we got": vm.console.text.split(), "linux sent": [str(int(mib) << 20), digest_of(int(mib), 0)],
            "we sent": [str(int(mib) << 20), digest_of(int(mib), 1_000)], "retransmits": len(flows), "tap": beside.tap.statistics().lost,
            "replays": int(mib) > 4 or beside.replays(),
        }  # fmt: skip


# scenarios ---------------------------------------------------------------------------------------------------------


def pinged(directory: Path, *sizes: str) -> Seen:
    """Echoes of these sizes, and a flood."""
    with Beside(directory) as beside:
        beside.create(services)
        with beside.lab.playing_meanwhile():
            told = {size: run("ping", "-n", "-c", "3", "-i", "0.05", "-s", size, US) for size in sizes}
            told["flood"] = run("ping", "-n", "-q", "-f", "-c", "2000", US)
        return told


def browsed(directory: Path) -> Seen:
    """The web both ways, and the small services."""
    (directory / "big.bin").write_bytes(PAGE)
    with Beside(directory) as beside:
        beside.create(static_website, devices.crunch({"index.html": "<h1>it works</h1>\n", "big.bin": PAGE}))
        with beside.lab.playing_meanwhile():
            site = f"http://{US}"
            index = run("curl", "-sS", "-i", "--max-time", "20", site)
            run("curl", "-sS", "--max-time", "60", "-o", str(directory / "got.bin"), f"{site}/big.bin")
            asking = ["curl", "-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", f"{site}/no"]
            many = [subprocess.Popen(asking, stdout=subprocess.PIPE) for _ in range(8)]
            codes = [process.communicate(timeout=30)[0].decode() for process in many]
        serving = [sys.executable, "-m", "http.server", "8000", "-b", LINUX, "-d", str(directory)]
        with subprocess.Popen(serving, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            beside.lab.run(seconds(1))
            reply = beside.lab.fetch(f"http://{LINUX}:8000/big.bin", within=seconds(30))
            server.terminate()
        return {
            "index": index, "curl got": (directory / "got.bin").read_bytes() == PAGE, "codes": codes, "status": reply.status, "we got": reply.body == PAGE,
        }  # fmt: skip


def measured(directory: Path) -> Seen:
    """iperf3's client against our server, to and fro and two at once, then our client against its server."""
    seen: Seen = {}
    with Beside(directory) as beside:
        vm = beside.create(iperf3, devices.default_clock)
        with beside.lab.playing_meanwhile():
            for words in ("-n 8M", "-n 8M -R", "-n 4M -P 2", "-t 1 -C reno"):
                seen[words] = json.loads(run("iperf3", "-J", "-c", US, *words.split()))["end"]
            refused = subprocess.run(["iperf3", "-c", US, "-u", "-n", "1M"], capture_output=True, text=True, check=False, timeout=20)
        seen["udp"] = refused.returncode
        beside.lab.run(ms(300))
        seen["server"] = vm.console.text
        vm.destroy()
        with subprocess.Popen(["iperf3", "-s", "-B", LINUX], stdout=subprocess.DEVNULL) as server:
            beside.lab.run(ms(500))
            for reverse in (False, True):
                client = beside.create(iperf3_client, devices.default_clock, name="client", mib=4, reverse=reverse)
                beside.lab.run_until("domain.shutdown", within=seconds(20), source="client")
                beside.lab.run(ms(10))
                seen["received" if reverse else "sent"] = client.console.text
            server.terminate()
    return seen


def named(directory: Path) -> Seen:
    """dig over UDP and TCP."""
    with Beside(directory) as beside:
        stack = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address=f"{US}/24")
        vm = beside.lab.create(dns(devices.default_console, devices.crunch({"test.zone": ZONE}), devices.dns_server(stack)), vif=[beside.lan])
        vm.unpause()
        beside.lab.run(ms(50))
        asked = ("www.example.org", "big.example.org", "nobody.example.org", "+tcp www.example.org", "+bufsize=512 +ignore big.example.org")
        with beside.lab.playing_meanwhile():
            return {words: run("dig", f"@{US}", "+tries=1", "+time=10", *words.split()) for words in asked}


def leased(directory: Path) -> Seen:
    """udhcpc gets an address from the gateway, and can then be reached."""
    script = directory / "lease.sh"
    script.write_text(LEASE)
    script.chmod(0o755)
    with Beside(directory, configured=False, dhcp=True) as beside:
        beside.create(services)
        with beside.lab.playing_meanwhile():
            told = run("udhcpc", "-f", "-n", "-q", "-i", "tap0", "-s", str(script), "-t", "5", "-T", "1")
            return {"udhcpc": told, "ping": run("ping", "-n", "-c", "2", "-i", "0.1", "10.0.0.1")}


def sixed(directory: Path) -> Seen:
    """IPv6: echoes of sizes that need fragments too, and the web both ways."""
    (directory / "big.bin").write_bytes(PAGE)
    with Beside(directory) as beside:
        run("ip", "-6", "address", "add", "fd00::9/64", "dev", "tap0", "nodad")
        machine, got = beside.lab.machine, list[bytes]()
        queue = machine.world.queue("six")
        stack = Stack46(queue, Netif(queue, machine.lans["br0"], "02:00:00:00:00:06", "six"), address="10.0.0.6/24", address6="fd00::6/64")

        async def page(flow: TcpFlow) -> None:
            await flow.read()
            await flow.writev([b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PAGE), PAGE])
            await flow.close()

        async def get() -> None:
            flow = await stack.tcp.create_connection(("fd00::9", 8_000))
            await flow.write(b"GET /big.bin HTTP/1.0\r\n\r\n")
            while data := await flow.read():
                got.append(data)
            await flow.close()

        stack.listen_tcp(80, page)
        beside.lab.run(seconds(3))  # our address, and Linux's link-local one, are nobody else's
        serving = [sys.executable, "-m", "http.server", "8000", "-b", "fd00::9", "-d", str(directory)]
        with beside.lab.playing_meanwhile():
            told = {size: run("ping", "-6", "-n", "-c", "3", "-i", "0.05", "-s", size, "fd00::6") for size in ("56", "1452", "4000")}
            told["flood"] = run("ping", "-6", "-n", "-q", "-f", "-c", "500", "fd00::6")
            run("curl", "-sS", "-g", "--max-time", "30", "-o", str(directory / "got.bin"), "http://[fd00::6]/")
        with subprocess.Popen(serving, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            beside.lab.run(seconds(1))
            queue.spawn(get())
            beside.lab.run(seconds(1))
            server.terminate()
        return {**told, "curl got": (directory / "got.bin").read_bytes() == PAGE, "we got": b"".join(got).endswith(PAGE)}


if __name__ == "__main__":
    name, rest = sys.argv[1], sys.argv[2:]
    if name == "peer":
        peer(rest[0], rest[1], int(rest[2]))
    else:
        print(json.dumps(globals()[name](Path(rest[0]), *rest[1:])))
