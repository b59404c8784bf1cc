"""plot: pictures of what was recorded: figures with matplotlib, and SVG, HTML and text for display.

    ladder          who said what to whom                 boot      a domain's first moments: hypercalls, xenstore, console
    time_sequence   a connection's sequence numbers       overview  domains, lans, forwards
    throughput      Mbit/s over time                      packets   the frames as a table
    windows         data in flight, windows, sizes, RTT   follow    what two ends said to one another
    conversations   who talked how much; the I/O graph    scoreboard  what SACK says of the bytes under way
    inside          cwnd, RTO, buffers, what limits       queue   waiting at a port, losses by cause, one-way delay
    diff            two runs: where they part             storm   many domains at once: what xenstored had to do for each

Everything reads captures and events, never an engine.  Each figure returns its Axes; one host has one colour everywhere.
matplotlib is imported when the first figure is drawn.  Reading order of the TCP plots: segments (a frame's head, read fast),
flows (what was sent and acknowledged, with every mark), then the pictures.
"""

from mirage_lab.plot.conversations import conversations, io_graph, io_rows
from mirage_lab.plot.follow import follow
from mirage_lab.plot.hosts import Hosts
from mirage_lab.plot.ladder import ladder
from mirage_lab.plot.scoreboard import scoreboard
from mirage_lab.plot.throughput import throughput
from mirage_lab.plot.time_sequence import stevens, time_sequence
from mirage_lab.plot.windows import outstanding, round_trip, segment_size, window_scaling

__all__ = [
    "Hosts", "conversations", "follow", "io_graph", "io_rows", "ladder", "outstanding", "round_trip", "scoreboard", "segment_size", "stevens", "throughput",
    "time_sequence", "window_scaling",
]
