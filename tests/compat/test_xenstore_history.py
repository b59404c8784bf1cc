"""git, unmodified, reads the history of a lab's running xenstore."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mirage_lab import Lab, ms


def test_git_clones_the_running_store_of_a_boot(require: Callable[[str], str], tmp_path: Path) -> None:
    git = require("git")
    with Lab.demo("web", seed=1) as lab:
        server = lab.xenstore.serve()
        done = subprocess.run([git, "clone", "-q", server.http, str(tmp_path / "boot")], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

        def ask(*words: str) -> str:
            return subprocess.run([git, "-C", str(tmp_path / "boot"), *words], capture_output=True, text=True, timeout=60, check=True).stdout

        subprocess.run([git, "-C", str(tmp_path / "boot"), "fsck", "--strict"], check=True, capture_output=True, timeout=60)
        graph = ask("log", "--graph", "--format=%an: %s", "main")
        assert "Domain 1: " in graph and "Domain 0: " in graph and len(graph.splitlines()) >= 8
        assert "(value web)" in ask("show", "main:local.dir/domain.dir/1.dir/name.value")
        lab.xenstore.write("/tool/later", "yes")
        lab.run(ms(1))
        ask("fetch", "-q")
        assert "(value yes)" in ask("show", "origin/main:tool.dir/later.value")


# the running store on a socket -----------------------------------------------------------------------------------


@pytest.fixture
def tool(require: Callable[[str], str]) -> Iterator[tuple[Lab, Callable[..., str]]]:
    """Return a lab with a booted domain that plays, and `tool(name, *words)`."""
    with Lab.demo("web", seed=1) as lab:
        socket = lab.xenstore.socket()
        environment = {**os.environ, "XENSTORED_PATH": socket.path}

        def run(name: str, *words: str) -> str:
            with lab.playing_meanwhile():
                done = subprocess.run([require(f"xenstore-{name}"), *words], capture_output=True, text=True, timeout=30, check=True, env=environment)
            return done.stdout

        yield lab, run


def test_the_tools_of_xen_read_and_change_a_running_lab(tool: tuple[Lab, Callable[..., str]]) -> None:
    lab, run = tool
    assert run("read", "/local/domain/1/name") == "web\n"
    assert 'state = "4"' in run("ls", "/local/domain/1/device/vif")
    run("write", "/local/domain/1/data/hello", "there")
    assert lab.vm("web").xenstore.read("data/hello") == "there"
    run("chmod", "/local/domain/1/data/hello", "n0", "r1")
    assert lab.machine.toolstack.xenstore.get_perms("/local/domain/1/data/hello") == ["n0", "r1"]
    run("exists", "/local/domain/1/data/hello")
    assert run("list", "/local/domain") == "0\n1\n"
    run("rm", "/local/domain/1/data/hello")
    assert "hello" not in lab.xenstore.list("/local/domain/1/data")


def test_a_watch_of_a_program_tells_what_a_domain_changes(tool: tuple[Lab, Callable[..., str]], require: Callable[[str], str]) -> None:
    lab, run = tool
    path = lab.xenstore.socket().path
    command = [require("xenstore-watch"), "-n", "2", "/local/domain/1/data"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "XENSTORED_PATH": path}) as watching, lab.playing_meanwhile():
        assert watching.stdout is not None
        assert watching.stdout.readline() == "/local/domain/1/data\n"
        lab.xenstore.write("/local/domain/1/data/x", "1")
        assert watching.stdout.readline() == "/local/domain/1/data/x\n"
        watching.wait(20)
    assert run("read", "/local/domain/1/data/x") == "1\n"


def test_the_same_requests_come_again_in_a_rewind_and_nothing_is_left_at_the_end(tool: tuple[Lab, Callable[..., str]]) -> None:
    lab, run = tool
    run("write", "/tool/a", "1")
    path = lab.xenstore.socket().path
    assert os.stat(path).st_mode & 0o777 == 0o600
    head = lab.xenstore.log(1)[0].name
    lab.rewind(lab.now)
    assert lab.xenstore.log(1)[0].name == head and lab.xenstore.read("/tool/a") == "1"
    assert run("read", "/tool/a") == "1\n"
    again = lab.xenstore.socket().path
    lab.close()
    assert not Path(path).exists() and not Path(again).exists()


def test_a_program_on_the_socket_is_thrown_out_when_xenstored_is_killed_and_can_come_back(tool: tuple[Lab, Callable[..., str]]) -> None:
    lab, run = tool
    run("write", "/tool/a", "1")
    lab.xenstore.restart()
    assert run("read", "/tool/a") == "1\n"
