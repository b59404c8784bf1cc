"""Exercises of 11-irmin."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

from mirage_lab.irmin import Repo
from mirage_lab.irmin.contents import Contents
from mirage_lab.irmin.merge import Conflict
from mirage_lab.testing.attempt import exercise
from mirage_lab.testing.course.worlds import story
from mirage_lab.testing.story import Story

__all__ = ["check_crossing", "check_highest", "check_shopping"]


def _nothing(given: object) -> str:
    return "nothing is there yet: replace the dots" if given is ... else f"there is {given!r}"


@exercise
def check_shopping(contents: object) -> Story:
    """A contents type for a list on which two people add and strike out at once."""
    told = story("a shopping list")
    told.true("a contents type is given", isinstance(contents, Contents), _nothing(contents))
    assert isinstance(contents, Contents)
    old, ours, theirs = (frozenset(words) for words in (("bread", "milk"), ("bread", "milk", "tea"), ("milk", "eggs")))
    try:
        store = Repo(contents).branch()
        store.set("list", old)
        side = store.clone("side")
        side.set("list", theirs)
        store.set("list", ours)
    except Exception as error:
        told.fail("it holds a set of words", f"raised    {type(error).__name__}: {error}")
    told.step("it holds a set of words")
    merged = store.merge(side)
    told.true("both changes are merged", not isinstance(merged, list), f"came      {merged[0] if isinstance(merged, list) else ''}")
    found = store.get("list")
    told.true("what each added is on it", {"tea", "eggs"} <= set(found), f"came      {sorted(found)}")
    told.true("what one of them struck out is not", "bread" not in found, f"came      {sorted(found)}")
    return told


@exercise
def check_highest(merge: Callable[[Any, Any, Any], Any]) -> Story:
    """A merge of scores, of which the highest is kept."""
    told = story("the highest score")
    cases = list(product((None, 3), (3, 5, 9), (3, 4, 9)))
    try:
        results = {case: merge(*case) for case in cases}
        turned = {case: merge(case[0], case[2], case[1]) for case in cases}
    except Exception as error:
        told.fail("it answers", f"raised    {type(error).__name__}: {error}")
    told.true("it answers with a score", all(isinstance(each, int) for each in results.values()), f"merge(3, 5, 4) is {results[(3, 5, 4)]!r}")
    wrong = next((case for case in cases if results[case] != turned[case]), None)
    both = f"merge{wrong} is {results.get(wrong)!r}, and {turned.get(wrong)!r} the other way" if wrong else ""
    told.true("it does not matter who merges whom", wrong is None, both)
    low = next((case for case in cases if isinstance(results[case], Conflict) or results[case] < max(case[1:])), None)
    told.true("no score that was reached is lost", low is None, f"merge{low} is {results.get(low)!r}" if low else "")
    high = next((case for case in cases if results[case] not in case), None)
    told.true("nobody gets a score that nobody reached", high is None, f"merge{high} is {results.get(high)!r}" if high else "")
    return told


@exercise
def check_crossing(count: object) -> Story:
    """How many lowest common ancestors two branches have that merged each other."""
    told = story("a crossing")
    told.true("a number is given", isinstance(count, int) and not isinstance(count, bool), _nothing(count))
    repo = Repo()
    one = repo.branch("one")
    one.set("a", b"0")
    two = one.clone("two")
    one.set("a", b"1")
    two.set("b", b"1")
    mine, theirs = one.head, two.head
    assert mine is not None and theirs is not None
    one.merge(theirs)
    two.merge(mine)
    how = "let one.merge(...) and two.merge(...) do it, with the commits from before, and ask one.lcas(two)"
    told.true("a store that does the same agrees", count == len(one.lcas(two)), how)
    return told
