"""A grid of worlds: rows in order, whoever runs them, whatever happens in them."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mirage_lab import sweep
from mirage_lab.sweep import Sweep, SweepError
from mirage_lab.sweep.worker import FAILED, LOST, call

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def nobody_stays() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


def product() -> Callable[..., dict[str, int]]:
    """Return a function that travels by value, as one of a cell does."""

    def times(a: int, b: int, seed: int) -> dict[str, int]:
        if (a, b) == (2, 10):
            raise ValueError("two and ten")
        return {"product": a * b, "more": seed}

    return times


def threads(function: Any, grid: Any, seeds: Any = (1,), **more: Any) -> Sweep:
    with ThreadPoolExecutor(3) as executor:
        return sweep(function, grid, seeds, executor=executor, **more)


ROWS = [
    {"a": 1, "b": 10, "seed": 5, "product": 10, "more": 5, "error": None},
    {"a": 1, "b": 10, "seed": 6, "product": 10, "more": 6, "error": None},
    {"a": 1, "b": 20, "seed": 5, "product": 20, "more": 5, "error": None},
    {"a": 1, "b": 20, "seed": 6, "product": 20, "more": 6, "error": None},
]


def test_processes_and_threads_give_the_same_rows_in_the_order_of_the_grid() -> None:
    grid = {"a": [1, 2], "b": [10, 20]}
    spawned = sweep(product(), grid, seeds=[5, 6], workers=2)
    assert spawned.rows[:4] == ROWS
    assert threads(product(), grid, [5, 6]).rows == spawned.rows
    assert [row["seed"] for row in spawned.errors] == [5, 6]
    assert all(row["error"].startswith("ValueError: two and ten (line ") and row["error"].endswith("in times)") for row in spawned.errors)
    assert repr(spawned) == "<Sweep of times: 8 of 8 cells · 2 raised: .errors>"


def test_a_world_of_a_cell_is_the_same_in_another_process() -> None:
    def frames(loss: float, seed: int) -> dict[str, object]:
        from mirage_lab import Lab

        with Lab.demo("web", seed=seed) as lab:
            lan = lab.lan("br0", loss=loss)
            lab.ping("10.0.0.2")
            return {"frames": len(lab.capture(lan)), "now": lab.now}

    table = sweep(frames, {"loss": [0.0, 0.3]}, seeds=[1, 2], workers=2)
    assert table.errors == []
    assert table.rows == [{"loss": loss, "seed": seed, **frames(loss, seed), "error": None} for loss in (0.0, 0.3) for seed in (1, 2)]


def test_rows_keep_the_order_of_the_grid_when_the_last_ends_first() -> None:
    later = threading.Event()

    def work(function: bytes, cell: bytes, n: int) -> tuple[str, bytes]:
        if n == 0:
            assert later.wait(30)
        outcome = call(function, cell)
        if n == 2:
            later.set()
        return outcome

    class Backwards(ThreadPoolExecutor):
        sent = 0

        def submit(self, fn: Any, /, *args: Any, **more: Any) -> Any:
            self.sent += 1
            return super().submit(work, *args, self.sent - 1)

    order: list[int] = []
    with Backwards(3) as executor:
        table = sweep(lambda a, seed: a, {"a": [7, 8, 9]}, executor=executor, progress=lambda done, of: order.append(done))
    assert [row["value"] for row in table.rows] == [7, 8, 9]
    assert order == [1, 2, 3]


def test_points_may_be_listed_one_by_one_and_a_number_is_a_value() -> None:
    table = threads(lambda a, seed, b=2: a * b, [{"a": 1}, {"a": 2, "b": 5}])
    assert table.rows == [{"a": 1, "seed": 1, "value": 2, "error": None}, {"a": 2, "b": 5, "seed": 1, "value": 10, "error": None}]


def test_a_frame_is_tidy() -> None:
    frame = threads(product(), {"a": [1, 2], "b": [10]}).to_dataframe()
    assert list(frame.columns) == ["a", "b", "seed", "product", "more", "error"]
    assert len(frame) == 2


def test_without_pandas_the_error_names_it_and_the_rows_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    table = threads(product(), {"a": [1], "b": [10]})
    with pytest.raises(SweepError, match=r"pip install 'mirage-lab\[pandas\]'; \.rows"):
        table.to_dataframe()
    assert len(table.rows) == 1


@pytest.mark.parametrize(
    "grid, seeds, message",
    [
        ({"a": [1]}, [1], "cannot be called with a, seed: missing a required argument: 'b'"),
        ({"a": [1], "b": [1], "c": [1]}, [1], "cannot be called with a, b, c, seed: got an unexpected keyword argument 'c'"),
        ({"a": 1, "b": [1]}, [1], r"'a' has 1; a list of values is wanted: \[1\]"),
        ({"a": "xyz", "b": [1]}, [1], "'a' has 'xyz'"),
        ({"a": [], "b": [1]}, [1], "no cells"),
        ({"a": [1], "b": [1]}, 3, r"seeds=3: a list of seeds is wanted"),
        ({"a": [1], "b": [1]}, [1.5], "1.5 is no whole number"),
        ({"a": [1], "seed": [1]}, [1], "seeds have a place of their own"),
        ({"a": range(1_000), "b": range(1_000)}, [1], "more than 100,000 cells"),
        ([3], [1], "3 is not a dict"),
        (7, [1], "neither a dict of lists nor a list of dicts"),
        ({1: [1]}, [1], "1 is not the name"),
    ],
)
def test_a_grid_that_does_not_fit_is_refused_before_anything_runs(grid: Any, seeds: Any, message: str) -> None:
    with pytest.raises(SweepError, match=message):
        sweep(product(), grid, seeds)


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_a_number_of_workers_is_a_number(workers: Any) -> None:
    with pytest.raises(SweepError, match="a number of processes is wanted"):
        sweep(product(), {"a": [1], "b": [2]}, workers=workers)


def test_what_cannot_travel_is_one_error_that_names_it() -> None:
    lock = threading.Lock()
    settings = {"rate": 5, "door": lock}

    def direct(seed: int) -> int:
        return lock.locked()

    def through(seed: int) -> int:
        return direct(seed)

    def inside(seed: int) -> int:
        return len(settings)

    with pytest.raises(SweepError, match=r"^direct cannot travel to another process: variable 'lock', a lock, cannot \(.*make it inside direct$"):
        sweep(direct, {})
    with pytest.raises(SweepError, match=r"variable 'direct', which it uses, uses variable 'lock', a lock"):
        sweep(through, {})
    with pytest.raises(SweepError, match=r"variable 'settings' uses entry 'door', a lock"):
        sweep(inside, {})
    with pytest.raises(SweepError, match="the grid's 'a' has a lock"):
        sweep(lambda a, seed: a, {"a": [lock]})


def test_a_global_lab_is_named() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("from mirage_lab import Lab\nlab = Lab(seed=1)\ndef ask(seed):\n    return [lab.now for _ in range(2)]", namespace)
    with namespace["lab"], pytest.raises(SweepError, match="ask cannot travel to another process: global 'lab', a Lab, cannot"):
        sweep(namespace["ask"], {})


def test_what_a_function_returns_must_be_columns() -> None:
    lock = threading.Lock()
    results: dict[str, Any] = {"list": [1], "taken": {"a": 1}, "kept": {"error": 1}, "number": {1: 2}, "lock": {"door": None}}
    makers = {name: (lambda a, seed, result=result: result) for name, result in results.items()}

    def door(a: str, seed: int) -> dict[str, object]:
        import threading

        return {"door": threading.Lock()}

    makers["lock"] = door
    said = {name: threads(function, {"a": [1]}).rows[0]["error"] for name, function in makers.items()}
    assert said["list"] == "the function returned a list; a dict of columns or a number is wanted"
    assert said["taken"] == "the function returned a column 'a', which the table has already"
    assert said["kept"] == "the function returned a column 'error', which the table has already"
    assert said["number"] == "the function returned a column 1; the name of a column is a string"
    assert said["lock"].startswith("the column 'door', a lock, cannot travel back")
    assert not lock.locked()


def test_cells_share_nothing() -> None:
    seen: list[int] = []

    def count(a: int, seed: int) -> int:
        seen.append(a)
        return len(seen)

    assert [row["value"] for row in sweep(count, {"a": [1, 2, 3]}, workers=1).rows] == [1, 1, 1]
    assert seen == []


def test_a_stop_keeps_what_is_finished_and_the_rest_can_be_done_later() -> None:
    def stop_after_two(done: int, of: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    table = sweep(product(), {"a": [1, 3, 5], "b": [10, 20]}, workers=2, progress=stop_after_two)
    assert multiprocessing.active_children() == []
    assert len(table) == len(table.rows) == 2
    assert len(table.remaining) == 4
    assert ".resume() does the rest" in repr(table)
    before = table.rows
    again = sweep(table, workers=2)
    assert again is table and table.remaining == []
    assert [row["product"] for row in table.rows] == [10, 20, 30, 60, 50, 100]
    assert all(row in table.rows for row in before)
    assert len(table.resume().rows) == 6


def test_only_what_raised_is_run_again_when_asked(tmp_path: Path) -> None:
    mark = str(tmp_path / "mark")

    def once(a: int, seed: int) -> int:
        import os

        if a == 2 and not os.path.exists(mark):
            raise OSError("not yet")
        return a

    table = threads(once, {"a": [1, 2]})
    assert [row["error"] is None for row in table.rows] == [True, False]
    Path(mark).touch()
    with ThreadPoolExecutor(1) as executor:
        assert [row["value"] for row in table.resume(executor=executor, failed=True).rows] == [1, 2]


def test_a_worker_that_dies_costs_its_own_cell_only() -> None:
    def die(a: int, seed: int) -> int:
        import os

        if a == 2:
            os._exit(3)
        return a

    table = sweep(die, {"a": [1, 2, 3, 4, 5]}, workers=2)
    assert [row.get("value") for row in table.rows] == [1, None, 3, 4, 5]
    assert [row["a"] for row in table.errors] == [2]
    assert table.errors[0]["error"].startswith("the worker process ended in this cell")


def test_a_worker_that_never_ends_is_ended_with_the_sweep() -> None:
    def forever(a: int, seed: int) -> int:
        while a == 2:
            pass
        return a

    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    table = sweep(forever, {"a": [2, 1]}, workers=2, progress=stop)
    assert [row["value"] for row in table.rows] == [1]
    assert multiprocessing.active_children() == []


def test_a_stop_while_much_is_on_its_way_to_the_workers_ends() -> None:
    """A pipe that nobody reads any more is full: whoever writes to it must be let go."""
    large = bytes(4_000_000)

    def forever(a: int, seed: int) -> int:
        while a:
            pass
        return len(large)

    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    table = sweep(forever, {"a": [0, 1, 2, 3, 4, 5]}, workers=2, progress=stop)
    assert len(table) == 1


def test_a_function_that_does_not_arrive_is_one_error() -> None:
    assert call(b"\x80\x04cnowhere\nat_all\n.", b"")[0] == LOST
    assert call(b"no pickle", b"")[0] == LOST

    class Broken(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **more: Any) -> Any:
            return super().submit(fn, b"\x80\x04cnowhere\nat_all\n.", args[1])

    with Broken(1) as executor, pytest.raises(SweepError, match="times did not arrive in the other process: ModuleNotFoundError: No module named 'nowhere'"):
        sweep(product(), {"a": [1], "b": [1]}, executor=executor)


def test_an_error_is_bounded() -> None:
    import cloudpickle

    def shout(seed: int) -> None:
        raise ValueError("x" * 1_000_000)

    kind, told = call(cloudpickle.dumps(shout), cloudpickle.dumps({"seed": 1}))
    assert kind == FAILED and len(told) < 2_200


SCRIPT = """
import json, os
from mirage_lab import sweep

