"""reach: a source reads our headers and nothing else of this computer.

    the source            #include and #embed name one of our headers, by its name alone; __has_include does not ask
    what clang read       each file is the source or one of our headers (whatever a macro made of a name)
    the assembly          no directive reads a file (.incbin, .include), and none is put together by a macro
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from mirage_lab.tool.native.diagnostics import Diagnostic

__all__ = ["check_assembly", "check_files", "check_source", "source_lines"]

_SPLICE: Final = re.compile(r"\\[ \t]*\n")
_DIRECTIVE: Final = re.compile(r"^[ \t]*(?:#|%:)[ \t]*(include|include_next|import|embed)\b[ \t]*(.*)$")
_NAMED: Final = re.compile(r"""(?:"([^"]*)"|<([^>]*)>)""")
_ASKS: Final = re.compile(r"__has_(include|include_next|embed)\b")
_STRING: Final = re.compile(r'(\.(?:ascii|asciz|string|ident|file|section)\s+(?:\d+\s+)?)(?:"(?:\\.|[^"\\])*"[\s,]*)+', re.IGNORECASE)
_QUOTED: Final = re.compile(r'(?:^|[;:/@#!|])\s*"')
_READS: Final = re.compile(r"\.(incbin|include)\b", re.IGNORECASE)
_MAKES: Final = re.compile(r"\.(macro|irpc?|altmacro)\b", re.IGNORECASE)
_MARK: Final = re.compile(
    r'\s*\.loc\s+(?P<file>\d+)\s+(?P<line>\d+)|#(?:line)?\s+(?P<from>\d+)\s+"(?P<path>[^"]*)"'
    r'|\s*\.file\s+(?P<number>\d+)\s+(?:"[^"]*"\s+)?"(?P<name>[^"]*)"'
)
_LIBRARIES: Final = re.compile(r"llvm_dependent_libraries|0x6fff4c04", re.IGNORECASE)
_REFUSED: Final = (
    (_READS, "reads a file of this computer"),
    (_QUOTED, "is written as text"),
    (_MAKES, "could make any other"),
    (_LIBRARIES, "reads a library of this computer"),
)


def check_source(source: str, headers: frozenset[str]) -> list[Diagnostic]:
    """Return an error for each line that names a file which is not one of our headers."""
    found = []
    for number, line in _spliced(source):
        match = _DIRECTIVE.match(line)
        if match is not None:
            named = _NAMED.match(match[2])
            name = (named[1] or named[2] or "") if named is not None else ""
            if match[1] != "include" or name not in headers:
                there = ", ".join(sorted(headers))
                what = f"#{match[1]} {match[2].strip()}"[:80]
                found.append(Diagnostic(number, 1, "error", f"{what}: a guest includes {there}, by name, and nothing of this computer"))
        elif (asks := _ASKS.search(line)) is not None:
            found.append(Diagnostic(number, asks.start() + 1, "error", f"{asks[0]}: a guest does not ask for files of this computer"))
    return found


def _spliced(source: str) -> list[tuple[int, str]]:
    """Return (number, line), with lines that end in a backslash put together."""
    rows, at = [], 1
    for line in _SPLICE.sub("\\\\\x00", source).split("\n"):
        rows.append((at, line.replace("\\\x00", "")))
        at += 1 + line.count("\\\x00")
    return rows


def check_files(rule: str, allowed: Path, source: Path) -> bool:
    """Tell from a rule for make, as clang -M writes it, whether only the source and our headers were read."""
    _, _, files = rule.replace("\\\n", " ").partition(": ")
    names = [name.replace("\\ ", " ").replace("\\#", "#").replace("$$", "$") for name in re.findall(r"(?:\\ |[^\s])+", files)]
    there = allowed.resolve()
    paths = [source.parent / name for name in names]
    return all(path == source or path.resolve().parent == there for path in paths)


def source_lines(text: str, called: str, *, preprocessed: bool) -> list[int]:
    """Return for each row of an assembly the line of the source that it comes from, 0 where none is known.

    Of C the compiler says it in .loc and .file; what is only `preprocessed` has marks like `# 3 "guest.S"`.
    """
    lines, line, files = [], 0, {0: called}
    for row in text.split("\n"):
        mark = _MARK.match(row)
        if mark is None:
            line += preprocessed
        elif preprocessed and mark["from"]:
            line = int(mark["from"]) - 1 if mark["path"].endswith(called) else 0
        elif mark["number"]:
            files[int(mark["number"])] = mark["name"]
        elif mark["line"]:
            line = int(mark["line"]) if files.get(int(mark["file"]), "").endswith(called) else line
        lines.append(line)
    return lines


def check_assembly(text: str, lines: list[int]) -> list[Diagnostic]:
    """Return an error for what would have the assembler or the linker read a file; `lines` are those of the source, row by row."""
    found = []
    for row, line in zip(text.split("\n"), lines):
        bare = _STRING.sub(r"\1", row)
        for pattern, why in _REFUSED:
            if (match := pattern.search(bare)) is not None:
                found.append(Diagnostic(line, 0, "error", f"{match[0].strip()}: a guest has no directive that {why}"))
    return found
