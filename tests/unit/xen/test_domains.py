"""The toolstack, the kernel of a guest, and frames through two rings."""

from __future__ import annotations

from typing import Any

import pytest

from mirage_lab.runtime import World, tasks
from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.xen.abi.io import ring
from mirage_lab.xen.abi.io.netif import NETTXF_CSUM_BLANK, NETTXF_MORE_DATA, TX_REQUEST
from mirage_lab.xen.abi.start_info import StartInfo
from mirage_lab.xen.abi.xen import Domid, Pfn
from mirage_lab.xen.dom0 import Image, Toolstack, VifConfig
from mirage_lab.xen.dom0.toolstack import ToolstackError
from mirage_lab.xen.guest.minios import MiniOS, boot
from mirage_lab.xen.guest.xenstore import Handle

SECOND = seconds(1)


class Hub:
    """A segment that keeps what it is sent and can send back."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.receivers: list[Any] = []

    def attach(self, name: str, receive: Any) -> Hub:
        self.receivers.append(receive)
        return self

    def detach(self, port: Any) -> None:
        self.receivers.clear()

    def send(self, frame: bytes) -> None:
        self.frames.append(frame)


class Host:
    """A world with a toolstack and one guest made of `entry`."""

    def __init__(self, entry: Any, *, vifs: int = 0, profile: str = "today", memory_mib: int = 8) -> None:
        self.world = World(1)
        self.toolstack = Toolstack(self.world, boot=boot)
        self.hub = Hub()
        vif = [VifConfig(self.hub) for _ in range(vifs)]
        self.domid = self.toolstack.create(Image("guest", entry=entry), vif=vif, profile=profile, memory_mib=memory_mib)
        self.domain = self.toolstack.domain(self.domid)

    def run(self, duration: Ns = SECOND) -> Host:
        self.toolstack.unpause(self.domid)
        self.world.advance(Ns(self.world.now + duration))
        return self

    @property
    def console(self) -> str:
        return self.toolstack.console(self.domid).text

    def states(self) -> list[tuple[str, int]]:
        """(end, state) of the vif in order."""
        events = self.world.recorder.events("xenbus.state")
        return [("back" if "/backend/" in str(event.fields["path"]) else "front", int(str(event.fields["state"]))) for event in events]


async def idle(os: MiniOS) -> None:
    await tasks.Condition().wait()


def test_a_domain_is_built_paused_and_runs_when_it_is_let() -> None:
    async def entry(os: MiniOS) -> None:
        os.console.log("up")
        await idle(os)

    host = Host(entry)
    assert host.domain.state == "paused"
    host.world.advance(seconds(1))
    assert host.console == ""
    host.run()
    assert host.console == "up\n" and host.domain.state == "blocked"
    host.toolstack.pause(host.domid)
    assert host.domain.state == "paused"
    host.toolstack.destroy(host.domid)
    assert [info.name for info in host.toolstack.list()] == ["dom0"]
    assert not host.toolstack.xenstore.exists(f"/local/domain/{host.domid}")
    assert len(host.toolstack.hypervisor.domain(0).grants.handles) == 0  # type: ignore[union-attr]


def test_start_info_says_what_the_builder_did() -> None:
    seen: list[StartInfo] = []

    async def entry(os: MiniOS) -> None:
        seen.append(os.start_info)

    host = Host(entry, profile="2014").run()
    info = seen[0]
    assert (info.magic, info.nr_pages, info.cmd_line) == ("xen-3.0-x86_64", 8 << 8, "profile=2014")
    assert info.store_mfn == host.domain.memory.mfn(Pfn(17)) and info.console_mfn == host.domain.memory.mfn(Pfn(18))
    p2m = host.domain.memory.view[info.mfn_list : info.mfn_list + 8 * info.nr_pages].cast("Q")
    assert p2m[0] == host.domain.memory.base and p2m[-1] == host.domain.memory.base + info.nr_pages - 1


def test_the_main_thread_ends_and_so_does_the_domain() -> None:
    async def entry(os: MiniOS) -> None:
        os.console.log("bye")

    host = Host(entry).run()
    assert host.domain.state == "shutdown" and host.console == "bye\n"


def test_an_uncaught_exception_crashes_the_domain_and_no_other() -> None:
    async def entry(os: MiniOS) -> None:
        raise ValueError("<img src=x onerror=alert(1)>")

    host = Host(entry)
    other = host.toolstack.create(Image("other", entry=idle))
    host.toolstack.unpause(other)
    host.run()
    assert host.domain.state == "crashed" and "Top level exception: ValueError" in host.console
    assert host.toolstack.domain(other).state == "blocked"
    [report] = host.world.take_reports()
    assert report.source == "guest" and "ValueError" in report.text


def test_a_console_of_more_than_its_ring_arrives_whole_and_can_be_typed_into() -> None:
    async def entry(os: MiniOS) -> None:
        for number in range(500):
            await os.console.log_s(f"line {number}")
        typed = b""
        while not typed.endswith(b"\n"):
            typed += await os.console.read()
        os.console.log(f"you typed {typed!r}")

    host = Host(entry).run()
    assert host.console.splitlines() == [f"line {number}" for number in range(500)]
    host.toolstack.console(host.domid).write("x" * 3_000 + "\n")
    host.run()
    assert host.console.splitlines()[-1] == f"you typed {b'x' * 3_000 + bytes([10])!r}"


def test_xenstore_from_inside_reads_writes_watches_and_retries_transactions() -> None:
    seen: list[str] = []
    attempts: list[int] = []

    async def entry(os: MiniOS) -> None:
        await os.xs.write("data/a", "1")
        await os.xs.watch("data", "t", seen.append)
        seen.append(await os.xs.read("data/a"))

        async def add(tx: Handle) -> None:
            value = int(await tx.read("data/a"))
            attempts.append(value)
            if len(attempts) == 1:
                await os.xs.write("data/a", "10")
            await tx.write("data/a", str(value + 1))

        await os.xs.transaction(add)
        seen.append(await os.xs.read("data/a"))
        seen.append(" ".join(sorted(await os.xs.directory("data"))))
        await idle(os)

    Host(entry).run()
    assert attempts == [1, 10]
    assert seen[0] == "data" and seen[1] == "1" and seen[-2:] == ["11", "a"]


@pytest.mark.parametrize("profile", ["today", "2014"])
def test_a_vif_connects_by_the_path_of_its_time(profile: str) -> None:
    async def entry(os: MiniOS) -> None:
        await os.netif("0")
        await idle(os)

    host = Host(entry, vifs=1, profile=profile).run()
    front = [state for end, state in host.states() if end == "front"]
    assert front == ([1, 3, 4] if profile == "today" else [1, 4])
    assert [state for end, state in host.states() if end == "back"] == [1, 2, 4]


def test_a_vif_that_is_not_there_is_named() -> None:
    async def entry(os: MiniOS) -> None:
        await os.netif("1")

    host = Host(entry, vifs=1).run()
    assert "netif '1' is not plugged in (vifs of this domain: 0)" in host.console


def frame(number: int, size: int = 60) -> bytes:
    return b"\xff" * 6 + b"\x02" * 6 + b"\x08\x00" + number.to_bytes(4, "big") + bytes(size - 18)


def test_frames_go_both_ways_byte_for_byte_far_beyond_the_ring() -> None:
    got: list[bytes] = []

    async def entry(os: MiniOS) -> None:
        net = await os.netif("0")
        net.listen(got.append)
        for number in range(3_000):
            net.write(frame(number, 60 + number % 1_400))
            if number % 700 == 0:
                await tasks.sleep(ms(1))
        await idle(os)

    host = Host(entry, vifs=1).run()
    sent = [frame(number, 60 + number % 1_400) for number in range(3_000)]
    assert host.hub.frames == sent
    for start in range(0, 3_000, 500):
        for number in range(start, start + 500):
            host.hub.receivers[0](sent[number])
        host.world.advance(Ns(host.world.now + ms(1)))
    assert got == sent


def test_a_queue_that_is_full_drops_and_counts() -> None:
    counted: list[int] = []

    async def entry(os: MiniOS) -> None:
        net = await os.netif("0")
        for number in range(5_000):
            net.write(frame(number))
        counted.append(net.dropped)
        with pytest.raises(LocalProtocolError, match="MTU"):
            net.write(bytes(1_515))
        await idle(os)

    host = Host(entry, vifs=1).run()
    assert counted[0] > 0 and len(host.hub.frames) + counted[0] == 5_000


def test_a_frame_leads_back_to_the_hypercall_that_sent_it() -> None:
    causes: list[int] = []

    refs: list[int] = []

    async def entry(os: MiniOS) -> None:
        net = await os.netif("0")
        refs.extend(net._tx_refs)
        net.write(frame(1))
        net.write(frame(2))
        await idle(os)

    host = Host(entry, vifs=1)
    host.hub.send = lambda data: causes.append(host.world.cause)  # type: ignore[method-assign]
    host.run()
    sent = [host.world.recorder.events("net.tx")[place].fields for place in (0, 1)]
    assert [(fields["slot"], fields["ref"]) for fields in sent] == [(0, refs[0]), (1, refs[1])]
    chain = host.world.recorder.causes(causes[0])
    assert [event.kind for event in chain][:3] == ["net.tx", "evtchn.notify", "xen.hypercall"]
    assert chain[2].source == "guest" and chain[2].fields["name"] == "event_channel_op.send"


def hostile(os: MiniOS, net: Any, fill: Any, count: int) -> None:
    """Write `count` requests of our own into the tx ring and ring the bell."""
    for index in range(min(count, 256)):
        TX_REQUEST.pack_into(net._tx_page, 64 + index * 12, *fill(index))
    ring.INDEX.pack_into(net._tx_page, ring.REQ_PROD, count)
    os.events.notify(net.port)


@pytest.mark.parametrize(
    ("fill", "count", "closed"),
    [
        (lambda index: (60_000, 0, 0, 0, 60), 1, False),
        (lambda index: (10, 4_000, 0, 0, 200), 1, False),
        (lambda index: (10, 0, 0, 0, 65_535), 1, False),
        (lambda index: (10, 0, 0, 0, 3), 1, False),
        (lambda index: (10, 0, NETTXF_MORE_DATA, index, 60), 100, False),
        (lambda index: (10, 0, 8, index, 60), 5, False),
        (lambda index: (10, 0, 0, 0, 60), 70_000, True),
    ],
    ids=["bad gref", "over the page", "too long", "too short", "no end", "extra info", "index runs away"],
)
def test_a_hostile_front_end_harms_nobody(fill: Any, count: int, closed: bool) -> None:
    async def entry(os: MiniOS) -> None:
        net = await os.netif("0")
        hostile(os, net, fill, count)
        await idle(os)

    host = Host(entry, vifs=1).run()
    assert host.hub.frames == []
    [seen] = host.toolstack.netback.statistics().values()
    assert (seen.state == "Closed") is closed
    assert host.toolstack.domain(0).state == "running"


def test_a_checksum_that_is_left_to_the_card_is_computed() -> None:
    """Two frames of UDP without one, of which the first says so (csum_blank): 0x141c of the pseudo header and 0x72, complemented."""
    udp = bytes.fromhex("4500001c 0000 0000 40 11 0000 0a000001 0a000002 0035 0035 0008 0000".replace(" ", ""))
    plain = b"\xff" * 12 + b"\x08\x00" + udp + bytes(18)

    async def entry(os: MiniOS) -> None:
        net = await os.netif("0")
        net.write(plain)
        net.write(plain)
        request = TX_REQUEST.unpack_from(net._tx_page, 64)
        TX_REQUEST.pack_into(net._tx_page, 64, *request[:2], NETTXF_CSUM_BLANK, *request[3:])
        await idle(os)

    first, second = Host(entry, vifs=1).run().hub.frames
    assert second == plain and first == plain[:40] + bytes.fromhex("eb71") + plain[42:]


def test_the_back_end_closes_when_the_front_end_has() -> None:
    """5, then 6 after the other's 6: Linux, when it is turned off, waits for the 5."""

    async def entry(os: MiniOS) -> None:
        await os.netif("0")
        for state in ("5", "6"):
            await os.xs.write("device/vif/0/state", state)
            await tasks.sleep(ms(100))
        await idle(os)

    assert Host(entry, vifs=1).run().states()[-4:] == [("front", 5), ("back", 5), ("front", 6), ("back", 6)]


