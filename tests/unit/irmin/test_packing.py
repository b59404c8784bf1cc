"""What goes into a pack: large directories as differences, trees that are made when someone looks, packs that are written before a checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dulwich.object_format import SHA1
from dulwich.pack import Pack, apply_delta
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.irmin import BYTES, Repo, StoreError
from mirage_lab.irmin.commit import Commit
from mirage_lab.irmin.git import Git
from mirage_lab.irmin.node import EMPTY, Blob, Entry, Node, edit, put, remove
from mirage_lab.irmin.objects import BLOB, Info
from mirage_lab.irmin.pack import delta, join_packs, packed, packed_delta, read_index, write_pack

steps = st.lists(st.sampled_from("abc"), max_size=3).map(tuple)
edits = st.lists(st.tuples(steps, st.one_of(st.none(), st.binary(max_size=2))), max_size=12)
WHO = Info(0, "somebody", "something")


@given(st.binary(max_size=400), st.binary(max_size=400), st.binary(max_size=300), st.binary(max_size=300))
def test_a_delta_makes_one_of_the_other(before: bytes, after: bytes, old: bytes, new: bytes) -> None:
    base, body = before + old + after, before + new + after
    found = delta(base, body)
    if found is None:
        assert 4 * len(new) > len(body)
    else:
        assert b"".join(apply_delta(base, found)) == body and 4 * len(found) <= len(body) + 120


def test_a_delta_of_bodies_that_need_long_numbers() -> None:
    base = bytes(range(256)) * 80_000
    body = base[:17_000_000] + b"new" * 50 + base[17_000_100:]
    assert b"".join(apply_delta(base, delta(base, body) or b"")) == body
    assert delta(base, base) is not None and delta(b"", b"") is not None


@given(edits, edits)
def test_edits_together_are_the_edits_one_by_one(first: list[tuple[tuple[str, ...], bytes | None]], more: list[tuple[tuple[str, ...], bytes | None]]) -> None:
    root = one_by_one = edit(EMPTY, [(path, None if data is None else Blob(data)) for path, data in first if path])
    before, changes = root.name, [(path, None if data is None else Blob(data)) for path, data in more if path or data is None]
    for path, entry in changes:
        one_by_one = remove(one_by_one, path) if entry is None else put(one_by_one, path, entry)
    copy = rebuilt(root)
    assert edit(copy, changes).name == one_by_one.name, "a tree without names, so that nothing hides behind one"
    assert rebuilt(copy).name == before and not EMPTY.children


def rebuilt(entry: Entry) -> Node:
    """The same tree in other objects that have no names yet."""
    assert isinstance(entry, Node)
    return Node({step: rebuilt(child) if isinstance(child, Node) else Blob(child.data) for step, child in entry.children.items()})


@given(st.lists(st.tuples(st.integers(0, 150), st.booleans()), max_size=120))
def test_a_directory_that_grows_wide_and_narrow_in_one_edit(changes: list[tuple[int, bool]]) -> None:
    root = edit(EMPTY, [((f"k{number}",), Blob(b"0")) for number in range(60)])
    todo: list[tuple[tuple[str, ...], Entry | None]] = [((f"k{number}",), Blob(b"1") if there else None) for number, there in changes]
    todo += [((f"k{number}",), Blob(b"2")) for number in range(100, 130)]
    one_by_one = root
    for path, entry in todo:
        one_by_one = remove(one_by_one, path) if entry is None else put(one_by_one, path, entry)
    assert edit(root, todo).name == one_by_one.name and len(root) == 60


def test_a_long_line_of_commits_has_its_trees_made_when_one_is_looked_at() -> None:
    line = [Commit(EMPTY, (), WHO)]
    for number in range(5_000):
        line.append(Commit.changing([((f"k{number % 7}",), Blob(b"%d" % number))], (line[-1],), WHO))
    assert line[-1].changes and line[1].changes
    assert sorted(entry.data for _, entry in line[-1].root.list() if isinstance(entry, Blob)) == [b"%d" % number for number in range(4_993, 5_000)]
    assert line[1].changes is None and [step for step, _ in line[1].root.list()] == ["k0"]


def histories(path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[bytes, dict[str, bytes]]:
    """Make a store with a large directory that changes, and go back and forth; return the values of each commit by its name."""
    monkeypatch.setattr("mirage_lab.irmin.git.SPILL", 20)
    monkeypatch.setattr("mirage_lab.irmin.git.NEAR", 6)
    git = Git(path, "group", every=90)
    repo = Repo(BYTES, git)
    store = repo.branch()
    told: list[tuple[Commit, dict[str, bytes]]] = []
    now: dict[str, bytes] = {}
    for number in range(300):
        key, value = f"wide/k{number * 7 % 100}", b"%d" % (number % 3)
        now[key] = value
        made = store.set(key, value)
        if number % 11 == 0:
            now.pop(f"wide/k{number % 40}", None)
            made = store.remove(f"wide/k{number % 40}")
        assert made is not None
        told.append((made, now.copy()))
        if number == 200:
            now = told[10][1].copy()
            store.set_head(told[10][0])
        if number % 4 == 0:
            repo.settle()
            git.work(busy=number % 8 == 0)
    repo.close()
    return {commit.name: values for commit, values in told}


def test_large_directories_are_differences_and_come_back_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = histories(tmp_path, monkeypatch)
    deltas = 0
    for path in tmp_path.rglob("*.pack"):
        data = path.read_bytes()
        deltas += sum(data[offset] >> 4 & 7 == 7 for _, offset in read_index(path.with_suffix(".idx").read_bytes()))
    assert deltas > 100
    again = Repo(BYTES, Git(tmp_path))
    for name, values in told.items():
        commit = again.commit(name)
        assert commit is not None and dict(again.at(commit).tree().items()) == values
    again.close()


def test_packs_with_differences_are_joined_and_nothing_leans_on_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = histories(tmp_path, monkeypatch)
    packs = sorted((tmp_path / "objects" / "pack").glob("*.pack"))
    assert len(packs) > 3
    joined = join_packs(packs[0].parent, packs)
    assert joined is not None and list(joined.parent.glob("*.pack")) == [joined]
    again = Repo(BYTES, Git(tmp_path))
    for name, values in told.items():
        commit = again.commit(name)
        assert commit is not None and dict(again.at(commit).tree().items()) == values
    again.close()


def test_an_object_that_two_packs_have_as_differences_of_each_other_is_taken_from_the_first(tmp_path: Path) -> None:
    one, two = b"x" * 400 + b"one", b"x" * 400 + b"two"
    names = {body: Blob(body).name for body in (one, two)}
    there, back = delta(one, two), delta(two, one)
    assert there is not None and back is not None
    packs = []
    for whole, other, difference in ((one, two, there), (two, one, back)):
        rows = [(names[whole], packed(BLOB, whole)), (names[other], packed_delta(names[whole], difference))]
        pack = write_pack(tmp_path / ("1" if whole is one else "2"), rows)
        assert pack is not None
        packs.append(pack)
    joined = join_packs(tmp_path / "joined", packs)
    assert joined is not None
    with Pack(str(joined.with_suffix("")), object_format=SHA1) as pack:
        assert {pack.get_raw(name.hex().encode())[1] for name in names.values()} == {one, two}  # type: ignore[arg-type]


def test_packs_that_were_written_before_a_checkpoint_lose_nothing_when_it_never_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirage_lab.irmin.git.SPILL", 10)
    monkeypatch.setattr("mirage_lab.irmin.git.NEAR", 3)
    git = Git(tmp_path / "store", "group", every=1_000)
    repo = Repo(BYTES, git)
    store = repo.branch()
    for number in range(50):
        store.set(f"k{number % 20}", b"%d" % number)
        repo.settle()
        git.work()
    assert len(list((tmp_path / "store").rglob("*.pack"))) >= 4 and not git.trouble
    shutil.copytree(tmp_path / "store", tmp_path / "killed")
    wanted = dict(store.tree().items())
    repo.close()
    again = Repo(BYTES, Git(tmp_path / "killed"))
    assert dict(again.branch().tree().items()) == wanted and len(again.branch().history()) == 50
    again.close()


def test_a_pack_that_cannot_be_written_early_is_no_trouble_but_for_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirage_lab.irmin.git.SPILL", 10)
    monkeypatch.setattr("mirage_lab.irmin.git.NEAR", 3)
    git = Git(tmp_path, "group")
    repo = Repo(BYTES, git)
    store = repo.branch()

    def full(*ignored: object) -> None:
        raise StoreError("no space")

    monkeypatch.setattr("mirage_lab.irmin.git.write_pack", full)
    for number in range(30):
        store.set(f"k{number % 20}", b"%d" % number)
        repo.settle()
        git.work()
    assert str(git.trouble) == "no space"
    with pytest.raises(StoreError, match="no space"):
        repo.flush()
    monkeypatch.undo()
    repo.close()
    again = Repo(BYTES, Git(tmp_path))
    assert len(again.branch().history()) == 30 and git.trouble is None
    again.close()
