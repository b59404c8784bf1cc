"""Common ancestors against a brute-force oracle, and the laws of merging."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.irmin import BYTES, COUNTER, Repo
from mirage_lab.irmin.commit import Commit, ancestors, common_ancestors, history, is_ancestor
from mirage_lab.irmin.merging import merge_trees
from mirage_lab.irmin.node import EMPTY, Blob, Node, put
from mirage_lab.irmin.objects import Info
from mirage_lab.irmin.tree import Tree


def closure(commit: Commit) -> set[Commit]:
    found = {commit}
    for parent in commit.parents:
        found |= closure(parent)
    return found


def lowest(one: Commit, other: Commit) -> set[Commit]:
    common = closure(one) & closure(other)
    return {commit for commit in common if not any(commit in closure(more) - {more} for more in common)}


def dag(rng: random.Random) -> list[Commit]:
    commits: list[Commit] = []
    for number in range(rng.randint(1, 12)):
        parents = rng.sample(commits, min(len(commits), rng.choice((0, 1, 1, 2, 2, 3))))
        commits.append(Commit(EMPTY, tuple(parents), Info(number, "a", "m")))
    return commits


def test_lowest_common_ancestors_are_those_of_brute_force() -> None:
    rng, several = random.Random(7), 0
    for _ in range(10_000):
        commits = dag(rng)
        one, other = rng.choice(commits), rng.choice(commits)
        found = common_ancestors(one, other)
        assert len(set(found)) == len(found) and set(found) == lowest(one, other)
        assert is_ancestor(one, other) == (one in closure(other))
        several += len(found) > 1
    assert several > 50


def test_a_history_has_descendants_first_and_stops_where_it_is_told() -> None:
    rng = random.Random(3)
    for _ in range(500):
        commits = dag(rng)
        head, stop = rng.choice(commits), rng.choice(commits)
        order = list(ancestors(head))
        assert set(order) == closure(head) and all(order.index(parent) > at for at, commit in enumerate(order) for parent in commit.parents)
        assert set(history(head, (stop,))) == closure(head) - closure(stop)


paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple)
values = st.sampled_from([b"0", b"1", b"2"])
trees = st.dictionaries(paths, values, max_size=6).map(lambda found: grown(EMPTY, found))


def grown(node: Node, found: dict[tuple[str, ...], bytes]) -> Node:
    for steps, data in found.items():
        node = put(node, steps, Blob(data))
    return node


@given(trees, trees, trees)
def test_merging_is_commutative_and_says_the_same_conflicts(old: Node, ours: Node, theirs: Node) -> None:
    merged, conflicts = merge_trees(BYTES, old, ours, theirs)
    swapped, again = merge_trees(BYTES, old, theirs, ours)
    assert merged.name == swapped.name and [each.path for each in conflicts] == [each.path for each in again]


@given(trees, trees)
def test_merging_with_one_side_unchanged_gives_the_other_and_twice_is_once(old: Node, ours: Node) -> None:
    assert merge_trees(BYTES, old, ours, old) == (ours, []) or merge_trees(BYTES, old, ours, old)[0].name == ours.name
    assert merge_trees(BYTES, old, ours, grown(EMPTY, {}) if ours is EMPTY else ours)[0].name == ours.name


@given(trees, trees, trees)
def test_what_only_one_side_changed_is_in_the_result(old: Node, ours: Node, theirs: Node) -> None:
    merged, conflicts = merge_trees(BYTES, old, ours, theirs)
    was, mine, others, found = (dict(Tree(BYTES, each).items()) for each in (old, ours, theirs, merged))
    if not conflicts:
        for path in {*was, *mine, *others}:
            one, two, before = mine.get(path), others.get(path), was.get(path)
            if one == two or two == before:
                assert found.get(path) == one or one is None
            elif one == before and two is not None:
                assert found.get(path) == two


def test_counters_add_up_across_any_history() -> None:
    rng = random.Random(11)
    for _ in range(300):
        repo = Repo(COUNTER)
        branches = [repo.branch(name) for name in ("a", "b", "c")]
        branches[0].set("n", 0)
        for other in branches[1:]:
            other.merge(branches[0])
        added = 0
        for _ in range(12):
            one, two = rng.sample(branches, 2)
            if rng.random() < 0.6:
                by = rng.randint(1, 5)
                one.set("n", one.get("n") + by)
                added += by
            else:
                assert not isinstance(one.merge(two), list)
        for other in branches[1:]:
            branches[0].merge(other)
        assert branches[0].get("n") == added
