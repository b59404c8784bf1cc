"""Disks beside the real ones: e2fsprogs and mtools make and check images, GRUB for Xen reads and writes them over its ring.

GRUB for PVH is a 32-bit guest, whose ring has the other layout than that of GRUB for PV and of a Python unikernel.
"""

from __future__ import annotations

import hashlib
import random
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mirage_lab import Lab, configure, devices, guest_image, ms, seconds, unikernel
from mirage_lab.lab.handles import Vm
from mirage_lab.signatures import Block

KERNELS = Path("/usr/lib/grub-xen")
PROMPT = "grub> "
HELLO = "hello from a disk\nand a second line\n"
BIG = random.Random(1).randbytes(300_001)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=1, name="compat-disks") as made:
        yield made


@pytest.fixture
def ext2(tmp_path: Path, require: Callable[[str], str]) -> Path:
    """Return an image of ext2 with three files."""
    return made_ext2(tmp_path, require, {"hello.txt": HELLO.encode(), "big.bin": BIG, "boot/deep.txt": b"deep\n", "grubenv": environment()})


def made_ext2(tmp_path: Path, require: Callable[[str], str], files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    image = tmp_path / "ext2.img"
    run(require("mkfs.ext2"), "-q", "-d", str(tmp_path / "files"), str(image), "2M")
    return image


def environment() -> bytes:
    """An empty environment block of GRUB: 1,024 bytes that it may change in place."""
    return b"# GRUB Environment Block\n".ljust(1_024, b"#")


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


class Grub:
    """GRUB at its prompt; calling it types a command and returns what it answered."""

    def __init__(self, lab: Lab, kernel: Path, *disks: object) -> None:
        self.lab = lab
        self.vm: Vm = lab.create(guest_image(kernel, name="grub", disk=disks))
        self.vm.unpause()
        self.banner = self._until_prompt(0)

    def __call__(self, command: str) -> str:
        before = len(self.vm.console.text)
        self.vm.console.write(command + "\r")
        return self._until_prompt(before).removeprefix(f"{command}\n").removesuffix(PROMPT)

    def _until_prompt(self, before: int, most: int = 1_000) -> str:
        for _ in range(most):
            self.lab.run(ms(1))
            text = self._shown(self.vm.console.text[before:])
            if text.endswith(PROMPT) or self.vm.state in ("shutdown", "crashed"):
                return text
        raise AssertionError(f"no prompt: {self._shown(self.vm.console.text)[-200:]!r}")

    def _shown(self, text: str) -> str:
        """What is left without the escapes of a terminal, and without the progress that comes and goes on its last column."""
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")
        return re.sub(r" *\[ \S+  \S+  \d+%  \S+ \]", "", plain)


@pytest.fixture(params=["grub-i386-xen_pvh.bin", "grub-x86_64-xen.bin"], ids=["pvh", "pv"])
def kernel(request: pytest.FixtureRequest, require_file: Callable[[Path, str], Path]) -> Path:
    return require_file(KERNELS / request.param, "grub-xen-host")


def test_grub_lists_and_reads_the_files_of_an_ext2_disk_to_the_last_byte(lab: Lab, kernel: Path, ext2: Path) -> None:
    grub = Grub(lab, kernel, ext2)
    assert grub("ls").split() == ["(memdisk)", "(proc)", "(xen/xvda)"]
    assert set(grub("ls (xen/xvda)/").split()) == {"lost+found/", "hello.txt", "big.bin", "boot/", "grubenv"}
    assert grub("cat (xen/xvda)/hello.txt") == HELLO + "\n"
    assert grub("cat (xen/xvda)/boot/deep.txt") == "deep\n\n"
    assert grub("sha256sum (xen/xvda)/big.bin").split()[0] == hashlib.sha256(BIG).hexdigest()
    vbd = lab.machine.toolstack.blkback.statistics()["grub/xvda"]
    assert vbd.refused == {} and vbd.read * 512 > len(BIG)
    protocol = lab.xenstore.read(f"/local/domain/{grub.vm.domid}/device/vbd/51712/protocol")
    assert protocol == ("x86_32-abi" if "i386" in kernel.name else "x86_64-abi")
    grub("halt")
    assert grub.vm.state == "shutdown"


def test_grub_reads_a_fat_disk_beside_another_and_says_what_is_not_there(lab: Lab, kernel: Path, tmp_path: Path, require: Callable[[str], str]) -> None:
    image, file = tmp_path / "fat.img", tmp_path / "HELLO.TXT"
    file.write_text(HELLO)
    run(require("mformat"), "-i", str(image), "-C", "-T", "2880", "-v", "FLOPPY", "::")
    run(require("mcopy"), "-i", str(image), str(file), "::HELLO.TXT")
    grub = Grub(lab, kernel, {"size": 1 << 20}, {"path": image, "vdev": "xvdc", "readonly": True})
    assert {"(xen/xvda)", "(xen/xvdc)"} <= set(grub("ls").split())
    assert grub("cat (xen/xvdc)/hello.txt") == HELLO + "\n"
    assert "error: unknown filesystem." in grub("ls (xen/xvda)/")
    assert "error:" in grub("ls (xen/xvdb)/")
    assert "Label `FLOPPY'" in grub("ls (xen/xvdc)")


def test_grub_finds_its_configuration_on_the_disk_and_obeys_it(lab: Lab, kernel: Path, tmp_path: Path, require: Callable[[str], str]) -> None:
    image = made_ext2(tmp_path, require, {"boot/grub/grub.cfg": b"echo 'read from a disk'\necho ${root}\nhalt\n"})
    grub = Grub(lab, kernel, image)
    assert grub.vm.state == "shutdown"
    assert "Reading (xen/xvda)/boot/grub/grub.cfg\nread from a disk\nxen/xvda\n" in grub.banner


def test_what_grub_writes_is_in_the_file_and_the_file_system_is_whole(lab: Lab, kernel: Path, ext2: Path, require: Callable[[str], str]) -> None:
    debugfs, fsck = require("debugfs"), require("e2fsck")
    grub = Grub(lab, kernel, {"path": ext2, "writable": True})
    grub("set colour=green")
    grub("save_env -f (xen/xvda)/grubenv colour")
    assert grub("list_env -f (xen/xvda)/grubenv") == "colour=green\n"
    grub("halt")
    grub.vm.destroy()
    kept = run(debugfs, "-R", "cat /grubenv", str(ext2))
    assert kept == "# GRUB Environment Block\ncolour=green\n".ljust(1_024, "#")
    run(fsck, "-fn", str(ext2))


def test_a_disk_that_can_only_be_read_is_not_written_by_grub(lab: Lab, kernel: Path, ext2: Path) -> None:
    before = ext2.read_bytes()
    grub = Grub(lab, kernel, {"path": ext2, "readonly": True})
    grub("set colour=green")
    assert "error:" in grub("save_env -f (xen/xvda)/grubenv colour")
    assert lab.machine.toolstack.blkback.statistics()["grub/xvda"].refused == {"writing to a disk that can only be read": 1}
    assert ext2.read_bytes() == before and grub("list_env -f (xen/xvda)/grubenv") == ""


def test_a_rewound_world_has_the_disk_as_it_was_before_grub_wrote_it(lab: Lab, kernel: Path, ext2: Path) -> None:
    grub = Grub(lab, kernel, ext2)
    grub("set colour=green")
    before = lab.now
    lab.run(ms(1))
    grub("save_env -f (xen/xvda)/grubenv colour")
    assert grub("list_env -f (xen/xvda)/grubenv") == "colour=green\n"
    written = grub.vm.disk().data
    lab.rewind(before)
    assert grub.vm.disk().data == ext2.read_bytes() != written
    assert grub("list_env -f (xen/xvda)/grubenv") == ""
    grub("save_env -f (xen/xvda)/grubenv colour")
    assert grub.vm.disk().data == written


@unikernel
async def copying(source: Block, target: Block) -> None:
    """Copies a disk to another, in odd pieces."""
    info = await source.get_info()
    at = 0
    while at < info.size_sectors:
        count = min(1 + at % 200, info.size_sectors - at)
        piece = bytearray(count * info.sector_size)
        await source.read(at, [piece])
        await target.write(at, [piece])
        at += count


def test_what_a_unikernel_copies_to_a_file_is_a_whole_file_system(lab: Lab, ext2: Path, tmp_path: Path, require: Callable[[str], str]) -> None:
    debugfs, fsck = require("debugfs"), require("e2fsck")
    copy = tmp_path / "copy.img"
    with copy.open("wb") as file:
        file.truncate(ext2.stat().st_size)
    job = copying(devices.block_of_file("ext2.img"), devices.block_of_file("copy.img"))
    vm = lab.create(configure(job, name="copying"), disk=[{"path": ext2, "readonly": True}, {"path": copy, "writable": True}])
    vm.unpause()
    lab.run(seconds(2))
    assert vm.state == "shutdown", vm.why()
    assert copy.read_bytes() == ext2.read_bytes()
    run(fsck, "-fn", str(copy))
    assert run(debugfs, "-R", "cat /hello.txt", str(copy)) == HELLO


def test_a_unikernel_and_grub_have_read_the_same_disk(lab: Lab, kernel: Path, ext2: Path) -> None:
    """Both layouts of the ring lead to the same bytes: the unikernel puts a file in order that GRUB then reads."""
    found = ext2.read_bytes().index(HELLO.encode())
    changed = HELLO.upper().encode()

    @unikernel
    async def shouting(disk: Block) -> None:
        sector = bytearray(512)
        await disk.read(found // 512, [sector])
        sector[found % 512 : found % 512 + len(changed)] = sector[found % 512 : found % 512 + len(changed)].upper()
        await disk.write(found // 512, [sector])

    vm = lab.create(configure(shouting(devices.block("xvda")), name="shouting"), disk=[{"path": ext2, "writable": True}])
    vm.unpause()
    lab.run(ms(50))
    vm.destroy()
    assert Grub(lab, kernel, ext2)("cat (xen/xvda)/hello.txt") == HELLO.upper() + "\n"
