"""piping: a capture fed into a running Wireshark or tshark, as it grows.

    trace.pipe()                        Wireshark if it is there, else tshark
    trace.pipe("tshark", "-n", "-l", "-r", "-", "-Y", "tcp.analysis.flags")

The program is started as it is named, without a shell, and gets pcapng on its standard input.  A thread of its own feeds it:
it looks at the capture under the lab's lock and writes outside of it, so that a program that does not read keeps nobody
waiting.  What the capture has dropped by then is counted as missed.  What the program prints is kept, the last `KEPT` bytes.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Final, cast

from mirage_lab.lab.said import LabError, Said
from mirage_lab.signatures.errors import MirageError
from mirage_lab.tracing.pcapng import Writer
from mirage_lab.tracing.selection import Selection
from mirage_lab.tracing.svg import visible

if TYPE_CHECKING:
    from typing import IO

    from mirage_lab.lab.trace import Table
    from mirage_lab.tracing.capture import Frame

__all__ = ["PROGRAMS", "Pipe"]

PROGRAMS: Final = (("wireshark", "-k", "-i", "-"), ("tshark", "-n", "-l", "-r", "-"))
KEPT: Final = 256 << 10
BATCH: Final = 1_000
LOOK: Final = 0.05
"""Seconds between two looks at a capture in which nothing is new."""
PATIENCE: Final = 10.0
"""Seconds a program has to end by itself once its input has ended."""


class Pipe:
    """A program that is fed a capture; `close` ends its input and waits for it, and so does leaving a `with`."""

    def __init__(self, table: Table, words: tuple[str, ...], turn: AbstractContextManager[object]) -> None:
        if not words:
            words = next((each for each in PROGRAMS if shutil.which(each[0])), ())
            if not words:
                raise LabError("neither wireshark nor tshark is installed: install one, or trace.save('x.pcapng') writes a file for it")
        if not all(isinstance(word, str) for word in words):
            raise LabError(f'a program and its arguments are texts, as trace.pipe("tshark", "-r", "-"), not {words!r}')
        program = shutil.which(words[0])
        if program is None:
            raise LabError(f"{words[0]} is not installed: trace.save('x.pcapng') writes a file for it")
        self.words = words
        self.sent = self.missed = 0
        self.ended = ""
        self._table, self._turn = table, turn
        self._text = bytearray()
        self._over = threading.Event()
        self._process = subprocess.Popen([program, *words[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
        self._threads = [threading.Thread(target=work, name=f"pipe to {words[0]}", daemon=True) for work in (self._feed, self._listen)]
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> bool:
        """True while the program runs."""
        return self._process.poll() is None

    @property
    def text(self) -> str:
        """What the program has printed so far, its end if it is long."""
        return bytes(self._text).decode("utf-8", "replace")

    def close(self) -> Said:
        """Feed what is left, end the program's input and wait for it; one that does not end in 10 s is stopped."""
        self._over.set()
        feeder, listener = self._threads
        feeder.join(PATIENCE)
        try:
            code: int | None = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.ended = self.ended or f"it did not end in {PATIENCE:g} s and was stopped"
            code = self._process.wait(PATIENCE)
        feeder.join(PATIENCE)
        listener.join(PATIENCE)
        if not self.ended and code:
            last = self.text.strip().splitlines()[-1:]
            self.ended = f"it ended with {code}" + (f": {visible(last[0], 120)}" if last else "")
        return Said(repr(self))

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        state = self.ended or ("running" if self.running else "ended")
        missed = f", {self.missed:,} were dropped before it could read them" if self.missed else ""
        return f"{self._table.name} -> {visible(' '.join(self.words), 80)}: {self.sent:,} frames{missed}; {state}"

    # in the threads ----------------------------------------------------------------------------------------------

    def _feed(self) -> None:
        file = cast("IO[bytes]", self._process.stdin)
        seen = 0
        try:
            writer = Writer(file, epoch_ns=self._table.epoch_ns)
            while True:
                over = self._over.is_set()
                new = self._new(seen)
                for frame in new:
                    writer.frame(frame.t, frame.data, frame.port, "" if frame.fate == "delivered" else frame.fate)
                    seen = frame.n
                self.sent += len(new)
                if not new:
                    if over:
                        break
                    self._over.wait(LOOK)
        except OSError:
            self.ended = self.ended or "it reads no more"
        except MirageError as error:
            self.ended = str(error)  # the lab was closed, or went back to before the capture began
        finally:
            try:
                file.close()
            except OSError:
                self.ended = self.ended or "it reads no more"

    def _new(self, seen: int) -> list[Frame]:
        """Return the next frames; under the lab's lock."""
        with self._turn:
            capture = self._table.capture
            if capture.last < seen:
                raise LabError("the lab went back in time; trace.pipe() begins again")
            frames = capture.since(seen, BATCH)
            lost = frames[0].n - seen - 1 if frames and not isinstance(capture, Selection) else 0
        self.missed += lost
        return frames

    def _listen(self) -> None:
        file = cast("IO[bytes]", self._process.stdout)
        with file:
            while piece := file.read(1 << 16):
                self._text += piece
                del self._text[:-KEPT]
