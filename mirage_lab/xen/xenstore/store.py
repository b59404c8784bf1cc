"""Store: the tree: nodes that hold a value and children at once, each with owner and permissions.

Nodes are immutable records by path; a change puts another record there, and a transaction goes on seeing those that were
there when it began (`snapshot`).  Each record has two generations: of its value and permissions, and of its list of
children; a transaction conflicts only over what it looked at.

Permissions are a list (domid, letter): the first is the owner and what everybody else may do, the others are exceptions;
n none, r read, w write, b both (xenstore-chmod).  dom0 may do everything.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final

from mirage_lab.signatures.errors import RemoteProtocolError
from mirage_lab.xen.abi import errno
from mirage_lab.xen.abi.io.xs_wire import ABS_PATH_MAX, REL_PATH_MAX
from mirage_lab.xen.xenstore.snapshot import Snapshot, Versions

__all__ = ["ENTRIES", "Node", "Perms", "Store", "StoreError", "View", "absolute", "allowed", "parse_perms", "show_perms"]

Perms = tuple[tuple[int, str], ...]
ENTRIES: Final = 1_000
"""Nodes a guest may own; dom0 is not refused, whoever owns what it makes."""
VALUE: Final = 2_048
NOTHING: Final[dict[str, Node]] = {}
PERMS: Final = 32
_NAME = re.compile(r"[A-Za-z0-9@_/\-]*", re.ASCII)
_PERM = re.compile(r"([nrwb])(\d{1,5})", re.ASCII)


class StoreError(RemoteProtocolError):
    """A request that xenstore refuses; the text of its reply is the name of the errno."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(f"{what}: {errno.NAMES[code]}", code)

    @property
    def name(self) -> str:
        """`EACCES`."""
        return errno.NAMES[self.code or errno.EINVAL]


class Node:
    """One node: value (bytes), permissions, names of its children, generations."""

    __slots__ = ("children", "children_generation", "generation", "perms", "value")

    def __init__(self, value: bytes, perms: Perms, children: tuple[str, ...], generation: int, children_generation: int) -> None:
        self.value = value
        self.perms = perms
        self.children = children
        self.generation = generation
        self.children_generation = children_generation


def parse_perms(texts: list[str]) -> Perms:
    """Read `["n0", "r1"]`; raises StoreError EINVAL."""
    found = [_PERM.fullmatch(text) for text in texts]
    if not texts or len(texts) > PERMS or not all(found):
        raise StoreError(errno.EINVAL, f"permissions {texts!r} (they look like n0 r1)")
    return tuple((int(match[2]), match[1]) for match in found if match is not None)


def show_perms(perms: Perms) -> list[str]:
    """Return `["n0", "r1"]`."""
    return [f"{letter}{domid}" for domid, letter in perms]


def absolute(path: str, domid: int) -> str:
    """Return the absolute path, checked: a relative one is below the domain's own.  Raises StoreError EINVAL.

    A name that begins with @ is no path: it can only be watched (docs/misc/xenstore.txt, WATCH).  What a path may have in it
    is what both daemons of Xen let it have.
    """
    first = path[:1]
    bad = not first or first == "@" or "//" in path or (path[-1] == "/" and path != "/") or len(path) > (ABS_PATH_MAX - 1 if first == "/" else REL_PATH_MAX)
    if bad or not _NAME.fullmatch(path):
        raise StoreError(errno.EINVAL, f"path {path[:80]!r}")
    return path if first == "/" else f"/local/domain/{domid}/{path}"


def parent_of(path: str) -> str:
    """Return the path of the parent; of the root, the root."""
    return path.rpartition("/")[0] or "/"


def _with_parents(path: str) -> list[str]:
    found = [path]
    while path != "/":
        path = parent_of(path)
        found.append(path)
    return found


def allowed(perms: Perms, domid: int, wanted: str) -> bool:
    """True if the permissions let the domain read ("r") or write ("w")."""
    if domid == 0 or perms[0][0] == domid:
        return True
    letter = next((letter for who, letter in perms[1:] if who == domid), perms[0][1])
    return letter in ("b", wanted)


Changed = Callable[[str, str, Node | None, dict[str, Node]], None]
"""`changed(op, path, node, others)`: the node that is there now, and those made above it on the way; or (None) all that went, by path."""


