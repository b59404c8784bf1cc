"""TCP between Linux and our stack over TAP, in a network namespace made for it; the kernel's own loopback there is the ceiling.

`python -m bench.tap` is what runs inside the namespace: it prints the speeds as JSON.  Linux's end is a process of its own.
PyTCP (GPL-3.0-or-later, never a dependency) is not driven: the row says whether it could be.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.row import Row
from mirage_lab.runtime import World
from mirage_lab.runtime.driver import Player
from mirage_lab.runtime.turns import Turns
from mirage_lab.tcpip.stack import Stack
from mirage_lab.tracing.capture import Capture
from mirage_lab.vnetif import Netif, Segment, Tap

__all__ = ["run"]

US, LINUX = "10.0.0.2", "10.0.0.9"
MIB = 1 << 20
BLOCK = bytes(256 << 10)
SIZE = 64 * MIB
TIMES = 3


def linux(way: str) -> None:
    """Linux's end, told by `way` to send or to take."""
    with socket.create_connection((US, 80 if way == "send" else 81)) as sock:
        began, size = perf_counter(), 0
        if way == "send":
            for _ in range(SIZE // len(BLOCK)):
                sock.sendall(BLOCK)
            sock.shutdown(socket.SHUT_WR)
            size = SIZE if sock.recv(1) == b"." else 0
        else:
            while data := sock.recv(1 << 18):
                size += len(data)
        took = perf_counter() - began
    assert size == SIZE, size
    print(SIZE * 8 / took / 1e6)


def between() -> dict[str, float]:
    """Return the best speeds, Mbit/s, of both ways."""
    world = World(1)
    lan = Segment(world, "br0")
    lan.captures.append(Capture("br0"))
    queue = world.queue("guest")
    stack = Stack(queue, Netif(queue, lan, "02:00:00:00:00:02", "guest"), address=f"{US}/24")

    async def take(flow: Any) -> None:
        while await flow.read():
            pass
        await flow.write(b".")
        await flow.close()

    async def give(flow: Any) -> None:
        for _ in range(SIZE // len(BLOCK)):
            await flow.write(BLOCK)
        await flow.close()

    stack.listen_tcpv4(80, take)
    stack.listen_tcpv4(81, give)
    tap = Tap(world, lan, "tap0")
    tap.open()
    for words in ("link set lo up", f"address add {LINUX}/24 dev tap0", "link set tap0 up"):
        subprocess.run(["ip", *words.split()], check=True)
    player = Player(world, Turns())
    player.start()
    speeds = {}
    for way in ("send", "take"):
        told = [float(subprocess.run([sys.executable, "-m", "bench.tap", way], check=True, capture_output=True).stdout) for _ in range(TIMES)]
        speeds[way] = max(told)
    player.stop()
    tap.close()
    world.close()
    return speeds


def ceiling() -> float:
    """Return the speed of the kernel's own TCP in the same namespace, between the same two kinds of process."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        text = f"import socket; s = socket.create_connection(('127.0.0.1', {port}))\nfor _ in range({SIZE // len(BLOCK)}): s.sendall(bytes({len(BLOCK)}))"
        with subprocess.Popen([sys.executable, "-c", text]):
            connection, _ = server.accept()
            began = perf_counter()
            with connection:
                while connection.recv(1 << 18):
                    pass
            return SIZE * 8 / (perf_counter() - began) / 1e6


def in_namespace() -> dict[str, float] | None:
    """Return what `main` measures in a namespace of its own; None where there can be none."""
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    for words in (["unshare", "-rn"], ["unshare", "-n"]):
        try:
            if subprocess.run([*words, "ip", "tuntap", "add", "mode", "tap", "name", "probe"], capture_output=True, check=False).returncode:
                continue
        except FileNotFoundError:
            return None
        done = subprocess.run([*words, sys.executable, "-m", "bench.tap"], capture_output=True, check=True, env=here)
        found: dict[str, float] = json.loads(done.stdout)
        return found
    return None


def run() -> list[Row]:
    """Measure."""
    speeds = in_namespace()
    if speeds is None:
        return [Row("bulk TCP with Linux over TAP: not measured, this machine cannot make a network namespace", 0, "Mbit/s")]
    told = f"kernel loopback in that namespace, two processes: {speeds['loopback']:,.0f} Mbit/s"
    beside = "PyTCP is installed, and not driven yet" if importlib.util.find_spec("pytcp") else "PyTCP is not installed here"
    rows = []
    for way, what, goal in (("send", "received from Linux", 260), ("take", "sent to Linux", 120)):
        speed = speeds[way]
        rows.append(
            Row(f"bulk TCP over TAP, {what}, capture on", speed, "Mbit/s", f">= {goal}", speed >= goal, f"{told}; {beside}", speed / speeds["loopback"])
        )
    return rows


def main(words: list[str]) -> None:
    """Run inside the namespace."""
    if words:
        linux(words[0])
    else:
        speeds = between()
        print(json.dumps({**speeds, "loopback": max(ceiling() for _ in range(TIMES))}))


if __name__ == "__main__":
    main(sys.argv[1:])
