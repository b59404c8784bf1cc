"""Exercises of 15-boot-x86 and 16-boot-arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mirage_lab.runtime import World
from mirage_lab.runtime.driver import Driver
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.testing.attempt import exercise
from mirage_lab.testing.course.worlds import story
from mirage_lab.testing.story import Story
from mirage_lab.xen.dom0 import Image, Toolstack
from mirage_lab.xen.guest.minios import boot

__all__ = ["check_frugal", "check_machine", "check_sleeps", "check_squares", "check_touches"]

PLACE: Final = 0xDEAD_0000
WITHIN: Final = seconds(2)
SQUARES: Final = [str(n * n) for n in range(1, 11)]


@dataclass(frozen=True, slots=True)
class _Run:
    """What became of a guest: its console, its state, hypercalls by name, why it crashed, and when it ended (ns)."""

    text: str
    state: str
    hypercalls: dict[str, int]
    why: str
    ended: Ns


def _run(image: Image, within: Ns) -> _Run:
    """Boot an image on a machine of its own until it ends."""
    world = World(15)
    try:
        toolstack = Toolstack(world, boot=boot)
        domid = toolstack.create(image)
        toolstack.unpause(domid)
        domain = toolstack.domain(domid)
        Driver(world).run(Ns(world.now + within), lambda: domain.reason is not None, every=1)
        told = world.recorder.events("task.crashed", domain.name)
        why = str(told[-1].fields["text"]) if told else ""
        return _Run(toolstack.console(domid).text, domain.state, domain.statistics().hypercalls, why, world.now)
    finally:
        world.close()


def _booted(told: Story, image: object, within: Ns = WITHIN, kind: str = "") -> _Run:
    told.true("it is an image", isinstance(image, Image) and image.kind != "python", f"it is {image!r:.80}; %%c NAME makes one")
    assert isinstance(image, Image)
    if kind:
        machine = {"elf": "x86-64"}.get(image.kind, "ARM")
        told.true(f"it is a guest for {kind}", machine == kind, f"it is one for {machine}")
    return _run(image, within)


@exercise
def check_squares(image: object) -> Story:
    """A guest that prints the squares of 1 to 10, a line each, and ends."""
    told = story("ten squares")
    run = _booted(told, image)
    told.true("it ends", run.state == "shutdown", f"it is {run.state} {run.why}".rstrip())
    told.true("it prints ten lines", len(run.text.split()) == len(SQUARES), f"it printed {run.text.split()}")
    told.true("they are the squares of 1 to 10", run.text.split() == SQUARES, f"it printed {run.text.split()}")
    return told


@exercise
def check_frugal(image: object) -> Story:
    """A guest that says something and ends, with two hypercalls in all."""
    told = story("two hypercalls")
    run = _booted(told, image)
    told.true("it ends", run.state == "shutdown", f"it is {run.state} {run.why}".rstrip())
    told.true("it speaks to Xen's own console", "console_io.write" in run.hypercalls, f"it made {', '.join(run.hypercalls)}")
    count = sum(run.hypercalls.values())
    told.true("with two hypercalls in all", count == 2, f"it made {count}: {', '.join(run.hypercalls)}")
    return told


@exercise
def check_touches(image: object) -> Story:
    """A guest that a page fault ends, on the address 0xdead0000, because it read there."""
    told = story("a fault on purpose")
    run = _booted(told, image)
    told.true("it crashes", run.state == "crashed", f"it is {run.state}")
    said = run.text.strip() or run.why
    told.true("because of a page fault", "page fault" in said, said)
    told.true(f"on address {PLACE:#x}", f"{PLACE:#x}" in said, said)
    told.true("which it read", "reading" in said, said)
    return told


@exercise
def check_sleeps(image: object) -> Story:
    """A guest that sleeps for a second, and ends."""
    told = story("a second, and not a microsecond of work")
    run = _booted(told, image, seconds(5))
    told.true("it ends", run.state == "shutdown", f"it is {run.state} {run.why}".rstrip())
    told.true("not before a second has passed", run.ended >= seconds(1), f"it ended after {run.ended / 1e9:.6f} s")
    told.true("and not a millisecond later", run.ended <= seconds(1) + 1_000_000, f"it ended after {run.ended / 1e9:.6f} s")
    told.true("without looking at the clock all the time", sum(run.hypercalls.values()) < 20, f"it made {sum(run.hypercalls.values())} hypercalls")
    return told


@exercise
def check_machine(image: object, other: object) -> Story:
    """One source for two machines: each says which it is, with its own name."""
    told = story("one source, two machines")
    for kind, each in (("x86-64", image), ("ARM", other)):
        run = _booted(told, each, kind=kind)
        told.true(f"it ends on {kind}", run.state == "shutdown", f"it is {run.state} {run.why}".rstrip())
        told.true(f"it says {kind}", run.text.split() == [kind], f"it said {run.text.strip()!r}")
    return told
