"""How a suite runs: at once or awaited, in which world, and what becomes of a device that hangs, spins, raises or is plain."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from mirage_lab import Lab, configure, devices, ms, seconds, signatures, testing, unikernel
from mirage_lab.runtime import tasks
from mirage_lab.signatures import Console, KvRo, Network
from mirage_lab.signatures.errors import LocalProtocolError, MirageError
from mirage_lab.testing import Broken, Pair, Story, check_kv_ro, check_network, check_time, suite
from mirage_lab.testing.story import short
from mirage_lab.testing.suite import Tell, here
from mirage_lab.tool.devices.crunch import Crunched

FILES = {"a": b"hello"}


def test_every_signature_has_a_suite() -> None:
    kinds = [kind for name in signatures.__all__ if hasattr(kind := getattr(signatures, name), "module_type")]
    assert len(kinds) == 29
    for kind in kinds:
        check = getattr(testing, f"check_{kind.module_type.lower()}")
        assert check.__doc__.startswith(f"{kind.module_type}: ") or f"{kind.module_type}: " in check.__doc__
        assert "tell" not in inspect.signature(check).parameters


class Store:
    """A KV_RO of a learner's own: right."""

    id = "store"

    async def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return await Crunched(FILES).read(key, offset, length)

    async def size(self, key: str) -> int:
        return await Crunched(FILES).size(key)

    async def disconnect(self) -> None:
        """Nothing is held."""


def told(store: Any) -> str:
    with pytest.raises(Broken) as error:
        check_kv_ro(store, FILES)
    return str(error.value)


def line_of(method: Any, text: str) -> int:
    lines, start = inspect.getsourcelines(method)
    return start + next(at for at, line in enumerate(lines) if text in line)


def test_a_check_in_a_cell_runs_at_once_and_shows_its_steps() -> None:
    story = check_kv_ro(Store(), FILES)
    assert repr(story).splitlines()[:2] == ["KV_RO of Store: 7 promises kept", "  ✓ 1. it has all that KV_RO asks for"]


def test_what_came_what_was_expected_and_where_it_is_made_is_told() -> None:
    class Long(Store):
        async def size(self, key: str) -> int:
            return 6

    line = line_of(Long.size, "def size")
    assert told(Long()).splitlines() == [
        "KV_RO of Long: 2 promises kept, then one broken",
        "  ✓ 1. it has all that KV_RO asks for",
        "  ✓ 2. a value is read whole",
        "  ✗ 3. its size is its length in bytes",
        "       call      size('a')",
        "       expected  5",
        "       came      6",
        f"       where     Long.size, test_suite.py, line {line}",
    ]


def test_a_device_that_hangs_is_ended_by_virtual_time() -> None:
    class Hangs(Store):
        async def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
            await tasks.Condition().wait()
            return b""

    line = line_of(Hangs.read, "await tasks")
    text = told(Hangs())
    assert "came      nothing within 60 s of virtual time" in text
    assert f"where     test_suite.py, line {line}, in read: await tasks.Condition().wait()" in text


def test_a_device_that_spins_is_ended_by_the_watchdog() -> None:
    class Spins(Store):
        async def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
            while True:
                pass

    assert "✗ 2. a value is read whole\n       came      nothing: it did not wait for anything" in told(Spins())
    assert "in read: while True" in told(Spins()) or "in read: pass" in told(Spins())


def test_a_device_that_asks_again_and_again_is_ended_by_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("mirage_lab.testing.suite"), "STEPS", 10_000)

    class Asks(Store):
        async def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
            while True:
                await tasks.checkpoint()

    line = line_of(Asks.read, "await tasks")
    assert "did not end in 10,000 steps of its world" in told(Asks())
    assert f"where     test_suite.py, line {line}, in read" in told(Asks())


