"""The world: order, time, chance, journal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.runtime import World, costs, tasks
from mirage_lab.runtime.journal import ReplayDiverged
from mirage_lab.signatures.units import Ns, ms, seconds, us


def test_timers_fire_in_order_of_time_then_of_insertion() -> None:
    world, seen = World(), []
    world.call_at(ms(2), seen.append, "late")
    world.call_at(ms(1), seen.append, "first")
    world.call_at(ms(1), seen.append, "second")
    world.advance(ms(5))
    assert seen == ["first", "second", "late"]
    assert world.now == ms(5)


@given(st.lists(st.integers(0, 20), max_size=60), st.integers(0, 20))
def test_any_set_of_timers_fires_sorted_and_never_early(times: list[int], until: int) -> None:
    world, seen = World(), []
    for index, when in enumerate(times):
        world.call_at(Ns(when), lambda i=index: seen.append((world.now, i)))
    world.advance(Ns(until))
    assert seen == sorted((when, i) for i, when in enumerate(times) if when <= until)


def test_a_cancelled_timer_is_no_event_and_does_not_fire() -> None:
    world, seen = World(), []
    timer = world.call_at(ms(1), seen.append, "never")
    timer.cancel()
    timer.cancel()
    world.advance(ms(2))
    assert not seen and world.events == 0


def test_many_cancelled_timers_do_not_pile_up() -> None:
    world = World()
    for _ in range(10_000):
        world.call_at(seconds(60), lambda: None).cancel()
    assert len(world._heap) < 5_000


def test_a_timer_carries_the_cause_of_the_moment_it_was_set() -> None:
    world, seen = World(), []
    kind = world.recorder.kind("test.happened")

    def first() -> None:
        world.cause = kind.emit(world.now, "a", world.cause, {"step": 1})
        world.call_at(ms(2), second)

    def second() -> None:
        seen.append(kind.emit(world.now, "a", world.cause, {"step": 2}))

    world.call_at(ms(1), first)
    world.advance(ms(3))
    assert [event.fields["step"] for event in world.recorder.causes(seen[0])] == [2, 1]


def test_steps_of_a_queue_cost_time_and_do_not_overlap() -> None:
    world, seen = World(), []
    queue = world.queue("dom")

    def work() -> None:
        queue.charge(costs.HYPERCALL)
        seen.append(world.now)

    for _ in range(3):
        queue.post(work)
    world.advance(ms(1))
    each = costs.STEP + costs.HYPERCALL
    assert seen == [0, each, 2 * each]


def test_a_domain_that_only_yields_lets_time_pass_for_the_others() -> None:
    world, seen = World(), []

    async def spin() -> None:
        while True:
            await tasks.checkpoint()

    async def clock() -> None:
        for _ in range(3):
            await tasks.sleep(ms(1))
            seen.append(world.now)

    world.queue("spinner").spawn(spin())
    world.queue("other").spawn(clock())
    world.advance(ms(10))
    assert world.now == ms(10)
    assert all(0 <= at - ms(n) < us(10) for n, at in enumerate(seen, 1)) and len(seen) == 3
    world.queue("spinner").close()


def test_streams_of_chance_are_apart_and_repeatable() -> None:
    a, b = World(7), World(7)
    a.rng("other").random()
    assert [a.rng("lan").random() for _ in range(3)] == [b.rng("lan").random() for _ in range(3)]
    assert World(8).rng("lan").random() != World(7).rng("lan").random()


def test_submitted_input_enters_at_the_next_tick_and_replays_there() -> None:
    def build() -> tuple[World, list[tuple[int, int]]]:
        world, seen = World(1), []
        world.on_command("bytes", lambda n: seen.append((world.now, n)))
        for at in range(0, 30, 3):
            world.call_at(Ns(at * 100_000), lambda: None)
        return world, seen

    world, seen = build()
    world.advance(Ns(250_000))
    world.submit("bytes", n=1)
    world.advance(ms(2))
    world.command("bytes", n=2)
    world.advance(ms(4))
    assert seen == [(ms(1), 1), (ms(2), 2)]
    assert [entry.outside for entry in world.journal.entries] == [True, False]
    again, replayed = build()
    again.live = False
    again.replay(world.journal.entries)
    assert replayed == seen and again.now == ms(2)


def test_a_replay_that_cannot_reach_its_event_says_so() -> None:
    world = World()
    world.on_command("x", lambda: None)
    world.call_at(ms(1), lambda: None)
    world.advance(ms(2))
    world.command("x")
    other = World()
    other.on_command("x", lambda: None)
    with pytest.raises(ReplayDiverged, match="replay diverged at event 0"):
        other.replay(world.journal.entries)


def test_host_input_is_kept_as_long_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirage_lab.runtime.journal.LIMIT_BYTES", 10_000)
    world, taken = World(1), []
    world.on_command("bytes", lambda data: taken.append(data))
    for _ in range(50):
        world.submit("bytes", data=bytes(1_000))
        world.advance(Ns(world.now + 1_000_000))
    assert len(taken) == 50 and world.journal.full and len(world.journal) == 8


def test_a_refused_command_leaves_no_entry() -> None:
    world = World()

    def refuse() -> None:
        raise ValueError("no")

    world.on_command("x", refuse)
    with pytest.raises(ValueError, match="no"):
        world.command("x")
    assert len(world.journal) == 0
