"""Boot: CPU time from `create` to the first byte on the console and to the first packet of a web server."""

from __future__ import annotations

from bench.row import Row, cpu_of
from mirage_lab import Lab, devices, seconds
from mirage_lab.skeleton import web

__all__ = ["run"]


def _until(kind: str) -> float:
    def work() -> None:
        tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24")
        with Lab(seed=1, name="bench") as lab:
            lan = lab.lan("br0")
            lab.create(web(devices.default_console, tcpip), vif=[lan]).unpause()
            lab.run_until(kind, within=seconds(1), source="web" if kind == "console.line" else None)

    return cpu_of(5, work) * 1e3


def run() -> list[Row]:
    """Measure."""
    first_byte, first_packet = _until("console.line"), _until("net.tx")
    return [
        Row("boot to the first console byte (machine, domain, plan and image included)", first_byte, "ms of CPU", "<= 20", first_byte <= 20),
        Row("boot to the first packet", first_packet, "ms of CPU", "<= 20", first_packet <= 20),
    ]
