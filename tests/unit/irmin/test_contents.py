"""Contents types: every value comes back from its bytes, bad bytes are the one error, and merges keep what each side did."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.irmin import Conflict, Repo
from mirage_lab.irmin.contents import BYTES, COUNTER, JSON, LINES, LOG, MAP, QUEUE, REGISTER, ROPE, SET, TEXT, TYPES, Contents, Queue
from mirage_lab.irmin.errors import ContentsError
from mirage_lab.irmin.merge import counter, default, first_of, idempotent, option, pair, via
from mirage_lab.irmin.rope import LEAF, Rope

texts = st.text(st.characters(exclude_categories=()), max_size=8)
dated = st.tuples(st.integers(0, 9), texts)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bytes": st.binary(max_size=8),
    "text": texts,
    "lines": texts,
    "rope": texts.map(Rope),
    "json": st.recursive(st.none() | st.booleans() | st.integers() | texts, lambda each: st.lists(each, max_size=3) | st.dictionaries(texts, each, max_size=3)),
    "counter": st.integers(),
    "register": dated,
    "set": st.frozensets(texts, max_size=4),
    "map": st.dictionaries(texts, st.integers() | texts | st.none(), max_size=4),
    "log": st.lists(dated, max_size=4).map(tuple),
    "queue": st.builds(Queue, st.integers(0, 9), st.lists(texts, max_size=4).map(tuple)),
}
each_type = pytest.mark.parametrize("contents", TYPES, ids=lambda contents: contents.name)


@each_type
@given(data=st.data())
def test_a_value_comes_back_from_its_bytes(contents: Contents[Any], data: st.DataObject) -> None:
    value = data.draw(VALUES[contents.name])
    assert contents.decode(contents.encode(value)) == value


@each_type
@given(data=st.binary(max_size=30))
def test_any_bytes_are_a_value_or_the_one_error(contents: Contents[Any], data: bytes) -> None:
    try:
        value = contents.decode(data)
    except ContentsError:
        return
    assert contents.decode(contents.encode(value)) == value


@each_type
def test_what_is_no_value_of_the_type_is_refused(contents: Contents[Any]) -> None:
    if contents is not JSON:
        with pytest.raises(ContentsError):
            contents.encode(3.5)
    with pytest.raises(ContentsError):
        contents.encode(object())


@each_type
@given(data=st.data())
def test_a_side_that_did_nothing_changes_nothing(contents: Contents[Any], data: st.DataObject) -> None:
    old, new = data.draw(VALUES[contents.name]), data.draw(VALUES[contents.name])
    repo = Repo(contents)
    store = repo.branch()
    store.set("v", old)
    side = store.clone("side")
    side.set("v", new)
    store.set("other", old)
    assert not isinstance(store.merge(side), list) and store.find("v") == new


def both(contents: Contents[Any], old: Any, ours: Any, theirs: Any) -> Any:
    found = contents.merged(None if old is None else contents.encode(old), contents.encode(ours), contents.encode(theirs))
    return found if isinstance(found, Conflict) else contents.decode(found)


def test_counters_add_and_equal_steps_are_two() -> None:
    assert both(COUNTER, 5, 6, 8) == 9 and both(COUNTER, None, 2, 3) == 5
    repo = Repo(COUNTER)
    store = repo.branch()
    store.set("n", 1)
    side = store.clone("side")
    side.set("n", 2)
    store.set("n", 2)
    store.merge(side)
    assert store.get("n") == 3


def test_a_register_takes_the_later_and_a_set_what_each_side_did() -> None:
    assert both(REGISTER, (1, "a"), (3, "b"), (2, "c")) == (3, "b") and both(REGISTER, (1, "a"), (3, "b"), (3, "c")) == (3, "c")
    assert both(SET, frozenset("ab"), frozenset("bc"), frozenset("abd")) == frozenset("bcd")


def test_maps_and_json_merge_key_by_key_and_keep_null() -> None:
    assert both(MAP, {"a": 1, "b": 1}, {"a": 2, "b": 1, "n": None}, {"a": 1}) == {"a": 2, "n": None}
    assert isinstance(both(MAP, {"a": 1}, {"a": 2}, {}), Conflict)
    assert both(JSON, {"a": {"x": 1, "y": 1}}, {"a": {"x": 2, "y": 1}}, {"a": {"x": 1, "y": 3}}) == {"a": {"x": 2, "y": 3}}
    assert isinstance(both(JSON, [1], [1, 2], [1, 3]), Conflict)


def test_logs_keep_every_entry_in_the_order_of_time() -> None:
    assert both(LOG, ((1, "a"),), ((1, "a"), (5, "c")), ((1, "a"), (3, "b"), (5, "c"))) == ((1, "a"), (3, "b"), (5, "c"), (5, "c"))
    assert isinstance(both(LOG, ((1, "a"),), (), ((1, "a"),)), Conflict)


def test_queues_lose_nothing_that_was_pushed_and_nothing_popped_comes_back() -> None:
    old = Queue().push("a", "b", "c")
    ours, theirs = old.pop()[1].push("x"), old.pop()[1].pop()[1].push("y")
    assert both(QUEUE, old, ours, theirs).waiting == ("c", "x", "y")
    drained = Queue().push("a").pop()[1].push("z").pop()[1]
    assert both(QUEUE, Queue().push("a"), drained, Queue().push("a", "q")) == Queue(2, ("q",))
    assert isinstance(both(QUEUE, old, Queue(0, ("a",)), old), Conflict)


def test_lines_and_ropes_merge_edits_that_do_not_touch() -> None:
    assert both(LINES, "a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\nd\n") == "A\nb\nC\nd\n"
    assert isinstance(both(LINES, "a\nb\n", "a\nX\n", "a\nY\n"), Conflict)
    assert str(both(ROPE, Rope("the cat sat"), Rope("the fat cat sat"), Rope("the cat sat down"))) == "the fat cat sat down"
    assert isinstance(both(TEXT, "a", "b", "c"), Conflict) and both(BYTES, b"a", b"a", b"c") == b"c"


@given(st.text("abcd\n", max_size=20), st.text("abcd\n", max_size=20), st.text("abcd\n", max_size=20))
def test_merging_lines_is_commutative_and_keeps_a_side_that_is_alone(old: str, ours: str, theirs: str) -> None:
    one, two = both(LINES, old, ours, theirs), both(LINES, old, theirs, ours)
    assert isinstance(one, Conflict) == isinstance(two, Conflict)
    assert isinstance(one, Conflict) or one == two
    assert both(LINES, old, old, theirs) == theirs and both(LINES, old, ours, ours) == ours


def sides(contents: Contents[Any], data: st.DataObject) -> tuple[Any, Any, Any]:
    """An ancestor and two values that may have come from it."""
    old, ours, theirs = (data.draw(VALUES[contents.name]) for _ in range(3))
    if contents is LOG:
        return old, old + ours, old + theirs
    if contents is REGISTER:
        return (-1, ""), ours, theirs
    if contents is QUEUE:
        ours, theirs = (Queue(old.popped + min(side.popped, len(old.waiting)), old.waiting[side.popped :] + side.waiting) for side in (ours, theirs))
    return old, ours, theirs


@pytest.mark.parametrize("contents", [each for each in TYPES if each is not QUEUE], ids=lambda contents: contents.name)
@given(data=st.data())
def test_it_does_not_matter_who_merges_whom(contents: Contents[Any], data: st.DataObject) -> None:
    """A queue is the exception: what was pushed on this side comes first."""
    old, ours, theirs = sides(contents, data)
    one, two = both(contents, old, ours, theirs), both(contents, old, theirs, ours)
    assert isinstance(one, Conflict) == isinstance(two, Conflict)
    assert isinstance(one, Conflict) or one == two


@each_type
@given(data=st.data())
def test_the_same_change_on_both_sides_is_one_unless_the_type_counts_it_twice(contents: Contents[Any], data: st.DataObject) -> None:
    old, ours, _ = sides(contents, data)
    if not contents.twice:
        assert both(contents, old, ours, ours) == ours
    assert both(contents, old, ours, old) == ours == both(contents, old, old, ours)
    if contents is COUNTER:
        assert both(contents, old, ours, ours) == 2 * ours - old


@given(data=st.data())
def test_nothing_pushed_is_lost_and_nothing_comes_twice_in_a_queue(data: st.DataObject) -> None:
    old, ours, theirs = sides(QUEUE, data)
    found = both(QUEUE, old, ours, theirs)
    pushed = old.popped + len(old.waiting)
    kept = old.waiting[max(ours.popped, theirs.popped) - old.popped :]
    more = ours.waiting[max(0, pushed - ours.popped) :] + theirs.waiting[max(0, pushed - theirs.popped) :]
    assert found.waiting == kept + more and found.popped + len(found.waiting) == pushed + len(more)


def test_combinators() -> None:
    assert option(counter)(1, 2, 4) == 5 and isinstance(option(counter)(1, None, 4), Conflict) and option(counter)(1, None, 1) is None
    assert pair(counter, default)((1, "a"), (2, "a"), (3, "b")) == (4, "b") and isinstance(pair(counter, default)((1, "a"), (2, "x"), (3, "b")), Conflict)
    assert first_of(idempotent, counter)(1, 2, 4) == 5 and isinstance(first_of(idempotent, default)(1, 2, 4), Conflict)
    assert via(len, lambda size: "x" * size, counter)("x", "xx", "xxxx") == "xxxxx"


@given(st.text(max_size=30), st.lists(st.tuples(st.integers(0, 3000), st.text(max_size=40) | st.integers(0, 700)), max_size=12))
def test_a_rope_edits_as_a_string_does(start: str, edits: list[tuple[int, str | int]]) -> None:
    text = start * 60
    rope = Rope(text)
    for at, edit in edits:
        if isinstance(edit, str):
            text, rope = text[:at] + edit * 30 + text[at:], rope.insert(at, edit * 30)
        else:
            text, rope = text[:at] + text[at + edit :], rope.delete(at, edit)
    assert str(rope) == text and len(rope) == len(text) and all(len(piece) <= LEAF for piece in rope.pieces())
