"""Disks of a lab: given at create, replayed, told in a script, named when they are missing."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from mirage_lab import Lab, configure, devices, ms, seconds, unikernel
from mirage_lab.lab.handles import Vm
from mirage_lab.lab.said import LabError
from mirage_lab.signatures import Block, Console, Time
from mirage_lab.signatures.errors import DescriptionError, DeviceError, MirageError
from mirage_lab.skeleton import block
from mirage_lab.testing import check_block
from mirage_lab.tool.generating import configure_files
from mirage_lab.usernet.fileblock import FileBlock
from mirage_lab.xen.dom0 import Disk, Image
from mirage_lab.xen.dom0.disk import DiskError
from mirage_lab.xen.dom0.toolstack import ToolstackError


@unikernel
async def counting(console: Console, disk: Block) -> None:
    """Counts its boots in the first byte of a disk."""
    first = bytearray(512)
    await disk.read(0, [first])
    first[0] += 1
    await disk.write(0, [first])
    console.log(f"boot {first[0]}")


def image(dev: str = "xvda") -> Image:
    return configure(counting(devices.default_console, devices.block(dev)), name="counting").build()


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(seed=1, name="disks") as made:
        yield made


def boots(lab: Lab, *args: Any, **kwargs: Any) -> str:
    vm = lab.create(*args, **kwargs)
    vm.unpause()
    lab.run(ms(20))
    return vm.console.lines[-1]


def test_a_disk_is_a_path_bytes_or_a_dict(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(b"\x05" + bytes(1_023))
    assert boots(lab, image(), disk=[b"\x07" + bytes(511)]) == "boot 8"
    assert boots(lab, image(), disk=[file]) == "boot 6"
    assert boots(lab, image(), disk=[os.fspath(file)]) == "boot 6"
    assert boots(lab, image("xvdc"), disk=[{"size": 512, "vdev": "xvda"}, {"path": file, "vdev": "xvdc"}]) == "boot 6"
    by_file = configure(counting(devices.default_console, devices.block_of_file("some/where/disk.img")), name="counting")
    assert boots(lab, by_file, disk=[b"\0" * 512, file]) == "boot 6"
    assert file.read_bytes()[0] == 5
    assert boots(lab, image(), disk=[{"path": file, "writable": True}]) == "boot 6"
    assert file.read_bytes()[0] == 6


def test_the_block_of_mirage_skeleton_passes_on_a_disk_and_on_a_ramdisk(lab: Lab) -> None:
    small = [b"x" * 512, b"y" * 512 * 90]
    for device, disks, passed in ((devices.block("xvda"), [Disk(size=1 << 20)], 14), (devices.ramdisk(), [], 14), (devices.block("xvdb"), small, 12)):
        vm = lab.create(block(devices.default_console, device), disk=disks)
        vm.unpause()
        lab.run(ms(100))
        assert vm.console.lines[-1] == f"passed {passed}, failed 0", vm.console.text
    vm = lab.create(block(devices.default_console, devices.block("xvda")), disk=[{"size": 512 * 9, "readonly": True}])
    vm.unpause()
    lab.run(ms(100))
    assert vm.console.lines[-4:] == [
        "sectors = 9, read_write = False, sector_size = 512",
        "reading past the end: xvda: sectors 9 to 9 of a disk that ends at 8",
        "reading half a sector: xvda: a buffer of 1 bytes; buffers are whole sectors of 512",
        "passed 2, failed 0",
    ]


def test_the_same_unikernel_counts_its_boots_on_unix_in_the_file_itself(tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(bytes(1_024))
    job = counting(devices.default_console, devices.block_of_file(str(file)))
    for boot in (1, 2):
        assert configure(job, "counting", target="unix").run().splitlines()[0] == f"boot {boot}"
    assert file.read_bytes()[:2] == b"\x02\0"
    with Lab(seed=1, name="unix") as lab:
        assert boots(lab, configure(job, "counting"), disk=[file]) == "boot 3"


def test_a_file_of_unix_keeps_the_promises_of_block(tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(bytes(range(256)) * 16)
    assert repr(check_block(FileBlock(str(file)))).startswith("BLOCK of FileBlock: ")
    assert file.read_bytes() == bytes(range(256)) * 16
    pipe, odd = tmp_path / "pipe", tmp_path / "odd"
    os.mkfifo(pipe)
    odd.write_bytes(b"x" * 513)
    for path, why in ((pipe, "no plain file"), (odd, "513 bytes; a disk is whole sectors of 512"), (tmp_path / "none", "No such file")):
        with pytest.raises(DeviceError, match=why):
            FileBlock(str(path))


def test_a_file_that_may_not_be_written_is_a_disk_that_can_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(bytes(4_096))

    def refused(path: str, mode: str) -> FileIO:
        if mode != "r":
            raise PermissionError(13, "Permission denied")
        return FileIO(path, mode)

    monkeypatch.setattr("mirage_lab.usernet.fileblock.FileIO", refused)
    story = check_block(FileBlock(str(file)))
    assert "a disk that can only be read refuses writing with IsReadOnly" in repr(story)


def test_the_files_of_configure_say_which_disks_there_are(tmp_path: Path) -> None:
    def files(disk: Any) -> dict[str, str]:
        plan = configure(counting(devices.default_console, disk), "counting")
        return {write.path.name: write.text for write in configure_files(plan, tmp_path / "config.py")}

    written = files(devices.block_of_file("images/disk.img"))
    assert "disk=['images/disk.img'])" in written["main.py"]
    assert "disk = [ 'format=raw, vdev=xvda, access=rw, target=images/disk.img' ]" in written["counting.xl"]
    written = files(devices.block("xvdb"))
    assert "disk=[dict(size=1 << 20, vdev='xvdb')])" in written["main.py"] and "vdev=xvdb" in written["counting.xl"]
    with pytest.raises(DescriptionError, match=r"block is for target xen, not unix: use devices.block_of_file\('disk.img'\)"):
        configure(counting(devices.default_console, devices.block()), target="unix")


def test_a_domain_that_is_replaced_keeps_its_disks_as_they_were_given(lab: Lab) -> None:
    assert boots(lab, image(), disk=[Disk(size=512)]) == "boot 1"
    assert boots(lab, image()) == "boot 1"
    assert boots(lab, image(), disk=[b"\x10" * 512]) == "boot 17"


@pytest.mark.parametrize(
    ("disk", "why"),
    [
        (None, r"counting has a disk block\('xvda'\) and no such disk is plugged in: lab.create\(image, disk=\['disk.img'\]\); disks: none"),
        ([{"size": 512, "vdev": "xvdb"}], "disks: xvdb"),
        ("disk.img", "disk is a list"),
        (b"x" * 512, "disk is a list"),
        ([b"x"], "1 bytes; a disk is whole sectors"),
        ([7], "a disk is a path, bytes, or a dict of path, data, size, vdev, readonly, writable; not int"),
        ([{"size": 512, "colour": "red"}], "a disk has path, data or size, and vdev, readonly, writable: .*colour"),
        (["/no/such/file"], "counting: /no/such/file: No such file or directory"),
        ([{"size": 512, "vdev": "sda"}], "'sda' is no virtual disk"),
    ],
)
def test_what_is_no_disk_is_refused_before_anything_is_changed(lab: Lab, disk: Any, why: str) -> None:
    with pytest.raises(LabError, match=why):
        lab.create(image(), disk=disk)
    assert lab.domains == [] and lab.journal == []


def test_a_disk_that_cannot_be_plugged_in_leaves_the_older_domain_alone(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(bytes(512))
    vm = lab.create(image(), name="older", disk=[b"\0" * 512])
    lab.create(image(), name="writer", disk=[{"path": file, "writable": True}])
    entries = len(lab.journal)
    with pytest.raises(ToolstackError, match=r"older: disk.img is writer/xvda already, and a file that is written through has one user"):
        lab.create(image(), name="older", disk=[file])
    assert vm.state == "paused" and len(lab.journal) == entries
    lab.create(image(), name="writer", disk=[{"path": file, "writable": True}])


def test_rewinding_gives_the_disk_back_as_it_was(lab: Lab) -> None:
    vm = lab.create(image(), disk=[b"\x20" * 1_024])
    vm.unpause()
    lab.run(ms(20))
    pages = lab.events("blk.*")
    assert [event.fields["op"] for event in pages if event.kind == "blk.request"] == ["read", "write"]
    lab.rewind(ms(0))
    assert lab.events("blk.*") == []
    lab.run(ms(20))
    assert vm.console.lines[-1] == "boot 33" and list(map(repr, lab.events("blk.*"))) == list(map(repr, pages))


def test_the_script_of_a_lab_with_disks_makes_the_same_world(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(bytes(512))
    boots(lab, image(), disk=[{"data": b"\x30" + bytes(99_839), "readonly": False}, {"path": file, "vdev": "xvdd", "readonly": True}, {"size": 1 << 20}])
    text = str(lab.script())
    assert len(text) < 2_000 and "import zlib" in text
    with Lab(seed=1, name="again") as again:
        exec(text.replace("Lab(seed=1)", "lab"), {"lab": again})
        assert again.vm("counting").console.text == lab.vm("counting").console.text
        assert list(map(repr, again.events("blk.*"))) == list(map(repr, lab.events("blk.*")))


def test_a_file_that_is_written_through_is_not_written_again_by_a_replay(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(bytes(512))
    assert boots(lab, image(), disk=[{"path": file, "writable": True}]) == "boot 1"
    assert "not reproducible: disk.img is written through" in lab.badge
    lab.rewind(ms(1))
    lab.run(ms(20))
    assert file.read_bytes()[0] == 1
    assert boots(lab, image(), disk=[{"path": file, "writable": True}]) == "boot 2" and file.read_bytes()[0] == 2


def test_a_replay_says_that_a_file_has_changed_or_is_gone(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(bytes(512))
    boots(lab, image(), disk=[file])
    assert "reproducible: seed 1" in lab.badge
    assert "disk.img" not in str(lab.rewind(ms(10))) + str(lab.run(ms(1)))
    file.write_bytes(bytes(1_024))
    lab.rewind(ms(5))
    assert "disk.img: the file has changed since it was plugged in" in str(lab.run(ms(1)))
    file.unlink()
    with pytest.raises(ToolstackError, match=r"disk.img: No such file"):
        lab.rewind(ms(1))
    assert lab.now == ms(6)


def test_a_disk_can_be_looked_at_saved_and_given_to_the_next_domain(lab: Lab, tmp_path: Path) -> None:
    file, saved = tmp_path / "disk.img", tmp_path / "saved.img"
    file.write_bytes(bytes(4_096) + b"e" * 1_024)
    assert boots(lab, image(), disk=[file, {"size": 64 << 30, "readonly": True}]) == "boot 1"
    vm = lab.vm("counting")
    assert vm.disk().data == b"\1" + bytes(4_095) + b"e" * 1_024 and vm.disk("/dev/xvda").read(9) == b"e" * 512
    assert repr(vm.disk()) == "counting/xvda: disk.img, 5 KiB, 4 KiB written, in memory · 1 read, 1 write · Connected"
    assert list(map(repr, vm.disks))[1] == "counting/xvdb: memory, 64 GiB, read only · no requests · InitWait"
    assert str(vm.disk().save(saved)) == f"{saved}: 5 KiB of counting/xvda as of now" and saved.read_bytes() == vm.disk().data
    assert vm.disk().statistics().requests == {"read": 1, "write": 1}
    for attempt, why in (
        (lambda: vm.disk("xvdc"), "counting has no disk xvdc; disks: xvda, xvdb"),
        (lambda: vm.disk("C:"), "'C:' is no virtual disk"),
        (lambda: vm.disk().read(9, 2), "sectors 9 to 10 of a disk that ends at 9"),
        (lambda: vm.disk("xvdb").data, r"counting/xvdb: 64 GiB, too many to be held at once: .save\(path\) writes a file"),
        (lambda: vm.disk().save(file), "this is the file that the disk is made of"),
        (lambda: vm.disk().save(tmp_path / "no" / "x"), "No such file or directory"),
    ):
        with pytest.raises(LabError, match=why):
            attempt()
    assert boots(lab, image(), disk=[vm.disk().data]) == "boot 2"
    assert file.read_bytes()[:1] == b"\0"


@unikernel
async def recording(console: Console, time: Time, disk: Block) -> None:
    """Writes a sector each millisecond until there is no disk."""
    written = 0
    try:
        while True:
            await disk.write(written % 8, [bytes([written & 0xFF]) * 512])
            written += 1
            await time.sleep(ms(1))
    except DeviceError as error:
        console.log(f"after {written} sectors: {error}")
    await time.sleep(seconds(60))


def recorder(lab: Lab) -> Vm:
    job = recording(devices.default_console, devices.default_time, devices.block("xvdb"))
    vm = lab.create(configure(job, name="recording"), disk=[{"size": 512}, {"size": 4_096}])
    vm.unpause()
    lab.run(ms(50))
    return vm


def test_a_disk_that_is_pulled_out_is_named_by_an_error_and_its_nodes_are_gone(lab: Lab) -> None:
    vm = recorder(lab)
    assert str(vm.detach("xvdb")) == "recording: xvdb is pulled out; lab.run(...) lets the domain see it"
    lab.run(ms(10))
    assert re.fullmatch(r"after 4\d sectors: xvdb: (the disk was disconnected|write of sector \d: the back end went away)", vm.console.lines[-1])
    xs = lab.machine.toolstack.xenstore
    assert [disk.dev for disk in vm.disks] == ["xvda"] and xs.list(f"/local/domain/{vm.domid}/device/vbd") == ["51712"]
    assert xs.list(f"/local/domain/0/backend/vbd/{vm.domid}") == ["51712"]
    with pytest.raises(LabError, match="recording has no disk xvdb; disks: xvda"):
        vm.detach("xvdb")
    vm.detach("xvda")
    assert vm.disks == [] and "closes" not in lab.machine.toolstack.dmesg()


def test_a_disk_is_plugged_in_while_the_domain_runs_and_stays_with_it(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(b"\x2a" * 512)

    @unikernel
    async def patient(console: Console, time: Time) -> None:
        await time.sleep(ms(10))
        console.log("awake")

    vm = lab.create(configure(patient(devices.default_console, devices.default_time), name="patient"), disk=[{"size": 512, "vdev": "xvdb"}])
    assert [str(vm.attach(file)), str(vm.attach({"size": 1_024, "vdev": "xvdp"})), str(vm.attach(b"c" * 512))] == [
        "patient has a disk xvda",
        "patient has a disk xvdp",
        "patient has a disk xvdc",
    ]
    vm.detach("xvdb")
    assert [disk.dev for disk in vm.disks] == ["xvda", "xvdp", "xvdc"] and vm.disk("xvda").read(0) == b"\x2a" * 512
    assert repr(vm).startswith("patient: domid 1, paused, 32 MiB, on no lan, disk xvda, disk xvdp, disk xvdc")
    for wrong in ({"size": 512, "vdev": "xvdc"}, "/no/such/file", 7, {"path": file, "writable": True}):
        with pytest.raises(MirageError):
            vm.attach(wrong)
    vm.unpause()
    lab.run(ms(20))
    text = str(lab.script())
    assert "lab.vm('patient').attach(dict(path=" in text and "lab.vm('patient').detach('xvdb')" in text
    lab.rewind(ms(5))
    assert [disk.dev for disk in vm.disks] == ["xvda", "xvdp", "xvdc"]
    assert [disk.dev for disk in lab.create(image("xvda"), name="patient").disks] == ["xvda", "xvdp", "xvdc"]


def test_a_front_end_that_does_not_close_loses_its_disk_after_ten_seconds(lab: Lab) -> None:
    vm = recorder(lab)
    vm.pause()
    vm.detach("xvdb")
    lab.run(seconds(9))
    assert [disk.dev for disk in vm.disks] == ["xvda", "xvdb"]
    lab.run(seconds(2))
    assert [disk.dev for disk in vm.disks] == ["xvda"]
    assert "blkback: recording/xvdb: the front end does not close; the vbd is taken away" in lab.machine.toolstack.dmesg()
    vm.unpause()
    lab.run(seconds(1))
    assert vm.console.lines[-1].startswith("after 4") and vm.state == "blocked"
    vm.destroy()


def test_a_domain_that_goes_while_its_disk_is_pulled_out_is_gone(lab: Lab) -> None:
    vm = recorder(lab)
    vm.pause()
    vm.detach("xvdb")
    vm.destroy()
    lab.run(seconds(11))
    assert lab.domains == [] and "does not close" not in lab.machine.toolstack.dmesg()


def test_the_page_about_disks_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[3] / "docs" / "disks.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    Path("disk.img").write_bytes(bytes(1 << 20))
    names: dict[str, Any] = {"__name__": "disks"}
    true = []
    for cell in re.findall(r"```python\n(.*?)```", page, re.S):
        for node in ast.parse(cell).body:
            if isinstance(node, ast.Expr):
                came = eval(ast.unparse(node), names)
                comment = cell.splitlines()[(node.end_lineno or 0) - 1].partition(" # ")[2].strip()
                true += [comment] if comment in (repr(came), str(came)) else []
            else:
                exec(ast.unparse(node), names)
    assert len(true) == 3 and true[1:] == ["b'\\x01\\x00\\x00\\x00'", "boot 2"]
    assert Path("after.img").read_bytes()[:2] == b"\1\0" and Path("disk.img").read_bytes() == bytes(1 << 20)
    names["lab"].close()


def test_a_pipe_is_no_disk_and_nobody_waits_for_it(lab: Lab, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LabError, match="pipe: no plain file; a disk is a file of sectors"):
        lab.create(image(), disk=[tmp_path / "pipe"])


def test_a_relative_path_is_the_same_file_wherever_the_notebook_goes(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk.img").write_bytes(b"\x09" * 512)
    monkeypatch.chdir(tmp_path)
    assert boots(lab, image(), disk=["disk.img"]) == "boot 10"
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    lab.rewind(ms(1))
    assert "changed" not in str(lab.run(ms(20))) and lab.vm("counting").console.lines[-1] == "boot 10"


def test_why_names_a_disk_that_has_not_met_its_back_end(lab: Lab) -> None:
    async def never(os: Any) -> None:
        from mirage_lab.runtime import tasks

        await tasks.Condition().wait()

    vm = lab.create(Image("never", entry=never), disk=[b"\0" * 512])
    vm.unpause()
    lab.run(ms(1))
    assert "vbd/51712 (xvda): front end Initialising, back end InitWait" in str(vm.why())


def test_a_file_is_closed_with_its_domain_and_with_the_lab(tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(bytes(512))
    with Lab(seed=1, name="files") as lab:
        vm = lab.create(image(), disk=[file])
        first = lab.machine.toolstack.blkback.of(vm.domid)[0].volume
        vm.destroy()
        lab.create(image(), disk=[file])
        second = lab.machine.toolstack.blkback.of(vm.domid)[0].volume
        lab.run(seconds(1))
    for volume in (first, second):
        with pytest.raises(DiskError, match="closed file"):
            volume.read(0, 1)
