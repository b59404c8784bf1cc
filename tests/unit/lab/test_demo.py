"""`mirage-lab demo`: the tour in a terminal."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from mirage_lab import devices, unikernel
from mirage_lab.lab.cli import main
from mirage_lab.lab.walk import tree, walk
from mirage_lab.signatures import StackV4
from mirage_lab.skeleton import web


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(seed: int) -> list[str]:
    return [line for kind, line in walk(seed) if kind == "shown"]


def test_the_demo_tells_graph_boot_answer_packets_and_causes() -> None:
    text = "\n".join(shown(1))
    assert "`-- stack = direct_stackv4_with_static_ipv4 10.0.0.2/24: STACKV4\n    `-- NETWORK = netif 0: NETWORK" in text
    assert "t = 0 -> 1.000 s · 2 frames · web: listening on port 80" in text
    assert "HTTP 200\nContent-Length: 6\nConnection: close\n\nhello" in text
    assert "[SYN, ACK] Seq=0 Ack=1" in text
    causes = text.index("net.tx             vif=web length=129")
    assert causes < text.index("evtchn.notify", causes) < text.index("name=event_channel_op.send", causes)
    assert "reproducible: seed 1" in text


def test_the_demo_says_the_same_for_the_same_seed_and_other_things_for_another() -> None:
    assert list(walk(1)) == list(walk(1))
    assert shown(1) != shown(2)


def test_the_lines_that_are_typed_can_be_typed() -> None:
    names: dict[str, object] = {}
    exec("from mirage_lab import Lab, configure, devices, ms, seconds\nfrom mirage_lab.skeleton import web", names)
    exec('tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24", gateway="10.0.0.1")', names)
    exec("job, lab = web(devices.default_console, tcpip), Lab(seed=1)", names)
    for kind, line in walk(1):
        if kind == "typed":
            exec(line, names)
    exec("lab.close()", names)


def test_a_device_that_two_stand_on_is_drawn_whole_once() -> None:
    @unikernel
    async def twice(one: StackV4, other: StackV4) -> None:
        raise AssertionError("never runs")

    tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24")
    lines = tree(twice(tcpip, tcpip))
    assert [line.endswith("(see above)") for line in lines] == [False, False, False, True]
    assert tree(web)[1:] == ["|-- console = console ?: CONSOLE", "`-- stack = stack ?: STACKV4"]


def test_colour_is_for_terminals_and_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    def printed(stream: io.StringIO) -> str:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["demo"]) == 0
        return stream.getvalue()

    monkeypatch.delenv("NO_COLOR", raising=False)
    plain, coloured = printed(io.StringIO()), printed(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" in coloured and coloured.replace("\x1b[1m", "").replace("\x1b[36m", "").replace("\x1b[0m", "") == plain
    assert printed(Terminal()) == plain and "\x1b" not in plain


def test_a_terminal_that_knows_ascii_only_is_survived() -> None:
    words = [sys.executable, "-m", "mirage_lab.lab.cli", "demo"]
    done = subprocess.run(words, capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert b"listening on port 80" in done.stdout and not done.stderr


def test_help_lists_the_demo_among_the_front_ends_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["-h"])
    told = capsys.readouterr().out
    assert all(name in told for name in ("configure", "describe", "demo"))
