"""history: every change of the store as a commit of Irmin, readable with `git log` and `git show`; and the way back.

    /a/b = "halt", n7     ──▶    a.dir/b.value    ((creator 7)(perms((owner 7)(other NONE)(acl())))(value halt))

A node is a value and a directory at once, which a Git tree cannot have under one name: hence the endings, as in 2014
(mirage/ocaml-xenstore-server).  A change outside a transaction is one commit.  A transaction is a branch: its commit comes
from where the store was when it began, and is merged when the store has moved on since.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

from mirage_lab.irmin import BYTES, Repo
from mirage_lab.irmin.commit import Changes, Commit
from mirage_lab.irmin.errors import ObjectError
from mirage_lab.irmin.node import EMPTY, Blob, Node, put, remove, walk
from mirage_lab.irmin.objects import Info
from mirage_lab.irmin.path import Steps
from mirage_lab.irmin.store import Backend
from mirage_lab.xen.xenstore.store import Node as Entry
from mirage_lab.xen.xenstore.store import Perms

if TYPE_CHECKING:
    from mirage_lab.runtime import World

__all__ = ["MOST", "History", "Moment", "change_root", "decode_entry", "encode_entry", "entries_of", "of_steps", "of_world", "steps_of"]

Change = tuple[str, str, Entry | None, dict[str, Entry]]
"""A change as `store.Changed` is told of it."""
MAIN: Final = "main"
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


class Moment:
    """A place in the history: after a commit that was made, or is made when someone looks."""

    __slots__ = ("base", "changes", "commit", "domid", "info", "merged", "merging", "tid")

    def __init__(self, commit: Commit | None) -> None:
        self.commit = commit
        self.domid = self.tid = 0
        self.base: Moment | None = None
        self.merged: Commit | None = None
        self.changes: list[Change] = []
        self.info: Info | None = None
        self.merging: Info | None = None

    def forget(self) -> None:
        """Keep only the commit."""
        self.base = self.merged = self.info = self.merging = None
        self.changes = []


class History:
    """The changes of a store, on branch main of a repository.

    In memory they are only noted, and become commits when someone looks at the branch: a store that nobody looks at is not
    slowed down by its past.  On disk each is a commit at once.
    """

    def __init__(self, repo: Repo, most: int | None = None) -> None:
        """The last `most` changes are kept (None: all); what was before is forgotten, and the history begins with what there was then."""
        self.repo = repo
        self.branch = self.repo.branch()
        self._at_once = type(repo.backend) is not Backend
        self._limit = most
        self._made = 0
        self._waiting: list[Change] = []
        self._late: deque[Moment] = deque()
        self._folded: dict[str, tuple[bytes, Perms]] | None = None
        self._last: Info | None = None
        self._now = Moment(self.branch.head)

    @property
    def head(self) -> Commit | None:
        """The newest commit."""
        return self.branch.head

    @property
    def now(self) -> Moment:
        """The place after the newest change; it costs nothing to ask."""
        return self._now

    def note(self, op: str, path: str, node: Entry | None, others: dict[str, Entry]) -> None:
        """A change was made, as `store.Changed` says; `done` commits all since the last time."""
        self._waiting.append((op, path, node, others))

    def done(self, domid: int, tid: int = 0, base: Moment | None = None, merged: Commit | None = None) -> None:
        """Commit what was noted, as domain `domid`; in transaction `tid` it had begun at `base`; or it is what `merged` brought."""
        if not self._waiting:
            return
        made = Moment(None)
        made.domid, made.tid, made.merged, made.changes, self._waiting = domid, tid, merged, self._waiting, []
        made.info = self.repo.info("")
        if tid and base is not self._now and merged is None:
            made.base, made.merging = base, self.repo.info("")
        self._now = made
        self._late.append(made)
        if self._limit is not None and len(self._late) > self._limit:
            self._fold(self._late.popleft())
        if self._at_once:
            self._write()
        else:
            self.repo.late[MAIN] = self._write

    def _write(self) -> None:
        """Make the commits that are late."""
        self.repo.late.pop(MAIN, None)
        late, self._late = self._late, deque()
        self._made += len(late)
        if self._limit is not None and (self._folded is not None or self._made > self._limit):
            self._begin_anew()
            self._made = len(late)
        for moment in late:
            self._commit(moment)
            moment.forget()

    def _fold(self, moment: Moment) -> None:
        """A change was too long ago to be a commit of its own: only what it left is kept."""
        if self._folded is None:
            self.repo.late.pop(MAIN, None)
            self._folded = self.entries()
        for _, path, node, others in moment.changes:
            if node is None:
                for gone in others:
                    self._folded.pop(gone, None)
            else:
                self._folded.update({here: (made.value, made.perms) for here, made in (*others.items(), (path, node))})
        self._last = moment.info
        moment.forget()

    def _begin_anew(self) -> None:
        """Forget what was before the commits that are late."""
        head, folded, info = self.branch.head, self._folded, self._last
        root = EMPTY
        if folded is not None:
            for path in sorted(folded):
                root = change_root(root, path, folded[path])
        elif head is not None:
            root, info = head.root, head.info
        assert info is not None
        self._folded = self._last = None
        self.branch.set_head(Commit(root, (), info._replace(author="xenstored", message="what was before is forgotten")))

    def _commit(self, moment: Moment) -> None:
        head, changes, info = self.branch.head, moment.changes, moment.info
        assert info is not None
        author = f"Domain {moment.domid}"
        told = [_told(*change) for change in changes]
        message = f"{author}: {told[0]}" if len(told) == 1 else f"{author}: transaction {moment.tid}\n\n" + "\n".join(told)
        info = Info(info.date, author, message)
        changing = _changing(changes)
        parents: tuple[Commit, ...] = (head,) if head else ()
        base = moment.base.commit if moment.base is not None else None
        if moment.merging is not None and base is not None:
            mine = Commit.changing(changing, (base,), info)
            parents, info = (*parents, mine), Info(moment.merging.date, author, f"{author}: merging transaction {moment.tid}")
        elif moment.merged is not None and head is not None:
            parents = (head, moment.merged)
        moment.commit = Commit.changing(changing, parents, info)
        self.branch.set_head(moment.commit)

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


def _told(op: str, path: str, node: Entry | None, others: dict[str, Entry]) -> str:
    if op == "write" and node is not None:
        value = node.value[:SHOWN].decode("utf-8", "backslashreplace")
        return f"write {path} = {value}" if value.isprintable() else f"write {path} = {value!r}"
    return f"{op} {path} = ()"


def _changing(changes: list[Change]) -> Changes:
    found: Changes = []
    for _, path, node, others in changes:
        if node is None:
            found += ((steps_of(path, "value"), None), (steps_of(path, "dir"), None))
        else:
            found += [(steps_of(here, "value"), Blob(encode_entry(made.value, made.perms))) for here, made in (*others.items(), (path, node))]
    return found
