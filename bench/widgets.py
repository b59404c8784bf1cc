"""Widgets: what a snapshot of each tab costs in a lab that has done a lot: the price of being watched, 20 times a second at most."""

from __future__ import annotations

import json

from bench.row import Row, cpu_of
from mirage_lab import Lab, devices, ms, seconds
from mirage_lab.lab.views.catalogue import VIEWS
from mirage_lab.skeleton import web

__all__ = ["run"]

DOMAINS = 10
FETCHES = 2_500


def busy_lab() -> Lab:
    """Return a lab of web servers that have answered, its history of events nearly full."""
    lab = Lab(seed=1, name="bench")
    lan = lab.lan("br0", latency=ms(1))
    lab.capture(lan)
    for number in range(DOMAINS):
        tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address=f"10.0.0.{number + 2}/24")
        lab.create(web(devices.default_console, tcpip), vif=[lan], name=f"web{number}").unpause()
    lab.run(seconds(1))
    for number in range(FETCHES):
        lab.fetch(f"10.0.0.{number % DOMAINS + 2}")
    return lab


def run() -> list[Row]:
    """Measure."""
    rows = []
    with busy_lab() as lab:
        for view in VIEWS:
            took = cpu_of(5, lambda view=view: view.snapshot(lab, {})) * 1e3
            size = len(json.dumps(view.snapshot(lab, {}))) / 1e3
            what = f"snapshot of the tab {view.title} ({size:,.0f} kB; {DOMAINS} domains, {lab.machine.world.recorder.last:,} events)"
            rows.append(Row(what, took, "ms of CPU", "<= 5", took <= 5))
    return rows
