"""exchange: commits between stores: a slice as JSON, and fetch, push, pull from one repository to another in one process.

A commit keeps its name wherever it goes, so what both have is not sent again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Final, Literal

from mirage_lab.irmin.commit import Commit, history, is_ancestor
from mirage_lab.irmin.errors import ObjectError, StoreError
from mirage_lab.irmin.merging import Conflicts
from mirage_lab.irmin.node import EMPTY, Blob, Entry, Node
from mirage_lab.irmin.objects import BLOB, COMMIT, TREE, decode_commit, decode_tree, kept_of, name_of
from mirage_lab.irmin.store import Repo, Store
from mirage_lab.irmin.wide import Wide

__all__ = ["export", "fetch", "load", "pull", "push"]

FORMAT: Final = "irmin-slice 1"


def export(heads: Iterable[Commit], stop: Iterable[Commit] = (), depth: int | None = None) -> str:
    """Return a slice: `heads` and what they came from (the newest `depth` of each), without what `stop` came from."""
    objects: dict[str, list[str]] = {}
    names = []
    stopped = tuple(stop)
    for head in heads:
        names.append(head.name.hex())
        for commit in history(head, stopped, depth):
            objects[commit.name.hex()] = [COMMIT.decode(), _text(commit.body)]
            _gather(commit.root, objects)
    return json.dumps({"format": FORMAT, "heads": names, "objects": dict(sorted(objects.items()))}, indent=1)


def _gather(entry: Entry, objects: dict[str, list[str]]) -> None:
    name = entry.name.hex()
    if name in objects:
        return
    if isinstance(entry, Blob):
        objects[name] = [BLOB.decode(), _text(entry.data)]
        return
    body = entry.body
    if any(other for _, other in entry.kept.values()):
        raise ObjectError(f"tree {name} holds links or submodules, which only git keeps")
    objects[name] = [TREE.decode(), _text(body)]
    for _, child in entry.children.items():
        _gather(child, objects)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


class _Slice:
    """Objects of a slice.  A commit that is in the repository already is that one; a parent that is nowhere is left out: the
    commit then begins a history of its own, under another name.
    """

    def __init__(self, repo: Repo, text: str) -> None:
        try:
            found = json.loads(text)
            if not isinstance(found, dict) or found.get("format") != FORMAT:
                raise ValueError("the format is another")
            self.heads = [bytes.fromhex(name) for name in found["heads"]]
            self.objects = {bytes.fromhex(name): (kind.encode(), base64.b64decode(data, validate=True)) for name, (kind, data) in found["objects"].items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ObjectError(f"this is no slice: {error}") from None
        for name, (kind, body) in self.objects.items():
            if kind not in (BLOB, TREE, COMMIT) or name_of(kind, body) != name:
                raise ObjectError(f"object {name.hex()} is not what its name says")
        self.repo = repo
        self.nodes: dict[bytes, Node] = {}
        self.commits: dict[bytes, Commit] = {}

    def body(self, name: bytes, kind: bytes) -> bytes:
        there = self.objects.get(name)
        if there is None or there[0] != kind:
            raise ObjectError(f"the slice has no {kind.decode()} {name.hex()}")
        return there[1]

    def node(self, name: bytes) -> Node:
        found = self.nodes.get(name)
        if found is None:
            self.nodes[name] = EMPTY  # a tree cannot be in itself: its name would have to be in its name
            entries: dict[str, Entry] = {
                step: self.node(child) if directory else Blob(self.body(child, BLOB)) for step, directory, child in decode_tree(self.body(name, TREE))
            }
            kept = kept_of(self.body(name, TREE))
            found = self.nodes[name] = Node(entries if len(entries) <= 64 else Wide.of(entries.items()), None, None, kept)
        return found

    def commit(self, name: bytes) -> Commit | None:
        """Return a commit and those it came from, made parents first."""
        waiting = [name]
        while waiting:
            wanted = waiting[-1]
            if wanted in self.commits:
                waiting.pop()
                continue
            there = self.repo.commit(wanted)
            if there is not None:
                self.commits[wanted] = there
                waiting.pop()
                continue
            if wanted not in self.objects:
                return None
            tree, parents, info = decode_commit(self.body(wanted, COMMIT))
            missing = [each for each in parents if each not in self.commits and (each in self.objects or self.repo.commit(each) is not None)]
            if missing:
                waiting += missing
                continue
            known = tuple(self.commits[each] for each in parents if each in self.commits)
            self.commits[wanted] = made = Commit(self.node(tree), known, info, wanted if len(known) == len(parents) else None)
            if made.known is not None:
                made.take_body(self.body(wanted, COMMIT))
            waiting.pop()
        return self.commits[name]


def load(repo: Repo, text: str) -> list[Commit]:
    """Return the heads of a slice, in a repository: set a branch to one, or merge it.  Raises ObjectError."""
    found = _Slice(repo, text)
    return [commit for name in found.heads if (commit := found.commit(name)) is not None]


def fetch(store: Store, remote: Store, depth: int | None = None) -> Commit | None:
    """Return the remote head as a commit of this repository; None when the remote branch has none."""
    head = remote.head
    if head is None:
        return None
    shared, waiting, seen = [], [head], {head}
    while waiting:
        commit = waiting.pop()
        if store.repo.commit(commit.name) is not None:
            shared.append(commit)
        else:
            fresh = [parent for parent in commit.parents if parent not in seen]
            seen.update(fresh)
            waiting += fresh
    return store.repo.commit(head.name) if head in shared else load(store.repo, export([head], shared, depth))[0]


def push(store: Store, remote: Store) -> Literal["pushed", "rejected"]:
    """Move the remote branch to this one's head, if that comes from where the remote is."""
    head = store.head
    if head is None:
        raise StoreError("there is nothing to push yet")
    given = fetch(remote, store)
    assert given is not None
    before = remote.head
    if before is not None and not is_ancestor(before, given):
        return "rejected"
    remote.set_head(given)
    return "pushed"


def pull(store: Store, remote: Store, strategy: Literal["merge", "set"] = "merge") -> Commit | Conflicts | None:
    """Fetch, and merge into this branch or set it."""
    head = fetch(store, remote)
    if head is None:
        return store.head
    if strategy == "set":
        store.set_head(head)
        return head
    return store.merge(head, f"pull {remote.branch or 'a commit'}")