class View:
    """Reading and writing through a mapping of nodes: the store itself, or a transaction on top of it."""

    def _changed(self, op: str, path: str, node: Node | None, others: dict[str, Node]) -> None:
        """Hear of a change, as `Changed` says."""

    targets: dict[int, int] = {}
    """Domains that may do what another may: the stub domain of a device model, what its domain may (SET_TARGET)."""

    def allowed(self, perms: Perms, domid: int, wanted: str) -> bool:
        """True if permissions let the domain, or the one it works for, read ("r") or write ("w")."""
        if not domid:
            return True
        target = self.targets.get(domid) if self.targets else None
        return allowed(perms, domid, wanted) or (target is not None and allowed(perms, target, wanted))

    def owns(self, perms: Perms, domid: int) -> bool:
        """True if the domain, or the one it works for, may set these permissions."""
        owner = perms[0][0]
        return domid in (0, owner) or self.targets.get(domid) == owner

    def _get(self, path: str, *, listing: bool = False) -> Node | None:
        raise KeyError(path)

    def put(self, nodes: Mapping[str, Node | None]) -> None:
        """Have nodes at paths, or (None) none; their parents are somebody else's affair."""
        raise KeyError(nodes)

    def next_generation(self) -> int:
        """Return a number larger than any before."""
        raise KeyError

    def count(self, owner: int, step: int) -> None:
        """Keep count of the nodes a domain owns."""

    def _room(self, owner: int, more: int) -> None:
        """See that a domain may own that many more; raises StoreError ENOSPC."""

    # looking -----------------------------------------------------------------------------------------------------

    def _look(self, path: str, domid: int, wanted: str, *, listing: bool = False) -> Node:
        node = self._get(path, listing=listing)
        if node is None:
            raise StoreError(self._why_missing(path, domid), path)
        if not self.allowed(node.perms, domid, wanted):
            raise StoreError(errno.EACCES, path)
        return node

    def _why_missing(self, path: str, domid: int) -> int:
        """ENOENT, or EACCES if the domain may not even read the nearest node above."""
        while path != "/":
            path = parent_of(path)
            node = self._get(path)
            if node is not None:
                return errno.ENOENT if self.allowed(node.perms, domid, "r") else errno.EACCES
        return errno.ENOENT

    def exists(self, path: str, domid: int = 0) -> bool:
        """True if the domain can read a node there."""
        node = self._get(path)
        return node is not None and self.allowed(node.perms, domid, "r")

    def read(self, path: str, domid: int = 0) -> bytes:
        """Return a value."""
        return self._look(path, domid, "r").value

    def directory(self, path: str, domid: int = 0) -> list[str]:
        """Return the names of the children."""
        return list(self._look(path, domid, "r", listing=True).children)

    def get_perms(self, path: str, domid: int = 0) -> Perms:
        """Return the permissions."""
        return self._look(path, domid, "r").perms

    def children_generation(self, path: str) -> int:
        """Return a number that is another one when the list of children has changed."""
        node = self._get(path, listing=True)
        return 0 if node is None else node.children_generation

    # changing ----------------------------------------------------------------------------------------------------

    def write(self, path: str, value: bytes, domid: int = 0) -> None:
        """Write a value; the node and those above it are made if need be."""
        if domid and len(value) > VALUE:
            raise StoreError(errno.ENOSPC, f"{path}: a value of {len(value)} bytes")
        node = self._get(path)
        if node is None:
            self._create("write", path, value, domid)
            return
        if not self.allowed(node.perms, domid, "w"):
            raise StoreError(errno.EACCES, path)
        made = Node(value, node.perms, node.children, self.next_generation(), node.children_generation)
        self.put({path: made})
        self._changed("write", path, made, NOTHING)

    def mkdir(self, path: str, domid: int = 0) -> None:
        """Make a node; one that is there stays as it is."""
        node = self._get(path)
        if node is not None:
            if not self.allowed(node.perms, domid, "w"):
                raise StoreError(errno.EACCES, path)
            return
        self._create("mkdir", path, b"", domid)

    def _create(self, op: str, path: str, value: bytes, domid: int) -> None:
        missing = [path]
        holder, _, name = path.rpartition("/")
        while (node := self._get(holder or "/")) is None:
            missing.append(holder)
            holder, _, name = holder.rpartition("/")
        if not self.allowed(node.perms, domid, "w"):
            raise StoreError(errno.EACCES, path)
        perms = node.perms if domid == 0 else ((domid, node.perms[0][1]), *node.perms[1:])
        if domid:
            self._room(domid, len(missing))
        self.count(perms[0][0], len(missing))
        generation = self.next_generation()
        put = {holder or "/": Node(node.value, node.perms, (*node.children, name), node.generation, generation)}
        above = NOTHING
        if len(missing) > 1:
            above = {here: Node(b"", perms, (below.rpartition("/")[2],), generation, generation) for below, here in pairwise(missing)}
            put |= above
        put[path] = made = Node(value, perms, (), generation, 0)
        self.put(put)
        self._changed(op, path, made, above)

    def rm(self, path: str, domid: int = 0) -> None:
        """Remove a node and all below it; one that is not there is fine, if there is one above."""
        if path == "/":
            raise StoreError(errno.EINVAL, "the root cannot be removed")
        node = self._get(path)
        if node is None:
            above = self._get(parent_of(path))
            if above is None or not self.allowed(above.perms, domid, "r"):
                raise StoreError(self._why_missing(path, domid), path)
            return
        if not self.allowed(node.perms, domid, "w"):
            raise StoreError(errno.EACCES, path)
        removed = self._subtree(path, node)
        holder = parent_of(path)
        above = self._get(holder)
        assert above is not None
        name = path.rpartition("/")[2]
        names = tuple(child for child in above.children if child != name)
        for owner, more in Counter([node.perms[0][0] for node in removed.values()]).items():
            self.count(owner, -more)
        self.put({holder: Node(above.value, above.perms, names, above.generation, self.next_generation()), **dict.fromkeys(removed)})
        self._changed("rm", path, None, removed)

    def _subtree(self, path: str, node: Node) -> dict[str, Node]:
        """Return a node and all below it, by path."""
        waiting, found = [(path, node)], {}
        while waiting:
            here, node = waiting.pop()
            found[here] = node
            for name in node.children:
                below = f"{here}/{name}"
                child = self._get(below)
                assert child is not None
                waiting.append((below, child))
        return found

    def set_perms(self, path: str, perms: Perms, domid: int = 0) -> None:
        """Set the permissions; only the owner and dom0 may, and only dom0 may give a node away."""
        node = self._look(path, domid, "r")
        if not self.owns(node.perms, domid):
            raise StoreError(errno.EACCES, path)
        if domid and perms[0][0] != node.perms[0][0]:
            raise StoreError(errno.EPERM, path)
        if perms[0][0] != node.perms[0][0]:
            self.count(perms[0][0], 1)
            self.count(node.perms[0][0], -1)
        made = Node(node.value, perms, node.children, self.next_generation(), node.children_generation)
        self.put({path: made})
        self._changed("setperms", path, made, NOTHING)