def test_names_kinds_and_sizes_are_checked() -> None:
    host = Host(idle)
    with pytest.raises(ToolstackError, match="exists already"):
        host.toolstack.create(Image("guest", entry=idle))
    with pytest.raises(ToolstackError, match="neither an Image of 64-bit ARM nor a zImage"):
        host.toolstack.create(Image("kernel", kind="arm", data=b"\x7fELF"))
    with pytest.raises(ToolstackError, match="MiB"):
        host.toolstack.create(Image("small", entry=idle), memory_mib=1)
    with pytest.raises(ToolstackError, match="dom0"):
        host.toolstack.destroy(0)
    with pytest.raises(ToolstackError, match="no domain 9"):
        host.toolstack.domain(9)


def test_the_same_seed_makes_the_same_events() -> None:
    def story() -> list[str]:
        async def entry(os: MiniOS) -> None:
            net = await os.netif("0")
            net.write(frame(1))
            await idle(os)

        return [repr(event) for event in Host(entry, vifs=1).run().world.recorder.events()]

    assert story() == story()


def test_a_thousand_grants_and_pages_end_with_one_clear_error() -> None:
    async def entry(os: MiniOS) -> None:
        while True:
            os.pages.allocate()

    host = Host(entry).run()
    assert "out of memory" in host.console and host.domain.state == "crashed"


