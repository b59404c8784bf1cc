"""`mirage-lab irmin`: each subcommand, and one clear line for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage_lab.irmin.cli import COMMANDS
from mirage_lab.lab.cli import main


class Shell:
    """Runs commands and returns what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: str | Path, fails: bool = False) -> str:
        code = main(["irmin", *map(str, words)])
        out, error = self.capsys.readouterr()
        assert code == (1 if fails else 0), (out, error)
        return error if fails else out


@pytest.fixture
def irmin(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.mark.parametrize("backend", ["git", "fs"])
def test_a_store_from_the_command_line(irmin: Shell, tmp_path: Path, backend: str) -> None:
    root, other = tmp_path / "a", tmp_path / "b"
    assert irmin("init", "--root", root, "--backend", backend) == f"a store of text in {root} ({backend})\n"
    assert irmin("set", "a/b", "hello", "--root", root).startswith("main is at ")
    first = irmin("snapshot", "--root", root).strip()
    irmin("set", "a/c/d", "1", "--root", root, "--message", "more")
    assert irmin("get", "a/b", "--root", root) == "hello\n" and irmin("list", "a", "--root", root) == "FILE b\nDIR  c\n"
    assert irmin("tree", "--root", root) == "/a/b 'hello'\n/a/c/d '1'\n"
    irmin("clone", "side", "--root", root)
    irmin("set", "s", "x", "--branch", "side", "--root", root)
    irmin("remove", "a/c", "--root", root)
    assert irmin("diff", "side", "--root", root) == "+ a/c/d '1'\n+ s 'x'\n"
    irmin("merge", "side", "--root", root)
    assert irmin("tree", "--root", root) == "/a/b 'hello'\n/s 'x'\n"
    assert irmin("log", "--root", root).splitlines()[0].split(" ", 1)[1] == "mirage-lab irmin: merge side into main"
    assert [line.split()[0] for line in irmin("branches", "--root", root).splitlines()] == ["main", "side"]
    assert irmin("dot", "--root", root).startswith("digraph irmin {")
    irmin("init", "--root", other, "--backend", backend)
    assert irmin("pull", root, "--root", other).split()[-1] == irmin("branches", "--root", root).split()[1]
    irmin("set", "a/b", "theirs", "--root", other)
    assert irmin("push", root, "--root", other).startswith(f"{root} is at ") and irmin("get", "a/b", "--root", root) == "theirs\n"
    irmin("set", "z", "1", "--root", root)
    irmin("set", "y", "1", "--root", other)
    assert "pull first" in irmin("push", root, "--root", other, fails=True)
    assert irmin("fetch", root, "--root", other).startswith("fetched is at ")
    irmin("revert", first, "--root", root)
    assert irmin("tree", "--root", root) == "/a/b 'hello'\n"


def test_mistakes_are_one_clear_line(irmin: Shell, tmp_path: Path) -> None:
    assert "is no store: mirage-lab irmin init" in irmin("get", "a", "--root", tmp_path / "x", fails=True)
    irmin("init", "--root", tmp_path / "x")
    assert "is a store already" in irmin("init", "--root", tmp_path / "x", fails=True)
    assert irmin("get", "a", "--root", tmp_path / "x", fails=True) == "irmin: no value at a\n"
    assert "is no step of a path" in irmin("set", "a//b", "1", "--root", tmp_path / "x", fails=True)
    assert "no commit yet" in irmin("snapshot", "--root", tmp_path / "x", fails=True)
    assert "is no name of a commit" in irmin("revert", "zz", "--root", tmp_path / "x", fails=True)
    irmin("set", "a", "0", "--root", tmp_path / "x")
    irmin("clone", "side", "--root", tmp_path / "x")
    irmin("set", "a", "1", "--root", tmp_path / "x")
    irmin("set", "a", "2", "--root", tmp_path / "x", "--branch", "side")
    told = irmin("merge", "side", "--root", tmp_path / "x", fails=True)
    assert "conflicts, and nothing was changed:\n  a: both sides changed it: was '0', ours '1', theirs '2'" in told


def test_what_a_recovery_dropped_is_said(irmin: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    irmin("init", "--root", tmp_path)
    irmin("set", "a", "1", "--root", tmp_path)
    with (tmp_path / "irmin" / "log").open("ab") as log:
        log.write(b"half a frame")
    assert main(["irmin", "get", "a", "--root", str(tmp_path)]) == 0
    out, error = capsys.readouterr()
    assert out == "1\n" and error == "irmin: 0 transactions recovered; 12 bytes dropped: a frame breaks off\n"


def test_counters_and_queues(irmin: Shell, tmp_path: Path) -> None:
    irmin("init", "--root", tmp_path / "n", "--contents", "counter")
    irmin("set", "n", "41", "--root", tmp_path / "n")
    assert irmin("get", "n", "--root", tmp_path / "n") == "41\n" and "no whole number" in irmin("set", "n", "x", "--root", tmp_path / "n", fails=True)
    assert "a store of counter" in irmin("queue", "q", "a", "--root", tmp_path / "n", fails=True)
    irmin("init", "--root", tmp_path / "q", "--contents", "queue")
    assert [irmin("queue", "q", text, "--root", tmp_path / "q") for text in ("a", "b")] == ["1 wait\n", "2 wait\n"]
    assert irmin("queue", "q", "--root", tmp_path / "q") == "a\n" and irmin("queue", "q", "--root", tmp_path / "q") == "b\n"
    assert "nothing waits" in irmin("queue", "q", "--root", tmp_path / "q", fails=True)


def test_every_command_says_what_it_does(irmin: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["irmin", "-h"])
    told = capsys.readouterr().out
    assert all(name in told and act.__doc__ for name, (act, _) in COMMANDS.items())
