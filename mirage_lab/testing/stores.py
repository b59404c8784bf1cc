"""stores: what every Irmin store promises, whatever keeps it: `check_irmin(lambda: Repo(TEXT, MyBackend()))`.

The promises are those of Irmin's own suite (irmin-test, store.ml), in our words; values are texts.  `make` is called for an
empty repository each time one is needed; the check closes it.  `again`, for a backend that keeps what it is given, opens a
repository that was closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from mirage_lab.irmin import node
from mirage_lab.irmin.commit import Commit, history
from mirage_lab.irmin.contents import TEXT
from mirage_lab.irmin.errors import PathError, StoreClosed, StoreError
from mirage_lab.irmin.exchange import export, load, pull, push
from mirage_lab.irmin.path import shown
from mirage_lab.irmin.store import Repo, Store
from mirage_lab.irmin.tree import Stats, Tree
from mirage_lab.irmin.view import View
from mirage_lab.irmin.watch import Moved
from mirage_lab.testing.story import Story, short

__all__ = ["check_irmin"]

Make = Callable[[], Repo]


class _Promises:
    """A story, and one repository after the other."""

    def __init__(self, make: Make) -> None:
        self.make = make
        self.story = Story("")

    @contextmanager
    def repo(self) -> Iterator[Repo]:
        repo = self.make()
        if not self.story.title:
            self.story.title = f"Irmin on {type(repo.backend).__name__}"
        if repo.contents is not TEXT or repo.heads:
            self.story.fail("it begins empty and holds texts", f"came      {len(repo.heads)} branches of {repo.contents.name}")
        try:
            yield repo
        finally:
            repo.close()

    def equal(self, promise: str, came: object, expected: object) -> None:
        self.story.true(promise, came == expected, f"expected  {short(expected)}", f"came      {short(came)}")

    def true(self, promise: str, kept: object, *detail: str) -> None:
        self.story.true(promise, kept, *detail)

    def refuses(self, promise: str, error: type[Exception], act: Callable[[], object]) -> None:
        try:
            came = act()
        except error:
            self.story.step(promise)
        else:
            self.story.fail(promise, f"expected  {error.__name__}", f"came      {short(came)}")


def check_irmin(make: Make, again: Callable[[Repo], Repo] | None = None) -> Story:
    """Return the story of the promises `make()` kept; raises Broken at the first that it did not."""
    promises = _Promises(make)
    for group in GROUPS:
        group(promises)
    if again is not None:
        _opened_again(promises, again)
    return promises.story


def _values(check: _Promises) -> None:
    with check.repo() as repo:
        store = repo.branch()
        check.true("a new branch has no head, and nothing at the root", store.head is None and store.list() == [])
        first = store.set("a/b", "1")
        check.true("the first value makes a commit without parents", first is not None and first.parents == ())
        check.equal("a value is found where it was set", (store.find("a/b"), store.find(("a", "b"))), ("1", "1"))
        check.equal("nothing is found elsewhere", (store.find("a"), store.find("x"), store.find("a/b/c")), (None, None, None))
        check.equal("a directory is no value", (store.mem("a"), store.kind("a"), store.kind("a/b"), store.kind("x")), (False, "node", "contents", None))
        check.true("setting what is there makes no commit", store.set("a/b", "1") is first)
        store.set("a/c/d", "2")
        check.equal("the names in a directory are in order", store.list("a"), [("b", "contents"), ("c", "node")])
        check.equal("a page of them can be had", store.tree("a").list(offset=1, most=1), [("c", "node")])
        store.set("a/b/x", "3")
        check.equal("a value makes room for a directory", (store.find("a/b"), store.find("a/b/x")), (None, "3"))
        store.set("a/b", "4")
        check.equal("and a directory for a value", (store.find("a/b"), store.find("a/b/x")), ("4", None))
        store.remove("a/c/d")
        check.equal("a directory that becomes empty is gone", store.kind("a/c"), None)
        before = store.head
        check.true("removing nothing makes no commit", store.remove("nowhere/at/all") is before)
        store.remove("a")
        check.equal("a directory is removed with all that is in it", (store.list(), store.find("a/b")), ([], None))
        check.refuses("the root cannot be a value", PathError, lambda: store.set("", "x"))
        for bad in ("a//b", "a/../b", "a/.git/x", "a/\0"):
            check.refuses(f"{bad!r} is no path", PathError, lambda bad=bad: store.set(bad, "x"))  # type: ignore[misc]
        check.refuses("what is not of the contents type is refused", StoreError, lambda: store.set("a", 7))


def _trees(check: _Promises) -> None:
    with check.repo() as repo:
        store = repo.branch()
        values = {f"d{number % 7}/e{number % 3}/f{number}": str(number) for number in range(60)}
        for path, value in values.items():
            store.set(path, value)
        tree = Tree.of(TEXT, values)
        check.equal("a tree has one name, however it was built", store.tree().hash, tree.hash)
        check.equal("... and that of another tree is another", tree.set("d0/x", "").hash == tree.hash, False)
        check.equal("a value set and removed again leaves the name as it was", tree.set("q/r/s", "1").remove("q/r/s").hash, tree.hash)
        check.equal("all values are listed in the order of paths", list(store.tree().items()), sorted(values.items()))
        other = tree.set("d1/new", "n").remove("d2").set("d0/e0/f0", "changed")
        kinds = [change.kind for change in tree.diff(other)]
        check.equal("a difference is told value by value", (kinds.count("added"), kinds.count("updated"), kinds.count("removed")), (1, 1, 9))
        check.equal("no difference, no change told", tree.diff(tree.set("d0/e0/f0", "0")), [])
        store.set_tree("copy", store.tree("d1"))
        check.equal("a subtree can be put elsewhere", store.tree("copy").hash, store.tree("d1").hash)
        wide = Tree.of(TEXT, {f"n{number:04}": "x" for number in range(2_000)})
        store.set_tree("wide", wide)
        store.remove("wide/n0999")
        left = (len(store.list("wide")), store.find("wide/n1000"), store.find("wide/n0999"))
        check.equal("a directory of thousands is a directory", left, (1_999, "x", None))
        repo.flush()
        check.equal("what is kept has the name that was worked out in memory", store.tree().hash, store.tree().remove("x").hash)
        check.equal("... and every value", dict(store.tree().sub("d3").items()), dict(tree.sub("d3").items()))


def _shapes(check: _Promises) -> None:
    tree = Tree.of(TEXT, {"a/b/c": "1", "a/b/d": "2", "a/e": "3", "f": "4"})
    check.true("setting what is there gives the very same tree", tree.set("a/b/c", "1").node is tree.node and tree.remove("no/where").node is tree.node)
    check.true("a change leaves what is beside it the very same", tree.set("f", "5").sub("a").node is tree.sub("a").node)
    check.equal("two steps down from the root", [shown(path) for path, _ in tree.walk(2, 2)], ["a/b", "a/e"])
    check.equal("at most one", [(shown(path), kind) for path, kind in tree.walk(most=1)], [("/", "node"), ("a", "node"), ("f", "contents")])
    check.equal("three at least", [shown(path) for path, _ in tree.walk(3)], ["a/b/c", "a/b/d"])
    check.equal("a tree tells how large it is", tree.stats(), Stats(3, 4, 3, 2))
    check.equal("a tree is dictionaries in dictionaries", tree.concrete(), {"a": {"b": {"c": "1", "d": "2"}, "e": "3"}, "f": "4"})
    check.equal("... and comes back from them", Tree.of_concrete(TEXT, tree.concrete()).hash, tree.hash)
    check.equal("a tree that was emptied has the name of the empty one", tree.remove("a").remove("f").hash, Tree(TEXT).hash)
    check.refuses("a tree has no value at the root", PathError, lambda: tree.set((), "x"))
    ours, theirs = tree.set("a/b/c", "ours"), tree.set("a/e", "theirs").remove("f")
    merged = ours.merge(tree, theirs)
    check.equal("trees are merged three ways", dict(merged.items()) if isinstance(merged, Tree) else merged, {"a/b/c": "ours", "a/b/d": "2", "a/e": "theirs"})
    with check.repo() as repo:
        store = repo.branch()
        store.set("x/y", "1")
        body = store.tree("x").node.body.decode("latin-1")
        store.set("z", body)
        check.true("a value whose bytes are those of a directory has another name", node.find(store.tree().node, ("z",)) != store.tree("x").node)
        head = store.head
        assert head is not None and store.tree("x").kind("y") == "contents"
        check.equal("... and each is found as what it is", (store.kind("x"), store.kind("z"), store.find("z")), ("node", "contents", body))


def _updates(check: _Promises) -> None:
    with check.repo() as repo:
        store = repo.branch()
        check.true("an empty store has no head", repo.empty().head is None and repo.empty().list() == [])
        store.set("a/1", "1", message="why", author="Anna")
        head = store.head
        assert head is not None
        check.equal("a commit keeps who made it and why", (head.info.author, head.info.message), ("Anna", "why"))
        twin = Commit(head.root, head.parents, head.info)
        check.equal("the same tree, parents and words are the same commit", twin.name, head.name)
        stale = store.tree("a")
        store.set("a/2", "2")
        store.set_tree("a", stale)
        check.equal("a directory that is put back takes what came since with it", store.find("a/2"), None)
        taken = store.tree("a").set("3", "3")
        side = store.clone("side")
        side.set_tree("b", taken)
        store.set("a/4", "4")
        side.merge_into(store)
        check.equal("a directory put elsewhere on a branch is merged back", dict(store.tree().items()), {"a/1": "1", "a/4": "4", "b/1": "1", "b/3": "3"})
        before = store.head
        check.true("test-and-set to what is there makes no commit", store.test_and_set("a/1", "1", "1") and store.head is before)
        told = store.head
        assert told is not None
        check.equal("a history ends where it is told to", [commit.name for commit in history(told, (head,))][-1] != head.name, True)
        check.equal("... and without that it ends at the first commit", store.history()[-1].name, head.name)


def _exchanged(check: _Promises) -> None:
    with check.repo() as one, check.repo() as two:
        mine, theirs = one.branch(), two.branch()
        for number in range(4):
            mine.set(f"a/{number}", str(number))
        mine.clone("side").set("b", "x")
        check.equal("what is pulled has the same name", _named(pull(theirs, mine)), _named(mine.head))
        check.equal("... and the same values", dict(theirs.tree().items()), dict(mine.tree().items()))
        theirs.set("a/0", "theirs")
        mine.set("a/1", "mine")
        check.equal("what would undo something is not pushed", push(theirs, mine), "rejected")
        check.true("what both did is merged", isinstance(pull(theirs, mine), Commit) and (theirs.find("a/0"), theirs.find("a/1")) == ("theirs", "mine"))
        check.equal("... and pushed", (push(theirs, mine), mine.find("a/0"), _named(mine.head)), ("pushed", "theirs", _named(theirs.head)))
        side = one.head("side")
        assert side is not None and mine.head is not None
        loaded = load(two, export([side]))
        check.equal("a slice is loaded with its names", [_named(commit) for commit in loaded], [_named(side)])
        two.branch("side").set_head(loaded[0])
        check.equal("... and can be a branch", two.branch("side").find("b"), "x")
        check.equal("... also where it came from", [_named(commit) for commit in load(one, export([side]))], [_named(side)])
        shallow = load(two, export([mine.head], depth=1))[0]
        check.equal("the newest commit alone has every value", dict(two.at(shallow).tree().items()), dict(mine.tree().items()))


def _named(commit: object) -> object:
    return commit.name.hex() if isinstance(commit, Commit) else commit


def _opened_again(check: _Promises, again: Callable[[Repo], Repo]) -> None:
    with check.repo() as repo:
        store = repo.branch()
        for number in range(20):
            store.set(f"d{number % 3}/k{number}", str(number), message=f"number {number}", author="Anna")
        side = store.clone("a/side")
        side.set("s", "1")
        store.set("d0/k0", "new")
        store.merge(side)
        store.clone("gone")
        repo.branch("gone").set_head(None)
        store.set_tree("wide", Tree.of(TEXT, {f"n{number:04}": "x" for number in range(500)}))
        repo.tag("first", store.history()[-1])
        repo.tag("gone", store.head)
        repo.tag("gone", None)
        names = [commit.name for commit in store.history()]
        values = dict(store.tree().items())
        check.refuses("a store has one writer", StoreError, lambda: again(repo))
        repo.close()
        reopened = again(repo)
        try:
            store = reopened.branch()
            check.equal("closed and opened again, the branches are there", sorted(reopened.heads), ["a/side", "main"])
            check.equal("... the tags", {name: commit.name for name, commit in reopened.tags.items()}, {"first": names[-1]})
            check.equal("... every commit", [commit.name for commit in store.history()], names)
            check.equal("... who made it and why", (store.history()[-1].info.author, store.history()[-1].info.message), ("Anna", "number 0"))
            check.equal("... every value", dict(store.tree().items()), values)
            side = reopened.branch("a/side")
            check.equal("... and where branches parted", [_named(commit) for commit in store.lcas(side)], [_named(side.head)])
            store.set("after", "1")
            came = store.merge(side)
            check.true("it goes on", isinstance(came, Commit) and store.find("after") == "1")
        finally:
            reopened.close()


def _heads(check: _Promises) -> None:
    with check.repo() as repo:
        store = repo.branch()
        first, second = store.set("a", "1"), store.set("a", "2")
        assert first is not None and second is not None
        store.set_head(first)
        check.equal("a branch can be put back to an earlier commit", store.find("a"), "1")
        check.equal("... and forward by a fast-forward", (store.fast_forward(second), store.find("a")), (True, "2"))
        check.equal("a fast-forward to what does not come from here is rejected", (store.fast_forward(first), store.find("a")), (False, "2"))
        check.equal("a head moves only from where it is", (store.test_and_set_head(first, first), store.test_and_set_head(second, first)), (False, True))
        side = store.clone("side")
        side.set("b", "3")
        check.equal("a clone goes its own way", (store.find("b"), side.find("b"), side.find("a")), (None, "3", "1"))
        check.equal("branches are listed", sorted(repo.heads), ["main", "side"])
        side.set_head(None)
        check.equal("a branch can be removed", sorted(repo.heads), ["main"])
        loose = repo.at(second)
        loose.set("c", "4")
        check.equal("work at a commit moves no branch", (loose.find("c"), store.find("c")), ("4", None))
        check.equal("a commit is found by its name", repo.commit(first.name.hex()), first)
        repo.tag("v1", first)
        store.set("t", "1")
        check.equal("a tag is the name of a commit", (list(repo.tags), repo.tags["v1"], repo.at(repo.tags["v1"]).find("a")), (["v1"], first, "1"))
        check.refuses("... and does not move", StoreError, lambda: repo.tag("v1", second))
        repo.tag("v2", second)
        repo.tag("v1", None)
        check.equal("... until it is taken away", (list(repo.tags), sorted(repo.heads)), (["v2"], ["main"]))
        check.equal("test-and-set of a value", (store.test_and_set("a", "0", "x"), store.test_and_set("a", "1", "y"), store.find("a")), (False, True, "y"))
        there_and_back = (store.test_and_set("n", None, "1"), store.test_and_set("n", "1", None), store.mem("n"))
        check.equal("... where there is nothing, and back to nothing", there_and_back, (True, True, False))
    closed: tuple[Callable[[], object], ...] = (
        lambda: store.set("a", "5"),
        lambda: store.find("a"),
        lambda: store.remove("a"),
        lambda: store.list(),
        lambda: store.history(),
        lambda: store.merge(side),
        lambda: store.set_head(first),
        lambda: repo.commit(first.name),
    )
    for act in closed:
        check.refuses("a closed repository is closed", StoreClosed, act)


def _merges(check: _Promises) -> None:
    with check.repo() as repo:
        store = repo.branch()
        store.set("shared", "0")
        store.set("mine", "0")
        side = store.clone("side")
        side.set("theirs", "1")
        check.true("merging what comes from here is a fast-forward, and no commit", store.merge(side) is side.head)
        check.true("merging what is here already changes nothing", store.merge(side) is store.head)
        base = store.head
        side.set("theirs", "2")
        store.set("mine", "2")
        merged = store.merge(side)
        check.true("changes at two paths are merged in a commit with two parents", isinstance(merged, Commit) and len(merged.parents) == 2)
        check.equal("... and both are there", (store.find("mine"), store.find("theirs")), ("2", "2"))
        check.equal("the common ancestor is the newer one afterwards", store.lcas(side), [side.head])
        check.true("the other branch has not moved", side.find("mine") == "0" and base is not None)
        side.merge(store)
        store.set("shared", "a")
        side.set("shared", "b")
        before = store.head
        conflicts = store.merge(side)
        told = [(each.path, each.ancestor, each.ours, each.theirs) for each in conflicts] if isinstance(conflicts, list) else conflicts
        check.equal("two changes of one value are a conflict: where, and what each has", told, [(("shared",), "0", "a", "b")])
        check.true("... and nothing has moved", store.head is before)
        side.set("shared", "a")
        check.true("the same change on both sides is none", isinstance(store.merge(side), Commit))
        side.merge(store)
        side.remove("mine")
        store.set("mine", "3")
        check.true("a change of what the other removed is a conflict", isinstance(store.merge(side), list))
        side.set("mine", "2")
        check.true("a blind write of the old value is no change", isinstance(store.merge(side), Commit) and store.find("mine") == "3")
        stranger = repo.branch("stranger")
        stranger.set("far/away", "1")
        check.true("branches that have nothing in common are merged where they do not meet", isinstance(store.merge(stranger), Commit))
        check.equal("... and there is no common ancestor before", (repo.branch("main").find("far/away"), stranger.lcas(side)), ("1", []))


def _crossed(check: _Promises) -> None:
    with check.repo() as repo:
        ours = repo.branch("ours")
        ours.set("a", "0")
        theirs = ours.clone("theirs")
        ours.set("a", "1")
        theirs.set("b", "1")
        one, two = ours.head, theirs.head
        assert one is not None and two is not None
        ours.merge(two)
        theirs.merge(one)
        found = {commit.name for commit in ours.lcas(theirs)}
        check.equal("histories that crossed have two lowest common ancestors", found, {one.name, two.name})
        ours.set("c", "1")
        theirs.set("d", "1")
        check.true("... and merge all the same", isinstance(ours.merge(theirs), Commit))
        check.equal("... to all that was set", dict(ours.tree().items()), {"a": "1", "b": "1", "c": "1", "d": "1"})
        line = repo.branch("line")
        line.set("n", "0")
        start = line.head
        assert start is not None
        for number in range(1, 6):
            line.set("n", str(number))
        check.equal("the last changes of a path are found", [c.root.get("n") is not None for c in line.last_modified("n", 2)], [True, True])
        check.refuses("a search for ancestors stops at the depth it was given", StoreError, lambda: repo.at(start).lcas(line, max_depth=2))
        check.refuses("... to the step", StoreError, lambda: repo.at(start).lcas(line, max_depth=4))
        check.equal("... and finds within it", repo.at(start).lcas(line, max_depth=5), [start])
        newest = line.head
        assert newest is not None
        line.set_head(Commit(newest.root, (start, newest), repo.info("a shorter way back too")))
        check.equal("a way back that is also there the long way leads to the same ancestor", repo.branch("line").lcas(newest), [newest])
        check.equal("the first change of a value is the commit that made it", _named(line.last_modified("n", 9)[-1]), _named(start))
        check.equal("a history is told from the newest on", [commit.generation for commit in line.history(3)], [6, 5, 4])


def _strategies(check: _Promises) -> None:
    with check.repo() as repo:
        store = repo.branch()
        store.set("box/a", "0")
        other = repo.branch()

        def meanwhile(path: str, value: str, most: int = 1) -> Callable[[Tree], Tree]:
            left = [most]

            def change(tree: Tree) -> Tree:
                if left[0]:
                    left[0] -= 1
                    other.set(f"box/{path}", value + str(left[0]))
                return tree.set("a", str(len(list(tree.items()))))

            return change

        store.with_tree("box", meanwhile("x", "1"), "set")
        check.equal("with strategy set the last one wins", (store.find("box/a"), store.find("box/x")), ("1", None))
        store.with_tree("box", meanwhile("y", "1"), "test_and_set")
        check.equal("with test_and_set the change is made again on what is there", (store.find("box/a"), store.find("box/y")), ("2", "10"))
        store.with_tree("box", meanwhile("z", "1"), "merge")
        check.equal("with merge both are there", (store.find("box/z"), store.mem("box/y")), ("10", True))
        store.set("box/a", "0")
        conflict = store.with_tree("box", meanwhile("a", "c"), "merge")
        check.true("... or the conflict is told", isinstance(conflict, list) and conflict[0].path == ("a",))
        check.refuses("whoever loses again and again gives up", StoreError, lambda: store.with_tree("box", meanwhile("q", "n", 9), "test_and_set", retries=2))


def _views(check: _Promises) -> None:
    with check.repo() as repo:
        store = repo.branch()
        store.set("dom/1", "a")
        one, two = View(store), View(store)
        one.write("dom/2", "b")
        two.read("dom/1")
        two.write("dom/3", "c")
        first, second = one.merge_path(), two.merge_path()
        check.true("two views that did not read what the other wrote both go through", isinstance(first, Commit) and isinstance(second, Commit))
        check.equal("... each in one commit", (store.list("dom"), len(store.history())), ([("1", "contents"), ("2", "contents"), ("3", "contents")], 3))
        late = View(store)
        late.list("dom")
        late.write("dom/9", "x")
        store.set("dom/4", "d")
        came = late.merge_path()
        check.true("a view that listed what has changed since conflicts", isinstance(came, list) and came[0].path == ("dom",), f"came      {short(came)}")
        check.true("... and nothing of it is there", not store.mem("dom/9"))
        blind = View(store)
        blind.write("dom/1", "z")
        store.set("dom/1", "y")
        check.true("a blind write goes through", isinstance(blind.merge_path(), Commit) and store.find("dom/1") == "z")


def _watches(check: _Promises) -> None:
    with check.repo() as repo:
        store = repo.branch()
        seen: list[Any] = []

        def note(moved: Moved) -> None:
            seen.extend((change.kind, "/".join(change.path)) for change in moved.changes)

        def broken(moved: Moved) -> None:
            raise ValueError("mine")

        store.watch(broken)
        watch = store.watch(note, "a")
        store.set("a/x", "1")
        store.set("b", "1")
        store.set("a/x", "2")
        store.remove("a/x")
        check.equal("a watch is told what changed at its path, and nothing else", seen, [("added", "a/x"), ("updated", "a/x"), ("removed", "a/x")])
        check.true("a watcher that raises keeps nobody from being told", len(repo.watches.trouble) == 4)
        watch.stop()
        store.set("a/x", "3")
        check.equal("... and nothing when it was stopped", len(seen), 3)


def _many(check: _Promises) -> None:
    with check.repo() as repo:
        handles = [repo.branch() for _ in range(10)]
        for turn in range(5):
            for number, store in enumerate(handles):
                store.set(f"w{number}/{turn}", f"{number}.{turn}")
        everything = dict(handles[0].tree().items())
        check.equal("ten handles of a branch write in turn, and all is there", len(everything), 50)
        sides = [handles[0].clone(f"side{number}") for number in range(10)]
        for number, side in enumerate(sides):
            side.set(f"s{number}", "1")
        merged = [handles[0].merge(side) for side in sides]
        lost = [0, 0]
        for turn in range(10):
            stale = handles[0].head
            for number in (0, 1):
                while True:
                    commit = Commit(handles[number].tree().set(f"r{number}", str(turn)).node, (stale,) if stale else (), repo.info("a race"))
                    if handles[number].test_and_set_head(stale, commit):
                        break
                    lost[number] += 1
                    stale = handles[number].head
        check.equal("whoever finds the head moved takes the new one", lost, [0, 10])
        check.equal("... and gets through", (handles[2].find("r0"), handles[2].find("r1")), ("9", "9"))
        handles[0].remove("r0")
        handles[0].remove("r1")
        check.true("ten branches are merged into one", all(isinstance(each, Commit) for each in merged) and len(handles[0].list()) == 20)
        check.equal("commits have ancestors before descendants in no history", _ordered(handles[0]), True)


def _ordered(store: Store) -> bool:
    seen: set[bytes] = set()
    for commit in store.history():
        if any(parent.name in seen for parent in commit.parents):
            return False
        seen.add(commit.name)
    return True


GROUPS: Final[tuple[Callable[[_Promises], None], ...]] = (
    *(_values, _trees, _shapes, _updates, _heads, _merges, _crossed, _strategies, _views, _watches, _many, _exchanged),
)
