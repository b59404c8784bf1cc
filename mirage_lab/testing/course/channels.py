"""Exercises of 12-event-channels-and-grants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from mirage_lab.runtime import World, tasks
from mirage_lab.runtime.driver import Driver
from mirage_lab.signatures.units import Ns, ms
from mirage_lab.testing.attempt import exercise
from mirage_lab.testing.course.worlds import story
from mirage_lab.testing.story import Story
from mirage_lab.xen.abi import grant_table as abi
from mirage_lab.xen.abi.xen import Domid
from mirage_lab.xen.dom0 import Image, Toolstack
from mirage_lab.xen.guest.minios import MiniOS, boot
from mirage_lab.xen.hypervisor import Domain

__all__ = ["check_bell", "check_flags", "check_lend", "entry_of"]

Entry = Callable[[MiniOS], Awaitable[Any]]
RINGS: Final = 3
_FLAGS: Final = {abi.GTF_READONLY: "readonly", abi.GTF_READING: "reading", abi.GTF_WRITING: "writing"}
_TYPES: Final = {abi.GTF_INVALID: "invalid", abi.GTF_PERMIT_ACCESS: "permit_access", abi.GTF_ACCEPT_TRANSFER: "accept_transfer"}


class _Meeting:
    """A machine on which domains 1, 2, ... have each begun their main function `entry(os)`."""

    def __init__(self, *entries: Entry) -> None:
        self.world = World(12)
        self.toolstack = Toolstack(self.world, boot=boot)
        for number, entry in enumerate(entries, 1):
            self.toolstack.unpause(self.toolstack.create(Image(f"domain {number}", entry=entry), memory_mib=8))

    def __enter__(self) -> _Meeting:
        return self

    def __exit__(self, *error: object) -> None:
        self.world.close()

    def run(self, duration: Ns) -> None:
        """Run for `duration` of virtual time."""
        Driver(self.world).run(Ns(self.world.now + duration))

    def crash(self, domid: int) -> str:
        """Return why a domain crashed, empty if it did not."""
        domain = self.toolstack.domain(domid)
        told = self.world.recorder.events("task.crashed", domain.name)
        if domain.state != "crashed":
            return ""
        return str(told[-1].fields["text"]) if told else "it ended itself as crashed"


def entry_of(lab: Any, domid: int, ref: int) -> str:
    """Return an entry of a domain's grant table in words: what it permits, to whom, which page, who uses it now."""
    return _words(lab.machine.toolstack.domain(domid), ref)


def _words(domain: Domain, ref: int) -> str:
    flags, to, frame = domain.grants.entry(ref)
    words = [_TYPES.get(flags & abi.GTF_TYPE_MASK, "none that Xen knows"), *(word for bit, word in _FLAGS.items() if flags & bit)]
    return f"flags {flags:#04x} ({', '.join(words)}) · domid {to} · frame {frame:#x}, its page {frame - domain.memory.base}"


def _given(told: Story, entry: object) -> None:
    told.true("it is a function of os", callable(entry), f"there is {entry!r}")


@exercise
def check_bell(answer: Any) -> Story:
    """`answer(os)`, domain 2: it rings back each time domain 1 rings at the port it offers."""
    told = story("a bell that rings back")
    _given(told, answer)
    heard: list[int] = []

    async def ringer(os: MiniOS) -> None:
        port = os.events.alloc_unbound(Domid(2))
        os.events.bind(port, lambda: heard.append(os.queue.now))
        os.events.unmask(port)
        await os.xs.write("data/port", str(port))
        await os.xs.set_perms("data/port", ["n1", "r2"])
        for _ in range(RINGS):
            await tasks.sleep(ms(5))
            os.events.notify(port)
        await tasks.sleep(ms(5))

    with _Meeting(ringer, answer) as meeting:
        meeting.run(ms(30))
        told.true("it does not crash", not meeting.crash(2), meeting.crash(2))
        bound = meeting.toolstack.domain(2).statistics().hypercalls.get("event_channel_op.bind_interdomain", 0)
        told.true("it binds the port that domain 1 offers", bound, "there was no bind_interdomain")
    answers = [t for t in heard if t >= ms(5)]  # binding makes the port pending: one may have missed something
    told.true(f"it rings back {RINGS} times when it was rung {RINGS} times", len(answers) == RINGS, f"came back  {len(answers)} of {RINGS}")
    return told


@exercise
def check_flags(flags: object) -> Story:
    """The flags of an entry that permits reading only, while the other domain has the page mapped."""
    told = story("flags of a grant in use")
    told.true("it is a number of 16 bits", isinstance(flags, int) and 0 <= flags < 1 << 16, f"it is {flags!r}")
    assert isinstance(flags, int)
    told.true("access is permitted", flags & abi.GTF_TYPE_MASK == abi.GTF_PERMIT_ACCESS, f"{flags:#x} says {_TYPES.get(flags & abi.GTF_TYPE_MASK, 'nothing')}")
    told.true("nobody may write", flags & abi.GTF_READONLY, f"with {flags:#x} the other domain may write")
    told.true("it says how the page is used now", flags & ~abi.GTF_TYPE_MASK & ~abi.GTF_READONLY, f"with {flags:#x} the page could be taken back at once")
    wanted = abi.GTF_PERMIT_ACCESS | abi.GTF_READONLY | abi.GTF_READING
    told.true("and nothing else", flags == wanted, f"{flags:#x} says more than can be true of a page that nobody may write")
    return told


@exercise
def check_lend(lend: Any) -> Story:
    """`lend(os)`, domain 1: it grants a page to domain 2, tells it by data/ref, and takes it back once it is not used any more."""
    told = story("a page that is lent, and comes back")
    _given(told, lend)

    async def borrower(os: MiniOS) -> None:
        one = Domid(1)
        await tasks.sleep(ms(2))
        address, handle = os.gntmap.map(one, int(await os.xs.read("/local/domain/1/data/ref")))
        await tasks.sleep(ms(8))
        os.gntmap.unmap(address, handle)

    with _Meeting(lend, borrower) as meeting:
        meeting.run(ms(8))
        told.true("it does not crash", not meeting.crash(1), meeting.crash(1))
        told.true("domain 2 can map the page", not meeting.crash(2), meeting.crash(2))
        owner = meeting.toolstack.domain(1)
        used = next((ref for ref in owner.grants.uses if ref >= abi.NR_RESERVED_ENTRIES), None)
        told.true("the page is in use after 8 ms", used is not None, "nothing of domain 1 is mapped")
        assert used is not None
        meeting.run(ms(20))
        told.true("it does not crash afterwards", not meeting.crash(1), meeting.crash(1))
        told.true("after 28 ms the entry is free again", owner.grants.entry(used)[0] == abi.GTF_INVALID, _words(owner, used))
    return told
