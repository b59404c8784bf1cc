"""trace: a capture as a person holds it: a table, plots, a file, a data frame, and the way back to the cause."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirage_lab.lab.handles import Causes
from mirage_lab.lab.said import LabError, Said
from mirage_lab.tcpip.dissect import Packet, dissect
from mirage_lab.tracing.capture import Capture, Frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

    from mirage_lab.lab.lab import Lab
    from mirage_lab.plot.hosts import Hosts

__all__ = ["Trace"]


class Trace:
    """The frames captured on a lan.  Numbers of frames count from 1, as in Wireshark."""

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

    def __repr__(self) -> str:
        from mirage_lab.lab.pictures import trace_text

        return trace_text(self._lab.machine, self.name)

    def _repr_html_(self) -> str | None:
        from mirage_lab.lab.pictures import trace_html

        return trace_html(self._lab.machine, self.name)
