"""Pair: two machines on one lan, in a cell: what a check of a device of the network needs around it.

pair = Pair(latency=ms(1), loss=0.1)
check_stackv4(pair.one, pair.other, "10.0.0.2")
check_ethif(MyEthif(pair.nets[0]), Ethif(pair.queues[1], pair.nets[1]))
"""

from __future__ import annotations

from collections.abc import Coroutine
from functools import cached_property
from typing import Any, Final, TypeVar

from mirage_lab.runtime import World
from mirage_lab.runtime.driver import Driver
from mirage_lab.runtime.tasks import Task
from mirage_lab.signatures.errors import MirageError
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tcpip.stack import Stack
from mirage_lab.testing.suite import here
from mirage_lab.tracing.capture import Capture
from mirage_lab.vnetif import Netif, Segment

__all__ = ["Pair"]

T = TypeVar("T")
NAMES: Final = ("one", "other")
TEN_MINUTES: Final = seconds(600)


class Pair:
    """Two machines on a lan with the faults of `lab.lan`; `capture` holds the frames.  Same seed, same frames.

    `one` and `other` are their stacks, at 10.0.0.1 and 10.0.0.2, made when first asked for; without them `nets`, two
    NETWORKs, and `queues`, one vCPU each, are there for stacks or layers of your own.
    """

    def __init__(self, seed: int = 1, profile: str = "today", **faults: Any) -> None:
        self.world = world = World(seed)
        world.place = here()
        self.lan = Segment(world, "lan", **faults)
        self.capture = Capture("lan")
        self.lan.captures.append(self.capture)
        self.queues = tuple(world.queue(name) for name in NAMES)
        for queue in self.queues:
            queue.guest = True
        self.nets = tuple(Netif(queue, self.lan, f"02:00:00:00:00:0{at}", queue.name) for at, queue in enumerate(self.queues, 1))
        self.addresses = ("10.0.0.1", "10.0.0.2")
        self._profile = profile

    def __repr__(self) -> str:
        faults = ", ".join(f"{name}={value}" for name, value in self.lan.active.items()) or "no faults"
        return f"<Pair {self.addresses[0]} and {self.addresses[1]}, {faults}: t = {self.world.now / 1e9:.3f} s, {len(self.capture)} frames>"

    @cached_property
    def one(self) -> Stack:
        """The stack at 10.0.0.1."""
        return Stack(self.queues[0], self.nets[0], address=f"{self.addresses[0]}/24", profile=self._profile)

    @cached_property
    def other(self) -> Stack:
        """The stack at 10.0.0.2."""
        return Stack(self.queues[1], self.nets[1], address=f"{self.addresses[1]}/24", profile=self._profile)

    def frames(self) -> list[bytes]:
        """Return the frames on the wire so far."""
        return [frame.data for frame in self.capture.frames]

    def run(self, job: Coroutine[Any, Any, T], within: Ns = TEN_MINUTES) -> T:
        """Run `job` on the first machine until it ends and return what it returned.

        Raises what the job raises, and MirageError when it does not end within `within` (ns).
        """
        task: Task[T] = self.queues[0].spawn(job, "job")
        task.on_end = lambda task, error: None
        outcome = Driver(self.world).run(Ns(self.world.now + within), lambda: task.done, every=1)
        if outcome.stopped == "interrupt":
            raise KeyboardInterrupt
        if not task.done:
            task.abandon()
            raise MirageError(f"the job did not end within {within / 1e9:g} s of virtual time")
        return task.result

    def close(self) -> None:
        """Give back what the world holds of the host."""
        for queue in self.queues:
            queue.close()
        self.world.close()
