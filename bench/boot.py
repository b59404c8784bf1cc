"""Boot: CPU time from `Lab(seed=1)` to the first byte on the console and to the first packet of a web server.

Once as the first thing a new Python does after its imports, as in a notebook, and then again and again in one process.
"""

from __future__ import annotations

from functools import partial

from bench.fresh import Fresh
from bench.row import Row, cpu_of
from mirage_lab import Lab, devices, seconds
from mirage_lab.skeleton import web

__all__ = ["boot", "run"]

FIRST = """
import time
from bench.boot import boot
began = time.process_time()
boot("console.line")
print(time.process_time() - began)
"""


def boot(kind: str) -> None:
    """Make a lab, a lan, a plan, an image and a domain, and run to its first event of this kind."""
    tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24")
    with Lab(seed=1, name="bench") as lab:
        lan = lab.lan("br0")
        lab.create(web(devices.default_console, tcpip), vif=[lan]).unpause()
        lab.run_until(kind, within=seconds(1), source="web" if kind == "console.line" else None)
        assert lab.events(kind)


def run() -> list[Row]:
    """Measure."""
    with Fresh.start() as fresh:
        first = min(fresh.run(FIRST)[0] for _ in range(6)) * 1e3
    byte, packet = (cpu_of(20, partial(boot, kind)) * 1e3 for kind in ("console.line", "net.tx"))
    return [
        Row("boot to the first console byte, first of a new Python (lab, lan, plan, image and domain included)", first, "ms of CPU", "<= 20", first <= 20),
        Row("boot to the first console byte, once warm", byte, "ms of CPU", "<= 20", byte <= 20),
        Row("boot to the first packet, once warm", packet, "ms of CPU", "<= 20", packet <= 20),
    ]
