"""store: a repository, its branches, and the handle of one through which values are read, set, and merged.

    Repo   the commits and the branches, which are all that can change       Store   one branch, or one commit

A branch moves by test-and-set: whoever lost the race takes the new head and tries again.  What several sides changed is
merged three ways; a conflict is a value (`Conflicts`), and nothing has moved then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal
from weakref import WeakValueDictionary

from mirage_lab.irmin import node
from mirage_lab.irmin.commit import Commit, common_ancestors, history, is_ancestor, last_modified
from mirage_lab.irmin.contents import BYTES, Contents
from mirage_lab.irmin.errors import PathError, StoreClosed, StoreError
from mirage_lab.irmin.merging import Conflicts, base_of, merge_trees
from mirage_lab.irmin.node import EMPTY, Blob, Node
from mirage_lab.irmin.objects import Info
from mirage_lab.irmin.path import Path, shown, steps_of
from mirage_lab.irmin.tree import Listing, Tree
from mirage_lab.irmin.watch import Watch, Watches

__all__ = ["TAGS", "Backend", "Repo", "Store"]

Commits = list[Commit]
Strategy = Literal["set", "test_and_set", "merge"]
RETRIES: Final = 13


class Backend:
    """Where branches are kept.  This one keeps them in memory; the others derive from it and make each move durable."""

    def branches(self) -> dict[str, Commit]:
        """Return the branches as they were left; tags among them, as `TAGS` says."""
        return {}

    def move(self, branch: str, before: Commit | None, after: Commit | None) -> None:
        """Note that a branch has moved (None: it is not there).  Raises StoreError when it cannot; then it has not moved."""

    def commit(self, name: bytes) -> Commit | None:
        """Return a stored commit, or None."""
        return None

    grouped = False
    """True when moves wait for `settle`."""

    @property
    def unsettled(self) -> bool:
        """True while moves wait for `settle`."""
        return False

    def settle(self) -> None:
        """Make the moves since the last `settle` durable together.  Raises StoreError, and then none of them is."""

    def flush(self) -> None:
        """Write whatever waits, where others can read it."""

    def work(self, *, busy: bool = False) -> bool:
        """Do a little of what `flush` would have to do, for whoever has a moment now; `busy`: only what must not wait.  Say whether there is more."""
        return False

    def close(self) -> None:
        """Write whatever waits, and let go."""


class Repo:
    """Commits and branches over values of one contents type.

    `clock` gives the seconds since 1970 of a commit; without one the commits are numbered.  `eager` names each commit as
    it is made (a comparison with stores that always hash); otherwise a name is worked out when it is asked for.

    Whoever makes commits faster than they are looked at may put off making them: `late[branch]` is called, and makes them,
    before someone sees that branch.
    """

    def __init__(
        self,
        contents: Contents[Any] = BYTES,
        backend: Backend | None = None,
        *,
        clock: Callable[[], int] | None = None,
        author: str = "irmin",
        eager: bool = False,
    ) -> None:
        self.contents = contents
        self.backend = backend or Backend()
        self.author = author
        self.eager = eager
        kept = self.backend.branches()
        self._heads: dict[str, Commit] = {name: commit for name, commit in kept.items() if not name.startswith(TAGS)}
        self.tags: dict[str, Commit] = {name[len(TAGS) :]: commit for name, commit in kept.items() if name.startswith(TAGS)}
        self.late: dict[str, Callable[[], None]] = {}
        self.watches = Watches()
        self.closed = False
        self._clock = clock
        self._made = -1
        self._named: WeakValueDictionary[bytes, Commit] = WeakValueDictionary()
        self._moved: list[tuple[str, Commit | None]] = []

    @property
    def heads(self) -> dict[str, Commit]:
        """The branches there are, and where each is.  Not to be changed."""
        for act in tuple(self.late.values()):
            act()
        return self._heads

    def head(self, branch: str) -> Commit | None:
        """Return where a branch is."""
        if self.late and (act := self.late.get(branch)) is not None:
            act()
        return self._heads.get(branch)

    def branch(self, name: str = "main") -> Store:
        """Return the handle of a branch, which begins with its first commit."""
        return Store(self, _checked(name, "branch"))

    def tag(self, name: str, commit: Commit | None) -> None:
        """Give a commit a name that stays with it, in `tags`; None takes the name away.  Raises StoreError when another commit has it."""
        if self.closed:
            raise StoreClosed("the repository was closed")
        before = self.tags.get(_checked(name, "tag"))
        if commit is not None and before is not None and not before.same(commit):
            raise StoreError(f"the tag {name} is another commit's: a tag does not move")
        if commit is before:
            return
        self.backend.move(TAGS + name, before, commit)
        self.settle()
        if commit is None:
            del self.tags[name]
        else:
            self.tags[name] = commit

    def at(self, commit: Commit) -> Store:
        """Return a handle of one commit: what is set there moves the handle, and no branch."""
        return Store(self, None, commit)

    def empty(self) -> Store:
        """Return a handle of nothing yet."""
        return Store(self, None)

    def commit(self, name: str | bytes) -> Commit | None:
        """Return the commit of that name (20 bytes, or 40 hexadecimal digits), or None."""
        try:
            wanted = bytes.fromhex(name) if isinstance(name, str) else name
        except ValueError:
            raise StoreError(f"{name!r} is no name of a commit") from None
        if self.closed:
            raise StoreClosed("the repository was closed")
        stored = self.backend.commit(wanted)
        if stored is None:
            self._index()
            stored = self._named.get(wanted)
        return stored

    def _index(self) -> None:
        """Note the names of commits that were made since the last time."""
        waiting = [*self.heads.values(), *self.tags.values()]
        while waiting:
            commit = waiting.pop()
            if self._named.get(commit.name) is None and commit.home is None:
                self._named[commit.name] = commit
                waiting += commit.parents

    def info(self, message: str, author: str | None = None) -> Info:
        """Return who, when and why, for a commit that is made now."""
        if self._made < 0:
            self._made = 0 if self._clock is not None else max((head.info.date for head in self._heads.values()), default=0)
        self._made += 1
        return Info(self._clock() if self._clock is not None else self._made, author or self.author, message)

    def move(self, branch: str, before: Commit | None, after: Commit | None) -> bool:
        """Move a branch if it still is at `before`; say whether it was."""
        if self.closed:
            raise StoreClosed("the repository was closed")
        if self.head(branch) is not before:
            return False
        if self.eager and after is not None:
            _ = after.name
        self.backend.move(branch, before, after)
        if self.backend.grouped:
            self._moved.append((branch, before))
        self._put(branch, after)
        if self.watches.any:
            self.watches.tell(branch, before, after)
        return True

    def _put(self, branch: str, commit: Commit | None) -> None:
        if commit is None:
            self._heads.pop(branch, None)
        else:
            self._heads[branch] = commit

    def settle(self) -> None:
        """Make the moves since the last time durable together; raises StoreError, and then the branches are as before them."""
        moved, self._moved = self._moved, []
        try:
            self.backend.settle()
        except StoreError:
            for branch, before in reversed(moved):
                self._put(branch, before)
            raise

    def flush(self) -> None:
        """Write whatever waits, where others (git) can read it."""
        self.settle()
        self.backend.flush()

    def close(self) -> None:
        """Write whatever waits; every operation after this raises StoreClosed."""
        if not self.closed:
            self.closed = True
            self.backend.close()


TAGS: Final = "refs/tags/"
"""What the name of a tag begins with, where backends keep branches."""


def _checked(name: str, what: str) -> str:
    bad = not name or len(name) > 200 or name.startswith((".", "-", "/", "refs/")) or name.endswith((".lock", "/", "."))
    if bad or any(each in name for each in _REF):
        raise PathError(f"{name[:60]!r} is no name of a {what}")
    return name


_REF: Final = ("..", "//", " ", "~", "^", ":", "?", "*", "[", "\\", "@{", "\0", "\n", "\x7f", "/.", "\t")


class Store:
    """One branch of a repository, or (without a branch) one commit."""

    __slots__ = ("_commit", "branch", "repo")

    def __init__(self, repo: Repo, branch: str | None, commit: Commit | None = None) -> None:
        self.repo = repo
        self.branch = branch
        self._commit = commit

    # reading -----------------------------------------------------------------------------------------------------

    @property
    def head(self) -> Commit | None:
        """The commit this handle is at; None when there is none yet."""
        if self.repo.closed:
            raise StoreClosed("the repository was closed")
        return self._commit if self.branch is None else self.repo.head(self.branch)

    @property
    def _root(self) -> Node:
        head = self.head
        return EMPTY if head is None else head.root

    def tree(self, path: Path = ()) -> Tree:
        """Return the tree at a path; empty where there is no directory."""
        return Tree(self.repo.contents, self._root).sub(path)

    def find(self, path: Path) -> Any:
        """Return the value at a path, None where there is none."""
        entry = node.find(self._root, steps_of(path))
        return self.repo.contents.decode(entry.data) if type(entry) is Blob else None

    def get(self, path: Path) -> Any:
        """Return the value at a path; raises StoreError where there is none."""
        return Tree(self.repo.contents, self._root).get(path)

    def mem(self, path: Path) -> bool:
        """True when there is a value at a path; False for a directory."""
        return type(node.find(self._root, steps_of(path))) is Blob

    def kind(self, path: Path = ()) -> Literal["contents", "node"] | None:
        """Return what is at a path, None for nothing."""
        return Tree(self.repo.contents, self._root).kind(path)

    def list(self, path: Path = ()) -> Listing:
        """Return (name, what it is) of the entries at a path, by name."""
        return Tree(self.repo.contents, self._root).list(path)

    # changing ----------------------------------------------------------------------------------------------------

    def set(self, path: Path, value: Any, message: str = "", author: str | None = None) -> Commit | None:
        """Set a value and return the commit; the head as it was when the value is there already."""
        steps = steps_of(path)
        if not steps:
            raise PathError("the root is a directory: a value needs a path of one step at least")
        data = self.repo.contents.encode(value)
        head = self.head
        root = EMPTY if head is None else head.root
        there = node.find(root, steps)
        if type(there) is Blob and there.data == data:
            return head
        return self._commit_tree(head, node.put(root, steps, Blob(data)), message or f"set {shown(steps)}", author)

    def remove(self, path: Path, message: str = "", author: str | None = None) -> Commit | None:
        """Remove what is at a path, a directory with all that is in it; the head as it was when there is nothing."""
        steps, head = steps_of(path), self.head
        if head is None:
            return None
        root = node.remove(head.root, steps)
        return head if root is head.root else self._commit_tree(head, root, message or f"remove {shown(steps)}", author)

    def set_tree(self, path: Path, tree: Tree, message: str = "", author: str | None = None) -> Commit | None:
        """Put a tree in place of what is at a path."""
        head = self.head
        root = Tree(self.repo.contents, EMPTY if head is None else head.root).put(path, tree).node
        if head is not None and (root is head.root or root.name == head.root.name):
            return head
        return self._commit_tree(head, root, message or f"set tree {shown(steps_of(path))}", author)

    def test_and_set(self, path: Path, test: Any, value: Any, message: str = "", author: str | None = None) -> bool:
        """Set a value (None: remove it) if what is there equals `test` (None: nothing); say whether it did."""
        if self.find(path) != test:
            return False
        if value is None:
            self.remove(path, message, author)
        else:
            self.set(path, value, message, author)
        return True

    def with_tree(
        self,
        path: Path,
        change: Callable[[Tree], Tree],
        strategy: Strategy = "set",
        message: str = "",
        author: str | None = None,
        retries: int = RETRIES,
    ) -> Commit | Conflicts | None:
        """Set what `change` makes of the tree at a path.  If it was changed meanwhile, by whom `change` itself may have called:

        "set" sets it all the same, "test_and_set" calls `change` again (`retries` times, then raises StoreError), "merge"
        merges both, and returns the conflicts if there are any.
        """
        contents = self.repo.contents
        for _ in range(retries + 1):
            before = self.tree(path)
            after = change(before)
            now = self.tree(path)
            if now.node is before.node or strategy == "set":
                return self.set_tree(path, after, message, author)
            if strategy == "merge":
                merged, conflicts = merge_trees(contents, before.node, now.node, after.node)
                return conflicts or self.set_tree(path, Tree(contents, merged), message, author)
        raise StoreError(f"{shown(steps_of(path))} was changed {retries + 1} times while a change to it was made")

    def _commit_tree(self, head: Commit | None, root: Node, message: str, author: str | None, more: tuple[Commit, ...] = ()) -> Commit:
        parents = more if head is None else (head, *more)
        commit = Commit(root, parents, self.repo.info(message, author))
        self._move(head, commit)
        return commit

    def _move(self, before: Commit | None, after: Commit | None) -> None:
        if self.branch is None:
            self._commit = after
        elif not self.repo.move(self.branch, before, after):
            raise StoreError(f"{self.branch} has moved meanwhile: take its head and try again")

    # heads -------------------------------------------------------------------------------------------------------

    def set_head(self, commit: Commit | None) -> None:
        """Move to a commit, whatever was there (a roll back, or a roll forward)."""
        self._move(self.head, commit)

    def test_and_set_head(self, test: Commit | None, commit: Commit | None) -> bool:
        """Move to a commit if this handle is at `test`; say whether it was."""
        if self.head is not test:
            return False
        self._move(test, commit)
        return True

    def fast_forward(self, commit: Commit) -> bool:
        """Move to a commit that came from where this handle is; False, and no move, when it did not."""
        head = self.head
        if head is not None and not is_ancestor(head, commit):
            return False
        self._move(head, commit)
        return True

    def clone(self, branch: str) -> Store:
        """Return another branch that begins where this one is."""
        made = self.repo.branch(branch)
        if made.head is not None:
            raise StoreError(f"there is a branch {branch} already")
        if self.head is not None:
            made.set_head(self.head)
        return made

    # merging -----------------------------------------------------------------------------------------------------

    def merge(self, other: Store | Commit, message: str = "", author: str | None = None, max_depth: int | None = None) -> Commit | Conflicts | None:
        """Merge another branch or commit into this one: the new head, or the conflicts, and then nothing has moved."""
        theirs = other.head if isinstance(other, Store) else other
        ours = self.head
        if theirs is None:
            return ours
        if ours is None or is_ancestor(ours, theirs):
            self._move(ours, theirs)
            return theirs
        if is_ancestor(theirs, ours):
            return ours
        root, conflicts = merge_trees(self.repo.contents, base_of(self.repo.contents, ours, theirs, max_depth), ours.root, theirs.root)
        if conflicts:
            return conflicts
        named = other.branch if isinstance(other, Store) and other.branch else theirs.name.hex()[:7]
        return self._commit_tree(ours, root, message or f"merge {named} into {self.branch or 'a commit'}", author, (theirs,))

    def merge_into(self, other: Store, message: str = "", author: str | None = None) -> Commit | Conflicts | None:
        """Merge this branch into another."""
        return other.merge(self, message, author)

    def lcas(self, other: Store | Commit, max_depth: int | None = None) -> Commits:
        """Return the lowest common ancestors with another branch or commit."""
        ours, theirs = self.head, other.head if isinstance(other, Store) else other
        return common_ancestors(ours, theirs, max_depth) if ours is not None and theirs is not None else []

    # history and watches -----------------------------------------------------------------------------------------

    def history(self, most: int | None = None) -> Commits:
        """Return the commits this one came from, itself first."""
        head = self.head
        return [] if head is None else history(head, most=most)

    def last_modified(self, path: Path, most: int = 1) -> Commits:
        """Return the last `most` commits that changed what is at a path, the newest first."""
        head = self.head
        return [] if head is None else last_modified(head, steps_of(path), most)

    def watch(self, told: Callable[[Any], None], path: Path = ()) -> Watch:
        """Have `told` called with a `watch.Moved` each time what is at a path of this branch changes."""
        if self.branch is None:
            raise StoreError("only a branch moves: a handle of one commit cannot be watched")
        return self.repo.watches.add(self.branch, steps_of(path), self.repo.contents, told)

    def __repr__(self) -> str:
        head = self.head
        return f"<Store {self.branch or 'detached'} at {'nothing yet' if head is None else head}>"