class Store(View):
    """The tree itself; `on_change(op, path, node, others)` hears of every change, as `Changed` says."""

    def __init__(self) -> None:
        self.on_change: Changed = lambda op, path, node, others: None
        self._versions: Versions[Node] = Versions()
        self.put({"/": Node(b"", ((0, "n"),), (), 1, 1)})
        self.owned: dict[int, int] = {}
        self.targets = {}
        self._generation = 1
        for path in ("/local/domain", "/tool", "/vm", "/libxl"):
            self.mkdir(path)

    @property
    def nodes(self) -> Mapping[str, Node]:
        """What there is, by path."""
        return self._versions.now

    def snapshot(self) -> Snapshot[Node]:
        """Return what there is, as it stays for whoever holds it."""
        return self._versions.snapshot()

    def _get(self, path: str, *, listing: bool = False) -> Node | None:
        return self._versions.now.get(path)

    def _changed(self, op: str, path: str, node: Node | None, others: dict[str, Node]) -> None:
        self.on_change(op, path, node, others)

    def put(self, nodes: Mapping[str, Node | None]) -> None:
        """Have nodes at paths, or (None) none."""
        self._versions.put(nodes)

    @property
    def version(self) -> int:
        """A number that every change makes larger."""
        return self._generation

    def restore(self, entries: Mapping[str, tuple[bytes, Perms]]) -> None:
        """Become the tree of these values and permissions, by path; nobody is told, and parents that are missing are made."""
        root = self.nodes["/"]
        self._versions.clear()
        self.put({"/": Node(root.value, root.perms, (), root.generation, self.next_generation())})
        self.owned = {}
        for path in sorted({above for given in entries for above in _with_parents(given)} - {"/"}):
            value, perms = entries.get(path, (b"", ((0, "n"),)))
            holder = self.nodes[parent_of(path)]
            names = (*holder.children, path.rpartition("/")[2])
            generation = self.next_generation()
            self.put({parent_of(path): Node(holder.value, holder.perms, names, holder.generation, generation), path: Node(value, perms, (), generation, 0)})
            self.count(perms[0][0], 1)
        if "/" in entries:
            root = self.nodes["/"]
            self.put({"/": Node(*entries["/"], root.children, self.next_generation(), root.children_generation)})

    def next_generation(self) -> int:
        """Return a number larger than any before."""
        self._generation += 1
        return self._generation

    def count(self, owner: int, step: int) -> None:
        """Keep count of the nodes a domain owns."""
        self.owned[owner] = self.owned.get(owner, 0) + step

    def _room(self, owner: int, more: int) -> None:
        owned = self.owned.get(owner, 0)
        if owned + more > ENTRIES:
            raise StoreError(errno.ENOSPC, f"domain {owner} owns {owned} nodes; {ENTRIES} are allowed")
