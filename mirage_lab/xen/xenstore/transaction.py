"""Transaction: a view on top of the store as it was when it began, that keeps its changes to itself until it commits.

What is a conflict, and ends with EAGAIN, is the engine's to say; three are there to be compared:

    irmin    something was answered that would now be answered otherwise
    naive    something it looked at, parents of what it made included, has changed in any way (as the C xenstored)
    serial   anything at all has changed

For irmin what was changed here and meanwhile is merged node by node, which goes when others changed nothing that an answer
came from; otherwise the operations are replayed on the store as it is by then, and their answers compared.  Then the nodes
are put into the store, all or none, and only then do watches fire.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from mirage_lab.xen.abi import errno
from mirage_lab.xen.xenstore.store import ENTRIES, Node, Perms, Store, StoreError, View, parent_of

__all__ = ["ENGINES", "OPERATIONS", "Engine", "Transaction"]

OPERATIONS: Final = 1_024
NODES: Final = 1_024
"""Nodes a guest may look at in one transaction."""
QUESTIONS: Final = 4_096
"""Operations of a guest in one transaction, questions included: they are asked again at its end."""

MINE: Final = 1 << 62
"""Generations from which on a node was made in a transaction."""

Effect = tuple[str, str, Node | None, dict[str, Node]]
"""A change as `store.Changed` is told of it."""
Engine = Literal["irmin", "naive", "serial"]
ENGINES: Final[tuple[Engine, ...]] = ("irmin", "naive", "serial")


class Transaction(View):
    """One transaction of one domain."""

    def __init__(self, store: Store, tid: int, domid: int, engine: Engine = "irmin") -> None:
        self.tid = tid
        self.domid = domid
        self.engine = engine
        self._store = store
        self.targets = store.targets
        self._before = store.snapshot()
        self._started = store.version
        self._changes: dict[str, Node | None] = {}
        self._seen: dict[str, Node | None] = {}
        self._asked: set[str] = set()
        self._listed: set[str] = set()
        self._effects: list[Effect] = []
        self._refused = False
        self._revived = False
        self._log: list[tuple[str, tuple[Any, ...], Any]] = []
        self._changed_so_far = 0
        self._owned: dict[int, int] = {}
        self._generation = MINE

    def _changed(self, op: str, path: str, node: Node | None, others: dict[str, Node]) -> None:
        self._effects.append((op, path, node, others))

    @property
    def log(self) -> list[tuple[str, tuple[Any, ...], Any]]:
        """What was done in it: operation, arguments, answer (None for a change that was made)."""
        return self._log

    @classmethod
    def revived(cls, store: Store, tid: int, domid: int, engine: Engine, log: list[tuple[str, tuple[Any, ...], Any]]) -> Transaction:
        """Return a transaction that was open when xenstored was killed: what was changed in it is changed again, for now only there."""
        found = cls(store, tid, domid, engine)
        for name, args, answer in log:
            if answer is None:
                with contextlib.suppress(StoreError):  # its end will find that it does not hold any more
                    getattr(found, name)(*args)
        found._log = log
        found._started = -1
        found._revived = True  # nobody knows what has changed of what it saw
        return found

    def _get(self, path: str, *, listing: bool = False) -> Node | None:
        if path in self._changes:
            return self._changes[path]
        seen = self._seen
        if path in seen:
            return seen[path]
        if self.domid and len(seen) >= NODES:
            self._refused = True
            raise StoreError(errno.ENOSPC, f"more than {NODES} nodes in one transaction")
        node = seen[path] = self._before.get(path)
        return node

    def put(self, nodes: Mapping[str, Node | None]) -> None:
        """Have nodes at paths, for now only here."""
        self._changes.update(nodes)

    def next_generation(self) -> int:
        """Return a number larger than any of the store's."""
        self._generation += 1
        return self._generation

    def count(self, owner: int, step: int) -> None:
        """Keep count of the nodes a domain comes to own here."""
        self._owned[owner] = self._owned.get(owner, 0) + step

    def _room(self, owner: int, more: int) -> None:
        owned = self._store.owned.get(owner, 0) + self._owned.get(owner, 0)
        if owned + more > ENTRIES:
            self._refused = True
            raise StoreError(errno.ENOSPC, f"domain {owner} owns {owned} nodes; {ENTRIES} are allowed")

    # operations, each noted with its answer ------------------------------------------------------------------------

    def _noted(self, name: str, act: Callable[..., Any], *args: Any) -> Any:
        if self.domid and len(self._log) >= QUESTIONS:
            raise StoreError(errno.ENOSPC, f"more than {QUESTIONS} operations in one transaction")
        try:
            answer = act(self, *args)
        except StoreError as error:
            self._log.append((name, args, error.name))
            raise
        self._log.append((name, args, answer))
        return answer

    def _ready(self) -> None:
        if self._changed_so_far >= OPERATIONS:
            raise StoreError(errno.ENOSPC, f"more than {OPERATIONS} changes in one transaction")
        self._changed_so_far += 1

    def exists(self, path: str, domid: int = 0) -> bool:
        """True if the domain can read a node there."""
        found: bool = self._noted("exists", View.exists, path, domid)
        return found

    def read(self, path: str, domid: int = 0) -> bytes:
        """Return a value."""
        self._asked.add(path)
        value: bytes = self._noted("read", View.read, path, domid)
        return value

    def directory(self, path: str, domid: int = 0) -> list[str]:
        """Return the names of the children."""
        self._listed.add(path)
        names: list[str] = self._noted("directory", View.directory, path, domid)
        return names

    def get_perms(self, path: str, domid: int = 0) -> Perms:
        """Return the permissions."""
        perms: Perms = self._noted("get_perms", View.get_perms, path, domid)
        return perms

    def write(self, path: str, value: bytes, domid: int = 0) -> None:
        """Write, for now only here."""
        self._ready()
        self._noted("write", View.write, path, value, domid)

    def mkdir(self, path: str, domid: int = 0) -> None:
        """Make a node, for now only here."""
        self._ready()
        self._noted("mkdir", View.mkdir, path, domid)

    def rm(self, path: str, domid: int = 0) -> None:
        """Remove, for now only here."""
        self._ready()
        self._noted("rm", View.rm, path, domid)

    def set_perms(self, path: str, perms: Perms, domid: int = 0) -> None:
        """Set permissions, for now only here."""
        self._ready()
        self._noted("set_perms", View.set_perms, path, perms, domid)

    # the end -------------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Put into the store what was changed here, all of it or nothing.

        Raises StoreError EAGAIN on a conflict, ENOSPC when the domain has come to own too much meanwhile.
        """
        store, done, changes = self._store, self, self._changes
        if store.version != self._started:
            done, changes = self._validated()
        if self.domid and done._owned.get(self.domid, 0) > 0:
            done._room(self.domid, 0)
        generation = store.next_generation() if changes else 0
        for node in changes.values():
            if node is not None:
                if node.generation >= MINE:
                    node.generation = generation
                if node.children_generation >= MINE:
                    node.children_generation = generation
        store.put(changes)
        for owner, step in done._owned.items():
            store.count(owner, step)
        for op, path, node, others in done._effects:
            store.on_change(op, path, node, others if done is self or node is None else self._with_above(path, others))

    def _with_above(self, path: str, made: dict[str, Node]) -> dict[str, Node]:
        """What was made above a node, and what others made there since this began: where it comes from there was nothing."""
        found: dict[str, Node] = {}
        while (path := parent_of(path)) != "/" and self._before.get(path) is None:
            node = made.get(path) or self._store.nodes.get(path)
            if node is not None:
                found[path] = node
        return found

    def _validated(self) -> tuple[Transaction, dict[str, Node | None]]:
        """Return who did what can be done to the store as it is now, and what; raises StoreError EAGAIN when what was answered here does not hold there."""
        match self.engine:
            case "serial":
                raise StoreError(errno.EAGAIN, f"transaction {self.tid}: the store has changed meanwhile")
            case "naive":
                if self._revived:
                    raise StoreError(errno.EAGAIN, f"transaction {self.tid}: it is not known what changed meanwhile")
                for path, node in self._seen.items():
                    if self._store.nodes.get(path) is not node:
                        raise StoreError(errno.EAGAIN, f"transaction {self.tid}: {path} changed meanwhile")
                return self, self._changes
            case "irmin":
                merged = self._merged()
                if merged is not None:
                    return self, merged
                again = self._replayed()
                return again, again._changes

    def _merged(self) -> dict[str, Node | None] | None:
        """Return the nodes changed here with what others changed of them; None when only a replay can tell."""
        if self._refused or self._revived:
            return None
        nodes, merged = self._store.nodes, self._changes
        for path, was in self._seen.items():
            now = nodes.get(path)
            if now is was:
                continue
            if was is None or now is None or now.perms != was.perms:
                return None
            if (now.generation != was.generation and path in self._asked) or (now.children_generation != was.children_generation and path in self._listed):
                return None
            if path in self._changes:
                both = _both(was, now, self._changes[path])
                if both is None:
                    return None
                merged = merged.copy() if merged is self._changes else merged
                merged[path] = both
        return merged

    def _replayed(self) -> Transaction:
        """Return another transaction in which everything was done again; raises EAGAIN when it was answered otherwise."""
        again = Transaction(self._store, self.tid, self.domid)
        for name, args, answer in self._log:
            try:
                now = getattr(again, name)(*args)
            except StoreError as error:
                if error.name == "ENOSPC" and answer is None:
                    raise
                now = error.name
            if now != answer:
                raise StoreError(errno.EAGAIN, f"transaction {self.tid}: {name} {args[0]} would be answered otherwise now")
        return again


def _both(was: Node, now: Node, mine: Node | None) -> Node | None:
    """Return a node with the changes of both sides; None when they changed the same of it, or it was removed."""
    if mine is None or (mine.generation != was.generation and now.generation != was.generation):
        return None
    side = now if mine.generation == was.generation else mine
    if now.children_generation == was.children_generation:
        return Node(side.value, side.perms, mine.children, side.generation, mine.children_generation)
    if mine.children_generation == was.children_generation:
        return Node(side.value, side.perms, now.children, side.generation, now.children_generation)
    kept = len(was.children)
    if mine.children[:kept] == was.children:
        names = now.children + mine.children[kept:]
    else:
        had, have = set(was.children), set(mine.children)
        names = (*(name for name in now.children if name in have or name not in had), *(name for name in mine.children if name not in had))
    return Node(side.value, side.perms, names, side.generation, mine.children_generation)
