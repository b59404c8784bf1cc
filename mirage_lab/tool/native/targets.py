"""targets: the architectures a guest may be made for: what clang calls them, which files begin them, what their image is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirage_lab.signatures.errors import MirageError
from mirage_lab.xen.dom0.image import Kind

__all__ = ["COMMON", "INCLUDE", "TARGETS", "Target", "target"]

GUEST: Final = Path(__file__).parent / "guest"
INCLUDE: Final = GUEST / "include"
COMMON: Final = (
    "-std=gnu17",
    "-ffreestanding",
    "-nostdinc",
    "-fno-builtin",
    "-fno-pic",
    "-fno-pie",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fno-strict-aliasing",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-color-diagnostics",
    "-fno-caret-diagnostics",
    "-fno-crash-diagnostics",
    "-ferror-limit=20",
    "-Wno-unused-command-line-argument",
)
"""What every compilation is told: no library, nothing of this computer, no code that needs either."""


@dataclass(frozen=True, slots=True)
class Target:
    """One architecture: its `triple` and flags for clang, its image's kind, and where its own parts of the runtime are."""

    arch: str
    triple: str
    flags: tuple[str, ...]
    kind: Kind
    rooms: tuple[str, ...]

    @property
    def script(self) -> Path:
        """The linker script."""
        return GUEST / self.arch / "guest.ld"

    def sources(self) -> list[Path]:
        """Return the files of the runtime, in order of name."""
        rooms = ("runtime", *self.rooms)
        return sorted((path for room in rooms for path in (GUEST / room).iterdir() if path.suffix in (".c", ".S")), key=lambda path: path.parts)

    def files(self) -> list[Path]:
        """Return every file that an image is made of besides its source: the cache asks whether they changed."""
        headers = [path for room in ("include", "runtime", *self.rooms) for path in (GUEST / room).glob("*.h")]
        return [*sorted(headers, key=lambda path: path.parts), *self.sources(), self.script]


TARGETS: Final[dict[str, Target]] = {
    "x86_64": Target("x86_64", "x86_64-unknown-none-elf", ("-mno-red-zone", "-mgeneral-regs-only", "-mcmodel=kernel"), "elf", ("x86_64",)),
    "aarch64": Target("aarch64", "aarch64-unknown-none-elf", ("-mcpu=cortex-a72", "-mgeneral-regs-only", "-mstrict-align"), "arm", ("aarch64", "arm")),
    "armv7": Target("armv7", "armv7-unknown-none-eabi", ("-mcpu=cortex-a7", "-marm", "-mfloat-abi=soft", "-mno-unaligned-access"), "arm", ("armv7", "arm")),
}


def target(arch: str) -> Target:
    """Return the target of a name; raises MirageError."""
    found = TARGETS.get(arch)
    if found is None:
        raise MirageError(f"no architecture {arch!r}: {', '.join(TARGETS)} are what a guest can be made for")
    return found
