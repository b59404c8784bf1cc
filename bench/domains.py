"""Domains: a thousand idle ones, each with its vif Connected and its stack listening: how fast, and how much memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.row import Row

__all__ = ["run"]

COUNT = 1_000
PROGRAM = f"""
import time
from pathlib import Path
from mirage_lab import Lab, configure, devices, seconds
from mirage_lab.skeleton import web

def resident():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0

lab = Lab(seed=1)
lan = lab.lan("br0", subnet="10.0.0.0/16")
before, began = resident(), time.perf_counter()
for number in range({COUNT}):
    address = f"10.0.{{1 + number // 250}}.{{1 + number % 250}}/16"
    tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address=address)
    image = configure(web(devices.default_console, tcpip), name=f"web{{number}}").build()
    lab.machine.world.command("create", image=image, name=image.name, vif=("br0",), memory_mib=32, profile="today")
    lab.machine.world.command("unpause", name=image.name)
lab.machine.world.advance(seconds(1))
took = time.perf_counter() - began
states = [lab.machine.toolstack.netback.vifs[key].state.name for key in lab.machine.toolstack.netback.vifs]
assert states == ["CONNECTED"] * {COUNT}, states[:3]
for info in lab.machine.toolstack.list()[1:]:
    assert lab.machine.toolstack.console(info.domid).lines == ["listening on port 80"]
print(took, resident() - before, resident())
"""


def run() -> list[Row]:
    """Measure in a process of its own."""
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, check=True)
    took, grown, resident = map(float, done.stdout.split())
    rows = [Row(f"domains created, booted and listening, {COUNT:,} of them", COUNT / took, "a second")]
    if resident:
        rows.append(Row(f"memory of {COUNT:,} idle domains (vif Connected, stack listening)", grown, "MiB", "< 1,536", grown < 1_536))
    return rows
