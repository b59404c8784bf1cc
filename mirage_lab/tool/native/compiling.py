"""compiling: from a source to an Image: check, compile, check again, assemble, link, flatten; or find it in the cache."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from functools import cache as kept
from pathlib import Path
from typing import Any, Final, Literal

from mirage_lab.signatures.errors import MirageError
from mirage_lab.tool.native import reach
from mirage_lab.tool.native.cache import Cache, key_of
from mirage_lab.tool.native.diagnostics import CompileError, Diagnostic, parse, told
from mirage_lab.tool.native.flattening import check_image, flatten
from mirage_lab.tool.native.places import Place, can_tell, places_of
from mirage_lab.tool.native.targets import COMMON, INCLUDE, Target, target
from mirage_lab.tool.native.toolchain import Ran, Toolchain
from mirage_lab.xen.dom0.elf import read_elf
from mirage_lab.xen.dom0.image import Image

__all__ = ["compile_guest"]

Language = Literal["c", "asm"]
FORMAT: Final = "2"
"""Changes when what is kept in the cache does."""
LONGEST: Final = 1 << 20
_NAMES: Final = {"c": "guest.c", "asm": "guest.S"}
_C_FLAGS: Final = ("-Os", "-Wall", "-gline-tables-only")
_LINK: Final = ("--no-dependent-libraries", "--gc-sections", "--build-id=none", "-z", "max-page-size=4096", "-z", "noexecstack")


def compile_guest(
    source: str,
    arch: str = "x86_64",
    name: str = "guest",
    language: str = "c",
    *,
    memory_mib: int = 16,
    cmdline: str = "",
    bare: bool = False,
    first_line: int = 1,
    cache: Cache | None = None,
) -> Image:
    """Compile a guest and return its image, for `lab.create`.

    `source`: C that includes <guest.h> and has a `main`, or (`language="asm"`) assembly that has one; `arch`: x86_64, aarch64
    or armv7.  `bare`: the source has its own entry `_start` and the header of its format, and gets nothing of ours.
    `first_line` is the number of the first line in messages.  The manifest of the image has its "source", what the compiler warned of
    ("compiler"), which line each address comes from ("places"), and for ARM the ELF file with its symbols ("elf").  Raises CompileError,
    NativeMissing without a compiler (mirage_lab[native]), MirageError for what cannot be.
    """
    to = target(arch)
    if language not in _NAMES:
        raise MirageError(f"no language {language!r}: c and asm are what a guest can be written in")
    if len(source) > LONGEST:
        raise MirageError(f"{name}: a source of more than {LONGEST:,} letters")
    source = source.encode("utf-8", "backslashreplace").decode().replace("\r\n", "\n").replace("\r", "\n")  # as clang counts lines
    job = _Job(source, to, name, language, bare, first_line)
    found = _compiled(job, Cache.of_this_person() if cache is None else cache)
    warnings = [Diagnostic(*row) for row in found.told["warnings"]]
    places = tuple(Place(address, function, line + first_line - 1 if line else 0) for address, function, line in found.told["places"])
    manifest: dict[str, Any] = {"netifs": (), "arch": arch, "language": language, "bare": bare, "places": places, "source": source}
    if found.elf:
        manifest["elf"] = found.elf
    if warnings:
        manifest["compiler"] = told(name, warnings, source, first_line)
    return Image(name, kind=to.kind, memory_mib=memory_mib, cmdline=cmdline, manifest=manifest, data=found.data)


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be compiled."""

    source: str
    to: Target
    name: str
    language: str
    bare: bool
    first_line: int

    @property
    def file(self) -> str:
        return _NAMES[self.language]

    def failed(self, diagnostics: list[Diagnostic]) -> CompileError:
        return CompileError(told(self.name, diagnostics, self.source, self.first_line), diagnostics)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """The bytes of an image, the ELF file it was flattened from (empty: it is one), and what else is known of it."""

    data: bytes
    elf: bytes
    told: dict[str, Any]

    def packed(self) -> bytes:
        """Return all of it as one value of the cache."""
        return json.dumps({**self.told, "size": len(self.data)}).encode() + b"\n" + self.data + self.elf

    @classmethod
    def unpacked(cls, value: bytes) -> _Compiled:
        """Return what `packed` made."""
        head, _, rest = value.partition(b"\n")
        told = json.loads(head)
        return cls(rest[: told["size"]], rest[told["size"] :], told)


def _compiled(job: _Job, cache: Cache) -> _Compiled:
    """Return what a job makes, from the cache if it is there."""
    with tempfile.TemporaryDirectory(prefix="mirage-lab-") as work:
        tools = Toolchain(Path(work).resolve(), cache.room)
        how = (job.to.arch, job.language, str(job.bare), str(can_tell()), *COMMON, *_C_FLAGS, *job.to.flags)
        key = key_of(FORMAT, tools.version, *how, _own(job.to.arch), job.source)
        kept_value = cache.get(key)
        if kept_value is not None:
            return _Compiled.unpacked(kept_value)
        made = _compile(job, tools, cache)
        cache.put(key, made.packed())
        return made


