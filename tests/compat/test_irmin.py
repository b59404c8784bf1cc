"""A store as real git sees it, and what is left of it when its process is killed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mirage_lab.irmin import BYTES, Repo
from mirage_lab.irmin.contents import TEXT
from mirage_lab.irmin.git import Git
from mirage_lab.irmin.serve import GitServer

ROUNDS = int(os.environ.get("MIRAGE_LAB_ROUNDS", "12"))
"""How often a process is killed; `make soak` does it more often."""
FULL = Path(__file__).with_name("full_disk.py")
WITHIN = 'mount -t tmpfs -o size=700k none "$0" && "$@" && git -C "$0/s.git" fsck --full --strict >&2'


def git(program: str, path: Path, *words: str) -> str:
    done = subprocess.run([program, "-C", str(path), *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_git_reads_what_a_store_wrote(require: Callable[[str], str], tmp_path: Path) -> None:
    program = require("git")
    repo = Repo(TEXT, Git(tmp_path / "s.git", every=7), author="domain 1")
    store = repo.branch()
    for number in range(20):
        store.set(f"local/domain/{number % 3}/n{number}", str(number), message=f"Domain {number}: write")
    side = store.clone("side")
    side.set("ünï code/x", "1")
    store.set("q", "2")
    store.merge(side, "Merge side")
    wide = store.tree()
    for number in range(300):
        wide = wide.set(f"wide/n{number}.{'d' if number % 2 else 'e'}", "x")
    head = store.set_tree("", wide)
    assert head is not None
    repo.flush()
    path = tmp_path / "s.git"
    assert git(program, path, "fsck", "--full", "--strict").strip() in ("", "notice: HEAD points to an unborn branch")
    assert git(program, path, "rev-parse", "main").strip() == head.name.hex()
    assert git(program, path, "show", "main:local/domain/1/n19") == "19"
    assert "*   " in git(program, path, "log", "--graph", "--pretty=%s", "main")
    assert git(program, path, "log", "-1", "--pretty=%an", "main").strip() == "domain 1"
    git(program, tmp_path, "clone", "-q", str(path), "copy")
    assert (tmp_path / "copy" / "q").read_text() == "2" and len(list((tmp_path / "copy" / "wide").iterdir())) == 300
    repo.close()


def test_git_finds_no_fault_in_large_directories_that_are_kept_as_differences(require: Callable[[str], str], tmp_path: Path) -> None:
    program, rng = require("git"), random.Random(2)
    git_store = Git(tmp_path / "s.git", "group", every=300)
    store = Repo(BYTES, git_store).branch()
    for number in range(1_200):
        store.set(f"wide/k{rng.randrange(400)}", b"%d" % number)
        if number % 7 == 0:
            store.remove(f"wide/k{rng.randrange(400)}")
        store.repo.settle()
        git_store.work(busy=number % 2 == 0)
    told = dict(store.tree().items())
    store.repo.close()
    git(program, tmp_path / "s.git", "fsck", "--full", "--strict")
    packs = [git(program, tmp_path, "verify-pack", "-v", str(path)) for path in sorted((tmp_path / "s.git").rglob("*.idx"))]
    assert any("chain length = 30:" in said for said in packs) and not any("chain length = 31:" in said for said in packs)
    git(program, tmp_path, "clone", "-q", str(tmp_path / "s.git"), "copy")
    assert {f"wide/{path.name}": path.read_bytes() for path in (tmp_path / "copy" / "wide").iterdir()} == told


def test_a_store_reads_what_git_wrote(require: Callable[[str], str], tmp_path: Path) -> None:
    program = require("git")
    work = tmp_path / "work"
    work.mkdir()
    person = ("-c", "user.name=Anna", "-c", "user.email=a@b")
    git(program, work, "init", "-q", "-b", "main")
    for number in range(30):
        (work / f"d{number % 3}").mkdir(exist_ok=True)
        (work / f"d{number % 3}" / "f").write_text(f"{number}\n" * 50)
        git(program, work, "add", ".")
        git(program, work, *person, "commit", "-qm", f"number {number}\n\nbody")
    git(program, work, "gc", "-q")
    git(program, tmp_path, "clone", "-q", "--bare", str(work), "s.git")
    repo = Repo(TEXT, Git(tmp_path / "s.git"))
    store = repo.branch()
    assert store.find("d2/f") == "29\n" * 50 and len(store.history()) == 30
    assert store.head is not None and store.head.info.author == "Anna" and store.head.info.message == "number 29\n\nbody\n"
    store.set("d0/f", "mine")
    repo.close()
    git(program, tmp_path / "s.git", "fsck", "--full", "--strict")
    assert git(program, tmp_path / "s.git", "show", "main:d0/f") == "mine"


WRITER = """
import sys
import threading
from mirage_lab.irmin import BYTES, Repo
from mirage_lab.irmin.git import Git
from mirage_lab.irmin.serve import GitServer
path, sync, every, start = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
repo = Repo(BYTES, Git(path, sync, every))
store = repo.branch()
print("ready", flush=True)
for number in range(start, start + 100_000):
    value = b"%d" % number
    store.with_tree("", lambda tree: tree.set(f"one/{number % 7}", value).set("two/last", value).set(f"three/{number % 50}/x", value).set("last", value))
    if sync == "group" and number % 10 == 0:
        repo.settle()
    if sync != "group" or number % 10 == 0:
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
"""


@pytest.mark.parametrize("sync", ["never", "group"])
def test_no_acknowledged_commit_is_lost_when_the_process_is_killed(require: Callable[[str], str], tmp_path: Path, sync: str) -> None:
    """What was written to the pipe before the kill is there after it, each transaction whole; and git finds no fault."""
    program, rng, path, last = require("git"), random.Random(5), tmp_path / "s.git", 0
    for turn in range(ROUNDS):
        words = [sys.executable, "-c", WRITER, str(path), sync, str(rng.choice((5, 40, 400))), str(last + 1)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
            time.sleep(rng.random() * 0.25)
            writer.kill()
            told = [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        acknowledged = int(told[-1]) if told else last
        repo = Repo(BYTES, Git(path))
        store = repo.branch()
        last = int(store.find("last") or b"0")
        assert last >= acknowledged, f"round {turn}: {acknowledged} was acknowledged, {last} is there"
        if last:
            value = b"%d" % last
            assert [store.find(each) for each in (f"one/{last % 7}", "two/last", f"three/{last % 50}/x")] == [value] * 3
        repo.close()
    assert last > ROUNDS
    git(program, path, "fsck", "--full", "--strict")


@pytest.mark.parametrize("sync", ["commit", "group", "never"])
@pytest.mark.parametrize("kind", ["limit", "tmpfs"])
def test_a_disk_that_is_full_refuses_reads_on_and_loses_nothing(require: Callable[[str], str], tmp_path: Path, sync: str, kind: str) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("limits of files and file systems in memory are Linux's")
    program, words = require("git"), [sys.executable, str(FULL), str(tmp_path), sync, kind]
    if kind == "tmpfs":
        if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(tmp_path)], capture_output=True, check=False).returncode:
            pytest.skip("this machine cannot make a file system in a namespace")
        words = ["unshare", "-rm", "sh", "-c", WITHIN, str(tmp_path), *words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False, env={**os.environ, "PYTHONPATH": str(FULL.parents[2])})
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["times"] == 5 and told["found"] == told["last"] > 10 and told["again"] == 10_000
    (said,) = told["refused"]
    assert said == f"log: {'File too large' if kind == 'limit' else 'No space left on device'}: nothing was changed; reading goes on"
    if kind == "limit":
        git(program, tmp_path / "s.git", "fsck", "--full", "--strict")


@pytest.mark.parametrize("kept", ["git", "memory"])
@pytest.mark.parametrize("over", ["git", "http"])
def test_git_clones_fetches_and_pushes_to_a_live_store(require: Callable[[str], str], tmp_path: Path, kept: str, over: str) -> None:
    program, person = require("git"), ("-c", "user.name=Anna", "-c", "user.email=a@b")
    lock = threading.RLock()
    repo = Repo(TEXT, Git(tmp_path / "s.git") if kept == "git" else None)
    store = repo.branch()
    for number in range(12):
        store.set(f"a/{number}", f"{number}\n")
    store.clone("side").set("side", "1\n")
    with GitServer(repo, lock) as server:
        address = server.git if over == "git" else server.http
        copy = tmp_path / "copy"
        git(program, tmp_path, "clone", "-q", address, "copy")
        git(program, copy, "fsck", "--full", "--strict")
        assert (copy / "a" / "11").read_text() == "11\n" and "origin/side" in git(program, copy, "branch", "-r")
        with lock:
            store.set("a/12", "12\n")
        git(program, copy, "pull", "-q", "--ff-only")
        assert (copy / "a" / "12").read_text() == "12\n"
        (copy / "theirs").write_text("from git\n")
        git(program, copy, "add", ".")
        git(program, copy, *person, "commit", "-qm", "by hand")
        git(program, copy, "push", "-q", "origin", "main")
        assert store.find("theirs") == "from git\n" and store.head is not None and store.head.info.author == "Anna"
        (copy / "theirs").write_text("again\n")
        git(program, copy, *person, "commit", "-qam", "by hand again")
        with lock:
            store.set("a/0", "meanwhile\n")
        git(program, copy, "push", "-q", "--force", "origin", "main")
        assert (store.find("theirs"), store.find("a/0"), len(store.head.parents)) == ("again\n", "meanwhile\n", 2)
        (copy / "a" / "0").write_text("otherwise\n")
        git(program, copy, *person, "commit", "-qam", "a conflict")
        done = subprocess.run([program, "-C", str(copy), "push", "--force", "origin", "main"], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode and "conflict: a/0: both sides changed it" in done.stderr and store.find("a/0") == "meanwhile\n"
        repo.tag("v1", store.history()[-1])
        git(program, copy, "fetch", "-q", "--tags", "origin")
        assert git(program, copy, "rev-parse", "v1").strip() == store.history()[-1].name.hex()
        git(program, copy, "tag", "light", "HEAD~1")
        git(program, copy, "push", "-q", "origin", "light")
        assert repo.tags["light"].name.hex() == git(program, copy, "rev-parse", "light").strip()
        git(program, copy, "push", "-q", "origin", ":light")
        git(program, copy, *person, "tag", "-a", "-m", "words", "heavy")
        done = subprocess.run([program, "-C", str(copy), "push", "origin", "heavy"], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode and "is no commit" in done.stderr and sorted(repo.tags) == ["v1"]
        git(program, copy, "tag", "-d", "heavy")
        git(program, copy, "push", "-q", "origin", "main:refs/heads/new")
        git(program, copy, "push", "-q", "origin", ":side")
        assert sorted(repo.heads) == ["main", "new"]
        (copy / "bin").write_bytes(b"\xff\xfe")
        git(program, copy, "add", ".")
        git(program, copy, *person, "commit", "-qam", "no text")
        done = subprocess.run([program, "-C", str(copy), "push", "origin", "HEAD:refs/heads/other"], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode and "is not UTF-8" in done.stderr
        git(program, copy, "fetch", "-q", "--depth", "3", "origin")
        git(program, tmp_path, "clone", "-q", "--depth", "2", address, "short")
    repo.close()
