"""The cells of the README, run as printed, and what a killed kernel leaves behind: nothing."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def cells() -> list[str]:
    text = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert text is not None
    return text[1].split("# --\n")


@pytest.mark.filterwarnings("ignore")
def test_the_cells_of_the_readme_run_as_printed(
    ipython: Any, require: Callable[[str], str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("curl")
    monkeypatch.chdir(tmp_path)
    shown: list[str] = []
    with ipython() as shell:
        for cell in cells():
            capsys.readouterr()
            result = shell.run_cell(cell)
            assert result.success, (cell, result.error_in_exec)
            shown.append(repr(result.result) if result.result is not None else capsys.readouterr().out)
    told = "\n".join(shown)
    assert "web needs 2 devices: console (CONSOLE), stack (STACKV4). In MirageOS: CONSOLE -> STACKV4 -> JOB" in told
    assert "t = 0 -> 1.000 s · 2 frames · web: listening on port 80 · next: lab.forward(vm, 80)" in told
    assert "connections wait until lab.run(...), lab.play() or %host" in told
    assert any(text.startswith("hello\n") and "curl" in text and "ended with 0" in text for text in shown)
    assert (tmp_path / "web.pcapng").stat().st_size > 1_000


PROGRAM = """
import sys, time
from mirage_lab import Lab
lab = Lab.demo("web", seed=1)
site = lab.forward("web", 80, host_port=int(sys.argv[1]) or None)
lab.play()
print(site.host_port, flush=True)
time.sleep(60)
"""


def test_a_kernel_that_was_killed_leaves_no_port_behind(require: Callable[[str], str]) -> None:
    curl, port = require("curl"), "0"
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, port], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            answer = subprocess.run([curl, "-sS", "--max-time", "20", f"http://127.0.0.1:{port}/"], capture_output=True, check=True)
            assert answer.stdout == b"hello\n"
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=20)
