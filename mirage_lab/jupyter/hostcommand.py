"""hostcommand: running a program of this computer while the lab plays: bounded in time and output, no shell.

`{name}` and `{name.attr}` are filled from the notebook; nothing else is: no calls, no indices, no format specs.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from mirage_lab.signatures.errors import MirageError

__all__ = ["Finished", "HostCommandError", "fill", "run", "start", "stop"]

OUTPUT = 1 << 20
_FIELD = re.compile(r"\{([A-Za-z_]\w*(?:\.[A-Za-z]\w*)*)\}")


class HostCommandError(MirageError):
    """A command that cannot be run: the message says why."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended: `code` (None: stopped after the time allowed), what it wrote, bytes left out."""

    words: list[str]
    code: int | None
    stdout: bytes
    stderr: bytes
    left_out: int


def fill(line: str, namespace: Mapping[str, Any]) -> list[str]:
    """Return the words of a command line, with fields filled; raises HostCommandError."""
    try:
        words = shlex.split(line, posix=os.name == "posix")
    except ValueError as error:
        raise HostCommandError(f"%host: {error}") from None
    if not words:
        raise HostCommandError("%host needs a command: %host curl -s {site.url}")
    return [_FIELD.sub(lambda match: _value(match[1], namespace), word) for word in words]


def _value(path: str, namespace: Mapping[str, Any]) -> str:
    name, *attributes = path.split(".")
    if name not in namespace:
        raise HostCommandError(f"%host: there is no {name} in this notebook (a literal brace is written in %%host's input)")
    value = namespace[name]
    for attribute in attributes:
        if not hasattr(value, attribute):
            raise HostCommandError(f"%host: {name} has no {attribute}")
        value = getattr(value, attribute)
    return str(value)


class _Reader(threading.Thread):
    """Reads a pipe to its end and keeps the first MiB."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.data = bytearray()
        self.left_out = 0
        self._pipe = pipe
        self.start()

    def run(self) -> None:
        with contextlib.suppress(ValueError, OSError):
            while chunk := self._pipe.read1(65_536):  # type: ignore[attr-defined]
                room = OUTPUT - len(self.data)
                self.data += chunk[:room]
                self.left_out += max(0, len(chunk) - room)


def start(words: list[str], *, quiet: bool = False) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own, `quiet` without pipes; raises HostCommandError when it is missing."""
    if shutil.which(words[0]) is None:
        raise HostCommandError(f"{words[0]} is not installed on this computer (or not on its PATH)")
    group: dict[str, Any] = {"start_new_session": True} if os.name == "posix" else {}
    pipe = subprocess.DEVNULL if quiet else subprocess.PIPE
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, **group)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the program and what it started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
    process.wait()


def run(words: list[str], *, timeout: float, stdin: bytes = b"") -> Finished:
    """Run a program to its end, or for `timeout` seconds."""
    process = start(words)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    readers = [_Reader(process.stdout), _Reader(process.stderr)]
    code: int | None = None
    try:
        with contextlib.suppress(BrokenPipeError, OSError):
            process.stdin.write(stdin)
        with contextlib.suppress(BrokenPipeError, OSError):
            process.stdin.close()
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        pass
    finally:
        stop(process)
        for reader in readers:
            reader.join(2)
        process.stdout.close()
        process.stderr.close()
    out, err = readers
    return Finished(words, code, bytes(out.data), bytes(err.data), out.left_out + err.left_out)
