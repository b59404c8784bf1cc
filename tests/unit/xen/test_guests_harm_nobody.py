"""What a guest does wrong, in its tasks, its handlers and its hypercalls, ends that guest and nothing else."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from mirage_lab.runtime import World, tasks
from mirage_lab.signatures.units import Ns, ms, seconds
from mirage_lab.xen.abi import grant_table, sched, shared_info
from mirage_lab.xen.abi.evtchn import Events
from mirage_lab.xen.abi.io import console as console_ring
from mirage_lab.xen.abi.xen import GRANT_TABLE_OP, PAGE_SIZE, SCHED_OP, Domid, Pfn
from mirage_lab.xen.dom0 import Image, Toolstack, VifConfig
from mirage_lab.xen.dom0.toolstack import ToolstackError
from mirage_lab.xen.guest.minios import MiniOS, boot
from mirage_lab.xen.hypervisor import Domain, Hypervisor
from mirage_lab.xen.hypervisor import grant_table as grants


class Cable:
    """A segment of one plug: `receive` brings a frame to the guest."""

    def __init__(self) -> None:
        self.receive: Callable[[bytes], None] = lambda frame: None

    def attach(self, name: str, receive: Callable[[bytes], None]) -> Cable:
        self.receive = receive
        return self

    def detach(self, port: Cable) -> None:
        self.receive = lambda frame: None

    def send(self, frame: bytes) -> None:
        """Nobody hears it."""


async def idle(os: MiniOS) -> None:
    await tasks.Condition().wait()


def beside(entry: Any) -> tuple[World, Toolstack, Cable]:
    """A world with domain 1 made of `entry` and domain 2, which idles; both have run for a second."""
    world = World(1)
    toolstack, cable = Toolstack(world, boot=boot), Cable()
    first = toolstack.create(Image("guest", entry=entry), vif=[VifConfig(cable)], memory_mib=8)
    second = toolstack.create(Image("other", entry=idle), memory_mib=8)
    for domid in (first, second):
        toolstack.unpause(domid)
    world.advance(seconds(1))
    return world, toolstack, cable


def fail(*ignored: object) -> None:
    raise ValueError("a handler's own mistake")


async def posts(os: MiniOS) -> None:
    os.queue.post(fail)
    await idle(os)


async def sets_a_timer(os: MiniOS) -> None:
    os.queue.call_later(ms(1), fail)
    await idle(os)


async def watches(os: MiniOS) -> None:
    await os.xs.watch("data", "token", fail)
    await idle(os)


async def listens(os: MiniOS) -> None:
    net = await os.netif("0")
    net.listen(fail)
    await idle(os)


@pytest.mark.parametrize("entry", [posts, sets_a_timer, watches, listens])
def test_an_exception_in_a_handler_crashes_the_domain_and_no_other(entry: Any) -> None:
    world, toolstack, cable = beside(entry)
    cable.receive(b"\xff" * 60)
    world.advance(seconds(2))
    assert [info.state for info in toolstack.list()][1:] == ["crashed", "blocked"]
    assert "Top level exception: ValueError: a handler's own mistake" in toolstack.console(1).text
    [event] = world.recorder.events("task.crashed")
    assert event.source == "guest" and "test_guests_harm_nobody.py, line" in event.fields["place"]
    toolstack.destroy(1)


def test_a_handler_that_exits_python_ends_its_domain_only() -> None:
    async def entry(os: MiniOS) -> None:
        os.queue.post(exit_python)
        await idle(os)

    def exit_python() -> None:
        raise SystemExit(3)

    _, toolstack, _ = beside(entry)
    assert [info.state for info in toolstack.list()][1:] == ["crashed", "blocked"]


@pytest.mark.parametrize("where", ["task", "handler"])
def test_a_guest_that_spins_is_crashed_and_the_world_goes_on(where: str) -> None:
    def spin() -> None:
        while True:
            pass

    async def entry(os: MiniOS) -> None:
        if where == "handler":
            os.queue.post(spin)
            await idle(os)
        spin()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        world, toolstack, _ = beside(entry)
    world.close()
    assert [info.state for info in toolstack.list()][1:] == ["crashed", "blocked"]
    [event] = world.recorder.events("task.crashed")
    assert "did not yield for 1 s" in event.fields["text"] and "line" in event.fields["place"]
    assert world.recorder.events("domain.crashed")[0].fields["reason"] == "crash"
    assert not world.reproducible


def test_a_crash_is_told_even_when_the_console_ring_is_broken() -> None:
    async def entry(os: MiniOS) -> None:
        page = os.memory.page(Pfn(18))
        struct.pack_into("<I", page, console_ring.OUT_PROD, 70_000)
        raise ValueError("and more is wrong")

    world, toolstack, _ = beside(entry)
    assert [info.state for info in toolstack.list()][1:] == ["crashed", "blocked"]
    assert "(d1) Top level exception: ValueError: and more is wrong" in toolstack.dmesg()
    [report] = world.take_reports()
    assert "and more is wrong" in report.text


def test_made_up_hypercalls_are_counted_in_one_place() -> None:
    async def entry(os: MiniOS) -> None:
        for number in range(1_000):
            os.gate.call(1_000 + number, number)
        await idle(os)

    _, toolstack, _ = beside(entry)
    counted = toolstack.domain(1).statistics().hypercalls
    assert counted["unknown"] == 1_000 and len(counted) < 30


# the same two domains, without kernels ---------------------------------------------------------------------------------


def pair() -> tuple[World, Domain, Domain, Events, Events]:
    world = World(1)
    xen = Hypervisor(world)
    first, second = (xen.create_domain(name, 64, guest=False) for name in ("dom0", "guest"))
    for domain in (first, second):
        xen.unpause(domain)
    ends = [Events(domain.queue, domain.gate, domain.shared) for domain in (first, second)]
    return world, first, second, ends[0], ends[1]


def test_a_domain_that_blocks_with_upcalls_masked_is_woken_by_what_came_meanwhile() -> None:
    world, _, guest, ours, theirs = pair()
    heard: list[Ns] = []
    offered = theirs.alloc_unbound(Domid(0))
    theirs.bind(offered, lambda: heard.append(world.now))
    theirs.unmask(offered)
    port = ours.bind_interdomain(guest.domid, offered)
    guest.shared[shared_info.UPCALL_MASK] = 1
    ours.notify(port)
    world.advance(ms(1))
    assert heard == [] and guest.shared[shared_info.UPCALL_PENDING] == 1
    guest.gate.call(SCHED_OP, sched.BLOCK)
    assert guest.shared[shared_info.UPCALL_MASK] == 0 and guest.state == "running"
    world.advance(ms(2))
    assert len(heard) == 1
    guest.gate.call(SCHED_OP, sched.BLOCK)
    assert guest.state == "blocked"


def test_poll_does_not_wait_for_what_is_there() -> None:
    world, _, guest, ours, theirs = pair()
    offered = theirs.alloc_unbound(Domid(0))
    theirs.bind(offered, fail)
    port = ours.bind_interdomain(guest.domid, offered)
    struct.pack_into("<I", guest.memory.page(Pfn(3)), 0, offered)
    poll = bytearray(sched.POLL_ARG.pack(3 * PAGE_SIZE, 1, ms(5)))
    assert guest.gate.call(SCHED_OP, sched.POLL, poll) == 0 and guest.state == "blocked"
    ours.notify(port)
    assert guest.state == "running"
    assert guest.gate.call(SCHED_OP, sched.POLL, poll) == 0 and guest.state == "running"
    world.advance(ms(1))


def test_poll_ends_at_its_time() -> None:
    world, _, guest, _, theirs = pair()
    struct.pack_into("<I", guest.memory.page(Pfn(3)), 0, theirs.alloc_unbound(Domid(0)))
    poll = bytearray(sched.POLL_ARG.pack(3 * PAGE_SIZE, 1, ms(5)))
    assert guest.gate.call(SCHED_OP, sched.POLL, poll) == 0
    world.advance(ms(4))
    assert guest.state == "blocked"
    world.advance(ms(6))
    assert guest.state == "running"


def test_a_new_port_is_the_lowest_free_one() -> None:
    _, _, _, _, theirs = pair()
    ports = [theirs.alloc_unbound(Domid(0)) for _ in range(5)]
    assert ports == [1, 2, 3, 4, 5]
    for port in (4, 1):
        theirs.close(ports[port - 1])
    assert [theirs.alloc_unbound(Domid(0)) for _ in range(3)] == [1, 4, 6]


def test_what_a_domain_has_mapped_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants, "MAX_MAPTRACK", 10)
    _, dom0, guest, _, _ = pair()
    grant_table.ENTRY.pack_into(guest.grants.frames[0], 64, grant_table.GTF_PERMIT_ACCESS, 0, guest.memory.mfn(Pfn(5)))
    statuses = []
    for number in range(11):
        arg = bytearray(grant_table.MAP.size)
        grant_table.MAP.pack_into(arg, 0, dom0.memory.demand + number * PAGE_SIZE, grant_table.GNTMAP_HOST_MAP, 8, guest.domid, 0, 0, 0)
        dom0.gate.call(GRANT_TABLE_OP, grant_table.MAP_GRANT_REF, arg)
        statuses.append(grant_table.MAP.unpack_from(arg)[4])
    assert statuses == [0] * 10 + [grant_table.GNTST_NO_DEVICE_SPACE]


# the toolstack ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", ["-7", "99999999999999999999", "4000"])
def test_a_vif_whose_event_channel_cannot_be_is_closed(port: str) -> None:
    async def entry(os: MiniOS) -> None:
        for name, value in (("tx-ring-ref", "8"), ("rx-ring-ref", "9"), ("event-channel", port), ("state", "4")):
            if name.endswith("ref"):
                value = str(os.gnttab.grant(Domid(0), os.pages.allocate()))
            await os.xs.write(f"device/vif/0/{name}", value)
        await idle(os)

    _, toolstack, _ = beside(entry)
    assert toolstack.netback.statistics()["guest"].state == "Closed" and "netback: guest: connecting: " in toolstack.dmesg()


def test_a_vif_without_a_segment_is_refused_before_anything_is_built() -> None:
    world = World(1)
    toolstack = Toolstack(world, boot=boot)
    with pytest.raises(ToolstackError, match="vif 1 of web is not plugged in"):
        toolstack.create(Image("web", entry=idle), vif=[VifConfig(Cable()), VifConfig(None)])
    assert [info.name for info in toolstack.list()] == ["dom0"]


@pytest.mark.parametrize("name", ["a/b", "two\nlines", "x" * 65])
def test_a_name_that_could_not_be_shown_is_refused(name: str) -> None:
    with pytest.raises(ToolstackError, match="a name is"):
        Toolstack(World(1), boot=boot).create(Image("web", entry=idle), name=name)
