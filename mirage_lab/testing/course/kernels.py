"""Small kernels and disks to boot, and the exercises of 19-a-real-kernel.

    multiboot header, 32 bytes      magic 0x1badb002 | flags | checksum | header, load, load end, bss end, entry addresses
    hypercall                       mov eax, number; mov ebx, first; mov ecx, second; ...; vmcall
"""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Mapping
from typing import Any, Final

from mirage_lab.runtime import World
from mirage_lab.runtime.driver import Driver
from mirage_lab.signatures.errors import MirageError
from mirage_lab.signatures.units import Ns, ms
from mirage_lab.testing.attempt import exercise
from mirage_lab.testing.course.worlds import story
from mirage_lab.testing.story import Story
from mirage_lab.xen.abi.io.blkif import SECTOR
from mirage_lab.xen.dom0 import Image, Toolstack
from mirage_lab.xen.dom0.disk import Disk
from mirage_lab.xen.guest.minios import boot

__all__ = ["LOADED", "check_kernel", "check_menu", "check_read", "hypercall", "multiboot", "tar_disk", "until"]

LOADED: Final = 0x40_0000
"""Where `multiboot` has a kernel loaded: its code begins 64 bytes after."""
MAGIC: Final = 0x1BAD_B002
ADDRESSES: Final = 1 << 16
"""Flag: the header says where everything goes, so the file need not be ELF."""
_MOVES: Final = (b"\xbb", b"\xb9", b"\xba", b"\xbe", b"\xbf")
PATIENCE: Final = ms(1)


def tar_disk(files: Mapping[str, bytes]) -> bytes:
    """Return a disk with files: a tar archive, which GRUB reads as a file system; the same files, the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def hypercall(number: int, *args: int) -> bytes:
    """Return the machine code (x86, 32 bits) of a hypercall with up to five arguments."""
    words = b"".join(move + struct.pack("<I", value & 0xFFFF_FFFF) for move, value in zip(_MOVES, args))
    return b"\xb8" + struct.pack("<I", number) + words + b"\x0f\x01\xc1"


def multiboot(code: bytes, *, at: int = LOADED) -> bytes:
    """Return a kernel that GRUB's command multiboot loads at `at`: a header, and `code` at `at` + 64."""
    end = at + 64 + len(code)
    header = struct.pack("<8I", MAGIC, ADDRESSES, -(MAGIC + ADDRESSES) & 0xFFFF_FFFF, at, at, end, end, at + 64)
    return header.ljust(64, b"\0") + code


def until(lab: Any, vm: Any, ending: str = "grub>", most: int = 200) -> Any:
    """Run a lab until the screen of `vm` ends with `ending`, or the domain ended, `most` ms at most; return the screen."""
    for _ in range(most):
        lab.run(PATIENCE)
        if vm.console.screen.endswith(ending) or vm.state in ("shutdown", "crashed"):
            break
    return vm.console.screen


class _Bench:
    """A machine with one domain, made of an image and a disk."""

    def __init__(self, image: Image, files: Mapping[str, bytes]) -> None:
        self.world = World(19)
        self.toolstack = Toolstack(self.world, boot=boot)
        self.domid = self.toolstack.create(image, disk=[Disk(data=tar_disk(files))])
        self.toolstack.unpause(self.domid)

    def __enter__(self) -> _Bench:
        return self

    def __exit__(self, *error: object) -> None:
        self.world.close()

    @property
    def state(self) -> str:
        return self.toolstack.domain(self.domid).state

    @property
    def text(self) -> str:
        return self.toolstack.console(self.domid).text

    def run(self, most: Ns, *, until: str = "") -> None:
        """Run until the console ends with `until`, or the domain ended, `most` at most."""
        end = self.world.now + most
        while self.world.now < end and self.state not in ("shutdown", "crashed"):
            Driver(self.world).run(Ns(self.world.now + PATIENCE))
            if until and self.text.endswith(until):
                return

    def typed(self, line: str) -> None:
        """Type a line."""
        self.toolstack.console(self.domid).write(line + "\r")


def _files(told: Story, files: object) -> Mapping[str, bytes]:
    there = isinstance(files, Mapping) and all(isinstance(name, str) and isinstance(data, bytes) for name, data in files.items())
    told.true("there are files, bytes by name", there and files, "{'boot/grub/grub.cfg': b'...'} is one")
    assert isinstance(files, Mapping)
    return files


@exercise
def check_menu(kernel: Image, files: object) -> Story:
    """A disk from which GRUB says "good morning" and halts, though nobody touches a key."""
    told = story("a disk that boots by itself")
    with _Bench(kernel, _files(told, files)) as bench:
        bench.run(ms(400))
        text, state = bench.text, bench.state
    waits = "grub> " in text and "good morning" not in text
    why = "it asks for a command instead: there is no /boot/grub/grub.cfg" if waits else f"the console ends {text[-60:]!r}"
    told.true("good morning was said", "good morning" in text, why)
    told.true("and the machine is off", state == "shutdown", f"it is {state}")
    return told


@exercise
def check_kernel(kernel: Image, code: object) -> Story:
    """Machine code that says "goodbye" on Xen's console and ends its domain as crashed, loaded by GRUB."""
    told = story("a kernel that knows when to stop")
    told.true("there is code: bytes", isinstance(code, bytes), f"it is {code!r:.60}")
    assert isinstance(code, bytes)
    with _Bench(kernel, {"kernel": multiboot(code)}) as bench:
        for line in ("", "multiboot (xen/xvda)/kernel", "boot"):
            if line:
                bench.typed(line)
            bench.run(ms(200), until="grub> ")
        said, state = bench.toolstack.dmesg(), bench.state
    last = [line for line in said.splitlines() if "(d1)" in line or "crashed" in line or "shut down" in line]
    told.true("it says goodbye", any("(d1)" in line and "goodbye" in line for line in last), *last[-2:], f"the domain is {state}")
    told.true("it ends its domain", state in ("shutdown", "crashed"), "it runs still")
    told.true("as one that crashed, by its own will", state == "crashed" and "crashed: crash" in said and "d1v0" not in said, *last[-2:])
    return told


@exercise
def check_read(lab: Any, number: object) -> Story:
    """How many bytes GRUB asked its disk for."""
    told = story("what a file costs")
    told.true("it is a number", isinstance(number, int), f"it is {number!r}")
    try:
        blkback = lab.machine.toolstack.blkback
        read = sum(vbd.read for vbd in blkback.statistics().values()) * SECTOR
    except MirageError as error:
        told.fail("the lab is open", str(error))
    told.true("so many bytes went through the ring", number == read, f"{number!r} is too {'few' if isinstance(number, int) and number < read else 'many'}")
    return told
