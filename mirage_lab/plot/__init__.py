"""plot: pictures of what was recorded: figures with matplotlib, and SVG, HTML and text for display.

    ladder          who said what to whom                 boot      a domain's first moments: hypercalls, xenstore, console
    time_sequence   a connection's sequence numbers       overview  domains, lans, forwards
    throughput      Mbit/s over time                      packets   the frames as a table

Everything reads captures and events, never an engine.  Each figure returns its Axes; one host has one colour everywhere.
matplotlib is imported when the first figure is drawn.
"""

from mirage_lab.plot.hosts import Hosts
from mirage_lab.plot.ladder import ladder
from mirage_lab.plot.throughput import throughput
from mirage_lab.plot.time_sequence import time_sequence

__all__ = ["Hosts", "ladder", "throughput", "time_sequence"]