@kept
def _own(arch: str) -> bytes:
    """Return all that is ours in an image."""
    return b"".join(path.name.encode() + path.read_bytes() for path in target(arch).files())


@kept
def _headers() -> frozenset[str]:
    return frozenset(path.name for path in INCLUDE.glob("*.h"))


# the steps -----------------------------------------------------------------------------------------------------------


def _compile(job: _Job, tools: Toolchain, cache: Cache) -> _Compiled:
    wrong = reach.check_source(job.source, _headers())
    if wrong:
        raise job.failed(wrong)
    work = tools.work
    (work / job.file).write_text(job.source + "\n", encoding="utf-8", newline="\n")
    said = _to_object(job, tools)
    objects = ["guest.o"]
    if not job.bare:
        (work / "runtime.a").write_bytes(_runtime(job.to, tools, cache))
        objects.append("runtime.a")
    for made, flags in (("guest.elf", ("--strip-debug",)), ("guest.debug", ())):
        linked = tools.run(["ld.lld", *_LINK, *flags, "-T", str(job.to.script), "-o", made, *objects])
        if linked.code:
            raise job.failed(said + (parse(linked.said, job.file) or [Diagnostic(0, 0, "error", "the linker gave up")]))
    data, elf = (work / "guest.elf").read_bytes(), b""
    if job.to.kind == "arm":
        elf, data = data, flatten(read_elf(data))
        check_image(job.to.arch, data)
    elif read_elf(data).phys32_entry is None:
        raise MirageError(f"{job.name}: a PVH guest has a note of Xen, type 18, that says where it begins (PHYS32_ENTRY); this one has none")
    warnings = [[one.line, one.column, one.kind, one.text] for one in said]
    places = places_of((work / "guest.debug").read_bytes(), job.file)
    return _Compiled(data, elf, {"warnings": warnings, "places": places})


def _clang(job: _Job, tools: Toolchain, *words: str) -> Ran:
    """Run clang for the target."""
    return tools.run(["clang", "--no-default-config", f"--target={job.to.triple}", *job.to.flags, *COMMON, f"-I{INCLUDE}", *words])


def _good(job: _Job, code: int, said: list[Diagnostic]) -> list[Diagnostic]:
    """Return what was said; raises CompileError if it was an error."""
    if code:
        raise job.failed(said or [Diagnostic(0, 0, "error", "the compiler gave up without a word")])
    return said


def _to_object(job: _Job, tools: Toolchain) -> list[Diagnostic]:
    """Write guest.o by way of guest.s; see that only what may be read was read, and will be.  Returns warnings."""
    work, is_c = tools.work, job.language == "c"
    done = _clang(job, tools, "-M", "-MF", "rule", job.file)
    _good(job, done.code, parse(done.said, job.file))
    if not reach.check_files((work / "rule").read_text(encoding="utf-8"), INCLUDE, work / job.file):
        raise job.failed([Diagnostic(0, 0, "error", "it includes a file of this computer; a guest has our headers only")])
    # without the assembler inside clang, which would follow the directives of assembly inside C while it writes them down
    done = _clang(job, tools, *(("-S", "-fno-integrated-as", *_C_FLAGS) if is_c else ("-E",)), job.file, "-o", "guest.s")
    said = _good(job, done.code, parse(done.said, job.file))
    text = (work / "guest.s").read_text(encoding="utf-8", errors="backslashreplace")
    lines = reach.source_lines(text, job.file, preprocessed=not is_c)
    wrong = reach.check_assembly(text, lines)
    if wrong:
        raise job.failed(wrong)
    done = _clang(job, tools, "-c", "-x", "assembler", *(() if is_c else ("-g",)), "guest.s", "-o", "guest.o")
    rows = parse(done.said, "guest.s" if is_c else job.file)
    if is_c:  # of assembly inside C the assembler knows the row only
        rows = [Diagnostic(lines[one.line - 1] if 0 < one.line <= len(lines) else 0, 0, one.kind, one.text) for one in rows]
    return said + _good(job, done.code, rows)


def _runtime(to: Target, tools: Toolchain, cache: Cache) -> bytes:
    """Return the archive of what every guest of an architecture may use, compiled once."""
    key = key_of(FORMAT, "runtime", tools.version, to.arch, *COMMON, *to.flags, _own(to.arch))
    found = cache.get(key)
    if found is not None:
        return found
    room = tools.work / "runtime"
    room.mkdir()
    sources = [str(path) for path in to.sources()]
    inside = Toolchain(room, cache.room)
    done = inside.run(["clang", "--no-default-config", f"--target={to.triple}", *to.flags, *COMMON, f"-I{INCLUDE}", "-Os", "-Wall", "-Wextra", "-c", *sources])
    made = sorted(path.name for path in room.glob("*.o"))
    if done.code or inside.run(["ar", "rcsD", "runtime.a", *made]).code:
        raise MirageError(f"the runtime of guests cannot be compiled for {to.arch} by ziglang {tools.version}: {done.said[:400]}")
    archive = (room / "runtime.a").read_bytes()
    cache.put(key, archive)
    return archive
