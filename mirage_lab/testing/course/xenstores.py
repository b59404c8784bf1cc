"""Exercises of 14-xenstore-on-irmin."""

from __future__ import annotations

from typing import Any, Final

from mirage_lab.testing.attempt import exercise
from mirage_lab.testing.course.worlds import story
from mirage_lab.testing.story import Story
from mirage_lab.xen.xenstore.store import StoreError
from mirage_lab.xen.xenstore.storm import Storm, storm

__all__ = ["check_apart", "check_restored", "check_together"]

CLIENTS: Final = 6


def _storms(told: Story, workload: Any) -> dict[str, Storm]:
    """Run a workload under each engine; what it cannot do is told."""
    told.true("a workload is given", callable(workload), f"there is {workload!r}")
    found: dict[str, Storm] = {}
    try:
        steps = [list(workload(number)) for number in (1, 2)]
        told.true("it yields (True, requests): a transaction", any(together for step in steps for together, _ in step), f"workload(1) is {steps[0]!r}")
        for engine in ("serial", "naive", "irmin"):
            found[engine] = storm(CLIENTS, engine, workload, cycles=4)
    except (StoreError, TypeError, ValueError, AttributeError) as error:
        told.fail("xenstore takes its requests", f"raised    {type(error).__name__}: {error}")
    told.step("xenstore takes its requests")
    return found


@exercise
def check_apart(workload: Any) -> Story:
    """A workload whose transactions the irmin engine never refuses, and the naive one does."""
    told = story("work that only seems to be the same")
    found = _storms(told, workload)
    told.true("nobody is told to ask again under irmin", not found["irmin"].aborted, repr(found["irmin"]))
    told.true("somebody is under naive", found["naive"].aborted > 0, repr(found["naive"]))
    return told


@exercise
def check_together(workload: Any) -> Story:
    """A workload whose transactions no engine can let through together."""
    told = story("work that is the same")
    found = _storms(told, workload)
    told.true("somebody is told to ask again under irmin too", found["irmin"].aborted > 0, repr(found["irmin"]))
    return told


@exercise
def check_restored(lab: Any, path: str, value: str) -> Story:
    """A store that was put back: the value is as it was, and what happened is still in the history."""
    told = story("back, and nothing forgotten")
    told.true("a lab is given", hasattr(lab, "xenstore"), f"there is {lab!r}")
    try:
        now = lab.xenstore.read(path)
    except StoreError as error:
        now = error.name
    told.true(f"{path} is {value!r} again", now == value, f"came      {now!r}")
    log = [commit.info.message for commit in lab.xenstore.log(1_000)]
    told.true("the change that was undone is in the history", sum(path in message for message in log) >= 2, f"came      {log[:3]}")
    return told
