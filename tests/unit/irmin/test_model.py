"""Every backend against a model: branches are dictionaries, a history is a set of them, a merge is three dictionaries made one."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mirage_lab.irmin import TEXT, Repo
from mirage_lab.irmin.commit import Commit
from mirage_lab.irmin.fs import Fs
from mirage_lab.irmin.git import Git
from mirage_lab.irmin.store import Backend

BRANCHES = st.sampled_from(["main", "side", "a/third"])
PATHS = st.sampled_from(["a", "a/b", "a/b/c", "a/d", "e", "e/f"])
VALUES = st.sampled_from(["0", "1", "2"])
Values = dict[str, str]


def without(values: Values, path: str) -> Values:
    """Values without what is at a path and below it."""
    return {name: value for name, value in values.items() if name != path and not name.startswith(f"{path}/")}


def stored(values: Values, path: str, value: str) -> Values:
    """Values with another one: what was in its way is gone."""
    above = {path[:at] for at, letter in enumerate(path) if letter == "/"}
    return {name: old for name, old in without(values, path).items() if name not in above} | {path: value}


def merged(old: Values, ours: Values, theirs: Values) -> Values | None:
    """The three made one, None where both sides changed the same, or what one made is in the way of the other's."""
    found: Values = {}
    for path in {*old, *ours, *theirs}:
        before, one, two = old.get(path), ours.get(path), theirs.get(path)
        if one != two and before not in (one, two):
            return None
        value = two if one == before else one
        if value is not None:
            found[path] = value
    return None if any(path.startswith(f"{other}/") for path in found for other in found) else found


class Model(RuleBasedStateMachine):
    """A store in memory, and what it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.repo: Repo
        self.heads: dict[str, bytes] = {}
        self.values: dict[bytes, Values] = {}
        self.parents: dict[bytes, tuple[bytes, ...]] = {}

    def opened(self) -> Repo:
        return Repo(TEXT)

    @initialize()
    def begin(self) -> None:
        self.repo = self.opened()

    def now(self, branch: str) -> Values:
        head = self.heads.get(branch)
        return {} if head is None else self.values[head]

    def came(self, branch: str, commit: Commit | None, values: Values) -> None:
        if commit is None:
            assert branch not in self.heads and not values
            return
        name = commit.name
        if name not in self.values:
            self.values[name], self.parents[name] = values, tuple(parent.name for parent in commit.parents)
        assert self.values[name] == values
        self.heads[branch] = name

    @rule(branch=BRANCHES, path=PATHS, value=VALUES)
    def set(self, branch: str, path: str, value: str) -> None:
        self.came(branch, self.repo.branch(branch).set(path, value), stored(self.now(branch), path, value))

    @rule(branch=BRANCHES, path=PATHS)
    def remove(self, branch: str, path: str) -> None:
        self.came(branch, self.repo.branch(branch).remove(path), without(self.now(branch), path))

    @rule(branch=BRANCHES, other=BRANCHES)
    def put_where_another_is(self, branch: str, other: str) -> None:
        if other in self.heads:
            self.repo.branch(branch).set_head(self.repo.head(other))
            self.heads[branch] = self.heads[other]

    @rule(branch=BRANCHES)
    def forget(self, branch: str) -> None:
        self.repo.branch(branch).set_head(None)
        self.heads.pop(branch, None)

    def closure(self, name: bytes) -> set[bytes]:
        found, waiting = {name}, [name]
        while waiting:
            for parent in self.parents[waiting.pop()]:
                if parent not in found:
                    found.add(parent)
                    waiting.append(parent)
        return found

    @rule(branch=BRANCHES, other=BRANCHES)
    def merge(self, branch: str, other: str) -> None:
        ours, theirs = self.heads.get(branch), self.heads.get(other)
        result: Any = self.repo.branch(branch).merge(self.repo.branch(other))
        if theirs is None or (ours is not None and theirs in self.closure(ours)):
            assert (None if result is None else result.name) == ours
        elif ours is None or ours in self.closure(theirs):
            assert result.name == theirs
            self.heads[branch] = theirs
        else:
            common = self.closure(ours) & self.closure(theirs)
            lowest = [name for name in common if not any(name in self.closure(more) - {more} for more in common)]
            wanted = merged(self.values[lowest[0]] if lowest else {}, self.values[ours], self.values[theirs])
            if isinstance(result, list):
                assert result and all(conflict.path for conflict in result) and (len(lowest) > 1 or wanted is None)
                return
            found = dict(self.repo.branch(branch).tree().items())
            assert len(lowest) > 1 or found == wanted
            self.came(branch, result, found)
            assert {parent.name for parent in result.parents} == {ours, theirs}

    @invariant()
    def every_branch_has_what_it_should(self) -> None:
        if hasattr(self, "repo"):
            assert {branch: commit.name for branch, commit in self.repo.heads.items()} == self.heads
            for branch in self.heads:
                assert dict(self.repo.branch(branch).tree().items()) == self.now(branch)

    def teardown(self) -> None:
        for branch, name in self.heads.items():
            assert {commit.name for commit in self.repo.branch(branch).history()} == self.closure(name)
        self.repo.close()


class Kept(Model):
    """A store on disk, which is also closed and opened again, and killed."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())

    def backend(self) -> Backend:
        raise NotImplementedError

    def opened(self) -> Repo:
        return Repo(TEXT, self.backend())

    @rule()
    def open_again(self) -> None:
        self.repo.close()
        self.repo = self.opened()

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.place)


class InGit(Kept):
    """A Git repository, with a checkpoint now and then."""

    def backend(self) -> Backend:
        return Git(self.place / "s.git", "never", every=5)

    @rule()
    def killed(self) -> None:
        git = self.repo.backend
        assert isinstance(git, Git)
        git._log.close()
        git._git.close()
        git._lock.close()
        self.repo = self.opened()

    @rule()
    def flush(self) -> None:
        self.repo.flush()


class InFiles(Kept):
    """Plain files."""

    def backend(self) -> Backend:
        return Fs(self.place)


TestInMemory = Model.TestCase
TestInGit = InGit.TestCase
TestInFiles = InFiles.TestCase
TestInMemory.settings = settings(max_examples=150, stateful_step_count=25)
TestInGit.settings = settings(max_examples=12, stateful_step_count=25)
TestInFiles.settings = settings(max_examples=12, stateful_step_count=25)
