"""Front ends that do what they may not: their disk answers with an error or is closed, and nobody else notices."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mirage_lab.runtime import World, tasks
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.xen.abi.io import blkif, ring
from mirage_lab.xen.abi.xen import Domid
from mirage_lab.xen.dom0 import Disk, Image, Toolstack
from mirage_lab.xen.guest.minios import MiniOS, boot

SECTORS = 64
DATA = bytes(range(256)) * (SECTORS * 2)
ERROR, UNSUPPORTED = blkif.RSP_ERROR, blkif.RSP_EOPNOTSUPP
PATH = "device/vbd/51712"


class Front:
    """A front end of our own: it writes what it likes."""

    def __init__(self, os: MiniOS, layout: blkif.Layout = blkif.X86_64) -> None:
        self.os = os
        self.layout = layout
        self.prod = 0
        self.pfn = os.pages.allocate()
        self.data = os.memory.page(self.pfn)
        self.gref = os.gnttab.grant(Domid(0), self.pfn)
        ring_pfn = os.pages.allocate()
        self.page = os.memory.page(ring_pfn)
        ring.init(self.page)
        self.keys = {"ring-ref": str(os.gnttab.grant(Domid(0), ring_pfn)), "protocol": layout.protocol}
        self.port = os.events.alloc_unbound(Domid(0))
        self.keys["event-channel"] = str(self.port)
        self.woken = tasks.Condition()
        os.events.bind(self.port, self.woken.notify_all)

    async def connect(self, state: str = "4", **keys: str) -> Front:
        for name, value in {**self.keys, **{name.replace("_", "-"): value for name, value in keys.items()}}.items():
            await self.os.xs.write(f"{PATH}/{name}", value)
        await self.os.xs.write(f"{PATH}/state", state)
        backend = await self.os.xs.read(f"{PATH}/backend")
        await self.os.xs.wait(f"{backend}/state", lambda text: text if text in ("4", "6") else None)
        self.os.events.unmask(self.port)
        return self

    def put(self, op: int, sector: int, *segments: tuple[int, int, int], count: int | None = None, rid: int = 7) -> None:
        """Write a request into the next slot, and show it."""
        at = ring.ENTRIES + (self.prod & 31) * self.layout.slot
        self.layout.request.pack_into(self.page, at, op, len(segments) if count is None else count, 0, rid, sector)
        for index, segment in enumerate(segments):
            blkif.SEGMENT.pack_into(self.page, at + self.layout.segments + index * 8, *segment)
        self.show(self.prod + 1)

    def show(self, prod: int) -> None:
        self.prod = prod & 0xFFFF_FFFF
        ring.INDEX.pack_into(self.page, ring.REQ_PROD, self.prod)
        self.os.events.notify(self.port)

    async def answer(self) -> tuple[int, int, int]:
        """Wait for the last answer: (id, operation, status)."""
        while (produced := ring.INDEX.unpack_from(self.page, ring.RSP_PROD)[0]) != self.prod:
            ring.INDEX.pack_into(self.page, ring.RSP_EVENT, produced + 1 & 0xFFFF_FFFF)
            await self.woken.wait()
        found: tuple[int, int, int] = self.layout.response.unpack_from(self.page, ring.ENTRIES + (produced - 1 & 31) * self.layout.slot)
        return found

    async def status(self, op: int, sector: int, *segments: tuple[int, int, int], count: int | None = None) -> int:
        self.put(op, sector, *segments, count=count)
        rid, answered, status = await self.answer()
        assert (rid, answered) == (7, op)
        return status


Body = Callable[[MiniOS], Awaitable[Any]]


class Host:
    """A world with a hostile guest and one that reads its own disk all the while."""

    def __init__(self, body: Body, *, readonly: bool = False) -> None:
        self.world = World(1)
        self.toolstack = Toolstack(self.world, boot=boot)
        self.came: Any = None
        self.honest = 0

        async def entry(os: MiniOS) -> None:
            self.came = await body(os)
            await tasks.Condition().wait()

        async def beside(os: MiniOS) -> None:
            disk = await os.block("xvda")
            whole = bytearray(len(DATA))
            while True:
                await disk.read(0, [whole])
                assert whole == DATA
                self.honest += 1
                await tasks.sleep(Ns(100_000_000))

        self.domid = self.toolstack.create(Image("hostile", entry=entry), disk=[Disk(data=DATA, readonly=readonly)], memory_mib=8)
        other = self.toolstack.create(Image("honest", entry=beside), disk=[Disk(data=DATA, readonly=True)], memory_mib=8)
        for domid in (self.domid, other):
            self.toolstack.unpause(domid)
        self.world.advance(seconds(1))
        before = self.honest
        self.world.advance(seconds(2))
        assert self.honest > before > 0 and self.toolstack.domain(other).state == "blocked"

    @property
    def vbd(self) -> Any:
        return self.toolstack.blkback.of(self.domid)[0]


def one(body: Callable[[Front], Awaitable[Any]]) -> Body:
    """A guest whose front end is connected when `body` begins."""

    async def entry(os: MiniOS) -> Any:
        return await body(await Front(os).connect())

    return entry


@pytest.mark.parametrize("layout", [blkif.X86_64, blkif.X86_32])
def test_both_layouts_reach_the_same_sectors(layout: blkif.Layout) -> None:
    async def body(os: MiniOS) -> tuple[int, bytes]:
        front = await Front(os, layout).connect()
        status = await front.status(blkif.READ, 5, (front.gref, 2, 3), (front.gref, 6, 6))
        return status, bytes(front.data)

    expected = bytes(1_024) + DATA[5 * 512 : 7 * 512] + bytes(1_024) + DATA[7 * 512 : 8 * 512] + bytes(512)
    assert Host(body).came == (0, expected)


def test_a_front_end_without_protocol_has_the_layout_of_dom0() -> None:
    async def body(os: MiniOS) -> int:
        front = Front(os)
        del front.keys["protocol"]
        await front.connect()
        return await front.status(blkif.READ, 63, (front.gref, 0, 0))

    assert Host(body).came == 0


G = -1
"""In the segments below: the grant of the front end's own page."""


