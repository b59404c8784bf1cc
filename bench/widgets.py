"""Widgets: what a snapshot of each tab costs in a lab that has done a lot, and what the packet table costs when it is long:
the price of being watched, 20 times a second at most."""

from __future__ import annotations

import json

from bench.row import Row, cpu_of
from mirage_lab import Lab, devices, ms, seconds
from mirage_lab.lab.views import packets
from mirage_lab.lab.views.catalogue import VIEWS
from mirage_lab.skeleton import web
from mirage_lab.tracing.capture import Capture

__all__ = ["run"]

FRAMES = 100_000
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


def long_capture(lab: Lab) -> Capture:
    """Return a capture of `FRAMES` frames: those that a web server exchanged, again and again."""
    lab.fetch("10.0.0.2")
    said = [frame.data for frame in lab.traces[0]]
    capture = lab.capture("br0", name="long", limit_bytes=1 << 30).capture
    for number in range(FRAMES):
        capture.frame(lab.now + number * 1_000, said[number % len(said)], 0, "web")
    return capture


def table_rows() -> list[Row]:
    """Measure the packet table: the first look at row 90,000, a snapshot and a question while a filter is under way."""
    rows = []
    asks, wanted = packets.VIEW.asks, "tcp.flags.syn == 1"
    with Lab.demo("web", seed=1) as lab:
        long_capture(lab)
        look = {"packets.capture": "long", "packets.filter": wanted}
        here = {"capture": "long", "filter": ""}
        took = cpu_of(1, lambda: asks["packets.rows"](lab, {**here, "n": 90_000, "count": 100})) * 1e3
        rows.append(Row(f"100 rows around frame 90,000 of {FRAMES:,}, asked first", took, "ms of CPU", "<= 50", took <= 50))
        took = cpu_of(10, lambda: packets.snapshot(lab, look)) * 1e3
        rows.append(Row(f"snapshot of {FRAMES:,} frames while a filter is under way", took, "ms of CPU", "<= 5", took <= 5))
        took = cpu_of(5, lambda: asks["packets.scan"](lab, {**here, "filter": wanted})) * 1e3
        rows.append(Row(f"{packets.ASK_FRAMES:,} frames filtered, one question", took, "ms of CPU", "<= 100", took <= 100))
        took = cpu_of(5, lambda: asks["packets.packet"](lab, {"capture": "br0", "n": 10})) * 1e3
        rows.append(Row("one frame: fields, bytes and causes", took, "ms of CPU", "<= 10", took <= 10))
    return rows


def run() -> list[Row]:
    """Measure."""
    rows = table_rows()
    with busy_lab() as lab:
        for view in VIEWS:
            took = cpu_of(5, lambda view=view: view.snapshot(lab, {})) * 1e3
            size = len(json.dumps(view.snapshot(lab, {}))) / 1e3
            what = f"snapshot of the tab {view.title} ({size:,.0f} kB; {DOMAINS} domains, {lab.machine.world.recorder.last:,} events)"
            rows.append(Row(what, took, "ms of CPU", "<= 5", took <= 5))
    return rows
