"""Native: guests of our own: wall time from create to the first console byte and to the exit, and what compiling one costs."""

from __future__ import annotations

import tempfile
from functools import partial
from itertools import count
from pathlib import Path

from bench.row import Row, best_of
from mirage_lab import Lab, compile_guest, ms, native, seconds
from mirage_lab.skeleton.native import source
from mirage_lab.tool.native.cache import Cache
from mirage_lab.xen.dom0.image import Image

__all__ = ["run"]

GOAL_MS = 15


def until(lab: Lab, image: Image, kind: str) -> None:
    """Create a domain in a lab that is there already, and run to its first event of this kind."""
    lab.create(image).unpause()
    lab.run_until(kind, within=ms(10), source=image.name)
    assert lab.events(kind, source=image.name)


def booted(image: Image, kind: str) -> float:
    """Return the shortest time to an event, ms."""
    times = []
    for _ in range(30):
        with Lab(seed=1, name="bench") as lab:
            assert lab.domains == []
            times.append(best_of(1, partial(until, lab, image, kind)))
    return min(times) * 1e3


def asleep(image: Image) -> None:
    """Run a guest that sleeps for an hour."""
    with Lab(seed=1, name="bench") as lab:
        lab.create(image).unpause()
        lab.run(seconds(3_601))
        assert lab.vm(image.name).state == "shutdown"


def run() -> list[Row]:
    """Measure."""
    rows = []
    for arch in ("x86_64", "aarch64", "armv7"):
        image = native.hello(arch)
        byte, gone = (booted(image, kind) for kind in ("console.line", "domain.shutdown"))
        rows.append(Row(f"own C guest, {arch}: create to its first console byte", byte, "ms"))
        rows.append(Row(f"own C guest, {arch}: create to its exit", gone, "ms", f"<= {GOAL_MS}", gone <= GOAL_MS))
    slept = best_of(3, lambda: asleep(compile_guest("#include <guest.h>\nint main(void) { sleep_ns(3600000000000ull); return 0; }", name="sleeper")))
    rows.append(Row("a guest that sleeps for an hour, from create to its exit", slept * 1e3, "ms"))
    rows.append(Row("its time, to ours", 3_600 / slept, "times as fast"))
    edits = count()
    with tempfile.TemporaryDirectory() as room:
        caches = (Cache(Path(room, str(n))) for n in count())
        first = best_of(3, lambda: compile_guest(source("hello"), cache=next(caches)))
        kept = Cache(Path(room, "kept"))
        compile_guest(source("hello"), cache=kept)
        again = best_of(10, lambda: compile_guest(f"{source('hello')}// {next(edits)}\n", cache=kept))
        known = best_of(10, lambda: compile_guest(source("hello"), cache=kept))
    rows.append(Row("compiling hello for x86_64, the first guest of a computer", first * 1e3, "ms"))
    rows.append(Row("compiling it after a change", again * 1e3, "ms"))
    rows.append(Row("compiling it again", known * 1e3, "ms"))
    return rows
