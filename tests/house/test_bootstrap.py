"""bootstrap.py on a computer that has nothing yet: what it says, without installing anything."""

from __future__ import annotations

import ast
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Return a copy of what bootstrap.py reads, with nothing installed beside it."""
    for name in ("bootstrap.py", "pyproject.toml", "requirements.lock", "Makefile"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def wheel(where: Path) -> Path:
    """Return a directory with a wheel that nobody wants."""
    directory = where / "wheels"
    directory.mkdir()
    (directory / "empty-1-py3-none-any.whl").write_bytes(b"")
    return directory


def say(where: Path, *words: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "bootstrap.py", *words], capture_output=True, text=True, cwd=where, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_doctor_numbers_the_remedies_of_what_is_missing(fresh: Path) -> None:
    code, said, _ = say(fresh, "doctor")
    lines = said.splitlines()
    bad = [line for line in lines if line.startswith("BAD ")]
    remedies = [line for line in lines if re.match(r"\d+\. ", line)]
    assert code == 1 and "READY" not in lines
    assert "BAD packages installed and up to date" in bad and len(bad) == len(remedies)
    assert [int(line.split(".")[0]) for line in remedies] == list(range(1, len(remedies) + 1))
    assert "bootstrap.py setup" in remedies[-1]
    assert not (fresh / ".venv").exists()


def test_installing_from_a_directory_without_wheels_says_so_before_anything_is_made(fresh: Path) -> None:
    for directory in ("nowhere", "."):
        code, _, said = say(fresh, "lab", "--from", directory)
        assert code == 1 and f"--from {directory}: no wheels are there" in said and "wheelhouse DIR" in said
        assert len(said.splitlines()) == 1
    assert not (fresh / ".venv").exists()


def test_every_command_of_the_house_is_there_and_explains_itself(fresh: Path) -> None:
    code, said, _ = say(fresh, "--help")
    assert code == 0
    for command in ("lab", "test", "check", "doctor", "wheelhouse", "bench", "setup", "notebooks"):
        assert re.search(rf"bootstrap\.py {command}\b", said), command
    assert say(fresh, "lab", "--help")[0] == 0


def test_a_python_that_is_too_old_reads_the_file_and_says_so() -> None:
    text = (ROOT / "bootstrap.py").read_text()
    ast.parse(text, feature_version=(3, 8))
    assert text.index("is needed; this is") < text.index("bootstrap: making .venv")


def test_a_virtual_environment_of_a_python_that_is_gone_is_made_again(fresh: Path) -> None:
    binaries = fresh / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(fresh / "a-python-that-was-removed")
    (fresh / "requirements.lock").write_text("")
    code, said, told = say(fresh, "setup", "--from", str(wheel(fresh)))
    assert "bootstrap: making .venv" in said and (binaries / "python").exists()
    assert code == 1 and "bootstrap: installing mirage_lab failed; `bootstrap.py doctor` looks for the reason" in told
    assert not (fresh / ".venv" / "mirage-lab.stamp").exists()


def test_make_alone_lists_its_targets(fresh: Path, require: Callable[[str], str]) -> None:
    said = subprocess.run([require("make"), "--no-print-directory"], capture_output=True, text=True, cwd=fresh, check=True).stdout
    assert [line.split()[1] for line in said.splitlines()] == ["lab", "test", "setup", "check", "notebooks", "bench", "fuzz", "soak"]


def requirements(kind: str, version: str) -> dict[str, str]:
    """Return {package: version} of what the lock has for such a machine."""
    locked = runpy.run_path(str(ROOT / "bootstrap.py"))["locked"]
    text = locked((ROOT / "requirements.lock").read_text(), kind, version)
    assert ";" not in text and text.count("--hash=") > text.count("==")
    found = re.findall(r"^([\w.-]+)==([\w.]+) \\\n    --hash", text, re.MULTILINE)
    assert len(found) == len(dict(found)) == text.count("==")
    return dict(found)


def test_wheels_for_another_machine_are_chosen_by_its_markers_and_not_by_ours() -> None:
    windows, linux, mac = requirements("windows", "3.12.0"), requirements("linux", "3.12.0"), requirements("macos-arm", "3.12.0")
    assert {"colorama", "pywinpty"} <= set(windows) and not {"pexpect", "ptyprocess", "appnope"} & set(windows)
    assert {"pexpect", "ptyprocess"} <= set(linux) and not {"colorama", "pywinpty", "appnope"} & set(linux)
    assert set(mac) - set(linux) == {"appnope"} and set(linux) <= set(mac)
    assert len(windows) > 100
    old, new = requirements("linux", "3.11.2"), requirements("linux", "3.11.9")
    assert old["numpy"] == new["numpy"] != linux["numpy"]
    assert (old["soupsieve"], new["soupsieve"]) == ("2.10", "4.1.2")  # Debian 12 has 3.11.2


def test_a_machine_nobody_knows_is_refused_with_those_that_are_known(fresh: Path) -> None:
    for machine in ("dos-3.12", "windows", "windows-3.10", "windows-3.x"):
        code, _, said = say(fresh, "wheelhouse", "wheels", "--for", machine)
        assert code == 1 and f"--for {machine}: one of linux, linux-arm, macos-arm, windows, a dash, and 3.11 or newer" in said
    assert not (fresh / "wheels").exists()
