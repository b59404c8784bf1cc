"""Snapshots of the nodes: each sees what there was, and what nobody can ask for is not kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.xen.xenstore.snapshot import Snapshot, Versions

names = st.sampled_from("abc")
acts = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.dictionaries(names, st.one_of(st.none(), st.integers(0, 9)), max_size=3)),
        st.tuples(st.just("hold"), st.none()),
        st.tuples(st.just("let go"), st.integers(0, 9)),
        st.tuples(st.just("clear"), st.none()),
    ),
    max_size=30,
)


def seen(snapshot: Snapshot[int]) -> dict[str, int]:
    """What a snapshot has."""
    return {name: entry for name in "abc" if (entry := snapshot.get(name)) is not None}


@given(acts)
def test_a_snapshot_is_a_copy_that_costs_nothing(todo: list[tuple[str, object]]) -> None:
    versions: Versions[int] = Versions()
    model: dict[str, int] = {}
    held: list[tuple[Snapshot[int], dict[str, int]]] = []
    for what, with_ in todo:
        match what, with_:
            case "put", dict(entries):
                versions.put(entries)
                model = {name: entry for name, entry in (model | entries).items() if entry is not None}
            case "hold", _:
                held.append((versions.snapshot(), model.copy()))
            case "let go", int(number) if held:
                del held[number % len(held)]
            case "clear", _:
                versions.clear()
                model = {}
        assert versions.now == model
        assert [seen(snapshot) for snapshot, _ in held] == [before for _, before in held]
    held.clear()
    versions.put({"a": 1})
    assert versions.kept == 0


def test_what_changes_between_two_snapshots_is_kept_once() -> None:
    versions: Versions[int] = Versions()
    first = versions.snapshot()
    for number in range(1_000):
        versions.put({"a": number, "b": number})
    second = versions.snapshot()
    versions.put({"a": -1})
    assert versions.kept == 3
    assert (first.get("a"), second.get("a"), second.get("b")) == (None, 999, 999)
    del first
    versions.put({"b": -1})
    assert versions.kept == 2, "what was there before the second began is nobody's"
    assert second.get("b") == 999
