"""history: every change of the store as a commit of Irmin, readable with `git log` and `git show`; and the way back.

    /a/b = "halt", n7     ──▶    a.dir/b.value    ((creator 7)(perms((owner 7)(other NONE)(acl())))(value halt))

A node is a value and a directory at once, which a Git tree cannot have under one name: hence the endings, as in 2014
(mirage/ocaml-xenstore-server).  A change outside a transaction is one commit.  A transaction is a branch: its commit comes
from where the store was when it began, and is merged when the store has moved on since.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mirage_lab.irmin import BYTES, Repo
from mirage_lab.irmin.commit import Commit
from mirage_lab.irmin.errors import ObjectError
from mirage_lab.irmin.node import EMPTY, Blob, Node, find, put, remove, walk
from mirage_lab.irmin.path import Steps
from mirage_lab.irmin.wide import Wide
from mirage_lab.xen.xenstore.store import Node as Entry
from mirage_lab.xen.xenstore.store import Perms

if TYPE_CHECKING:
    from mirage_lab.runtime import World

__all__ = ["MOST", "History", "change_root", "decode_entry", "encode_entry", "entries_of", "of_steps", "of_world", "steps_of"]

Change = tuple[str, str, list[tuple[str, Entry]]]
"""Operation, path, and (path, node) of what it set and of those above it."""
MOST: Final = 50_000
"""Commits of a history in memory."""
SHOWN: Final = 60
_LETTERS: Final = {"n": "NONE", "r": "READ", "w": "WRITE", "b": "RDWR"}
_WORDS: Final = {word: letter for letter, word in _LETTERS.items()}
_PLAIN: Final = re.compile(rb"[A-Za-z0-9_./:@+-]+")
_ENTRY: Final = re.compile(
    rb"\(\(creator \d{1,5}\)\(perms\(\(owner (\d{1,5})\)\(other ([A-Z]+)\)\(acl\((.*?)\)\)\)\)\(value ([A-Za-z0-9_./:@+-]+|\"(?:[^\"\\]|\\.)*\")\)\)", re.DOTALL
)
_ACL: Final = re.compile(rb"\((\d{1,5}) ([A-Z]+)\)")
_ESCAPE: Final = re.compile(rb"\\(\d{3}|.)", re.DOTALL)


def encode_entry(value: bytes, perms: Perms) -> bytes:
    """Return a node's value and permissions as the s-expression of 2014; bytes that are no plain word are quoted, as OCaml does."""
    owner, other = perms[0]
    acl = " ".join(f"({domid} {_LETTERS[letter]})" for domid, letter in perms[1:])
    if not _PLAIN.fullmatch(value):
        value = b'"' + b"".join(bytes([byte]) if 32 <= byte < 127 and byte not in b'"\\' else b"\\%03d" % byte for byte in value) + b'"'
    return f"((creator {owner})(perms((owner {owner})(other {_LETTERS[other]})(acl({acl}))))(value ".encode() + value + b"))"


def decode_entry(data: bytes) -> tuple[bytes, Perms]:
    """Return the value and the permissions; raises ObjectError."""
    found = _ENTRY.fullmatch(data)
    try:
        if found is None:
            raise KeyError
        perms = [(int(found[1]), _WORDS[found[2].decode()]), *((int(domid), _WORDS[word.decode()]) for domid, word in _ACL.findall(found[3]))]
        value = found[4]
        if value[:1] == b'"':
            value = _ESCAPE.sub(lambda escaped: bytes([int(escaped[1])]) if len(escaped[1]) == 3 else escaped[1], value[1:-1])
    except (KeyError, ValueError):
        raise ObjectError(f"{data[:40]!r} is no node of a xenstore") from None
    return value, tuple(perms)


def steps_of(path: str, ending: str) -> Steps:
    """`/a/b` with ending value: a.dir, b.value."""
    if path == "/":
        return ("root.value",) if ending == "value" else ()
    *above, name = path[1:].split("/")
    return (*(f"{step}.dir" for step in above), f"{name}.{ending}")


