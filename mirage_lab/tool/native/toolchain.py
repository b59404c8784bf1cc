"""toolchain: clang and ld.lld as they come with ziglang, each run as a program of its own: no shell, bounded in time and output.

They are called by their own command lines (`zig clang`, `zig ld.lld`), not through `zig cc`: that one compiles libraries of
its own, ignores ENTRY() and knows the directories of this computer.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mirage_lab.signatures.errors import MirageError

__all__ = ["NativeMissing", "Ran", "TooMuch", "Toolchain"]

TICK: Final = 0.02
"""Seconds between two looks at what a program writes."""
SECONDS: Final = 30
MOST_SAID: Final = 256 << 10
MOST_WRITTEN: Final = 64 << 20
MOST_MEMORY: Final = 1 << 30
EPOCH: Final = "1405987200"
"""What __DATE__ says: the time at which every world begins."""
_KEPT: Final = ("SYSTEMROOT", "TEMP", "TMP", "TMPDIR")


class NativeMissing(MirageError):
    """The compiler of guests is not installed."""


class TooMuch(MirageError):
    """A program ran too long, or wrote too much."""


class Ran:
    """What became of a program: its exit `code`, and what it `said`."""

    __slots__ = ("code", "said")

    def __init__(self, code: int, said: str) -> None:
        self.code = code
        self.said = said


class Toolchain:
    """The programs of ziglang, for one compilation in the directory `work`."""

    def __init__(self, work: Path, cache: Path) -> None:
        self.work = work
        self._zig, self.version = _ziglang()
        self._environment = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "ZIG_GLOBAL_CACHE_DIR": str(cache / "zig"),
            "ZIG_LOCAL_CACHE_DIR": str(cache / "zig"),
            "SOURCE_DATE_EPOCH": EPOCH,
        }

    def __repr__(self) -> str:
        return f"<Toolchain ziglang {self.version}>"

    def run(self, words: Sequence[str]) -> Ran:
        """Run `zig WORDS` to its end; raises TooMuch."""
        said = self.work / "said"
        with said.open("wb") as output:
            process = subprocess.Popen(
                [str(self._zig), *words], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=self.work, env=self._environment
            )
            try:
                self._watch(process, words[0])
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
        with said.open("rb") as file:
            return Ran(process.returncode, file.read(MOST_SAID).decode("utf-8", "backslashreplace"))

    def _watch(self, process: subprocess.Popen[bytes], name: str) -> None:
        for _ in range(int(SECONDS / TICK)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TICK)
                return
            if self._written() > MOST_WRITTEN:
                raise TooMuch(f"{name} wrote more than {MOST_WRITTEN >> 20} MiB: a guest is smaller; is there an array that is meant to be allocated?")
            if _resident(process.pid) > MOST_MEMORY:
                raise TooMuch(f"{name} used more than {MOST_MEMORY >> 20} MiB of this computer's memory and was stopped: is there a table that is too large?")
        raise TooMuch(f"{name} ran for more than {SECONDS} s and was stopped: is there a macro that grows without end?")

    def _written(self) -> int:
        total = 0
        for path in self.work.iterdir():
            with contextlib.suppress(OSError):  # it has another name by now
                total += path.stat().st_size
        return total


def _resident(pid: int) -> int:
    """Return the bytes of memory that a program has, 0 where Linux does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except (OSError, ValueError, IndexError):
        return 0


def _ziglang() -> tuple[Path, str]:
    """Return where zig is, and its version; raises NativeMissing."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        import ziglang

        return _program(Path(ziglang.__path__[0])), version("ziglang")
    except (ImportError, PackageNotFoundError, FileNotFoundError):
        raise NativeMissing("compiling a guest needs a C compiler: pip install 'mirage_lab[native]' (ziglang)") from None


def _program(room: Path) -> Path:
    for name in ("zig", "zig.exe"):
        if (room / name).is_file():
            return room / name
    raise FileNotFoundError(room)
