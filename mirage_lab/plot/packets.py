"""packets: a capture as a table, one frame a row, as HTML and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirage_lab.plot.axes import SECONDS
from mirage_lab.plot.frames import Seen, read
from mirage_lab.plot.hosts import Hosts
from mirage_lab.tracing.selection import Selection
from mirage_lab.tracing.svg import html_table, visible

if TYPE_CHECKING:
    from mirage_lab.tracing.capture import Capture

__all__ = ["COLUMNS", "ROWS", "packets_html", "packets_text"]

COLUMNS = ("n", "time (s)", "source", "destination", "protocol", "length", "info")

ROWS = 40
"""Rows of a table unless told otherwise."""


def packets_html(capture: Capture, hosts: Hosts | None = None, *, start: int = 1, rows: int = ROWS) -> str:
    """Return frames from number `start` on as an escaped HTML table; a mark in the sender's colour leads each row."""
    hosts = hosts or Hosts()
    shown = read(capture, hosts, start=start, count=rows)
    colours = [hosts.colour(hosts.name(seen.src)) for seen in shown]
    return html_table(COLUMNS, [_row(seen, hosts) for seen in shown], caption=_title(capture), note=_rest(capture, shown), colours=colours)


def packets_text(capture: Capture, hosts: Hosts | None = None, *, start: int = 1, rows: int = 6) -> str:
    """Return frames from number `start` on as text, 2 lines more than `rows` at most."""
    hosts = hosts or Hosts()
    shown = read(capture, hosts, start=start, count=rows)
    told = [_title(capture)]
    for seen in shown:
        n, t, src, dst, protocol, length, info = _row(seen, hosts)
        told.append(f"{n:>5} {t} {src} -> {dst} {protocol} {length} {visible(str(info), 90)}")
    rest = _rest(capture, shown)
    return "\n".join([*told, rest] if rest else told)


def _row(seen: Seen, hosts: Hosts) -> tuple[object, ...]:
    info = seen.info + (f"  [{seen.lost}]" if seen.lost else "")
    return (seen.n, f"{seen.t / SECONDS:.6f}", hosts.name(seen.src), hosts.name(seen.dst), seen.protocol, seen.length, info)


def _title(capture: Capture) -> str:
    if isinstance(capture, Selection):
        return f"{capture.name}: {len(capture):,} of {len(capture.source):,} frames"
    dropped = f", the oldest {capture.dropped:,} dropped" if capture.dropped else ""
    return f"{capture.name}: {len(capture.frames):,} frames{dropped}"


def _rest(capture: Capture, shown: list[Seen]) -> str:
    if isinstance(capture, Selection) and not len(capture) and len(capture.source):
        return "no frame passes"
    if not len(capture.frames):
        return "nothing was said yet: lab.run(seconds(1))"
    last = shown[-1].n if shown else 0
    left = capture.after(last)
    return f"{left:,} more frames from number {last + 1}" if left and shown else ""
