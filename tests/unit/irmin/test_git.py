"""The store in a Git repository: the promises, and what becomes of it when it is killed, torn or full."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mirage_lab.irmin import BYTES, Repo, StoreError
from mirage_lab.irmin.contents import TEXT
from mirage_lab.irmin.errors import ObjectError
from mirage_lab.irmin.git import Git, Sync
from mirage_lab.testing import check_irmin


def killed(git: Git) -> None:
    """Let go of the files as the end of the process would: nothing is written."""
    git._log.close()
    git._git.close()
    git._lock.close()


@pytest.fixture
def places(tmp_path: Path) -> Callable[[], Path]:
    made: list[Path] = []

    def place() -> Path:
        made.append(tmp_path / f"store{len(made)}.git")
        return made[-1]

    return place


@pytest.mark.parametrize(("sync", "every"), [("commit", 2_000), ("group", 2_000), ("group", 3), ("never", 1)])
def test_it_keeps_every_promise(places: Callable[[], Path], sync: Sync, every: int) -> None:
    def again(repo: Repo) -> Repo:
        assert isinstance(repo.backend, Git)
        return Repo(TEXT, Git(repo.backend.path, sync, every))

    assert check_irmin(lambda: Repo(TEXT, Git(places(), sync, every)), again).title == "Irmin on Git"


def test_what_was_acknowledged_is_there_after_a_kill(places: Callable[[], Path]) -> None:
    path = places()
    git = Git(path, "never")
    store = Repo(TEXT, git).branch()
    for number in range(10):
        store.set(f"a/{number}", str(number))
    side = store.clone("side")
    side.set("b", "x")
    store.remove("a/3")
    store.merge(side)
    side.set_head(None)
    told, name = dict(store.tree().items()), store.head.name if store.head else b""
    killed(git)
    git = Git(path)
    again = Repo(TEXT, git)
    assert str(git.recovered) == "15 transactions recovered" and sorted(again.heads) == ["main"]
    assert dict(again.branch().tree().items()) == told and again.heads["main"].name == name
    again.close()
    after = Repo(TEXT, Git(path))
    assert after.heads["main"].name == name and len(after.branch().history()) == 13 and dict(after.branch().tree().items()) == told
    after.close()


def test_a_log_torn_anywhere_gives_whole_transactions(places: Callable[[], Path]) -> None:
    path = places()
    git = Git(path, "never")
    store = Repo(TEXT, git).branch()
    states = [{}]
    for number in range(6):
        store.with_tree("", lambda tree, number=number: tree.set("one", str(number)).set(f"two/{number}", "x" * number))  # type: ignore[misc]
        states.append(dict(store.tree().items()))
    killed(git)
    log = path / "irmin" / "log"
    data = log.read_bytes()
    seen = set()
    for cut in range(12, len(data)):
        for torn in (data[:cut], data[:cut] + bytes([data[cut] ^ 0x10]) + data[cut + 1 :]):
            log.write_bytes(torn)
            git = Git(path, "never")
            found = dict(Repo(TEXT, git).branch().tree().items())
            assert found in states and (git.recovered.dropped > 0 or found == states[git.recovered.frames])
            seen.add(states.index(found))
            killed(git)
    assert seen == set(range(6))


def test_a_full_disk_refuses_the_change_and_goes_on_reading(places: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = places()
    git = Git(path, "never")
    store = Repo(TEXT, git).branch()
    store.set("a", "1")
    room = [5]
    write = os.write

    def full(file: int, data: bytes) -> int:
        if file != git._log._file:
            return write(file, data)
        if not room[0]:
            raise OSError(28, "No space left on device")
        size = write(file, data[: room[0]])
        room[0] -= size
        return size

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreError, match="No space left on device: nothing was changed; reading goes on"):
        store.set("a", "2")
    assert store.find("a") == "1"
    room[0] = 10_000
    store.set("b", "2")
    monkeypatch.undo()
    killed(git)
    again = Repo(TEXT, Git(path))
    assert dict(again.branch().tree().items()) == {"a": "1", "b": "2"}
    again.close()


def test_a_group_that_cannot_be_written_is_taken_back_whole(places: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    git = Git(places(), "group")
    repo = Repo(TEXT, git)
    store = repo.branch()
    store.set("a", "1")
    repo.settle()
    store.set("a", "2")
    store.set("b", "2")
    monkeypatch.setattr(git._log, "sync", lambda: (_ for _ in ()).throw(StoreError("full")))
    with pytest.raises(StoreError, match="full"):
        repo.settle()
    monkeypatch.undo()
    assert dict(store.tree().items()) == {"a": "1"}
    store.set("c", "3")
    repo.close()
    again = Repo(TEXT, Git(git.path))
    assert dict(again.branch().tree().items()) == {"a": "1", "c": "3"}
    again.close()


@pytest.mark.parametrize("ends", ["killed", "closed"])
def test_what_comes_after_a_group_that_was_refused_does_not_lean_on_it(places: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    """Neither its commits nor its branches are there when the store is opened again, whichever way it ended."""
    git = Git(places(), "group")
    repo = Repo(TEXT, git)
    store = repo.branch()
    store.set("a", "1")
    repo.settle()
    store.set("a", "2")
    store.clone("side").set("b", "2")
    monkeypatch.setattr(git._log, "sync", lambda: (_ for _ in ()).throw(StoreError("full")))
    with pytest.raises(StoreError, match="full"):
        repo.settle()
    monkeypatch.undo()
    store.set("c", "3")
    repo.settle()
    repo.close() if ends == "closed" else killed(git)
    again = Repo(TEXT, Git(git.path))
    assert list(again.heads) == ["main"] and dict(again.branch().tree().items()) == {"a": "1", "c": "3"}
    assert len(again.branch().history()) == 2
    again.close()


def test_a_store_has_one_writer_and_stale_locks_are_cleared(places: Callable[[], Path]) -> None:
    path = places()
    git = Git(path)
    Repo(TEXT, git).branch().set("a", "1")
    with pytest.raises(StoreError, match="a store has one writer"):
        Git(path)
    (path / "refs" / "heads" / "main.lock").write_text("")
    (path / "objects" / "pack").mkdir(exist_ok=True)
    (path / "objects" / "pack" / "tmp_irmin_pack").write_text("half")
    killed(git)
    again = Repo(TEXT, Git(path))
    again.close()
    assert not list(path.rglob("*.lock")) and not list(path.rglob("tmp_irmin_*"))


def test_many_checkpoints_leave_few_packs_and_a_long_history_is_read_again(places: Callable[[], Path]) -> None:
    path = places()
    repo = Repo(BYTES, Git(path, "never", every=2))
    store = repo.branch()
    for number in range(120):
        store.set(f"d{number % 5}/k", b"%d" % number)
    assert len(list(path.rglob("*.pack"))) < 30
    repo.close()
    again = Repo(BYTES, Git(path))
    commits = again.branch().history()
    assert len(commits) == 120 and commits[0].generation == 119 and again.branch().last_modified("d1/k")[0].root.get("d1") is not None
    assert again.at(commits[-1]).find("d0/k") == b"0" and again.commit(commits[50].name) is commits[50]
    again.close()


def test_what_was_made_ready_for_a_checkpoint_is_in_it_and_nothing_that_was_refused(places: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """`work` encodes commits while nobody waits; a group that is refused then was not among them."""
    git = Git(places(), "group")
    repo = Repo(TEXT, git)
    store = repo.branch()
    for number in range(40):
        store.set(f"d{number % 4}/k", str(number))
        if number % 5 == 0:
            repo.settle()
        git.work()
    repo.settle()
    told = dict(store.tree().items())
    store.set("refused", "1")
    git.work()
    monkeypatch.setattr(git._log, "sync", lambda: (_ for _ in ()).throw(StoreError("full")))
    with pytest.raises(StoreError, match="full"):
        repo.settle()
    monkeypatch.undo()
    git.work()
    store.set("d0/k", "last")
    repo.close()
    again = Repo(TEXT, Git(git.path))
    assert dict(again.branch().tree().items()) == told | {"d0/k": "last"} and len(again.branch().history()) == 41
    assert all(dict(again.at(commit).tree().items()) for commit in again.branch().history())
    again.close()


def test_an_object_that_is_missing_is_the_one_error(places: Callable[[], Path]) -> None:
    path = places()
    repo = Repo(TEXT, Git(path))
    repo.branch().set("a/b", "1")
    repo.close()
    for pack in path.rglob("pack-*"):
        pack.unlink()
    again = Repo(TEXT, Git(path))
    with pytest.raises(ObjectError, match="is not there"):
        again.branch().find("a/b")
    again.close()