@pytest.mark.parametrize(
    ("op", "sector", "segments", "count", "status", "why"),
    [
        (blkif.READ, 0, [], 0, ERROR, "segments of a request are 1 to 11"),
        (blkif.WRITE, 0, [(G, 0, 7)], 12, ERROR, "segments of a request are 1 to 11"),
        (blkif.READ, 0, [(G, 0, 7)], 255, ERROR, "segments of a request are 1 to 11"),
        (blkif.READ, 0, [(G, 0, 8)], None, ERROR, "a segment that is not inside its page"),
        (blkif.WRITE, 0, [(G, 255, 255)], None, ERROR, "a segment that is not inside its page"),
        (blkif.READ, 0, [(G, 4, 3)], None, ERROR, "a segment that is not inside its page"),
        (blkif.READ, SECTORS, [(G, 0, 0)], None, ERROR, "sectors past the end, 64"),
        (blkif.WRITE, SECTORS - 1, [(G, 0, 1)], None, ERROR, "sectors past the end, 64"),
        (blkif.READ, 2**64 - 1, [(G, 0, 7)], None, ERROR, "sectors past the end, 64"),
        (blkif.READ, 0, [(1_999, 0, 7)], None, ERROR, "a grant that cannot be used"),
        (blkif.WRITE, 0, [(G, 0, 7), (2**32 - 1, 0, 0)], None, ERROR, "a grant that cannot be used"),
        (blkif.READ, 0, [(0, 0, 7)], None, 0, None),
        (4, 0, [(G, 0, 7)], None, UNSUPPORTED, "an operation that is not offered"),
        (blkif.INDIRECT, 0, [(G, 0, 7)], None, UNSUPPORTED, "an operation that is not offered"),
        (255, 0, [], None, UNSUPPORTED, "an operation that is not offered"),
        (blkif.DISCARD, 0, [(2**32 - 1, 255, 255)], 0, ERROR, "sectors past the end, 64"),
        (blkif.DISCARD, 0, [(8, 0, 0)], blkif.DISCARD_SECURE, UNSUPPORTED, "a discard that is not offered"),
        (blkif.DISCARD, 63, [(2, 0, 0)], 0, ERROR, "sectors past the end, 64"),
        (blkif.FLUSH_DISKCACHE, 2**64 - 1, [(9, 9, 9)], None, 0, None),
        (blkif.WRITE_BARRIER, 0, [(G, 0, 8)], None, ERROR, "a segment that is not inside its page"),
    ],
)
def test_a_request_that_cannot_be_is_answered_with_an_error_and_changes_nothing(
    op: int, sector: int, segments: list[tuple[int, int, int]], count: int | None, status: int, why: str | None
) -> None:
    async def body(front: Front) -> list[int]:
        front.data[:] = b"!" * 4_096
        wild = await front.status(op, sector, *[(front.gref if gref == G else gref, first, last) for gref, first, last in segments], count=count)
        return [wild, await front.status(blkif.READ, 0, (front.gref, 0, 7))]

    host = Host(one(body))
    assert host.came == [status, 0] and host.vbd.volume.read(0, SECTORS) == DATA
    assert host.vbd.statistics().refused == ({why: 1} if why else {})
    assert (f"blkback: hostile/xvda: {why}: request refused" in host.toolstack.dmesg()) == bool(why)
    assert host.vbd.statistics().state == "Connected"


