"""objects: trees, commits and blobs as Git writes them (gitformat: "type SP size NUL body", named by the SHA-1 of that).

    tree body     "40000 name NUL sha" | "100644 name NUL sha", sorted as if names of trees ended in "/"
    commit body   tree sha, parent sha ..., author, committer, empty line, message
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from mirage_lab.irmin.errors import ObjectError

__all__ = [
    "BLOB", "COMMIT", "NOTHING", "TREE", "Info", "Kept", "decode_commit", "decode_tree",
    "encode_commit", "encode_tree", "framed", "kept_of", "name_of", "tree_rows",
]  # fmt: skip

BLOB: Final = b"blob"
TREE: Final = b"tree"
COMMIT: Final = b"commit"
Kept = dict[str, tuple[bytes, bytes]]
"""What Git alone knows of the entries of a tree: name to mode, and object where it is neither a blob nor a tree."""
NOTHING: Final[Kept] = {}
_DIRECTORY: Final = (b"40000", b"040000")
_USUAL: Final = (b"40000", b"100644", b"040000")
_PERSON: Final = re.compile(rb"(?P<name>[^<>\n]*?) ?<[^<>\n]*> (?P<date>-?[0-9]{1,15}) [+-][0-9]{4}")
_UNSAFE: Final = re.compile(r"[<>\n\0]")


class Info(NamedTuple):
    """Who made a commit, when (seconds since 1970) and why."""

    date: int
    author: str
    message: str


def framed(kind: bytes, body: bytes) -> bytes:
    """Return an object as it is hashed and stored."""
    return b"%b %d\0%b" % (kind, len(body), body)


def name_of(kind: bytes, body: bytes) -> bytes:
    """Return the name of an object: 20 bytes."""
    return hashlib.sha1(b"%b %d\0%b" % (kind, len(body), body), usedforsecurity=False).digest()


def encode_tree(entries: Iterable[tuple[str, bool, bytes]], kept: Kept = NOTHING) -> bytes:
    """Return the body of a tree of (name, is a directory, name of the object), and of what Git alone knows of it."""
    return b"".join([row for _, row in tree_rows(entries, kept)])


def tree_rows(entries: Iterable[tuple[str, bool, bytes]], kept: Kept = NOTHING) -> list[tuple[bytes, bytes]]:
    """Return the rows of the body of a tree in order, each with what orders it."""
    rows = []
    for step, directory, name in entries:
        encoded = step.encode("utf-8", "surrogateescape")
        if directory:
            rows.append((encoded + b"/", b"40000 " + encoded + b"\0" + name))
        elif kept and step in kept:
            rows.append((encoded, kept[step][0] + b" " + encoded + b"\0" + name))
        else:
            rows.append((encoded, b"100644 " + encoded + b"\0" + name))
    for step, (mode, name) in kept.items():
        if name:
            encoded = step.encode("utf-8", "surrogateescape")
            rows.append((encoded, b"%b %b\0%b" % (mode, encoded, name)))
    rows.sort()
    return rows


def decode_tree(body: bytes) -> list[tuple[str, bool, bytes]]:
    """Return (name, is a directory, name of the object) of each entry; links and submodules are left out.  Raises ObjectError."""
    return [(step, mode in _DIRECTORY, name) for step, mode, name in _entries(body) if mode in _DIRECTORY or mode.startswith(b"100")]


def kept_of(body: bytes) -> Kept:
    """Return what Git alone knows of a tree: the modes of its programs; modes and objects of its links and submodules.  Raises ObjectError."""
    odd = [entry for entry in _entries(body) if entry[1] not in _USUAL]
    return {step: (mode, b"" if mode.startswith(b"100") else name) for step, mode, name in odd} if odd else NOTHING


def _entries(body: bytes) -> list[tuple[str, bytes, bytes]]:
    found, at = [], 0
    while at < len(body):
        space = body.find(b" ", at, at + 8)
        end = body.find(b"\0", space)
        if space < 0 or end < 0 or end + 21 > len(body):
            raise ObjectError(f"a tree breaks off at byte {at} of {len(body)}")
        found.append((body[space + 1 : end].decode("utf-8", "surrogateescape"), body[at:space], body[end + 1 : end + 21]))
        at = end + 21
    return found


def encode_commit(tree: bytes, parents: Iterable[bytes], info: Info) -> bytes:
    """Return the body of a commit."""
    author = _UNSAFE.sub("?", info.author).strip() or "irmin"
    person = f"{author} <{re.sub('[^A-Za-z0-9._-]', '.', author)}@irmin> {info.date} +0000"
    named = [f"tree {tree.hex()}", *(f"parent {parent.hex()}" for parent in parents)]
    text = "\n".join([*named, f"author {person}", f"committer {person}", "", info.message.replace("\0", "?")])
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def decode_commit(body: bytes) -> tuple[bytes, tuple[bytes, ...], Info]:
    """Return the tree, the parents and the info of a commit.  Raises ObjectError."""
    head, _, message = body.partition(b"\n\n")
    tree, parents, author, date = b"", [], "", 0
    try:
        for line in head.split(b"\n"):
            word, _, rest = line.partition(b" ")
            if word == b"tree":
                tree = bytes.fromhex(rest.decode("ascii"))
            elif word == b"parent":
                parents.append(bytes.fromhex(rest.decode("ascii")))
            elif word == b"author" and (person := _PERSON.fullmatch(rest)):
                author, date = person["name"].decode("utf-8", "surrogateescape"), int(person["date"])
    except (ValueError, UnicodeDecodeError):
        raise ObjectError("a commit names an object that is no hexadecimal number") from None
    if len(tree) != 20 or any(len(parent) != 20 for parent in parents):
        raise ObjectError("a commit without a tree, or a name that is not 20 bytes")
    return tree, tuple(parents), Info(date, author, message.decode("utf-8", "surrogateescape"))
