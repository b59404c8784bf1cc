"""storm: many domains at once: what xenstored had to do for each, and how often somebody was told to ask again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mirage_lab.plot.axes import drawing, label, nothing, told
from mirage_lab.tracing.svg import OKABE_ITO

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mirage_lab.xen.xenstore.storm import Storm

__all__ = ["plot_storm"]

MARKS = "osD^v"


def plot_storm(storms: Iterable[Storm], ax: Axes | None = None) -> Axes:
    """Draw, for each engine, the domains that are ready for each 1,000 requests, against how many clients there are at once.

    Requests are what xenstored's time is spent on, so this is its throughput; the number beside a point counts EAGAIN for each domain.
    """
    results = list(storms)
    ax = drawing(ax, 8, 4)
    title, x, y = "A boot storm under each engine", "clients at once", "domains for 1,000 requests"
    if not results:
        return nothing(ax, "no storm", x, y)
    words = []
    for place, engine in enumerate(dict.fromkeys(result.engine for result in results)):
        rows = sorted((result for result in results if result.engine == engine), key=lambda result: result.clients)
        colour = OKABE_ITO[place % len(OKABE_ITO)]
        ax.plot([row.clients for row in rows], [row.throughput for row in rows], marker=MARKS[place % len(MARKS)], color=colour, label=engine)
        for row in rows:
            if row.aborted:
                ax.annotate(f"{row.aborts:.1f}", (row.clients, row.throughput), xytext=(4, 5), textcoords="offset points", fontsize=8, color=colour)
        words.append(f"{engine}: " + ", ".join(f"{row.clients} at once {row.throughput:.1f} ({row.aborts:.1f} EAGAIN)" for row in rows))
    ax.set_ylim(bottom=0)
    label(ax, f"{title} (beside each point: EAGAIN for each domain)", x, y)
    return told(ax, f"{title}: domains for 1,000 requests", *words)
