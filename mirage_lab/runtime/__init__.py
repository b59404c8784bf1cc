"""runtime: the deterministic world everything runs in.

Theory of operation.  A `World` has a seed, a virtual clock in integer nanoseconds and one heap of deadlines, served in
(time, order of insertion).  Each domain has a `RunQueue`, its vCPU: steps of one queue never overlap, a step costs virtual
time (`costs`), and a domain's next step is due when the last one has been paid for.  So nothing is free, a boot has a
timeline, and a domain that only spins still lets the clock move.  Learners import `tasks`.

What comes from outside (a command, bytes of a host socket) is journalled with the number of the event it followed and its
virtual time (`journal`); a world built from the same seed and journal is the same world, byte for byte.  `driver` moves a
world forward, alone or paced by wall time; `host` is the one selector on which host sockets wait; `watchdog` breaks a
guest step that does not come back.

The originals: Lwt and OS.Main.run of mirage-platform; the shape of the API is trio's.
Reading order: costs, clock, world, runqueue, tasks, journal, host, watchdog, places, driver.
"""

from mirage_lab.runtime.driver import Driver
from mirage_lab.runtime.runqueue import RunQueue
from mirage_lab.runtime.world import Timer, World

__all__ = ["Driver", "RunQueue", "Timer", "World"]