def test_a_disk_that_can_only_be_read_is_not_written_whatever_the_front_end_says() -> None:
    async def body(front: Front) -> list[int]:
        front.data[:] = b"!" * 4_096
        page = (front.gref, 0, 7)
        return [
            await front.status(blkif.WRITE, 0, page),
            await front.status(blkif.WRITE_BARRIER, 0, page),
            await front.status(blkif.DISCARD, 0, (64, 0, 0), count=0),
            await front.status(blkif.READ, 0, page),
        ]

    host = Host(one(body), readonly=True)
    assert host.came == [ERROR, ERROR, UNSUPPORTED, 0] and host.vbd.volume.read(0, SECTORS) == DATA


def test_a_page_granted_for_reading_only_is_not_written_and_one_taken_back_is_not_read() -> None:
    async def body(front: Front) -> list[int]:
        pages, gnttab = front.os.pages, front.os.gnttab
        readonly = gnttab.grant(Domid(0), pages.allocate(), readonly=True)
        statuses = [await front.status(blkif.READ, 0, (readonly, 0, 7)), await front.status(blkif.WRITE, 8, (readonly, 0, 7))]
        gnttab.end(readonly)
        return [*statuses, await front.status(blkif.WRITE, 8, (readonly, 0, 7))]

    host = Host(one(body))
    assert host.came == [ERROR, 0, ERROR] and host.vbd.volume.read(0, SECTORS) == DATA[:4_096] + bytes(4_096) + DATA[8_192:]


@pytest.mark.parametrize("prods", [(33,), (0x8000_0000,), (0xFFFF_FFFF,), (4, 1), (20, 40)])
def test_a_ring_whose_index_runs_away_closes_the_disk_which_can_be_opened_again(prods: tuple[int, ...]) -> None:
    async def body(front: Front) -> int:
        backend = await front.os.xs.read(f"{PATH}/backend")
        for prod in prods:
            front.show(prod)
            await tasks.sleep(Ns(10_000))
        await front.os.xs.wait(f"{backend}/state", lambda text: True if text == "6" else None)
        await front.os.xs.write(f"{PATH}/state", "6")
        disk = await front.os.block("xvda")
        whole = bytearray(len(DATA))
        await disk.read(0, [whole])
        return int(whole == DATA)

    host = Host(one(body))
    assert host.came == 1
    assert "blkback: hostile/xvda: ring: req_prod" in host.toolstack.dmesg() and "the vbd is closed" in host.toolstack.dmesg()


def test_what_is_changed_in_a_ring_that_was_taken_is_not_seen() -> None:
    async def body(front: Front) -> tuple[int, int, int]:
        front.data[:512] = b"!" * 512
        front.put(blkif.WRITE, 9, (front.gref, 0, 0), rid=1)
        await tasks.sleep(Ns(20_000))  # taken: the disk works on it
        front.layout.request.pack_into(front.page, ring.ENTRIES, blkif.WRITE, 11, 0, 99, 50)
        blkif.SEGMENT.pack_into(front.page, ring.ENTRIES + front.layout.segments, 5_000, 0, 200)
        return await front.answer()

    host = Host(one(body))
    assert host.came == (1, blkif.WRITE, 0)
    assert host.vbd.volume.read(0, SECTORS) == DATA[: 9 * 512] + b"!" * 512 + DATA[10 * 512 :]


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"ring_ref": "no number"}, "invalid literal"),
        ({"ring_ref": "-1"}, "grant reference -1"),
        ({"ring_ref": "99999999999999999999"}, "grant reference 9999"),
        ({"ring_ref": "1999"}, "map_grant_ref of 1999"),
        ({"event_channel": "4000"}, "bind_interdomain to port 4000"),
        ({"event_channel": "-7"}, "event channel -7 of domain 1"),
        ({"event_channel": "99999999999999999999"}, "event channel 99999999999999999999 of domain 1"),
        ({"protocol": "vax-abi"}, "protocol 'vax-abi'; x86_64-abi, arm-abi, x86_32-abi are known"),
    ],
)
def test_keys_that_cannot_be_close_the_disk(keys: dict[str, str], why: str) -> None:
    async def body(os: MiniOS) -> str:
        await Front(os).connect(**keys)
        return "closed"

    host = Host(body)
    assert host.came == "closed" and host.vbd.statistics().state == "Closed"
    assert f"blkback: hostile/xvda: connecting: {why}" in host.toolstack.dmesg()
    assert why in host.toolstack.xenstore.read(f"{host.vbd.path}/error")


