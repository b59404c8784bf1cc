"""Commits from one store to another: names stay, what both have is not sent again, bad slices are the one error."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.irmin import Repo, StoreError
from mirage_lab.irmin.contents import TEXT
from mirage_lab.irmin.errors import ObjectError
from mirage_lab.irmin.exchange import export, fetch, load, pull, push
from mirage_lab.irmin.fs import Fs
from mirage_lab.irmin.git import Git
from mirage_lab.irmin.graph import dot, history_graph
from mirage_lab.irmin.objects import COMMIT, name_of
from mirage_lab.testing import check_irmin


def test_a_store_in_plain_files_keeps_every_promise(tmp_path: Path) -> None:
    made = iter(range(100))

    def again(repo: Repo) -> Repo:
        assert isinstance(repo.backend, Fs)
        return Repo(TEXT, Fs(repo.backend.path))

    assert check_irmin(lambda: Repo(TEXT, Fs(tmp_path / str(next(made)))), again).title == "Irmin on Fs"


def test_what_a_killed_process_was_writing_is_no_branch_and_what_was_changed_by_hand_is_found_out(tmp_path: Path) -> None:
    repo = Repo(TEXT, Fs(tmp_path))
    store = repo.branch("a/b")
    store.set("x/y", "1")
    store.set("x/z", "2")
    repo.close()
    (tmp_path / "heads" / "a" / "b.lock").write_bytes(b"half")
    repo = Repo(TEXT, Fs(tmp_path))
    assert sorted(repo.heads) == ["a/b"] and repo.branch("a/b").find("x/z") == "2" and len(repo.branch("a/b").history()) == 2
    victim = next(path for path in (tmp_path / "objects").rglob("*") if path.is_file() and path.read_bytes() == b"blob 1\0" + b"1")
    victim.write_bytes(b"blob 1\0" + b"7")
    repo.close()
    with pytest.raises(ObjectError, match="not what its name says"):
        Repo(TEXT, Fs(tmp_path)).branch("a/b").find("x/y")


def filled() -> Repo:
    repo = Repo(TEXT)
    store = repo.branch()
    for number in range(5):
        store.set(f"a/{number}", str(number))
    side = store.clone("side")
    side.set("b", "x")
    store.set("c", "y")
    store.merge(side)
    return repo


def test_a_slice_is_loaded_with_its_names() -> None:
    repo = filled()
    head = repo.heads["main"]
    other = Repo(TEXT)
    found = load(other, export([head]))
    assert [commit.name for commit in found] == [head.name]
    store = other.at(found[0])
    assert dict(store.tree().items()) == dict(repo.branch().tree().items()) and len(store.history()) == len(repo.branch().history())
    short = load(Repo(TEXT), export([head], depth=2))[0]
    assert dict(Repo(TEXT).at(short).tree().items()) == dict(store.tree().items())


def test_pull_push_and_fetch() -> None:
    one, two = filled(), Repo(TEXT)
    mine, theirs = one.branch(), two.branch()
    assert fetch(theirs, one.branch("nothing")) is None and pull(theirs, mine) is theirs.head
    assert theirs.head is not None and mine.head is not None and theirs.head.name == mine.head.name
    theirs.set("a/0", "theirs")
    mine.set("a/1", "mine")
    assert push(theirs, mine) == "rejected"
    merged = pull(theirs, mine)
    assert not isinstance(merged, list) and (theirs.find("a/0"), theirs.find("a/1")) == ("theirs", "mine")
    assert push(theirs, mine) == "pushed" and mine.head.name == theirs.head.name and mine.find("a/0") == "theirs"
    mine.set("a/0", "m")
    theirs.set("a/0", "t")
    assert isinstance(pull(theirs, mine), list) and pull(theirs, mine, "set") is theirs.head
    with pytest.raises(StoreError, match="nothing to push"):
        push(Repo(TEXT).branch(), mine)


def test_only_what_is_new_is_sent() -> None:
    repo = filled()
    before = repo.heads["main"]
    repo.branch().set("a/0", "new")
    sent = json.loads(export([repo.heads["main"]], [before]))["objects"]
    assert sum(kind == "commit" for kind, _ in sent.values()) == 1


@given(st.integers(0, 199), st.binary(min_size=1, max_size=3))
def test_a_slice_that_was_tampered_with_is_the_one_error(at: int, data: bytes) -> None:
    text = export([filled().heads["side"]])
    at = at * len(text) // 200
    torn = text[:at] + data.decode("latin-1") + text[at + len(data) :]
    try:
        load(Repo(TEXT), torn)
    except ObjectError:
        pass
    for cut in (at, len(text) - 2):
        with pytest.raises(ObjectError):
            load(Repo(TEXT), text[:cut])


def test_a_history_is_a_graph_with_its_branches() -> None:
    repo = filled()
    graph = history_graph(repo)
    assert graph.number_of_nodes() == 8 and graph.number_of_edges() == 8
    assert graph.nodes[repo.heads["side"].name.hex()]["branches"] == ["side"]
    repo.branch().set("q", "1", message='say "hi"\\ <b>')
    told = dot(repo)
    assert '"main" [shape=note]' in told and 'say \\"hi\\"\\\\ <b>' in told and history_graph(repo, ["side"], most=2).number_of_nodes() == 2


def test_a_commit_that_others_wrote_keeps_its_name_in_a_slice_and_in_the_log(tmp_path: Path) -> None:
    repo = filled()
    head = repo.heads["main"]
    body = head.body.replace(b"<irmin@irmin>", b"<someone@example.org>").replace(b"+0000", b"+0200") + b"\nsigned\n"
    name = name_of(COMMIT, body)
    text = json.loads(export([head]))
    text["objects"][name.hex()] = ["commit", base64.b64encode(body).decode()]
    text["heads"] = [name.hex()]
    other = Repo(TEXT, Git(tmp_path / "s.git", "never"))
    (found,) = load(other, json.dumps(text))
    assert found.name == name and found.body == body and found.info.message.endswith("signed\n")
    other.branch().set_head(found)
    git = other.backend
    assert isinstance(git, Git)
    git._log.close()
    git._git.close()
    git._lock.close()
    again = Repo(TEXT, Git(tmp_path / "s.git"))
    assert again.heads["main"].name == name
    again.close()
    last = Repo(TEXT, Git(tmp_path / "s.git"))
    assert last.heads["main"].body == body
    last.close()
