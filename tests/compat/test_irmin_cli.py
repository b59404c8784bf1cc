"""`mirage-lab irmin` and real git: a store cloned from a repository that people work in, pulled from, pushed to, and watched."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mirage_lab.irmin.cli import main
from tests.compat.test_irmin import git

PERSON = ("-c", "user.name=Anna", "-c", "user.email=a@b")


@pytest.fixture
def work(require: Callable[[str], str], tmp_path: Path) -> Path:
    """A repository as people have them: branches, a merge, a program, a link, packed."""
    program, work = require("git"), tmp_path / "work"
    work.mkdir()
    git(program, work, "init", "-q", "-b", "main")
    for number in range(5):
        (work / "notes").mkdir(exist_ok=True)
        (work / "notes" / f"n{number}").write_text(f"{number}\n")
        git(program, work, "add", ".")
        git(program, work, *PERSON, "commit", "-qm", f"number {number}")
    (work / "run").write_text("#!/bin/sh\n")
    (work / "run").chmod(0o755)
    (work / "link").symlink_to("run")
    git(program, work, "checkout", "-q", "-b", "side", "HEAD~2")
    (work / "side").write_text("side\n")
    git(program, work, "add", ".")
    git(program, work, *PERSON, "commit", "-qm", "side")
    git(program, work, "checkout", "-q", "main")
    git(program, work, *PERSON, "merge", "-q", "-m", "both", "side")
    git(program, work, "gc", "-q")
    return work


def irmin(capsys: pytest.CaptureFixture[str], *words: str | Path, fails: bool = False) -> str:
    code = main([str(word) for word in words])
    out, error = capsys.readouterr()
    assert code == int(fails), error
    return error if fails else out


def test_a_store_is_cloned_from_a_real_repository_pulled_and_pushed(
    require: Callable[[str], str], capsys: pytest.CaptureFixture[str], work: Path, tmp_path: Path
) -> None:
    program, root, hub = require("git"), tmp_path / "s.git", tmp_path / "hub.git"
    git(program, tmp_path, "clone", "-q", "--bare", str(work), str(hub))
    irmin(capsys, "init", "--root", root)
    head = git(program, hub, "rev-parse", "main").strip()
    assert irmin(capsys, "clone", hub, "--root", root).splitlines()[0] == f"main is at {head[:10]}"
    assert irmin(capsys, "branches", "--root", root).split()[::2] == ["main", "side"]
    assert irmin(capsys, "get", "notes/n4", "--root", root) == "4\n\n" and "both" in irmin(capsys, "log", "--root", root)
    assert "is not empty" in irmin(capsys, "clone", hub, "--root", root, fails=True)
    assert git(program, root, "rev-parse", "main").strip() == head and git(program, root, "fsck", "--full", "--strict") == ""
    git(program, work, "remote", "add", "hub", str(hub))
    (work / "notes" / "n0").write_text("by hand\n")
    git(program, work, *PERSON, "commit", "-qam", "by hand")
    git(program, work, "push", "-q", "hub", "main")
    irmin(capsys, "set", "notes/mine", "from the store", "--root", root)
    assert "pull first" in irmin(capsys, "push", hub, "--root", root, fails=True)
    assert irmin(capsys, "fetch", hub, "--root", root).startswith("fetched is at ")
    irmin(capsys, "pull", hub, "--root", root)
    assert irmin(capsys, "get", "notes/n0", "--root", root) == "by hand\n\n"
    irmin(capsys, "push", hub, "--root", root)
    git(program, work, "pull", "-q", "--ff-only", "hub", "main")
    assert (work / "notes" / "mine").read_text() == "from the store"
    assert (work / "run").stat().st_mode & 0o111 == 0o111 and (work / "link").is_symlink()
    git(program, hub, "fsck", "--full", "--strict")
    assert "no branch nowhere" in irmin(capsys, "pull", hub, "--root", root, "--branch", "nowhere", fails=True)
    assert "NotGitRepository" in irmin(capsys, "fetch", tmp_path, "--root", root, fails=True)


def test_what_git_pushes_is_printed_by_who_watches(require: Callable[[str], str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    program, root, copy, other = require("git"), tmp_path / "s.git", tmp_path / "copy", tmp_path / "o.git"
    irmin(capsys, "init", "--root", root)
    irmin(capsys, "set", "a/b", "1", "--root", root)
    irmin(capsys, "init", "--root", other)
    words = [sys.executable, "-m", "mirage_lab.lab.cli", "irmin", "watch", "a", "--root", str(root)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        told = watching.stdout.readline().split()
        http, over_git = (address for address in told if "://" in address)
        git(program, tmp_path, "clone", "-q", http, str(copy))
        for where in ("elsewhere", "a/b"):
            (copy / where).write_text("2")
            git(program, copy, "add", ".")
            git(program, copy, *PERSON, "commit", "-qm", where)
            git(program, copy, "push", "-q", "origin", "main")
        assert watching.stdout.readline() == "~ a/b '1' -> '2'\n"
        for address in (http, over_git):
            assert irmin(capsys, "pull", address, "--root", other).startswith("main is at ")
            irmin(capsys, "set", "a/c", address, "--root", other)
            irmin(capsys, "push", address, "--root", other)
        assert [watching.stdout.readline()[:8] for _ in range(2)] == ["+ a/c 'h", "~ a/c 'h"]
        watching.send_signal(signal.SIGINT)
        assert watching.wait(20) == 0
    assert irmin(capsys, "get", "a/c", "--root", root).startswith("git://")
