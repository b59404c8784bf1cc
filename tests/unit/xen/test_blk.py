"""Virtual disks: from BLOCK through a ring to bytes, and what a front end may not do."""

from __future__ import annotations

import errno
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mirage_lab.runtime import World, costs, tasks
from mirage_lab.signatures.errors import DeviceError, Disconnected, IsReadOnly, LocalProtocolError, MirageError
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.testing import check_block
from mirage_lab.xen.abi.io import blkif, ring
from mirage_lab.xen.dom0 import Disk, Image, Toolstack
from mirage_lab.xen.dom0.blkback import Vbd
from mirage_lab.xen.dom0.disk import DiskError, open_disk
from mirage_lab.xen.dom0.toolstack import ToolstackError
from mirage_lab.xen.guest.minios import MiniOS, boot

Body = Callable[[MiniOS, Any], Awaitable[object]]


MADE: list[Toolstack] = []


@pytest.fixture(autouse=True)
def files_are_closed() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().blkback.close()


class Host:
    """A world with one guest that runs `body(os, disk)` on its first disk and keeps what it returned or raised."""

    def __init__(self, body: Body, *disks: Disk, profile: str = "today", dev: str = "xvda") -> None:
        self.world = World(1)
        self.toolstack = Toolstack(self.world, boot=boot)
        self.came: object = None
        MADE.append(self.toolstack)

        async def entry(os: MiniOS) -> None:
            try:
                self.came = await body(os, await os.block(dev))
            except MirageError as error:
                self.came = error
            await tasks.Condition().wait()

        self.domid = self.toolstack.create(Image("guest", entry=entry), disk=disks, profile=profile, memory_mib=8)
        self.toolstack.unpause(self.domid)
        self.world.advance(seconds(10))

    @property
    def vbd(self) -> Any:
        return self.toolstack.blkback.of(self.domid)[0]


def pattern(sectors: int) -> bytes:
    return b"".join(bytes([number & 0xFF, number >> 8]) * 256 for number in range(sectors))


async def read_all(os: MiniOS, disk: Any) -> bytes:
    info = await disk.get_info()
    whole = bytearray(info.size_sectors * info.sector_size)
    await disk.read(0, [whole])
    return bytes(whole)


