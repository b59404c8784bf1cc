"""remote: any Git repository as the other side: git://, http://, https:// or a directory, whoever keeps it.

    fetch   objects come in one pack, as they are; nothing moves     push   a branch there moves, if ours came from where it is
"""

from __future__ import annotations

from typing import Any, Final

from mirage_lab.irmin.commit import Commit, is_ancestor
from mirage_lab.irmin.errors import StoreError
from mirage_lab.irmin.git import HEADS, Git
from mirage_lab.irmin.store import Repo, Store

__all__ = ["fetch_git", "is_git", "push_git"]

SCHEMES: Final = ("git://", "http://", "https://")


def is_git(address: str) -> bool:
    """True for what only git's protocols reach."""
    return address.startswith(SCHEMES)


def fetch_git(repo: Repo, address: str) -> dict[str, Commit]:
    """Bring the commits of every branch of a Git repository, and return them by branch.  Raises StoreError."""
    git, wanted = _kept_in_git(repo), {}

    def wants(refs: dict[bytes, bytes], depth: int | None = None) -> list[bytes]:
        wanted.update({ref[len(HEADS) :]: sha for ref, sha in refs.items() if ref.startswith(HEADS)})
        return sorted({sha for sha in wanted.values() if not git.objects.has(bytes.fromhex(sha.decode()))})

    def ask(client: Any, path: str) -> None:
        client.fetch(path, git.repository, determine_wants=wants)

    repo.flush()
    _asked(address, ask)
    return {branch.decode("utf-8", "surrogateescape"): git.objects.commit(bytes.fromhex(sha.decode())) for branch, sha in sorted(wanted.items())}


def push_git(store: Store, address: str) -> None:
    """Move the branch of that name in a Git repository to this one's head; raises StoreError when it has commits that are not here."""
    git, head = _kept_in_git(store.repo), store.head
    if head is None or store.branch is None:
        raise StoreError("there is nothing to push yet")
    ref, name = HEADS + store.branch.encode(), head.name.hex().encode()

    def update(refs: dict[bytes, bytes]) -> dict[bytes, bytes]:
        there = refs.get(ref)
        before = None if there is None else store.repo.commit(there.decode())
        if there is not None and (before is None or not is_ancestor(before, head)):
            raise StoreError(f"{address} has commits that are not here: pull first")
        return {ref: name}

    def ask(client: Any, path: str) -> None:
        refused = client.send_pack(path, update, git.repository.generate_pack_data).ref_status or {}
        if refused.get(ref):
            raise StoreError(f"{address} refuses {store.branch}: {refused[ref]}")

    store.repo.flush()
    _asked(address, ask)


def _kept_in_git(repo: Repo) -> Git:
    if not isinstance(repo.backend, Git):
        raise StoreError("only a store that is kept in Git talks to others over git")
    return repo.backend


def _asked(address: str, ask: Any) -> None:
    from dulwich.client import get_transport_and_path

    try:
        ask(*get_transport_and_path(address))
    except StoreError:
        raise
    except Exception as error:
        raise StoreError(f"{address}: {type(error).__name__}: {error}") from None
