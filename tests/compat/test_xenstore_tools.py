"""xenstored on a Unix socket, judged by the tools of Xen: xenstore-read, -write, -ls, -chmod, -watch, unmodified."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mirage_lab.xen.abi.io import xs_wire as wire
from mirage_lab.xen.xenstore.transaction import ENGINES

ROUNDS = int(os.environ.get("MIRAGE_LAB_ROUNDS", "8"))
"""How often the daemon is killed; `make soak` does it more often."""
SUITE = Path("/usr/lib/xen-4.17/bin/test-xenstore")


def ask(sock: socket.socket, op: int, payload: bytes, tid: int = 0) -> bytes:
    """The answer to a message over the socket."""
    sock.sendall(wire.message(op, 1, tid, payload))
    head = sock.recv(16, socket.MSG_WAITALL)
    return sock.recv(wire.HEADER.unpack(head)[3], socket.MSG_WAITALL)


@contextmanager
def daemon(path: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A daemon of its own, ended at the end."""
    command = [sys.executable, "-m", "mirage_lab.lab.cli", "xenstored", "--path", str(path), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("xenstored: XENSTORED_PATH="), process.poll()
        try:
            yield process
        finally:
            process.terminate()


class Tools:
    """The tools, talking to one socket."""

    def __init__(self, require: Callable[[str], str], path: Path) -> None:
        self.require = require
        self.environment = {**os.environ, "XENSTORED_PATH": str(path)}

    def __call__(self, name: str, *words: str, fails: bool = False) -> str:
        done = subprocess.run([self.require(f"xenstore-{name}"), *words], capture_output=True, text=True, timeout=30, check=False, env=self.environment)
        assert bool(done.returncode) == fails, done.stderr
        return done.stderr if fails else done.stdout

    def attempt(self, name: str, *words: str) -> str:
        """Return what a tool complained of, "" when it did not."""
        words = (self.require(f"xenstore-{name}"), *words)
        return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False, env=self.environment).stderr


@pytest.fixture
def tools(require: Callable[[str], str], tmp_path: Path) -> Tools:
    require("xenstore-ls")
    return Tools(require, tmp_path / "s")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kept", ["memory", "disk"])
def test_the_suite_of_xen_finds_no_fault(require_file: Callable[[Path, str], Path], tmp_path: Path, engine: str, kept: str) -> None:
    """test-xenstore: reads, writes, lists and removals of every size, transactions that meet others, and all of it at random."""
    program = require_file(SUITE, "xen-utils-4.17")
    words = () if kept == "memory" else ("--database", str(tmp_path / "db"))
    with daemon(tmp_path / "s", "--engine", engine, *words):
        for more in (("-i", "20"), ("-r", "1")):
            environment = {**os.environ, "XENSTORED_PATH": str(tmp_path / "s")}
            done = subprocess.run([str(program), *more], capture_output=True, text=True, timeout=60, check=False, env=environment)
            assert done.returncode == 0 and "failed" not in done.stdout, done.stdout + done.stderr
            if more[0] == "-i":
                assert len(done.stdout.splitlines()) == 12, done.stdout


def test_the_tools_read_write_list_and_remove(tools: Tools, tmp_path: Path) -> None:
    with daemon(tmp_path / "s"):
        tools("write", "/a/b/c", "42", "/a/b", "both", "/local/domain/7/name", "Dömain 7")
        assert tools("read", "/a/b/c", "/a/b") == "42\nboth\n"
        assert tools("list", "/a") == "b\n" and tools("list", "-p", "/a") == "/a/b\n"
        tools("chmod", "/a/b", "n0", "r1", "b2")
        assert "/a/b = \"both\"   (n0,r1,b2)" in tools("ls", "-p", "-f", "/")
        tools("chmod", "@releaseDomain", "n0", "r7")
        tools("chmod", "@something", "n0", "r7", fails=True)
        tools("exists", "/a/b/c")
        tools("exists", "/a/x", fails=True)
        assert "couldn't read path /a/x" in tools("read", "/a/x", fails=True)
        tools("rm", "/a/b")
        assert tools("list", "/a") == ""
        tools("write", "-s", "/one/two/three", "4", "/five/six/seven", "8")
        assert 'three = "4"' in tools("ls", "-s", "/")


def test_a_directory_longer_than_a_message_is_listed_whole(tools: Tools, tmp_path: Path) -> None:
    with daemon(tmp_path / "s"):
        names = [f"name-{number:04}" for number in range(900)]
        for at in range(0, len(names), 300):
            tools("write", *(word for name in names[at : at + 300] for word in (f"/big/{name}", "1")))
        assert sorted(tools("list", "/big").split()) == names


def test_a_watch_is_told(tools: Tools, tmp_path: Path, require: Callable[[str], str]) -> None:
    with daemon(tmp_path / "s"):
        tools("write", "/w", "0")
        with subprocess.Popen([require("xenstore-watch"), "-n", "2", "/w"], stdout=subprocess.PIPE, text=True, env=tools.environment) as watch:
            assert watch.stdout is not None and watch.stdout.readline() == "/w\n"
            tools("write", "/w/x", "1")
            assert watch.stdout.readline() == "/w/x\n" and watch.wait(10) == 0


