"""sessions: what xenstored knows of its clients, kept beside the tree: so that it can be killed and started again, and no client notices.

    branch main       the tree                                       a commit for each change
    branch sessions   <client>   watches, open transactions,         a commit when one of them changes, in the step in
                                 bytes half read or not yet taken    which it does

After a start the records are read, the open transactions are made anew from what was done in them, events that waited are
delivered, and the rings are looked through for requests that came meanwhile.  An open transaction is replayed at its end as
always; the engines naive and serial, which cannot know what happened to it, answer EAGAIN.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from mirage_lab.irmin import Repo
from mirage_lab.irmin.commit import Commit
from mirage_lab.irmin.errors import ObjectError
from mirage_lab.irmin.node import EMPTY, Blob, find, put, remove

__all__ = ["BRANCH", "Sessions", "decode_session", "encode_session"]

BRANCH: Final = "sessions"
KINDS: Final[dict[str, Callable[[Any], Any]]] = {"bytes": bytes.fromhex, "tuple": tuple}


def _plain(value: Any) -> Any:
    """What JSON has no word for: bytes, and tuples, which are arguments and answers of operations."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, tuple):
        return {"tuple": [_plain(part) for part in value]}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _again(value: Any) -> Any:
    if isinstance(value, dict):
        [(kind, inner)] = value.items()
        return KINDS[kind](_again(inner))
    return [_again(part) for part in value] if isinstance(value, list) else value


def encode_session(session: dict[str, Any]) -> bytes:
    """Return the record of a client as JSON, a line for each of its parts."""
    return json.dumps({key: _plain(value) for key, value in session.items()}, indent=0, sort_keys=True).encode()


def decode_session(data: bytes) -> dict[str, Any]:
    """Return the record; raises ObjectError."""
    try:
        return {str(key): _again(value) for key, value in json.loads(data).items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ObjectError(f"{data[:40]!r} is no record of a client of xenstored") from None


class Sessions:
    """The records of all clients, on a branch of their own; `name` is `7` for domain 7, `dom0-2` for the second program of dom0."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._branch = repo.branch(BRANCH)

    @property
    def head(self) -> Commit | None:
        """The newest commit."""
        return self._branch.head

    def put(self, name: str, session: dict[str, Any] | None) -> None:
        """Keep the record of a client, or (None) forget it."""
        head = self._branch.head
        root = EMPTY if head is None else head.root
        after = remove(root, (name,)) if session is None else put(root, (name,), Blob(encode_session(session)))
        if after is not root:
            told = f"client {name} is gone" if session is None else f"client {name}"
            # no parents: how it came to be is in nobody's interest, and would be as long as the history itself
            self._branch.set_head(Commit(after, (), self._repo.info(told, "xenstored")))

    def get(self, name: str) -> dict[str, Any] | None:
        """Return the record of a client; raises ObjectError."""
        head = self._branch.head
        blob = None if head is None else find(head.root, (name,))
        return decode_session(blob.data) if isinstance(blob, Blob) else None
