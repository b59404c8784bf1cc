"""The boot storm: three engines over the same work; what is lost is done again, and the store is the same in the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mirage_lab.irmin import BYTES, Repo
from mirage_lab.plot.storm import plot_storm
from mirage_lab.xen.xenstore.history import History
from mirage_lab.xen.xenstore.store import StoreError
from mirage_lab.xen.xenstore.storm import Step, boot, cycle, storm
from mirage_lab.xen.xenstore.transaction import ENGINES, Engine


def counting(domid: int) -> Iterator[Step]:
    """Everybody writes what depends on what everybody wrote."""
    yield True, (("mkdir", "/tool/n", ""), ("read", "/tool/n", ""), ("write", "/tool/n", str(domid)))


def test_disjoint_domains_are_never_refused_by_irmin_and_often_by_the_others() -> None:
    found = {engine: storm(8, engine) for engine in ENGINES}
    assert found["irmin"].aborted == 0 and found["irmin"].work == storm(1).work
    assert 0 < found["naive"].aborted < found["serial"].aborted
    assert all(result.cycles == 8 and result.transactions - result.aborted == 8 * 5 for result in found.values())


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_started_is_stopped_again_and_nothing_is_left(engine: Engine) -> None:
    history = History(Repo(BYTES))
    storm(4, engine, boot, history=history)
    started = history.entries()
    assert [path for path in started if path.endswith("/device/vif/0/state")] == [f"/local/domain/{n}/device/vif/0/state" for n in (1, 2, 3, 4)]
    history = History(Repo(BYTES))
    storm(4, engine, cycle, history=history)
    left = history.entries()
    assert not [path for path in left if path.startswith(("/local/domain/1", "/vm/", "/libxl/"))]


def test_a_real_conflict_is_refused_by_every_engine() -> None:
    for engine in ENGINES:
        assert storm(6, engine, counting, cycles=3).aborted > 0


def test_the_same_seed_is_the_same_storm() -> None:
    assert storm(5, "naive", seed=3) == storm(5, "naive", seed=3) != storm(5, "naive", seed=4)


def test_transactions_that_overlapped_are_branches_of_the_history() -> None:
    history = History(Repo(BYTES))
    storm(4, history=history)
    log = history.branch.history()
    merges = [commit for commit in log if len(commit.parents) == 2]
    assert merges and all(commit.info.message.startswith("Domain 0: merging transaction") for commit in merges)


def test_what_xenstore_refuses_and_what_is_no_storm_are_told() -> None:
    with pytest.raises(StoreError, match="/tool/none: ENOENT"):
        storm(2, what=lambda domid: [(True, (("read", "/tool/none", ""),))])
    with pytest.raises(ValueError, match="0 clients and 1 cycles"):
        storm(0)


def test_the_plot_has_a_line_for_each_engine_and_says_its_numbers() -> None:
    ax = plot_storm([storm(n, engine, boot) for engine in ("irmin", "serial") for n in (1, 4)])
    assert [line.get_label() for line in ax.get_lines()] == ["irmin", "serial"]
    assert len(set(map(float, ax.get_lines()[0].get_ydata()))) == 1
    assert "irmin: 1 at once 10.4 (0.0 EAGAIN), 4 at once 10.4 (0.0 EAGAIN)" in repr(ax)
    assert repr(plot_storm([])) == "no storm"