def test_the_history_is_a_git_log_and_is_there_at_the_next_start(tools: Tools, tmp_path: Path, require: Callable[[str], str]) -> None:
    git, database = require("git"), tmp_path / "db"

    def log(*words: str) -> str:
        return subprocess.run([git, "-C", str(database), *words], capture_output=True, text=True, check=True, timeout=30).stdout

    with daemon(tmp_path / "s", "--database", str(database)):
        tools("write", "/one/two/three", "4")
        tools("write", "/vm/a", "1", "/vm/b", "2")
        tools("chmod", "/one/two", "n5", "r1")
    told = log("log", "--pretty=%an: %s", "main")
    assert "Domain 0: Domain 0: write /one/two/three = 4" in told and "Domain 0: Domain 0: transaction" in told
    assert log("show", "main:one.dir/two.dir/three.value") == "((creator 0)(perms((owner 0)(other NONE)(acl())))(value 4))"
    log("fsck", "--full", "--strict")
    with daemon(tmp_path / "s", "--database", str(database)):
        assert tools("read", "/one/two/three", "/vm/b") == "4\n2\n" and "(n5,r1)" in tools("ls", "-p", "/one")
        tools("write", "/one/two/three", "5")
    assert log("log", "-1", "--pretty=%s", "main") == "Domain 0: write /one/two/three = 5\n"


@pytest.mark.parametrize(("engine", "conflict"), [("irmin", False), ("naive", True), ("serial", True)])
def test_engines_differ_in_what_a_conflict_is(tools: Tools, tmp_path: Path, engine: str, conflict: bool) -> None:
    """Two transactions that make siblings: the tool retries an EAGAIN, so the log counts how often a transaction was begun."""
    with daemon(tmp_path / "s", "--engine", engine):
        tools("write", "/d", "")
        with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
            for sock in (one, two):
                sock.connect(str(tmp_path / "s"))
            tids = [int(ask(sock, wire.TRANSACTION_START, b"\0")[:-1]) for sock in (one, two)]
            for sock, tid, name in zip((one, two), tids, (b"x", b"y")):
                ask(sock, wire.WRITE, b"/d/" + name + b"\0v", tid)
            ends = [ask(sock, wire.TRANSACTION_END, b"T\0", tid) for sock, tid in zip((one, two), tids)]
        assert ends == [b"OK\0", b"EAGAIN\0" if conflict else b"OK\0"]


def test_no_acknowledged_write_is_lost_when_the_daemon_is_killed(tools: Tools, tmp_path: Path, require: Callable[[str], str]) -> None:
    rng, database, last = random.Random(3), tmp_path / "db", 0
    for _ in range(ROUNDS):
        with daemon(tmp_path / "s", "--database", str(database)) as process:
            if last:
                assert int(tools("read", "/n/last")) >= last
                last = int(tools("read", "/n/last"))
            killer = threading.Timer(0.05 + rng.random() * 0.3, process.kill)
            killer.start()
            while True:
                words = [require("xenstore-write"), "/n/last", str(last + 1), "/n/copy", str(last + 1)]
                done = subprocess.run(words, capture_output=True, timeout=30, check=False, env=tools.environment)
                if done.returncode:
                    break
                last += 1
            killer.join()
            process.wait(10)
    with daemon(tmp_path / "s", "--database", str(database)):
        found = int(tools("read", "/n/last"))
        assert found >= last > ROUNDS and int(tools("read", "/n/copy")) == found


def test_a_full_disk_is_enospc_and_what_was_acknowledged_stays(tools: Tools, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("limits of another process are Linux's")
    database = tmp_path / "db"
    with daemon(tmp_path / "s", "--database", str(database)) as process:
        tools("write", "/n", "0")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        last = 0
        while not (said := tools.attempt("write", "/n", f"{last + 1:01000}")):
            assert last < 100
            last += 1
        assert last > 3 and said == "xenstore-write: could not write path /n\n" and int(tools("read", "/n")) == last
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(tmp_path / "s"))
            assert ask(sock, wire.WRITE, b"/n\0" + b"1" * 1_000) == b"ENOSPC\0"
        assert "couldn't end transaction" in tools.attempt("write", "/n", "1", "/m", "1" * 1_000) and int(tools("read", "/n")) == last
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        tools("write", "/room", "again")
        process.kill()
        process.wait(10)
    with daemon(tmp_path / "s", "--database", str(database)) as process:
        assert int(tools("read", "/n")) == last and tools("read", "/room") == "again\n"
        tools("exists", "/m", fails=True)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20, resource.RLIM_INFINITY))
        process.terminate()
        assert process.wait(10) == 1, "a checkpoint that cannot be made is told, and is no loss"
    with daemon(tmp_path / "s", "--database", str(database)):
        assert int(tools("read", "/n")) == last


def test_whatever_is_sent_the_daemon_lives(tools: Tools, tmp_path: Path) -> None:
    rng = random.Random(9)
    with daemon(tmp_path / "s"):
        for _ in range(60):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(tmp_path / "s"))
                with contextlib.suppress(OSError):
                    sock.sendall(rng.randbytes(rng.randint(1, 5_000)))
        tools("write", "/alive", "yes")
        assert tools("read", "/alive") == "yes\n"
