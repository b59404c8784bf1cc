"""Domains: idle ones on one lan, each with its vif Connected and its stack listening: how fast, and how much memory.

Each announces its address, and the bridge gives that to all others: the work grows with the square of their number, and
an rx ring that went round once has touched all of its 256 pages, 1 MiB.
"""

from __future__ import annotations

from bench.fresh import Fresh
from bench.row import Row

__all__ = ["run"]

PROGRAM = """
import sys
import time
from pathlib import Path
from mirage_lab import Lab, configure, devices, seconds
from mirage_lab.skeleton import web

def resident():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0

count = int(sys.argv[1])
lab = Lab(seed=1)
lan = lab.lan("br0", subnet="10.0.0.0/16")
before, began = resident(), time.perf_counter()
for number in range(count):
    address = f"10.0.{1 + number // 250}.{1 + number % 250}/16"
    tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address=address)
    image = configure(web(devices.default_console, tcpip), name=f"web{number}").build()
    lab.machine.world.command("create", image=image, name=image.name, vif=("br0",), memory_mib=32, profile="today")
    lab.machine.world.command("unpause", name=image.name)
lab.machine.world.advance(seconds(1))
took = time.perf_counter() - began
states = [lab.machine.toolstack.netback.vifs[key].state.name for key in lab.machine.toolstack.netback.vifs]
assert states == ["CONNECTED"] * count, states[:3]
for info in lab.machine.toolstack.list()[1:]:
    assert lab.machine.toolstack.console(info.domid).lines == ["listening on port 80"]
print(took, resident() - before, resident())
"""


def run() -> list[Row]:
    """Measure, each number in a process of its own."""
    rows = []
    with Fresh.start() as fresh:
        for count in (100, 1_000):
            took, grown, resident = fresh.run(PROGRAM, str(count))
            rows.append(Row(f"domains created, booted and listening, {count:,} on one lan", count / took, "a second"))
    if resident:
        rows.append(Row(f"memory of {count:,} idle domains (vif Connected, stack listening)", grown, "MiB", "< 1,536", grown < 1_536))
    return rows