factor = 3
def scaled(a, seed):
    return {"scaled": a * factor, "main": os.getpid() != PARENT}
PARENT = os.getpid()
print(json.dumps(sweep(scaled, {"a": [1, 2]}, workers=2).rows))
"""


def test_a_script_needs_no_guard_against_its_own_children(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60)
    assert [row["scaled"] for row in json.loads(done.stdout)] == [3, 6]
    assert all(row["main"] for row in json.loads(done.stdout))
    assert done.stdout.count("\n") == 1 and done.stderr == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are Unix's")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    script = f"""
from mirage_lab import sweep
def forever(a, seed):
    with open({str(fifo)!r}, "w") as said:
        print("here", file=said, flush=True)
        while True:
            pass
sweep(forever, {{"a": [1]}}, workers=1)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)})
    with open(fifo) as heard:
        assert heard.readline() == "here\n"
        parent.kill()
        parent.wait()
        assert heard.read() == ""  # the end of the file: nobody holds the other end


def test_a_function_of_a_cell_works_in_a_shell(ipython: Any) -> None:
    with ipython() as shell:
        shell.run_cell("from mirage_lab import sweep\nfactor = 7\ndef scaled(a, seed):\n    return a * factor")
        shell.run_cell("rows = sweep(scaled, {'a': [1, 2]}, workers=1).rows").raise_error()
        assert [row["value"] for row in shell.user_ns["rows"]] == [7, 14]


def test_a_progress_line_is_shown_in_time_and_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    from mirage_lab.sweep import table as module

    clock = iter(range(0, 10**12, 400_000_000))
    monkeypatch.setattr(module, "monotonic_ns", lambda: next(clock))
    lines: list[str] = []
    monkeypatch.setattr(Sweep, "progress", staticmethod(lines.append))
    with ThreadPoolExecutor(1) as executor:
        sweep(product(), {"a": [1, 2, 3], "b": [10]}, executor=executor)
    assert lines[-1] == ""
    assert lines[0] == "████████████████░░░░░░░░ 2 of 3 cells · 1 raised · stop button: what is finished stays"


def test_the_room_can_be_called_however_it_was_imported() -> None:
    import mirage_lab
    import mirage_lab.sweep as room

    assert mirage_lab.sweep is room
    assert "sweep" in dir(mirage_lab)
    with pytest.raises(SweepError):
        room(product(), {})
