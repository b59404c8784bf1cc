"""plotting: the pictures that a table of frames can be asked for, from a lab's capture and from a file alike.

Each figure returns its Axes; name it on a cell's last line and it is shown.  The drawing is `mirage_lab.plot`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirage_lab.lab.said import LabError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

    from mirage_lab.plot.flows import Flow
    from mirage_lab.plot.follow import Stream
    from mirage_lab.plot.hosts import Hosts
    from mirage_lab.tracing.capture import Capture

__all__ = ["Pictures", "need_pandas"]


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