# grants between guests ----------------------------------------------------------------------------------------------


def test_two_guests_see_one_page_and_it_is_taken_back_when_nobody_uses_it() -> None:
    said: list[Any] = []

    async def owner(os: MiniOS) -> None:
        pfn = os.pages.allocate()
        os.memory.page(pfn)[:5] = b"hello"
        ref = os.gnttab.grant(Domid(2), pfn)
        await tasks.sleep(ms(5))
        said.extend([bytes(os.memory.page(pfn)[:5]), os.gnttab.end(ref)])
        await tasks.sleep(ms(10))
        said.append(os.gnttab.end(ref))

    async def user(os: MiniOS) -> None:
        await tasks.sleep(ms(1))
        address, handle = os.gntmap.map(Domid(1), 8)
        page = os.gntmap.page(address)
        said.append(bytes(page[:5]))
        page[:5] = b"HELLO"
        await tasks.sleep(ms(10))
        os.gntmap.unmap(address, handle)

    host = Host(owner)
    host.toolstack.unpause(host.toolstack.create(Image("user", entry=user), memory_mib=8))
    host.run()
    assert said == [b"hello", b"HELLO", False, True]


def test_a_page_granted_for_reading_is_mapped_for_reading_only() -> None:
    refused: list[str] = []

    async def both(os: MiniOS) -> None:
        ref = os.gnttab.grant(Domid(1), os.pages.allocate(), readonly=True)
        with pytest.raises(LocalProtocolError, match="general_error"):
            os.gntmap.map(Domid(1), ref)
        page = os.gntmap.page(os.gntmap.map(Domid(1), ref, readonly=True)[0])
        with pytest.raises(TypeError):
            page[0] = 1
        refused.append("both")

    Host(both).run()
    assert refused == ["both"]


def test_a_card_is_connected_again_by_the_next_kernel_of_its_domain() -> None:
    """A boot loader closes its card (6); the kernel that it has loaded begins anew (1)."""
    times: list[str] = []

    async def plugs_twice(os: MiniOS) -> None:
        for _ in range(2):
            net = await os.netif("0")
            times.append(await os.xs.read("/local/domain/0/backend/vif/1/0/state"))
            await net.disconnect()
            os._netifs.clear()
            await os.xs.write("device/vif/0/state", "1")

    host = Host(plugs_twice, vifs=1).run()
    assert times == ["4", "4"]
    assert host.toolstack.xenstore.read("/local/domain/0/backend/vif/1/0/state") == "2"
