"""git: a store in a bare Git repository that git itself can clone, log and check.

    move ──▶ log (acknowledged here) ──▶ checkpoint: packs of what is new ──▶ refs ──▶ log cleared

What is in the log only is not yet in Git: `flush` (before a clone, at the end) makes a checkpoint.  Opening a store takes
its lock, removes locks that a killed process left, and replays the log.  Git objects are read through dulwich.
"""

from __future__ import annotations

import os
from itertools import accumulate
from pathlib import Path
from typing import Final, Literal

from dulwich.object_store import DiskObjectStore
from dulwich.refs import Ref
from dulwich.repo import Repo as GitRepo

from mirage_lab.irmin.commit import Commit
from mirage_lab.irmin.errors import ObjectError, StoreError
from mirage_lab.irmin.lock import hold
from mirage_lab.irmin.log import Log, Recovered, synced_directory
from mirage_lab.irmin.objects import BLOB, COMMIT, TREE
from mirage_lab.irmin.pack import join_packs, write_pack
from mirage_lab.irmin.packing import Packing
from mirage_lab.irmin.record import read_record, write_record
from mirage_lab.irmin.store import TAGS, Backend
from mirage_lab.irmin.stored import Stored

__all__ = ["Git", "Objects"]

HEADS: Final = b"refs/heads/"
_TAGS: Final = TAGS.encode()
EVERY: Final = 2_000
"""Commits after which a checkpoint is made."""
PACKS: Final = 24
"""Packs at which the small ones are joined."""
SMALL: Final = 16 << 20
"""Bytes of a pack that is not joined with others, and of packs that are, at once."""
MANY: Final = 2 * PACKS
"""Packs at which they are joined even if somebody waits."""
FEW: Final = 16
"""Commits that `work` encodes."""
SPILL: Final = 1_000
"""Commits encoded by `work` that become a pack."""
NEAR: Final = 64
"""The last of them, whose trees those of the next are made of."""
_NUMBERS: Final = {COMMIT: 1, TREE: 2, BLOB: 3}

Sync = Literal["commit", "group", "never"]


class Objects(Stored):
    """Reads objects of a Git repository."""

    def __init__(self, store: DiskObjectStore) -> None:
        super().__init__(self._find)
        self._store = store

    def _find(self, name: bytes, kind: bytes) -> bytes:
        try:
            number, body = self._store.get_raw(name.hex().encode())  # type: ignore[arg-type]
        except KeyError:
            raise ObjectError(f"object {name.hex()} is not there") from None
        except Exception as error:
            raise ObjectError(f"object {name.hex()} cannot be read: {type(error).__name__}: {error}") from None
        if number != _NUMBERS[kind]:
            raise ObjectError(f"object {name.hex()} is no {kind.decode()}")
        return body

    def has(self, name: bytes) -> bool:
        """True when an object is stored."""
        return name.hex().encode() in self._store  # type: ignore[operator]


