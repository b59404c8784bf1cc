"""diagnostics: what clang and the linker say, as values with the line of the source, and as text a person reads.

    hello.c:3:5: error: use of undeclared identifier 'x'   ─▶   line 3: error: use of undeclared identifier 'x'
                                                                    x = 1;
                                                                    ^
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mirage_lab.signatures.errors import MirageError

__all__ = ["CompileError", "Diagnostic", "parse", "told"]

MOST: Final = 10
LONGEST: Final = 200
_LINE: Final = re.compile(r"(?P<file>[^:\n]{1,300}):(?P<line>\d{1,9}):(?P<column>\d{1,9}): (?P<kind>fatal error|error|warning|note): (?P<text>.*)")
_LINKER: Final = re.compile(r"\S*ld\.lld: (?P<kind>error|warning): (?P<text>.*)")
_REFERENCED: Final = re.compile(r">>> referenced by (?P<file>[^:\s]+):(?P<line>\d{1,9})")


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing the compiler says: `line` and `column` count from 1 in the source as it was given; 0 where it names no place in it."""

    line: int
    column: int
    kind: str
    text: str


class CompileError(MirageError):
    """A source cannot be compiled; `diagnostics` are all that was said of it."""

    def __init__(self, message: str, diagnostics: Sequence[Diagnostic] = ()) -> None:
        super().__init__(message)
        self.diagnostics = tuple(diagnostics)


def plain(text: str) -> str:
    """Return one line without what is no character to be shown, of a bounded length."""
    kept = "".join(letter if letter.isprintable() else " " for letter in text)
    return kept if len(kept) <= LONGEST else kept[: LONGEST - 3] + "..."


def parse(output: str, called: str) -> list[Diagnostic]:
    """Return what is said of the file that the compiler knows as `called`, and errors without a place; not what is said of other files."""
    found: list[Diagnostic] = []
    for row in output.splitlines():
        match = _LINE.fullmatch(row)
        if match is not None:
            kind = match["kind"].removeprefix("fatal ")
            if match["file"].endswith(called):
                found.append(Diagnostic(int(match["line"]), int(match["column"]), kind, plain(match["text"])))
            elif kind == "error":
                file = re.split(r"[/\\]", match["file"])[-1]
                found.append(Diagnostic(0, 0, kind, plain(f"{file}: {match['text']}")))
        elif (match := _LINKER.fullmatch(row)) is not None:
            found.append(Diagnostic(0, 0, match["kind"], plain(match["text"])))
        elif (match := _REFERENCED.match(row)) is not None and found and match["file"].endswith(called):
            found[-1] = Diagnostic(int(match["line"]), 0, found[-1].kind, found[-1].text)
    return found


def told(name: str, diagnostics: Sequence[Diagnostic], source: str, first_line: int) -> str:
    """Return the message: what is wrong, each with its line (the first has number `first_line`) and a caret."""
    lines = source.split("\n")
    errors = sum(one.kind == "error" for one in diagnostics)
    warnings = sum(one.kind == "warning" for one in diagnostics)
    counts = [f"{count} {word}{'' if count == 1 else 's'}" for count, word in ((errors, "error"), (warnings, "warning")) if count]
    rows = [f"{name}: {' and '.join(counts)}" if counts else name]
    for one in diagnostics[:MOST]:
        rows.append(f"line {one.line + first_line - 1}: {one.kind}: {one.text}" if one.line else f"{one.kind}: {one.text}")
        if 0 < one.line <= len(lines):
            rows += _shown(lines[one.line - 1], one.column)
    if len(diagnostics) > MOST:
        rows.append(f"... and {len(diagnostics) - MOST} more")
    return "\n".join(rows)


def _shown(line: str, column: int) -> list[str]:
    """A line of the source, and below it a caret."""
    text = plain(line.expandtabs(4))
    if not column:
        return [f"    {text}"]
    before = len(line.encode()[: column - 1].decode(errors="ignore").expandtabs(4))
    return [f"    {text}", "    " + " " * before + "^"] if before < LONGEST - 3 else [f"    {text}"]
