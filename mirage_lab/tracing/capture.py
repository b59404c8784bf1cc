"""Capture: the frames seen at one place, bounded, with what became of each.

A frame is noted when it enters the lan; its fate is "delivered" unless `lost` or `note` says otherwise later.  Noting a
frame is the hot path (four appends to parallel columns); `Frame` records are made when somebody looks.

    n      1-based, as in Wireshark; never reused
    t      virtual ns
    cause  id of the event that sent it (`Recorder.causes` walks back from there), 0 from outside
    port   where it entered

At most `limit_bytes` of memory are kept: overflow drops the oldest and `dropped` says how many.  A capture can stream to
a pcapng file while it runs; the file then has every frame, the dropped ones too.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, overload

from mirage_lab.tracing import pcapng

__all__ = ["DELIVERED", "EPOCH_NS", "Capture", "Frame"]

LIMIT_BYTES: Final = 256 << 20
"""Bytes a capture keeps unless told otherwise."""

OVERHEAD: Final = 64
"""Bytes counted for a frame beside its data: its columns and its bytes object."""

EPOCH_NS: Final = 1_405_987_200_000_000_000
"""Unix time of a world's start unless told otherwise: 2014-07-22T00:00:00Z, as `runtime.clock.EPOCH`."""

DELIVERED: Final = "delivered"
LOST: Final = "lost: "

STREAM_BUFFER: Final = 64 << 10
STREAM_EVERY_NS: Final = 100_000_000


class Frame:
    """One captured frame: `n`, `t` (ns), `data`, `cause`, `port`, `fate`."""

    __slots__ = ("cause", "data", "fate", "n", "port", "t")

    def __init__(self, n: int, t: int, data: bytes, cause: int = 0, port: str = "", fate: str = DELIVERED) -> None:
        self.n = n
        self.t = t
        self.data = data
        self.cause = cause
        self.port = port
        self.fate = fate

    @property
    def lost(self) -> str:
        """Why it was lost, or "" when it was delivered."""
        return self.fate[len(LOST) :] if self.fate.startswith(LOST) else ""

    def __repr__(self) -> str:
        told = "" if self.fate == DELIVERED else f" {self.fate}"
        return f"<Frame {self.n} t={self.t / 1e9:.6f} s {len(self.data)} bytes from {self.port or '?'}{told}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frame) and self._row() == other._row()

    def __hash__(self) -> int:
        return hash((self.n, self.t))

    def _row(self) -> tuple[int, int, bytes, int, str, str]:
        return (self.n, self.t, self.data, self.cause, self.port, self.fate)