class Git(Backend):
    """A backend in directory `path`, made if it is not there.  Raises StoreError when someone else has it open.

    `sync` says when a commit is safe from a loss of power: "commit", at once; "group", at the next `flush`, which takes many
    together; "never", when the system writes it (it survives the end of the process all the same, as soon as it is written).
    """

    def __init__(self, path: str | Path, sync: Sync = "commit", every: int = EVERY) -> None:
        self.path = Path(path)
        self.sync = sync
        self.every = every
        self.grouped = sync == "group"
        new = not (self.path / "objects").exists()
        self.path.mkdir(parents=True, exist_ok=True)
        self._git = GitRepo.init_bare(str(self.path), default_branch=b"main") if new else GitRepo(str(self.path))
        (self.path / "irmin").mkdir(exist_ok=True)
        self._lock = hold(self.path / "irmin" / "lock", self.path.name)
        try:
            self._unstick()
            self.objects = Objects(self._git.object_store)
            self._heads = self._stored_heads()
            self._logged: list[Commit] = []
            self._numbers: dict[Commit, int] = {}
            self._packing = Packing(self.objects)
            self._prepared = self._spilled = self._shallow = 0
            self._waiting: list[bytes] = []
            self._before: dict[str, Commit | None] = {}
            self._settled = 0
            self._due = every
            self.trouble: StoreError | None = None
            self._log = Log(self.path / "irmin" / "log")
            self.recovered = self._replay()
        except BaseException:
            self._lock.close()
            self._git.close()
            raise

    def _stored_heads(self) -> dict[str, Commit]:
        found = {}
        for ref, sha in sorted(self._git.refs.as_dict().items()):
            if ref.startswith(HEADS) or (ref.startswith(_TAGS) and self._is_commit(sha)):
                found[ref.removeprefix(HEADS).decode()] = self.objects.commit(bytes.fromhex(sha.decode()))
        return found

    def _is_commit(self, sha: bytes) -> bool:
        """True unless a tag has an object of its own, with words and a signature: those are left to git."""
        number: int = self._git.object_store.get_raw(sha)[0]  # type: ignore[arg-type]
        return number == _NUMBERS[COMMIT]

    def _unstick(self) -> None:
        """Remove what a killed process left behind: nobody else can have this store open."""
        for folder in ("refs", "objects"):
            for left in sorted((self.path / folder).rglob("*")):
                if left.name.endswith(".lock") or left.name.startswith("tmp_irmin_"):
                    left.unlink()
        for name in ("HEAD.lock", "packed-refs.lock", "config.lock"):
            (self.path / name).unlink(missing_ok=True)

    def _replay(self) -> Recovered:
        commits: list[Commit] = []
        for frame in self._log.frames:
            self._put(*read_record(frame, commits, self.commit))
        self._logged = commits
        self._numbers = {commit: number for number, commit in enumerate(commits)}
        self._log.frames = []
        return self._log.recovered

    @property
    def repository(self) -> GitRepo:
        """The repository, for dulwich."""
        return self._git

    def branches(self) -> dict[str, Commit]:
        """Return the branches as they were left."""
        return dict(self._heads)

    def commit(self, name: bytes) -> Commit | None:
        """Return a stored commit, or None."""
        return self.objects.commit(name) if self.objects.has(name) else None

    def move(self, branch: str, before: Commit | None, after: Commit | None) -> None:
        """Log a move; with sync "commit" it is safe when this returns."""
        fresh = self._fresh(after)
        known = len(self._logged)
        if not self._waiting:
            self._before, self._settled = {}, known
        record = write_record(branch, after, fresh, self._numbers)
        self._logged += fresh
        if self.grouped:
            self._waiting.append(record)
            self._before.setdefault(branch, self._heads.get(branch))
        else:
            size = len(self._log)
            try:
                self._log.append(record)
                if self.sync == "commit":
                    self._log.sync()
            except StoreError:
                self._log.back_to(size)
                self._forget(known)
                raise
        self._put(branch, after)
        if not self.grouped:
            self._checkpoint()

    def _put(self, branch: str, commit: Commit | None) -> None:
        if commit is None:
            self._heads.pop(branch, None)
        else:
            self._heads[branch] = commit

    def _checkpoint(self) -> None:
        """Make a checkpoint when it is due; what keeps it from being made is no reason to refuse what is in the log already."""
        if len(self._logged) >= self._due:
            self._due = len(self._logged) + self.every
            try:
                self._flush(MANY if self.grouped else PACKS)
            except StoreError as error:
                self.trouble = error

    def _forget(self, known: int) -> None:
        for commit in self._logged[known:]:
            del self._numbers[commit]
        del self._logged[known:]

    def _fresh(self, after: Commit | None) -> list[Commit]:
        """Commits on the way to `after` that are neither stored nor logged, parents first."""
        if after is None or after.home is self.objects or after in self._numbers:
            return []
        order: list[Commit] = []
        seen: set[Commit] = set()
        waiting = [after]
        while waiting:
            commit = waiting[-1]
            more = [parent for parent in commit.parents if parent.home is not self.objects and parent not in self._numbers and parent not in seen]
            if more:
                waiting += more
                continue
            waiting.pop()
            if commit not in seen:
                seen.add(commit)
                order.append(commit)
        return order

    @property
    def unsettled(self) -> bool:
        """True while moves wait for `settle`."""
        return bool(self._waiting)

    def settle(self) -> None:
        """Write and sync what waits in a group; raises StoreError, and then none of it is there."""
        if not self._waiting:
            return
        size = len(self._log)
        try:
            self._log.append(*self._waiting)
            self._log.sync()
        except StoreError:
            self._log.back_to(size)
            self._waiting.clear()
            self._forget(self._settled)
            for branch, before in self._before.items():
                self._put(branch, before)
            raise
        self._waiting.clear()
        self._checkpoint()

    def flush(self) -> None:
        """Make a checkpoint: everything in packs, the branches in refs, the log empty.  Raises StoreError; nothing is lost."""
        self._flush(PACKS)

    def _flush(self, most: int) -> None:
        self.settle()
        if not len(self._log):
            return
        self._prepare(len(self._logged))
        self._spill()
        self._write_refs()
        self._log.clear()
        self._logged.clear()
        self._numbers.clear()
        self._prepared = self._spilled = self._shallow = 0
        self._due = self.every
        self.trouble = None
        self._join(most)

    def work(self, *, busy: bool = False) -> bool:
        """Encode a few of the commits that are in the log; `busy`: none while it is short, then as many as leave none when it is as long as it may be."""
        logged = self._settled if self._waiting else len(self._logged)
        self._prepare(min(max((4 * logged - self._due) // 3, 0) if busy else self._prepared + FEW, logged))
        if self._prepared >= self._spilled + SPILL and self.trouble is None:
            try:
                self._spill(NEAR)
            except StoreError as error:
                self.trouble = error
        return self._prepared < logged

    def _spill(self, near: int = 0) -> None:
        """Write what is encoded to a pack; nobody refers to it before the checkpoint.  The newest `near` commits stay in memory too."""
        write_pack(self.path / "objects" / "pack", self._packing.entries.items())
        self._packing.stored()
        self._git.object_store._update_pack_cache()
        self._spilled = self._prepared
        for commit in self._logged[self._shallow : self._spilled - near]:
            commit.stored(self.objects)
            self.objects.keep(commit)
        self._shallow = self._spilled - near

    def _prepare(self, until: int) -> None:
        for commit in self._logged[self._prepared : until]:
            self._packing.add(commit)
            self._prepared += 1

    def _write_refs(self) -> None:
        known = self._git.refs.as_dict()
        there: set[Ref] = {ref for ref, sha in known.items() if ref.startswith(HEADS) or (ref.startswith(_TAGS) and self._is_commit(sha))}
        wanted = {Ref(branch.encode() if branch.startswith(TAGS) else HEADS + branch.encode()): commit for branch, commit in self._heads.items()}
        for gone in sorted(there - set(wanted)):
            self._git.refs.remove_if_equals(gone, None)
        for ref, commit in sorted(wanted.items()):
            target = self.path / os.fsdecode(ref)
            made = target.with_name(target.name + ".lock")
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with made.open("wb") as file:
                    file.write(commit.name.hex().encode() + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                made.replace(target)
            except OSError as error:
                made.unlink(missing_ok=True)
                raise StoreError(f"{target.name}: {error.strerror}; everything is still in the log") from None
            synced_directory(target.parent)

    def _join(self, most: int) -> None:
        sizes = sorted((path.stat().st_size, path) for path in (self.path / "objects" / "pack").glob("pack-*.pack"))
        small = [(size, path) for size, path in sizes if size < SMALL]
        if len(small) >= most:
            sums = accumulate(size for size, _ in small)
            join_packs(self.path / "objects" / "pack", [path for (_, path), together in zip(small, sums) if together < 2 * SMALL])
            self._git.object_store._update_pack_cache()

    def close(self) -> None:
        """Make a checkpoint and let go; a store that is full is let go as it is."""
        try:
            self.flush()
        finally:
            self._log.close()
            self._git.close()
            self._lock.close()