@pytest.mark.parametrize("profile", ["today", "2014"])
@pytest.mark.parametrize("sectors", [1, 7, 88, 89, 4_000])
def test_a_disk_is_read_whole_however_many_requests_that_takes(profile: str, sectors: int) -> None:
    host = Host(read_all, Disk(data=pattern(sectors)), profile=profile)
    assert host.came == pattern(sectors)
    assert host.vbd.statistics().requests == {"read": -(-sectors // 88)} and host.vbd.statistics().read == sectors


@pytest.mark.parametrize("disk", [Disk(size=1 << 20), Disk(data=pattern(64)), Disk(data=pattern(64), readonly=True)])
def test_blkfront_keeps_the_promises_of_block(disk: Disk) -> None:
    async def body(os: MiniOS, block: Any) -> object:
        return await check_block(block)

    host = Host(body, disk)
    assert repr(host.came).startswith("BLOCK of Blkfront: ") and "promises kept" in repr(host.came), host.came


def test_what_is_written_is_read_again_and_the_value_it_came_from_is_as_it_was() -> None:
    async def body(os: MiniOS, disk: Any) -> bytes:
        await disk.write(3, [b"a" * 512, b"b" * 1_024])
        await disk.write(3_900, [b"z" * 51_200])
        return await read_all(os, disk)

    data = pattern(4_000)
    host = Host(body, Disk(data=data))
    assert host.came == data[: 3 * 512] + b"a" * 512 + b"b" * 1_024 + data[6 * 512 : 3_900 * 512] + b"z" * 51_200
    assert data == pattern(4_000) and host.vbd.volume.statistics().kept < 80_000


def test_a_disk_that_was_closed_is_opened_again_and_gives_its_grants_back() -> None:
    async def body(os: MiniOS, disk: Any) -> object:
        await disk.write(0, [b"x" * 512])
        grants = []
        for _ in range(5):
            await disk.disconnect()
            disk = await os.block("xvda")
            await disk.read(0, [bytearray(512 * 88)])
            grants.append(os.gnttab._next)
        return set(grants), await read_all(os, disk)

    host = Host(body, Disk(size=88 * 512))
    assert host.came == ({8 + 12}, b"x" * 512 + bytes(87 * 512))


def test_a_discard_forgets_whole_clusters_and_costs_no_memory() -> None:
    async def body(os: MiniOS, disk: Any) -> bytes:
        await disk.write(0, [b"x" * 512 * 24])
        await disk.discard(4, 20)
        await disk.write(9, [b"y" * 512])
        await disk.flush()
        return await read_all(os, disk)

    host = Host(body, Disk(data=pattern(32)))
    assert host.came == b"x" * 512 * 8 + bytes(512) + b"y" * 512 + bytes(512 * 14) + pattern(32)[24 * 512 :]
    assert host.vbd.volume.statistics().kept == 2 * 4_096
    assert host.vbd.statistics().requests == {"write": 2, "discard": 1, "flush": 1, "read": 1}


def test_what_is_in_the_ring_is_done_before_a_disk_is_disconnected() -> None:
    async def body(os: MiniOS, disk: Any) -> bytes:
        writing = os.queue.spawn(disk.write(0, [b"w" * 512 * 88]))
        await tasks.sleep(Ns(20_000))
        await disk.disconnect()
        await writing.join()
        return await read_all(os, await os.block("xvda"))

    assert Host(body, Disk(size=88 * 512)).came == b"w" * 512 * 88


def test_a_flush_and_a_barrier_reach_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(bytes(512))
    flushed: list[int] = []
    monkeypatch.setattr("mirage_lab.xen.dom0.disk.os.fsync", flushed.append)

    async def body(os: MiniOS, disk: Any) -> int:
        await disk.flush()
        before = len(flushed)
        await disk._ask(blkif.WRITE_BARRIER, 0, 0)
        return before

    host = Host(body, Disk(path=str(file), writable=True))
    assert host.came == 1 and len(flushed) == 2


def test_a_file_that_is_written_through_keeps_what_is_discarded(tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(pattern(16))
    volume = open_disk(Disk(path=str(file), writable=True))
    volume.discard(0, 16)
    assert volume.read(0, 16) == pattern(16) == file.read_bytes()
    volume.close()


@pytest.mark.parametrize("wrong", ["rid", "index"])
def test_answers_to_what_was_not_asked_harm_nobody(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Vbd._answer

    def answer(self: Vbd, rid: int, op: int, status: int) -> None:
        if wrong == "index":
            ring.INDEX.pack_into(self._page, ring.RSP_PROD, 900)
            self.kernel.events.notify(self._evtchn)  # type: ignore[arg-type]
            self.kernel.queue.call_later(Ns(50_000), before, self, rid, op, status)
            return
        before(self, 99 if op == blkif.FLUSH_DISKCACHE else rid, op, status)

    monkeypatch.setattr(Vbd, "_answer", answer)

    async def body(os: MiniOS, disk: Any) -> object:
        if wrong == "rid":
            os.queue.spawn(disk.flush())
            await tasks.sleep(Ns(200_000))
        return await read_all(os, disk), disk._cons

    host = Host(body, Disk(data=pattern(8)))
    assert host.came == (pattern(8), 2 if wrong == "rid" else 1) and host.toolstack.domain(host.domid).state == "blocked"


def test_a_disk_takes_its_time() -> None:
    async def body(os: MiniOS, disk: Any) -> list[int]:
        took = []
        for count in (1, 88, 880):
            began = await tasks.now()
            await disk.read(0, [bytearray(512 * count)])
            took.append(await tasks.now() - began)
        return took

    came = Host(body, Disk(size=1 << 20)).came
    assert isinstance(came, list)
    for count, requests, took in zip((1, 88, 880), (1, 1, 10), came, strict=True):
        disk = requests * costs.DISK_REQUEST + count * costs.DISK_SECTOR
        assert disk < took < disk + 10_000 * requests


def test_a_ring_full_of_requests_is_one_wake_up_of_the_back_end() -> None:
    host = Host(read_all, Disk(size=88 * 32 * 512))
    recorder = host.world.recorder
    requests = recorder.events("blk.request")
    assert [event.fields["slot"] for event in requests] == list(range(32)) and len({event.cause for event in requests}) == 1
    waking = {recorder.event(event.cause) for event in requests}
    assert [(event.kind, event.source) for event in waking if event is not None] == [("evtchn.notify", "guest")]


def test_mistakes_of_the_unikernel_are_named() -> None:
    async def body(os: MiniOS, disk: Any) -> list[object]:
        seen: list[object] = []
        for attempt in (
            lambda: disk.read(0, [bytearray(100)]),
            lambda: disk.read(63, [bytearray(1_024)]),
            lambda: disk.write(0, [b"x" * 512]),
            lambda: disk.discard(0, 1),
            lambda: os.block("xvdz"),
            lambda: os.block("xvdb"),
        ):
            try:
                await attempt()
            except MirageError as error:
                seen.append((type(error), str(error)))
        return seen

    host = Host(body, Disk(data=pattern(64), readonly=True))
    assert host.came == [
        (LocalProtocolError, "xvda: a buffer of 100 bytes; buffers are whole sectors of 512"),
        (LocalProtocolError, "xvda: sectors 63 to 64 of a disk that ends at 63"),
        (IsReadOnly, "xvda: this disk can only be read"),
        (IsReadOnly, "xvda: this disk can only be read"),
        (DeviceError, "block 'xvdz' is not plugged in (disks of this domain: xvda): lab.create(image, disk=['disk.img']) plugs one in"),
        (DeviceError, "block 'xvdb' is not plugged in (disks of this domain: xvda): lab.create(image, disk=['disk.img']) plugs one in"),
    ]


def test_a_read_can_be_followed_from_the_wake_up_back_to_the_request() -> None:
    host = Host(read_all, Disk(size=512))
    recorder = host.world.recorder
    [request], [response] = recorder.events("blk.request"), recorder.events("blk.response")
    assert (request.fields["op"], request.fields["sector"], request.fields["sectors"], request.fields["vbd"]) == ("read", 0, 1, "guest/xvda")
    assert response.cause == request.id and response.fields["status"] == 0 and response.fields["took"] >= costs.DISK_REQUEST
    chain, event = [], next(event for event in recorder.events("evtchn.upcall", "guest") if event.id > response.id)
    while event is not None and len(chain) < 7:
        chain.append((event.source, event.kind))
        event = recorder.event(event.cause)
    assert chain == [
        ("guest", "evtchn.upcall"),
        ("dom0", "evtchn.notify"),
        ("dom0", "xen.hypercall"),
        ("dom0", "blk.response"),
        ("dom0", "blk.request"),
        ("guest", "evtchn.notify"),
        ("guest", "xen.hypercall"),
    ]


# places, files, nodes ------------------------------------------------------------------------------------------------


def test_disks_have_the_numbers_of_linux() -> None:
    numbers = {"xvda": 51_712, "xvdb": 51_728, "/dev/xvda1": 51_713, "xvdp": 51_952, "xvda15": 51_727, "51728": 51_728}
    assert {name: blkif.device_number(name) for name in numbers} == numbers
    assert [blkif.device_name(number) for number in (51_712, 51_729, 768)] == ["xvda", "xvdb1", "768"]
    for name in ("xvdq", "xvda16", "xvda0", "xvd", "sda", "xvda1x", "", "../51712", "٣"):
        with pytest.raises(LocalProtocolError, match="is no virtual disk"):
            blkif.device_number(name)


def test_the_nodes_of_a_disk_are_those_of_libxl_and_go_with_the_domain() -> None:
    host = Host(read_all, Disk(data=pattern(8)), Disk(size=4_096, vdev="xvdf", readonly=True))
    xs, domid = host.toolstack.xenstore, host.domid
    front, back = f"/local/domain/{domid}/device/vbd", f"/local/domain/0/backend/vbd/{domid}"
    assert xs.list(front) == xs.list(back) == ["51712", "51792"]
    names = ("sectors", "sector-size", "info", "mode", "feature-flush-cache", "feature-discard", "state", "dev")
    assert [xs.get(f"{back}/51712/{name}") for name in names] == ["8", "512", "0", "w", "1", "1", "4", "xvda"]
    assert [xs.get(f"{front}/51712/{name}") for name in ("state", "virtual-device", "protocol", "backend")] == ["4", "51712", "x86_64-abi", f"{back}/51712"]
    assert [xs.get(f"{back}/51792/{name}") for name in ("state", "mode")] == ["2", "r"]
    host.toolstack.destroy(domid)
    assert not xs.exists(back) and host.toolstack.blkback.of(domid) == []


@pytest.mark.parametrize(
    ("disks", "why"),
    [
        ([Disk(size=512)] * 17, "17 disks; a domain has at most 16"),
        ([Disk(size=512, vdev="xvdb"), Disk(size=512, vdev="51728")], "two disks are both xvdb"),
        ([Disk(size=512, vdev="sda")], "'sda' is no virtual disk"),
        ([Disk(path="/no/such/file")], "/no/such/file: No such file or directory"),
        ([Disk(path="/dev")], "Is a directory|no plain file"),
    ],
)
def test_a_domain_with_disks_that_cannot_be_is_not_made(disks: list[Disk], why: str) -> None:
    toolstack = Toolstack(World(1), boot=boot)

    async def entry(os: MiniOS) -> None:
        """Never runs."""

    with pytest.raises(ToolstackError, match=why):
        toolstack.create(Image("guest", entry=entry), disk=disks)
    assert [info.name for info in toolstack.list()] == ["dom0"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"data": b"x" * 513}, "513 bytes; a disk is whole sectors of 512"),
        ({"data": b""}, "0 bytes"),
        ({"size": -512}, "-512 bytes"),
        ({"size": 1 << 40}, "64 GiB at most"),
        ({}, "one of them"),
        ({"data": bytes(512), "size": 512}, "one of them"),
        ({"path": "x", "readonly": True, "writable": True}, "readonly or writable, not both"),
        ({"size": 512, "writable": True}, "writable=True is for a file"),
    ],
)
def test_a_disk_that_cannot_be_is_refused_where_it_is_described(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(DiskError, match=why):
        Disk(**fields)


def test_a_file_is_written_only_when_that_was_asked_for(tmp_path: Path) -> None:
    async def body(os: MiniOS, disk: Any) -> bytes:
        await disk.write(2, [b"w" * 1_024])
        await disk.flush()
        return await read_all(os, disk)

    file = tmp_path / "disk.img"
    changed = pattern(8)[:1_024] + b"w" * 1_024 + pattern(8)[2_048:]
    for writable, after in ((False, pattern(8)), (True, changed)):
        file.write_bytes(pattern(8))
        host = Host(body, Disk(path=str(file), writable=writable), dev="disk.img")
        assert host.came == changed and file.read_bytes() == after
        host.toolstack.destroy(host.domid)


def test_a_file_that_is_written_through_has_one_user(tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(bytes(4_096))
    (tmp_path / "link").symlink_to(file)
    host = Host(read_all, Disk(path=str(file)), Disk(path=str(file), readonly=True))

    async def entry(os: MiniOS) -> None:
        """Never runs."""

    other = Image("other", entry=entry)
    with pytest.raises(ToolstackError, match=r"other: link is guest/xvda already, and a file that is written through has one user"):
        host.toolstack.create(other, disk=[Disk(path=str(tmp_path / "link"), writable=True)])
    host.toolstack.destroy(host.domid)
    host.toolstack.destroy(host.toolstack.create(other, disk=[Disk(path=str(file), writable=True)]))


def test_a_file_that_becomes_shorter_is_an_error_of_the_disk_and_a_line_in_dmesg(tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(bytes(4_096))

    async def body(os: MiniOS, disk: Any) -> None:
        file.write_bytes(bytes(512))
        await disk.read(4, [bytearray(512)])

    host = Host(body, Disk(path=str(file)))
    assert isinstance(host.came, DeviceError) and str(host.came).startswith("xvda: read of sector 4: error from the back end")
    assert "blkback: guest/xvda: disk.img: the file has become shorter: request refused" in host.toolstack.dmesg()


def test_a_full_disk_of_the_host_is_an_error_of_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirage_lab.xen.dom0.disk.MOST_WRITTEN", 8_192)

    async def body(os: MiniOS, disk: Any) -> object:
        await disk.write(0, [bytes(8_192)])
        try:
            await disk.write(16, [bytes(512)])
        except DeviceError as error:
            await disk.write(0, [b"x" * 8_192])
            return str(error)

    host = Host(body, Disk(size=1 << 20))
    assert "write of sector 16: error from the back end" in str(host.came)
    assert "no more are kept in memory: request refused" in host.toolstack.dmesg()


class Full:
    """A file on a disk that is full."""

    def seek(self, at: int) -> int:
        return at

    def write(self, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self) -> None:
        """Nothing is open."""


def test_a_host_without_space_is_an_error_of_the_disk_and_the_guest_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(pattern(8))

    async def body(os: MiniOS, disk: Any) -> object:
        volume = toolstack.blkback.of(1)[0].volume
        whole, volume._file = volume._file, Full()
        try:
            await disk.write(0, [bytes(512)])
        except DeviceError as error:
            volume._file = whole
            return str(error), await read_all(os, disk)

    toolstack = Toolstack(World(1), boot=boot)
    MADE.append(toolstack)
    came: list[object] = []

    async def entry(os: MiniOS) -> None:
        came.append(await body(os, await os.block("xvda")))

    toolstack.unpause(toolstack.create(Image("guest", entry=entry), disk=[Disk(path=str(file), writable=True)], memory_mib=8))
    toolstack.world.advance(seconds(1))
    assert came == [("xvda: write of sector 0: error from the back end; `%xl dmesg` tells why", pattern(8))]
    assert "blkback: guest/xvda: disk.img: No space left on device: request refused" in toolstack.dmesg()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("made", ["data", "file", "zeros"])
def test_a_volume_is_what_a_plain_array_of_bytes_would_be(seed: int, made: str, tmp_path: Path) -> None:
    rng = random.Random(seed)
    sectors = rng.randrange(1, 60)
    before = rng.randbytes(sectors * 512) if made != "zeros" else bytes(sectors * 512)
    (tmp_path / "disk.img").write_bytes(before)
    disk = {"data": Disk(data=before), "file": Disk(path=str(tmp_path / "disk.img")), "zeros": Disk(size=len(before))}[made]
    volume, model = open_disk(disk), bytearray(before)
    for _ in range(100):
        sector = rng.randrange(sectors)
        count = rng.randrange(1, sectors - sector + 1)
        match rng.randrange(4):
            case 0:
                assert volume.read(sector, count) == model[sector * 512 : (sector + count) * 512]
            case 1 | 2:
                data = rng.randbytes(count * 512)
                volume.write(sector, data)
                model[sector * 512 : (sector + count) * 512] = data
            case _:
                volume.discard(sector, count)
                first, last = -(-sector // 8) * 8, (sector + count) // 8 * 8
                if first < last:
                    model[first * 512 : last * 512] = bytes((last - first) * 512)
    assert volume.read(0, sectors) == model and volume.statistics().kept <= -(-sectors // 8) * 4_096
    volume.close()
    assert (tmp_path / "disk.img").read_bytes() == before


def test_a_volume_takes_no_memory_for_what_nobody_wrote() -> None:
    volume = open_disk(Disk(size=64 << 30))
    assert volume.read(volume.sectors - 1, 1) == bytes(512) and volume.statistics().kept == 0
    volume.write(volume.sectors - 1, b"e" * 512)
    assert volume.read(volume.sectors - 2, 2) == bytes(512) + b"e" * 512 and volume.statistics().kept == 4_096


@pytest.mark.parametrize("size", ["1024", "4096"])
def test_sectors_of_another_size_are_those_of_the_back_end(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, {"sector-size": size})
    each = int(size)

    async def body(os: MiniOS, disk: Any) -> object:
        info = await disk.get_info()
        await disk.write(3, [b"w" * each])
        back = bytearray(each * 2)
        await disk.read(2, [back])
        with pytest.raises(LocalProtocolError):
            await disk.read(0, [bytearray(512)])
        return info.sector_size, info.size_sectors, bytes(back)

    host = Host(body, Disk(data=pattern(64)))
    assert host.came == (each, 64 * 512 // each, pattern(64)[2 * each : 3 * each] + b"w" * each)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"sectors": "many"}, "xvda: the back end tells no size: sectors 'many', sector-size '512'"),
        ({"sectors": ""}, "tells no size"),
        ({"sector-size": "100"}, "xvda: sectors of 100 bytes; 512 to 4096 are possible"),
    ],
)
def test_a_back_end_that_tells_no_size_is_no_disk(told: dict[str, str], why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, told)
    host = Host(read_all, Disk(size=512))
    assert isinstance(host.came, DeviceError) and why in str(host.came)


def tell(monkeypatch: pytest.MonkeyPatch, other: dict[str, str]) -> None:
    """Have the back end write other values than its own."""
    before = Vbd._tell

    def told(self: Vbd) -> None:
        before(self)
        for name, value in other.items():
            self.kernel.xs.write(f"{self.path}/{name}", value)

    monkeypatch.setattr(Vbd, "_tell", told)


def test_a_back_end_that_goes_away_is_told_and_can_come_again() -> None:
    async def body(os: MiniOS, disk: Any) -> object:
        seen = []
        try:
            await disk.read(0, [bytearray(512 * 2_000)])
        except Disconnected as error:
            seen.append(str(error))
        again = await os.block("xvda")
        await again.read(0, [bytearray(512)])
        return [*seen, again is disk]

    world = World(1)
    toolstack = Toolstack(world, boot=boot)
    came: list[object] = []

    async def entry(os: MiniOS) -> None:
        came.append(await body(os, await os.block("xvda")))

    domid = toolstack.create(Image("guest", entry=entry), disk=[Disk(size=1 << 20)], memory_mib=8)
    toolstack.unpause(domid)
    while not world.recorder.events("blk.response"):
        world.advance(Ns(world.now + 10_000))
    toolstack.blkback.of(domid)[0].fail("a mistake of this test")
    world.advance(seconds(5))
    assert came == [["xvda: read of sector 88: the back end went away", False]]
