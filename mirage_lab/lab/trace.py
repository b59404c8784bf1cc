"""trace: a capture as a person holds it: a table, plots, a file, a data frame, and the way back to the cause."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirage_lab.lab.handles import Causes
from mirage_lab.lab.said import LabError, Said
from mirage_lab.tcpip.displayfilter import DisplayFilter, compile_filter
from mirage_lab.tcpip.dissect import Packet, dissect
from mirage_lab.tracing.capture import Capture, Frame
from mirage_lab.tracing.selection import Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

    from mirage_lab.lab.lab import Lab
    from mirage_lab.plot.hosts import Hosts

__all__ = ["Filtered", "Table", "Trace"]


class Table:
    """Frames under their numbers, which count from 1 as in Wireshark: what a trace and a filtered trace have in common."""

    name: str
    _lab: Lab

    @property
    def capture(self) -> Capture:
        """The frames as they are now."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.capture)

    def __getitem__(self, n: int) -> Frame:
        """Return frame number `n`."""
        for frame in (self.capture.frame_number(n),):
            if frame is not None:
                return frame
        raise LabError(f"{self.name} has no frame {n}: it holds {len(self)} frames")

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.capture.frames)

    def packet(self, n: int) -> Packet:
        """Return frame `n` taken apart, layer by layer."""
        return dissect(self[n].data)

    def causes(self, n: int) -> Causes:
        """Return what led to frame `n`, nearest first, back to the hypercall that sent it and beyond."""
        return Causes(self._lab.machine.world.recorder.causes(self[n].cause))

    def save(self, path: str | Path) -> Said:
        """Write the frames as pcapng (or, by the name's ending, .pcap) for Wireshark and tshark."""
        from mirage_lab.tracing.pcapng import save

        save(self.capture, Path(path), epoch_ns=self._lab.machine.world.epoch_ns)
        return Said(f"{len(self)} frames written to {path} · tshark -r {path}")

    def to_dataframe(self) -> DataFrame:
        """Return a row per frame: n, time (s), source, destination, protocol, length, info, fate.  Needs pandas."""
        try:
            import pandas
        except ImportError:
            raise LabError("to_dataframe needs pandas: pip install 'mirage-lab[pandas]'") from None
        rows = []
        for frame in self:
            packet = dissect(frame.data)
            rows.append(
                {
                    "n": frame.n,
                    "time": frame.t / 1e9,
                    "source": packet.src,
                    "destination": packet.dst,
                    "protocol": packet.protocol,
                    "length": len(frame.data),
                    "info": packet.info,
                    "fate": frame.fate,
                }
            )
        return pandas.DataFrame(rows)

    @property
    def hosts(self) -> Hosts:
        """Names and colours of the machines in this lab."""
        from mirage_lab.lab.pictures import hosts

        return hosts(self._lab.machine)

    def ladder(self, **options: Any) -> Axes:
        """Draw who sent what to whom, time running down."""
        from mirage_lab.plot import ladder

        return ladder(self.capture, hosts=self.hosts, **options)

    def time_sequence(self, **options: Any) -> Axes:
        """Draw sequence numbers over time for one direction of one connection."""
        from mirage_lab.plot import time_sequence

        return time_sequence(self.capture, hosts=self.hosts, **options)

    def throughput(self, **options: Any) -> Axes:
        """Draw Mbit/s over time for each direction."""
        from mirage_lab.plot import throughput

        return throughput(self.capture, hosts=self.hosts, **options)


class Trace(Table):
    """The frames captured on a lan, or at a domain."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab = lab
        self.name = name

    @property
    def capture(self) -> Capture:
        """The capture as it is now; raises LabError when the lab has gone back to before it began."""
        found = self._lab.machine.captures.get(self.name)
        if found is None:
            raise LabError(f"the capture {self.name} has not begun at this time: lab.capture(lan) begins it")
        return found

    def filter(self, text: str) -> Filtered:
        """Return the frames that a display filter lets through, as in Wireshark; they keep their numbers.

        The table follows the capture as it grows.  docs/filters.md has the fields and the operators.  Raises FilterError,
        which points at the place in the text that cannot be read.
        """
        return Filtered(self, (_read(text),))

    def __repr__(self) -> str:
        from mirage_lab.lab.pictures import trace_text

        return trace_text(self._lab.machine, self.name)

    def _repr_html_(self) -> str | None:
        from mirage_lab.lab.pictures import trace_html

        return trace_html(self._lab.machine, self.name)


class Filtered(Table):
    """The frames of a trace that its display filters let through, under the numbers they have there."""

    def __init__(self, trace: Trace, filters: tuple[DisplayFilter, ...]) -> None:
        self._lab = trace._lab
        self._trace = trace
        self._filters = filters
        self._selection: Selection | None = None
        self._seen = self._dropped = 0
        self.name = ", ".join([trace.name, *(found.text.strip() for found in filters if found.text.strip())])

    @property
    def numbers(self) -> list[int]:
        """The numbers of the frames that pass."""
        return self.capture.numbers

    @property
    def capture(self) -> Selection:
        """The frames that pass, as they are now; only frames that are new since the last look are looked at."""
        source = self._trace.capture
        found = self._selection
        if found is None or found.source is not source or source.dropped != self._dropped:
            found = self._selection = Selection(source, self.name)
            self._seen, self._dropped = source.dropped, source.dropped
        first = source.frames[0].t if len(source) else 0
        for frame in source.since(self._seen):
            if all(each.matches(frame.n, frame.t - first, frame.data) for each in self._filters):
                found.add(frame)
            self._seen = frame.n
        return found

    def filter(self, text: str) -> Filtered:
        """Return those of these frames that another display filter lets through too.  Raises FilterError."""
        return Filtered(self._trace, (*self._filters, _read(text)))

    def __repr__(self) -> str:
        from mirage_lab.plot.packets import packets_text

        return packets_text(self.capture, self.hosts)

    def _repr_html_(self) -> str:
        from mirage_lab.plot.packets import packets_html

        return packets_html(self.capture, self.hosts)


def _read(text: object) -> DisplayFilter:
    if not isinstance(text, str):
        raise LabError(f'a filter is a text, as trace.filter("tcp.port == 80"), not {type(text).__name__}')
    return compile_filter(text)
