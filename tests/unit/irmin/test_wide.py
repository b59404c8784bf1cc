"""The persistent map of wide directories against a dict."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.irmin.node import EMPTY, WIDE, Blob, Node
from mirage_lab.irmin.wide import Wide

names = st.one_of(st.integers(0, 300).map(str), st.text(max_size=3))


@given(st.lists(st.tuples(names, st.integers(0, 3) | st.none()), max_size=400))
def test_it_does_what_a_dict_does_and_leaves_what_was(changes: list[tuple[str, int | None]]) -> None:
    made: Wide[int] = Wide()
    model: dict[str, int] = {}
    past: list[tuple[Wide[int], dict[str, int]]] = []
    for name, value in changes:
        if value is None:
            made = made.without(name)
            model.pop(name, None)
        else:
            made = made.put(name, value)
            model[name] = value
        past.append((made, dict(model)))
    for was, then in past[:: max(1, len(past) // 10)]:
        assert dict(was.items()) == then and len(was) == len(then) and all(was.get(name) == then.get(name) for name, _ in changes)


def test_names_with_one_hash_are_kept_apart() -> None:
    class Name(str):
        def __hash__(self) -> int:
            return 7

    made: Wide[int] = Wide.of((Name(number), number) for number in range(200))
    assert len(made) == 200 and all(made.get(Name(number)) == number for number in range(200))
    for number in range(200):
        made = made.without(Name(number))
    assert len(made) == 0 and list(made.items()) == []


def test_two_maps_differ_where_they_were_changed_and_what_is_shared_is_not_looked_at() -> None:
    one = Wide.of((str(number), object()) for number in range(10_000))
    other = one.put("17", object()).without("4711").put("new", object())
    assert set(one.changed(other)) == set(other.changed(one)) == {"17", "4711", "new"}
    assert list(one.changed(one.put("5", one.get("5")))) == []


def test_a_directory_grows_wide_and_narrow_again_under_one_name() -> None:
    node, names_at = EMPTY, []
    for number in range(3 * WIDE):
        node = node.put(f"n{number}", Blob(b"x"))
        names_at.append(node.name)
    assert type(node.children) is Wide
    for number in reversed(range(1, 3 * WIDE)):
        assert node.name == names_at[number]
        node = node.without(f"n{number}")
    assert type(node.children) is dict and node.name == Node({"n0": Blob(b"x")}).name