class Capture:
    """Frames in the order they entered, oldest first; at most `limit_bytes` of them.

    >>> capture = Capture("br0")
    >>> capture.frame(0, bytes(60), 0, "web")
    1
    >>> capture.lost(1, "loss")
    >>> capture.frames[0]
    <Frame 1 t=0.000000 s 60 bytes from web lost: loss>
    """

    def __init__(self, name: str, limit_bytes: int = LIMIT_BYTES) -> None:
        if limit_bytes < 1:
            raise ValueError(f"{name}: a capture keeps at least one byte, not {limit_bytes}")
        self.name = name
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self.dropped = 0
        self.stream_error = ""
        self.clock = "virtual time"
        self._t = array("q")
        self._data: list[bytes] = []
        self._cause = array("q")
        self._port: list[str] = []
        self._fates: dict[int, str] = {}
        self._stream: _Stream | None = None
        self.frames: Sequence[Frame] = _Frames(self)

    def __repr__(self) -> str:
        dropped = f", the oldest {self.dropped:,} dropped" if self.dropped else ""
        return f"<Capture {self.name}: {len(self):,} frames, {self.bytes:,} bytes{dropped}>"

    def __len__(self) -> int:
        return len(self._data)

    # writing -----------------------------------------------------------------------------------------------------

    def frame(self, t: int, data: bytes, cause: int = 0, port: str = "") -> int:
        """Note a frame and return its number."""
        self._t.append(t)
        self._data.append(data)
        self._cause.append(cause)
        self._port.append(port)
        self.bytes = total = self.bytes + len(data) + OVERHEAD
        n = self.dropped + len(self._data)
        if self._stream is not None:
            self._streamed(n, t)
        if total > self.limit_bytes:
            self._shed()
        return n

    def lost(self, n: int, reason: str) -> None:
        """Say that frame `n` never arrived, and why."""
        self.note(n, LOST + reason)

    def note(self, n: int, fate: str) -> None:
        """Say what became of frame `n`, when it was not just delivered ("duplicated", "corrupted")."""
        if n > self.dropped:
            self._fates[n] = fate

    def _shed(self) -> None:
        """Drop the oldest eighth at once, so that a full capture costs little per frame; the newest frame stays."""
        if self._stream is not None:
            self._write_stream()
        goal = self.limit_bytes - self.limit_bytes // 8
        count, last = 0, len(self._data) - 1
        while count < last and self.bytes > goal:
            self.bytes -= len(self._data[count]) + OVERHEAD
            count += 1
        for n in range(self.dropped + 1, self.dropped + count + 1):
            self._fates.pop(n, None)
        del self._t[:count], self._data[:count], self._cause[:count], self._port[:count]
        self.dropped += count

    # reading -----------------------------------------------------------------------------------------------------

    def frame_number(self, n: int) -> Frame | None:
        """Return frame `n`, or None when it was never captured or is no longer kept."""
        index = n - 1 - self.dropped
        return self._at(index) if 0 <= index < len(self._data) else None

    def since(self, n: int, limit: int | None = None) -> list[Frame]:
        """Return the kept frames with numbers above `n`, at most the first `limit`: what is new for one who has seen `n`."""
        return [self._at(index) for index in range(max(0, n - self.dropped), len(self._data))[:limit]]

    def after(self, n: int) -> int:
        """Count the kept frames with numbers above `n`."""
        return len(self._data) - max(0, min(n - self.dropped, len(self._data)))

    @property
    def last(self) -> int:
        """The number of the newest frame, 0 before the first."""
        return self.dropped + len(self._data)

    def _at(self, index: int) -> Frame:
        n = self.dropped + index + 1
        return Frame(
            n, self._t[index], self._data[index], self._cause[index], self._port[index], self._fates.get(n, DELIVERED)
        )

    # streaming ---------------------------------------------------------------------------------------------------

    def stream(self, path: str | Path, *, epoch_ns: int = EPOCH_NS) -> None:
        """Write the frames kept so far, and all that come, to `path` as pcapng; `stop_stream` ends it.

        Fates known when a frame is written (some KiB later) become its comment.  A disk that fails ends the stream and
        is told in `stream_error`; the world goes on.  Raises OSError when the file cannot be opened.
        """
        self.stop_stream()
        self.stream_error = ""
        self._stream = _Stream(Path(path), self.dropped, epoch_ns)
        self._write_stream()

    def flush(self) -> None:
        """Bring the streamed file up to date."""
        if self._stream is not None:
            self._write_stream()

    def stop_stream(self) -> None:
        """Write what is left and close the file; without a stream, nothing."""
        if self._stream is not None:
            self._write_stream()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _streamed(self, n: int, t: int) -> None:
        stream = self._stream
        assert stream is not None
        stream.waiting += len(self._data[-1])
        if stream.waiting > STREAM_BUFFER or t - stream.flushed_at > STREAM_EVERY_NS:
            stream.flushed_at = t
            self._write_stream(n - 1)  # the fate of the newest is not yet known

    def _write_stream(self, up_to: int | None = None) -> None:
        stream = self._stream
        assert stream is not None
        end = len(self._data) if up_to is None else up_to - self.dropped
        try:
            stream.write(self._at(index) for index in range(max(0, stream.written - self.dropped), end))
        except OSError as error:
            self.stream_error = f"{stream.path}: {error.strerror or error}; the stream ended at frame {stream.written}"
            self._stream = None
            stream.close()


class _Stream:
    """A pcapng file that follows a capture."""

    def __init__(self, path: Path, written: int, epoch_ns: int) -> None:
        self.path = path
        self.written = written
        self.waiting = 0
        self.flushed_at = 0
        self._file = path.open("wb")
        self._writer = pcapng.Writer(self._file, epoch_ns=epoch_ns)

    def write(self, frames: Iterator[Frame]) -> None:
        for frame in frames:
            self._writer.frame(frame.t, frame.data, frame.port, "" if frame.fate == DELIVERED else frame.fate)
            self.written = frame.n
        self.waiting = 0
        self._file.flush()

    def close(self) -> None:
        try:
            self._file.close()
        except OSError:
            return  # a full disk: the reason is in stream_error already


class _Frames(Sequence[Frame]):
    """The frames of a capture as a sequence; records are made when looked at."""

    __slots__ = ("_capture",)

    def __init__(self, capture: Capture) -> None:
        self._capture = capture

    def __len__(self) -> int:
        return len(self._capture._data)

    @overload
    def __getitem__(self, index: int) -> Frame: ...

    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...

    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        capture = self._capture
        if isinstance(index, slice):
            return [capture._at(i) for i in range(*index.indices(len(self)))]
        size = len(self)
        if not -size <= index < size:
            raise IndexError(f"{capture.name} holds {size} frames; there is no [{index}]")
        return capture._at(index + size if index < 0 else index)

    def __iter__(self) -> Iterator[Frame]:
        index = self._capture.dropped
        while (at := index - self._capture.dropped) < len(self._capture._data):
            if at < 0:
                index, at = self._capture.dropped, 0
            yield self._capture._at(at)
            index += 1

    def __repr__(self) -> str:
        return f"<{len(self):,} frames of {self._capture.name}>"