def test_a_state_that_dances_moves_no_more_than_the_disk() -> None:
    async def body(os: MiniOS) -> str:
        rng = random.Random(3)
        front = Front(os)
        for _ in range(300):
            await os.xs.write(f"{PATH}/state", rng.choice(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "", "-1", "x" * 100]))
        await os.xs.write(f"{PATH}/state", "5")
        await tasks.sleep(Ns(10_000))
        await os.xs.write(f"{PATH}/state", "1")
        await tasks.sleep(Ns(10_000))
        await front.connect()
        return str(await front.status(blkif.READ, 0, (front.gref, 0, 7)))

    assert Host(body).came == "0"


def test_a_domain_destroyed_or_crashed_with_requests_in_its_ring_is_gone() -> None:
    async def body(front: Front) -> None:
        for number in range(32):
            front.put(blkif.WRITE, number, (front.gref, 0, 0))
        await tasks.sleep(Ns(10_000))
        raise ValueError("and then it crashes")

    world = World(1)
    toolstack = Toolstack(world, boot=boot)
    crashed = toolstack.create(Image("crashes", entry=one(body)), disk=[Disk(data=DATA)], memory_mib=8)
    toolstack.unpause(crashed)
    vbd = toolstack.blkback.of(crashed)[0]
    while toolstack.domain(crashed).state != "crashed":
        world.advance(Ns(world.now + 10_000))
    assert vbd.statistics().written < 32
    toolstack.destroy(crashed)
    world.advance(seconds(2))
    assert vbd.statistics().state == "Closed" and toolstack.list()[0].state != "crashed" and [info.name for info in toolstack.list()] == ["dom0"]


def test_a_disk_read_into_the_ring_itself_harms_its_reader_only() -> None:
    async def body(front: Front) -> str:
        backend = await front.os.xs.read(f"{PATH}/backend")
        front.put(blkif.READ, 0, (int(front.keys["ring-ref"]), 0, 7))
        await tasks.sleep(Ns(1_000_000))
        front.os.events.notify(front.port)
        await front.os.xs.wait(f"{backend}/state", lambda text: True if text == "6" else None)
        return "closed"

    host = Host(one(body))
    assert host.came == "closed" and "hostile/xvda: ring: req_prod 50462976" in host.toolstack.dmesg()


@pytest.mark.parametrize("seed", range(6))
def test_any_bytes_in_the_ring_get_one_answer_each(seed: int) -> None:
    async def body(front: Front) -> int:
        rng = random.Random(seed)
        answers = 0
        for _ in range(60):
            count = rng.randrange(1, 33)
            for number in range(count):
                at = ring.ENTRIES + (front.prod + number & 31) * front.layout.slot
                raw = bytearray(rng.randbytes(front.layout.slot))
                raw[0] = rng.choice([0, 1, 2, 3, 5, raw[0]])
                raw[1] = rng.choice([0, 1, 11, raw[1]])
                if rng.random() < 0.7:
                    raw[16:24] = rng.randrange(SECTORS + 2).to_bytes(8, "little")
                    raw[24:28] = rng.choice([front.gref, front.gref, 3, 1_999]).to_bytes(4, "little")
                    raw[28:30] = bytes([rng.randrange(9), rng.randrange(9)])
                front.page[at : at + front.layout.slot] = raw
            front.show(front.prod + count)
            await front.answer()
            answers += count
        return answers

    host = Host(one(body))
    statistics = host.vbd.statistics()
    assert host.came == sum(statistics.requests.values()) and statistics.state == "Connected"
    assert len(statistics.refused) <= 6 and host.vbd.volume.size == len(DATA)
