"""running: target unix: the unikernel on this computer, blocking or in the background."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mirage_lab.runtime import World
from mirage_lab.runtime.clock import show
from mirage_lab.runtime.driver import Driver, Player
from mirage_lab.runtime.tasks import Task
from mirage_lab.runtime.turns import Turns
from mirage_lab.signatures.errors import DescriptionError, MirageError
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tool.building import connect_all
from mirage_lab.tool.sealing import seal
from mirage_lab.usernet.unix import UnixPlatform

if TYPE_CHECKING:
    from mirage_lab.tool.configuring import Plan

__all__ = ["Running", "run", "start"]

FOR_EVER = seconds(1 << 30)


class Running:
    """A unikernel of target unix: `console` (its lines), `ports` {its port: port of 127.0.0.1}, `url(80)`, `stop()`."""

    def __init__(self, plan: Plan, log: Callable[[str], None] | None) -> None:
        if plan.target != "unix":
            raise DescriptionError(f"{plan.name} is configured for {plan.target}: plan.build() and lab.create boot it; configure(job, target='unix') runs here")
        self.name = plan.name
        self.world = world = World(0)
        self.queue = queue = world.queue(plan.name)
        queue.guest = True
        self.platform = UnixPlatform(world, queue, log or (lambda text: None))
        self.error = ""
        self.done = False
        self._lock = Turns()
        self._player: Player | None = None
        queue.on_crash = self._crashed
        sealed = seal(plan.job.function)

        async def main() -> None:
            await connect_all(plan.vertices, plan.keys, plan.profile, self.platform, sealed)
            self.done = True

        queue.spawn(main(), "main")

    def _crashed(self, task: Task[Any], error: BaseException) -> None:
        self.error = self.queue.explain(error)
        self.queue.report_crash(task, error)
        if not task.name.startswith("serve"):
            self.done = True

    @property
    def console(self) -> str:
        """What it printed."""
        return self.platform.console.text

    @property
    def ports(self) -> dict[int, int]:
        """Its listening ports, and which ports of 127.0.0.1 they are."""
        return dict(self.platform.ports)

    def url(self, port: int = 80) -> str:
        """Return where a port is found; raises DescriptionError."""
        if port not in self.platform.ports:
            raise DescriptionError(f"{self.name} does not listen on port {port}: {sorted(self.ports) or 'on none'}")
        return f"http://127.0.0.1:{self.platform.ports[port]}/"

    def drive(self) -> str:
        """Run on this thread until it ends or Ctrl-C; returns the line that says how."""
        driver = Driver(self.world)
        self.world.host_connections += 1  # real time: there is a real computer around it
        outcome = driver.run(FOR_EVER, lambda: self.done, every=1)
        self.stop()
        how = "interrupted" if outcome.stopped == "interrupt" else f"crashed: {self.error}" if self.error and self.done else "ended"
        return f"{self.name} {how} at t = {show(Ns(outcome.ended))}"

    def play(self) -> None:
        """Run in the background."""
        with self._lock:
            self.world.advance(Ns(1_000_000))
        self._player = Player(self.world, self._lock, 1.0)
        self._player.start()

    def stop(self) -> None:
        """Stop, and give every socket back."""
        if self._player is not None:
            self._player.stop()
            self._player = None
        self.platform.close()
        self.queue.close()
        self.world.close()
        self.done = True

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        where = ", ".join(f"{port} at 127.0.0.1:{host}" for port, host in self.ports.items()) or "no port"
        return f"{self.name} {'ended' if self.done else 'running'} on this computer: {where} · running.stop() stops it"


def run(plan: Plan, log: Callable[[str], None] | None = None) -> str:
    """Run until the end, an error or Ctrl-C; returns what was printed and how it ended.  Raises MirageError on a crash."""
    running = Running(plan, log)
    try:
        line = running.drive()
    finally:
        running.stop()
    if running.error:
        raise MirageError(line)
    return running.console + line


def start(plan: Plan, log: Callable[[str], None] | None = None) -> Running:
    """Run in the background."""
    running = Running(plan, log)
    running.play()
    return running