class History:
    """The changes of a store, on branch main of a repository."""

    def __init__(self, repo: Repo, most: int | None = None) -> None:
        """`most` commits are kept (None: all); then the history begins anew with what there is."""
        self.repo = repo
        self.branch = self.repo.branch()
        self._limit = most
        self._made = 0
        self._waiting: list[Change] = []

    @property
    def head(self) -> Commit | None:
        """The newest commit."""
        return self.branch.head

    def note(self, op: str, path: str, nodes: Wide[Entry]) -> None:
        """A change was made; `done` commits all since the last time."""
        self._waiting.append((op, path, [] if op == "rm" else [(here, node) for here in _lineage(path) if (node := nodes.get(here)) is not None]))

    def done(self, domid: int, tid: int = 0, base: Commit | None = None, merged: Commit | None = None) -> None:
        """Commit what was noted, as domain `domid`; in transaction `tid` it had begun at `base`; or it is what `merged` brought."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        head = self.head
        if self._limit is not None and self._made >= self._limit:
            head, self._made = Commit(EMPTY if head is None else head.root, (), self.repo.info("what was before is forgotten", "xenstored")), 0
            self.branch.set_head(head)
        author = f"Domain {domid}"
        told = [_told(*change) for change in waiting]
        message = f"{author}: {told[0]}" if len(told) == 1 else f"{author}: transaction {tid}\n\n" + "\n".join(told)
        if not tid or base is head:
            if merged is not None and head is not None:
                self._commit(_changed(head.root, waiting), (head, merged), message, author)
                return
            self._commit(_changed(EMPTY if head is None else head.root, waiting), (head,) if head else (), message, author)
            return
        before, parents = (EMPTY, ()) if base is None else (base.root, (base,))
        mine = Commit(_changed(before, waiting), parents, self.repo.info(message, author))
        root = _changed(EMPTY if head is None else head.root, waiting)
        self._commit(root, (head, mine) if head else (mine,), f"{author}: merging transaction {tid}", author)

    def _commit(self, root: Node, parents: tuple[Commit, ...], message: str, author: str) -> None:
        self._made += 1
        self.branch.set_head(Commit(root, parents, self.repo.info(message, author)))

    def entries(self) -> dict[str, tuple[bytes, Perms]]:
        """Return value and permissions by path, as the newest commit has them.  Raises ObjectError."""
        return {} if self.head is None else entries_of(self.head)


def entries_of(commit: Commit) -> dict[str, tuple[bytes, Perms]]:
    """Return value and permissions by path, as a commit has them.  Raises ObjectError."""
    return {of_steps(steps): decode_entry(blob.data) for steps, blob in walk(commit.root)}


def of_steps(steps: Steps) -> str:
    """a.dir, b.value: `/a/b`."""
    if steps == ("root.value",):
        return "/"
    return "/" + "/".join(step.removesuffix(".dir").removesuffix(".value") for step in steps)


def change_root(root: Node, path: str, entry: tuple[bytes, Perms] | None) -> Node:
    """Return the tree with a value and permissions at a path, or (None) without it and what is below."""
    if entry is None:
        return remove(remove(root, steps_of(path, "value")), steps_of(path, "dir"))
    return put(root, steps_of(path, "value"), Blob(encode_entry(*entry)))


def of_world(world: World) -> History:
    """Return a new history whose commits have the virtual time of a world."""
    return History(Repo(BYTES, clock=lambda: (world.epoch_ns + world.now) // 1_000_000_000), MOST)


def _told(op: str, path: str, nodes: list[tuple[str, Entry]]) -> str:
    if op == "write":
        value = nodes[0][1].value[:SHOWN].decode("utf-8", "backslashreplace")
        return f"write {path} = {value}" if value.isprintable() else f"write {path} = {value!r}"
    return f"{op} {path} = ()"


def _changed(root: Node, waiting: list[Change]) -> Node:
    for op, path, nodes in waiting:
        if op == "rm":
            root = change_root(root, path, None)
            continue
        for here, node in nodes:
            if here == path or find(root, steps_of(here, "value")) is None:
                root = change_root(root, here, (node.value, node.perms))
    return root


def _lineage(path: str) -> list[str]:
    """A path and those above it but the root, whose nodes may have been made on the way."""
    found = [path]
    while (path := path.rpartition("/")[0]):
        found.append(path)
    return found
