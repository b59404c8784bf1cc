"""trace: a capture as a person holds it: a table, plots, a file, a data frame, and the way back to the cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from mirage_lab.lab.handles import Causes
from mirage_lab.lab.plotting import FromInside, Pictures, need_pandas
from mirage_lab.lab.said import LabError, Said
from mirage_lab.tcpip.displayfilter import DisplayFilter, compile_filter
from mirage_lab.tcpip.dissect import Packet, dissect
from mirage_lab.tracing.capture import LIMIT_BYTES, Capture, Frame
from mirage_lab.tracing.selection import Selection
from mirage_lab.tracing.svg import bounded

if TYPE_CHECKING:
    from pandas import DataFrame

    from mirage_lab.lab.lab import Lab
    from mirage_lab.lab.piping import Pipe
    from mirage_lab.plot.hosts import Hosts

__all__ = ["CaptureFile", "Filtered", "Table", "Trace", "read_capture"]


class Table(Pictures):
    """Frames under their numbers, which count from 1 as in Wireshark: what a trace, a filtered trace and a file have in common."""

    name: str

    @property
    def capture(self) -> Capture:
        """The frames as they are now."""
        raise NotImplementedError

    @property
    def epoch_ns(self) -> int:
        """Unix time (ns) of t = 0."""
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
        raise LabError(f"{self.name} comes from a file: what led to its frames was not recorded")

    def save(self, path: str | Path) -> Said:
        """Write the frames as pcapng (or, by the name's ending, .pcap) for Wireshark and tshark."""
        from mirage_lab.tracing.pcapng import save

        save(self.capture, Path(path), epoch_ns=self.epoch_ns)
        return Said(f"{len(self)} frames written to {path} · tshark -r {path}")

    def to_dataframe(self) -> DataFrame:
        """Return a row per frame: n, time (s), source, destination, protocol, length, info, fate.  Needs pandas."""
        pandas = need_pandas("to_dataframe")
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
    def turn(self) -> AbstractContextManager[object]:
        """What another thread holds while it looks at the frames."""
        return nullcontext()

    def pipe(self, *words: str) -> Pipe:
        """Feed the frames, and those to come, to a running Wireshark (or tshark), or to the program and arguments named.

        It gets pcapng on its standard input; no shell is involved.  `close` ends it, and so does leaving a `with`.  Raises
        LabError when the program is not installed.
        """
        from mirage_lab.lab.piping import Pipe

        return Pipe(self, words, self.turn)

    def filter(self, text: str) -> Filtered:
        """Return the frames that a display filter lets through, as in Wireshark; they keep their numbers.

        The table follows the capture as it grows.  docs/filters.md has the fields and the operators.  Raises FilterError,
        which points at the place in the text that cannot be read.
        """
        return Filtered(self, (_read(text),))

    def __repr__(self) -> str:
        from mirage_lab.plot.packets import packets_text

        return packets_text(self.capture, self.hosts)

    def _repr_html_(self) -> str | None:
        from mirage_lab.plot.packets import packets_html

        return packets_html(self.capture, self.hosts)


class Trace(Table, FromInside):
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

    @property
    def epoch_ns(self) -> int:
        """Unix time (ns) of the world's start."""
        return self._lab.machine.world.epoch_ns

    @property
    def turn(self) -> AbstractContextManager[object]:
        """The lab's lock."""
        return self._lab.lock

    @property
    def hosts(self) -> Hosts:
        """Names and colours of the machines in this lab."""
        from mirage_lab.lab.pictures import hosts

        return hosts(self._lab.machine)

    def causes(self, n: int) -> Causes:
        """Return what led to frame `n`, nearest first, back to the hypercall that sent it and beyond."""
        return Causes(self._lab.machine.world.recorder.causes(self[n].cause))

    def __repr__(self) -> str:
        if self.name not in self._lab.machine.captures:
            return f"{self.name}: not captured at this time; lab.capture(lan) begins it"
        from mirage_lab.lab.pictures import trace_text

        return trace_text(self._lab.machine, self.name)

    def _repr_html_(self) -> str | None:
        if self.name not in self._lab.machine.captures:
            return None
        from mirage_lab.lab.pictures import trace_html

        return trace_html(self._lab.machine, self.name)


class Filtered(Table):
    """The frames of a trace that its display filters let through, under the numbers they have there."""

    def __init__(self, trace: Table, filters: tuple[DisplayFilter, ...]) -> None:
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
            self._filters = tuple(compile_filter(each.text) for each in self._filters)  # these remember connections
        first = source.frames[0].t if len(source) else 0
        for frame in source.since(self._seen):
            if all(each.matches(frame.n, frame.t - first, frame.data) for each in self._filters):
                found.add(frame)
            self._seen = frame.n
        return found

    def filter(self, text: str) -> Filtered:
        """Return those of these frames that another display filter lets through too.  Raises FilterError."""
        return Filtered(self._trace, (*self._filters, _read(text)))

    @property
    def epoch_ns(self) -> int:
        """Unix time (ns) of t = 0."""
        return self._trace.epoch_ns

    @property
    def turn(self) -> AbstractContextManager[object]:
        """The lock of the whole trace."""
        return self._trace.turn

    @property
    def hosts(self) -> Hosts:
        """Names and colours as the whole trace has them."""
        return self._trace.hosts

    def causes(self, n: int) -> Causes:
        """Return what led to frame `n`."""
        self[n]
        return self._trace.causes(n)


class CaptureFile(Table):
    """The frames of a file, ours or somebody else's; `path` is where it was read from."""

    def __init__(self, path: Path, capture: Capture, epoch_ns: int) -> None:
        self.path = path
        self.name = path.name
        self._capture = capture
        self._epoch_ns = epoch_ns
        self._hosts: Hosts | None = None

    @property
    def capture(self) -> Capture:
        """The frames that were read."""
        return self._capture

    @property
    def epoch_ns(self) -> int:
        """Unix time (ns) of the earliest frame, which is t = 0."""
        return self._epoch_ns

    @property
    def hosts(self) -> Hosts:
        """Colours of the hosts, in the order they spoke."""
        from mirage_lab.plot.hosts import Hosts

        if self._hosts is None:
            from mirage_lab.plot.segments import heads

            self._hosts = Hosts()
            for head in heads(self._capture):
                if head.proto is not None:
                    self._hosts.meet(head.src)
        return self._hosts


def read_capture(path: str | Path, *, limit_bytes: int = LIMIT_BYTES) -> CaptureFile:
    """Read a pcap or pcapng file, also within gzip, from any tool; it is looked at and plotted as a trace of the lab is.

    The file may be of any size: it is read a packet at a time, and of a long one the last `limit_bytes` are kept (its
    repr says how many were dropped).  t = 0 is the time of the first packet.  Raises PcapError, which says what is wrong at
    which byte, and OSError.
    """
    from mirage_lab.tracing.savefile import read

    path = Path(path)
    capture = Capture(path.name, limit_bytes)
    capture.clock = "time since the first packet"
    epoch_ns = None
    with path.open("rb") as file:
        for record in read(file):
            if epoch_ns is None:
                epoch_ns = record.time_ns
            n = capture.frame(record.time_ns - epoch_ns, record.data, 0, record.port)
            if record.comment:
                capture.note(n, bounded(record.comment, 200))
    return CaptureFile(path, capture, epoch_ns or 0)


def _read(text: object) -> DisplayFilter:
    if not isinstance(text, str):
        raise LabError(f'a filter is a text, as trace.filter("tcp.port == 80"), not {type(text).__name__}')
    return compile_filter(text)
