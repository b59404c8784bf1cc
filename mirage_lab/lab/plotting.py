"""plotting: the pictures that a table of frames can be asked for, from a lab's capture and from a file alike.

Each figure returns its Axes; name it on a cell's last line and it is shown.  The drawing is `mirage_lab.plot`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirage_lab.lab.said import LabError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

    from mirage_lab.lab.lab import Lab
    from mirage_lab.plot.diff import Diff
    from mirage_lab.plot.flows import Flow
    from mirage_lab.plot.follow import Stream
    from mirage_lab.plot.hosts import Hosts
    from mirage_lab.tracing.capture import Capture
    from mirage_lab.tracing.recorder import Event

__all__ = ["FromInside", "Pictures", "need_pandas"]


def need_pandas(what: str) -> Any:
    """Return pandas; raises LabError that says how to get it."""
    try:
        import pandas
    except ImportError:
        raise LabError(f"{what} needs pandas: pip install 'mirage-lab[pandas]'") from None
    return pandas


class Pictures:
    """What has `capture` and `hosts` can be drawn."""

    @property
    def capture(self) -> Capture:
        """The frames as they are now."""
        raise NotImplementedError

    @property
    def hosts(self) -> Hosts:
        """Names and colours of those who speak."""
        raise NotImplementedError

    @property
    def flows(self) -> list[Flow]:
        """Both directions of each TCP connection, numbered from 0, in order of appearance."""
        from mirage_lab.plot.flows import flows
        from mirage_lab.plot.segments import segments

        return flows(segments(self.capture))

    def ladder(self, **options: Any) -> Axes:
        """Draw who sent what to whom, time running down: 60 frames from number `start=` on, of one connection with `flow=`."""
        from mirage_lab.plot import ladder

        return ladder(self.capture, hosts=self.hosts, **options)

    def time_sequence(self, flow: Flow | str | int | None = None, **options: Any) -> Axes:
        """Draw sequence numbers over time for one direction of one connection, with every mark of tcptrace."""
        from mirage_lab.plot import time_sequence

        return time_sequence(self.capture, flow, hosts=self.hosts, **options)

    def stevens(self, flow: Flow | str | int | None = None, **options: Any) -> Axes:
        """Draw a dot for each segment: its sequence number over time."""
        from mirage_lab.plot import stevens

        return stevens(self.capture, flow, hosts=self.hosts, **options)

    def throughput(self, flow: Flow | str | int | None = None, **options: Any) -> Axes:
        """Draw Mbit/s over time for each sender; of one flow: each segment, the averages and the goodput."""
        from mirage_lab.plot import throughput

        return throughput(self.capture, flow, hosts=self.hosts, **options)

    def round_trip(self, flow: Flow | str | int | None = None, **options: Any) -> Axes:
        """Draw the round trips that acknowledgments measured, in ms, over time or by="sequence"."""
        from mirage_lab.plot import round_trip

        return round_trip(self.capture, flow, hosts=self.hosts, **options)

    def outstanding(self, flow: Flow | str | int | None = None, **options: Any) -> Axes:
        """Draw the bytes in flight over time, their averages, and the receiver's window."""
        from mirage_lab.plot import outstanding

        return outstanding(self.capture, flow, hosts=self.hosts, **options)

    def window_scaling(self, flow: Flow | str | int | None = None, **options: Any) -> Axes:
        """Draw the receiver's window over time, and the bytes in flight."""
        from mirage_lab.plot import window_scaling

        return window_scaling(self.capture, flow, hosts=self.hosts, **options)

    def scoreboard(self, flow: Flow | str | int | None = None, **options: Any) -> Axes:
        """Draw what SACK blocks say of the bytes under way: what has arrived above a hole, and what was sent again."""
        from mirage_lab.plot import scoreboard

        return scoreboard(self.capture, flow, hosts=self.hosts, **options)

    def segment_size(self, flow: Flow | str | int | None = None, **options: Any) -> Axes:
        """Draw the bytes of data in each segment over time, and their average."""
        from mirage_lab.plot import segment_size

        return segment_size(self.capture, flow, hosts=self.hosts, **options)

    def io_graph(self, *filters: str, **options: Any) -> Axes:
        """Draw frames (or unit="bytes", "bits") per interval: of all frames, and of each display filter."""
        from mirage_lab.plot import io_graph

        return io_graph(self.capture, *filters, **options)

    def io_table(self, *filters: str, interval_ns: int = 1_000_000_000) -> DataFrame:
        """Return a row per interval: start (s), frames and bytes, of all frames and of each display filter.  Needs pandas."""
        from mirage_lab.plot import io_rows

        return need_pandas("io_table").DataFrame(io_rows(self.capture, *filters, interval_ns=interval_ns))

    def conversations(self, kind: str = "tcp") -> DataFrame:
        """Return a row per pair of ends that talked ("tcp", "udp", "ip" or "eth"): frames, bytes, start, duration.  Needs pandas."""
        from mirage_lab.plot import conversations

        return need_pandas("conversations").DataFrame(conversations(self.capture, kind))

    def follow(self, n: int) -> Stream:
        """Return what was said in the connection that frame `n` belongs to: the bytes of both directions, put together."""
        from mirage_lab.plot import follow

        return follow(self.capture, n, self.hosts)

    def delay(self, other: Pictures, **options: Any) -> Axes:
        """Draw how long each frame took from here to another capture of the same world, as lab.capture(vm): one-way delay in ms."""
        from mirage_lab.plot.queue import delay

        return delay(self.capture, other.capture, hosts=self.hosts, **options)

    def diff(self, other: Pictures) -> Diff:
        """Compare with the trace of another run: the first frame that differs, and both time-sequences in one picture."""
        from mirage_lab.plot.diff import diff

        return diff(self.capture, other.capture, (self.capture.name, other.capture.name))


class FromInside:
    """What a trace of the lab can draw beside: the variables of the stacks, from the events of the world.

    `end` is the sending end of a connection ("10.0.0.2:80"); without it, the connection with most events is drawn.  What
    costs something is recorded only when enabled, before the connection begins: lab.machine.world.recorder.enable("tcp.cwnd").
    """

    _lab: Lab

    def _events(self, pattern: str) -> list[Event]:
        return self._lab.machine.world.recorder.events(pattern)

    def congestion(self, end: str | None = None, **options: Any) -> Axes:
        """Draw cwnd, ssthresh and the bytes in flight of a connection over bands of its phases.  Needs the events tcp.cwnd."""
        from mirage_lab.plot.inside import congestion

        return congestion(self._events("tcp.*"), end, **options)

    def timeouts(self, end: str | None = None, **options: Any) -> Axes:
        """Draw the RTO of a connection against its round trips.  Needs the events tcp.cwnd."""
        from mirage_lab.plot.inside import timeouts

        return timeouts(self._events("tcp.*"), end, **options)

    def limits(self, end: str | None = None, **options: Any) -> Axes:
        """Draw what held a sender back: the application, the window, congestion.  Needs the events tcp.cwnd."""
        from mirage_lab.plot.inside import limits

        return limits(self._events("tcp.*"), end, **options)

    def buffers(self, end: str | None = None, **options: Any) -> Axes:
        """Draw the bytes a connection holds to be sent, to be read and out of order.  Needs the events tcp.buffers."""
        from mirage_lab.plot.inside import buffers

        return buffers(self._events("tcp.*"), end, **options)

    def queue(self, lan: str | None = None, **options: Any) -> Axes:
        """Draw how long the queues of a lan were, and what was lost and why.  Queues need the events lan.queue."""
        from mirage_lab.plot.queue import queue

        return queue(self._events("lan.*"), lan, **options)