def test_what_a_device_raises_is_told_with_the_persons_line() -> None:
    class Raises(Store):
        async def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
            return b"%d" % (1 // 0)

    line = line_of(Raises.read, "1 // 0")
    assert f'raised    ZeroDivisionError: integer division or modulo by zero (test_suite.py, line {line}, in read: return b"%d" % (1 // 0))' in told(Raises())


def test_a_device_that_is_not_async_and_one_that_should_not_be() -> None:
    class Plain(Store):
        def read(self, key: str, offset: int = 0, length: int | None = None) -> Any:
            return FILES[key]

    assert "way out   it is awaited, so it must be: async def ..." in told(Plain())

    class Async:
        async def write(self, frame: bytes) -> None:
            """Nobody awaits this."""

        def __getattr__(self, name: str) -> Any:
            return ""

    with pytest.raises(
        Broken, match="expected  def write: nobody awaits it\n       came      async def write\n       where     Async.write, test_suite.py, line"
    ):
        check_network(Async(), Async())  # type: ignore[arg-type]


def test_names_that_are_missing_are_listed() -> None:
    assert told(object()).splitlines()[1:] == ["  ✗ 1. it has all that KV_RO asks for", "       missing   id, disconnect, read, size"]


def test_what_was_never_awaited_is_told_beside_the_promise() -> None:
    class Forgets(Store):
        async def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
            tasks.sleep(ms(1))
            return b""

    assert "also      tasks.sleep(...) was never awaited (test_suite.py, line" in told(Forgets())


def test_a_check_inside_a_unikernel_is_awaited_and_runs_there() -> None:
    @unikernel
    async def own(console: Console, files: KvRo) -> None:
        story = check_kv_ro(files, FILES)
        console.log(repr(story))
        console.log(repr(await story))

    with Lab(seed=1, name="suite") as lab:
        lab.create(configure(own(devices.default_console, devices.crunch(FILES)))).unpause()
        lab.run(seconds(1))
        lines = lab.vm("own").console.lines
    assert lines[0] == "KV_RO of Crunched: not run yet: await it, and it runs"
    assert lines[1] == "KV_RO of Crunched: 7 promises kept" and lines[8] == "  ✓ 7. so it is when its size is asked for"


def test_a_broken_promise_in_a_unikernel_is_its_crash() -> None:
    @unikernel
    async def own(files: KvRo) -> None:
        await check_kv_ro(files, {"a": b"other"})

    with Lab(seed=1, name="suite") as lab:
        lab.create(configure(own(devices.crunch(FILES)))).unpause()
        lab.run(seconds(1))
        assert "✗ 2. a value is read whole" in str(lab.vm("own").why())


def test_a_check_that_ran_may_be_awaited_too() -> None:
    story = check_kv_ro(Store(), FILES)
    with pytest.raises(StopIteration) as ended:
        story.__await__().send(None)
    assert ended.value.value is story


def test_devices_are_checked_in_the_world_they_live_in() -> None:
    pair = Pair(latency=ms(1))
    check_network(*pair.nets)
    assert pair.world.now > ms(1) and len(pair.capture) > 5
    assert repr(pair).startswith("<Pair 10.0.0.1 and 10.0.0.2, latency=1000000: t = ")
    pair.close()


def test_devices_of_a_lab_are_refused_outside_of_it() -> None:
    with Lab(seed=1, name="suite") as lab:
        lab.lan("br0")
        net: Network = lab.machine.gateways["br0"].stack.ethif.netif  # type: ignore[assignment]
        with pytest.raises(LocalProtocolError, match="lives in a lab: await the check inside a unikernel there"):
            check_network(net, net)


def test_a_crash_in_a_handler_is_told() -> None:
    pair = Pair()
    pair.nets[1].listen(lambda frame: 1 // 0)  # type: ignore[arg-type, return-value]
    pair.nets[1].listen = lambda receive: None  # type: ignore[method-assign]
    with pytest.raises(Broken, match="also      ZeroDivisionError: integer division or modulo by zero"):
        check_network(*pair.nets)


def test_a_suite_of_ones_own() -> None:
    @suite
    async def check_hello(tell: Tell, console: Console) -> None:
        """A console that says hello."""
        async with tell("it says hello") as promise:
            promise.equal("text", console.text, "hello")  # type: ignore[attr-defined]

    class Hello:
        text = "hello"

    assert repr(check_hello(Hello())) == "CONSOLE of Hello: 1 promise kept\n  ✓ 1. it says hello"  # type: ignore[arg-type]


def test_a_pair_runs_a_job_and_gives_what_it_returns() -> None:
    pair = Pair(latency=ms(1))

    async def ping() -> int:
        return await pair.one.icmpv4.ping(pair.other.ipv4.get_ip())

    assert pair.run(ping()) > ms(2)
    with pytest.raises(MirageError, match="did not end within 1 s of virtual time"):
        pair.run(tasks.Condition().wait(), within=seconds(1))

    async def fails() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        pair.run(fails())
    pair.close()


def test_two_pairs_with_one_seed_send_the_same_frames() -> None:
    def frames(seed: int) -> list[bytes]:
        pair = Pair(seed, loss=0.2)
        pair.run(tasks.sleep(seconds(1)))
        pair.one.udpv4.write(pair.other.ipv4.get_ip(), 9, b"x")
        pair.run(tasks.sleep(seconds(9)))
        return pair.frames()

    assert frames(1) == frames(1) != frames(2)


def test_a_cell_is_named_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    class Compile:
        @staticmethod
        def format_code_name(filename: str) -> Any:
            return ("Cell", "In[7]") if filename.startswith("/scratch/ipykernel") else None

    class Shell:
        compile = Compile()

    monkeypatch.setattr("builtins.get_ipython", Shell, raising=False)
    assert here()("/scratch/ipykernel_1/2.py", 3) == "cell 7, line 3"
    assert here()(str(Path("store.py")), 3) == "store.py, line 3"


def test_in_a_notebook_the_story_is_the_whole_traceback() -> None:
    broken = Broken(Story("KV_RO of Mine", steps=["one"]), "two", ("came      three",))
    assert broken._render_traceback_() == ["KV_RO of Mine: 1 promise kept, then one broken", "  ✓ 1. one", "  ✗ 2. two", "       came      three"]


def test_values_are_shown_short_whatever_they_are() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise ValueError

    assert short(bytes(30)) == f"{bytes(16)!r} … 30 bytes" and short(Rude()).startswith("<Rude instance at")
    assert len(short("x" * 10_000)) < 80 and short([1] * 7) == "[1, 1, 1, 1, 1, 1, … 7 in all]"
    assert short([bytes(25)]) == f"[{bytes(16)!r} … 25 bytes]"


def test_a_time_is_checked_in_a_world_of_its_own() -> None:
    from mirage_lab.tool.devices.timers import Time

    assert len(check_time(Time()).steps) == 5
