"""Drivers: pacing, Ctrl-C, the watchdog, forgotten awaits, play."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from mirage_lab.runtime import Driver, World, tasks
from mirage_lab.runtime.driver import Player
from mirage_lab.runtime.host import monotonic_ns
from mirage_lab.runtime.turns import Turns
from mirage_lab.runtime.watchdog import GuestSpinning
from mirage_lab.signatures.units import ms, seconds

HERE = Path(__file__).name


def test_a_free_run_ends_at_its_time_and_counts_events() -> None:
    world = World()
    world.call_at(ms(1), lambda: None)
    outcome = Driver(world).run(seconds(3600))
    assert (outcome.started, outcome.ended, outcome.events, outcome.stopped) == (0, seconds(3600), 1, "until")


def test_a_run_stops_at_the_event_it_was_asked_for() -> None:
    world, seen = World(), []
    for n in range(10):
        world.call_at(ms(n), seen.append, n)
    outcome = Driver(world).run(seconds(1), lambda: len(seen) >= 4, every=1)
    assert outcome.stopped == "event" and world.now == ms(3)


def test_ctrl_c_stops_between_two_events_and_the_world_goes_on_later() -> None:
    world, ticks = World(), []

    def tick() -> None:
        ticks.append(world.now)
        if len(ticks) == 50:
            os.kill(os.getpid(), signal.SIGINT)
        world.call_at(world.now + ms(1), tick)

    world.call_at(ms(1), tick)
    outcome = Driver(world).run(seconds(10), every=1)
    assert outcome.stopped == "interrupt" and world.now < seconds(1)
    assert Driver(world).run(seconds(10)).stopped == "until"
    assert len(ticks) == 10_000


def test_a_guest_step_that_never_ends_is_broken_off_and_the_others_go_on() -> None:
    world, crashed, ticks = World(), [], []
    guest = world.queue("spinner")
    guest.guest = True
    guest.on_crash = lambda task, error: (crashed.append(guest.explain(error)), guest.close())

    async def spin() -> None:
        await tasks.sleep(ms(1))
        while True:
            pass

    async def clock() -> None:
        for _ in range(5):
            await tasks.sleep(ms(1))
            ticks.append(world.now)

    guest.spawn(spin())
    world.queue("other").spawn(clock())
    Driver(world).run(ms(20))
    assert world.now == ms(20) and len(ticks) == 5 and not world.reproducible
    assert len(crashed) == 1 and f"did not yield for 1 s ({HERE}, line " in crashed[0]
    assert "while True" in crashed[0] or "pass" in crashed[0]
    world.close()


def test_a_write_that_was_not_awaited_is_named_with_its_place() -> None:
    world = World()

    class Flow:
        async def write(self, data: bytes) -> None:
            await tasks.sleep(ms(1))

    async def guest() -> None:
        flow = Flow()
        flow.write(b"x")
        await tasks.sleep(ms(1))

    world.queue("web").spawn(guest())
    Driver(world).run(ms(5))
    (report,) = world.take_reports()
    assert str(report).startswith("web: flow.write(...) was never awaited (test_driver.py, line ")
    assert str(report).endswith("): nothing was sent")


def test_with_a_host_connection_open_the_world_does_not_run_ahead_of_the_wall() -> None:
    world = World()
    world.host_connections = 1
    start = monotonic_ns()
    Driver(world).run(ms(30))
    assert monotonic_ns() - start >= ms(29)


def test_playing_serves_host_sockets_and_enters_their_bytes_at_ticks() -> None:
    world, lock, arrived = World(), Turns(), threading.Event()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    entered: list[tuple[int, bytes]] = []

    def bytes_in(data: bytes) -> None:
        entered.append((world.now, data))
        arrived.set()

    world.on_command("bytes", bytes_in)
    world.host.register(ours, read=lambda: world.submit("bytes", data=ours.recv(100)))
    player = Player(world, lock)
    player.start()
    theirs.sendall(b"hello")
    assert arrived.wait(5)
    player.stop()
    assert not player.playing
    assert entered[0][1] == b"hello" and entered[0][0] % ms(1) == 0 and world.journal.outside == 1
    world.close()
    ours.close()
    theirs.close()


def test_a_spinning_guest_is_stopped_under_play_too() -> None:
    world, lock, stopped = World(), Turns(), threading.Event()
    guest = world.queue("spinner")
    guest.guest = True
    errors: list[BaseException] = []

    def crash(task: object, error: BaseException) -> None:
        errors.append(error)
        guest.close()
        stopped.set()

    guest.on_crash = crash

    async def spin() -> None:
        while True:
            pass

    guest.spawn(spin())
    player = Player(world, lock)
    player.start()
    assert stopped.wait(10)
    player.stop()
    assert isinstance(errors[0], GuestSpinning) and player.error is None
    world.close()


def test_a_player_that_never_rests_lets_others_have_the_lock() -> None:
    world, lock = World(), Turns()

    async def busy() -> None:
        while True:
            await tasks.checkpoint()

    world.queue("busy").spawn(busy())
    player = Player(world, lock, 1_000_000.0)
    player.start()
    got = 0
    for _ in range(30):
        before = world.events
        while world.events == before:
            assert player.playing
        with lock:
            got += 1
    player.stop()
    assert got == 30
    world.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_events_does_not_hang_on_the_hash_seed(seed: int, tmp_path: Path) -> None:
    import subprocess
    import sys

    program = """
import sys
from mirage_lab.runtime import World, tasks
from mirage_lab.signatures.units import us
world = World(int(sys.argv[1]))
log = []
async def worker(name):
    rng = world.rng(name)
    for n in range(20):
        await tasks.sleep(us(rng.randrange(50)))
        log.append((name, world.now))
for name in {"a", "b", "c", "d", "e"} and sorted({"a", "b", "c", "d", "e"}):
    world.queue(name).spawn(worker(name))
world.advance(us(5000))
print(world.events, log)
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, str(seed)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for hash_seed in ("0", "1", "4711")
    }
    assert len(outputs) == 1 and "log" not in outputs
