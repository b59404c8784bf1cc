"""`%lab restore 05`: a fresh copy of a notebook, beside the student's."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mirage_lab.jupyter.restoring import HERE, restore
from mirage_lab.lab import LabError


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A course without git: notebook 05, worked in by a student."""
    there = tmp_path / "course" / "notebooks"
    there.mkdir(parents=True)
    notebook = {
        "cells": [
            {"cell_type": "markdown", "id": "c00", "metadata": {}, "source": ["# Why?"]},
            {
                "cell_type": "code",
                "id": "c01",
                "metadata": {"execution": {"x": 1}},
                "source": ["1 + 1"],
                "outputs": [{"output_type": "stream"}],
                "execution_count": 7,
            },
        ],
        "metadata": {"mirage_lab": {"question": "Why?"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (there / "05-handshake.ipynb").write_text(json.dumps(notebook))
    (there / "06-loss-and-rto.ipynb").write_text(json.dumps(notebook))
    return there


def test_a_copy_has_the_cells_and_no_outputs_and_the_students_file_is_untouched(course: Path, tmp_path: Path) -> None:
    before = (course / "05-handshake.ipynb").read_bytes()
    said = restore("05", tmp_path, course)
    assert said.startswith("05-handshake-fresh.ipynb: a copy of 05-handshake.ipynb as it is in notebooks/") and "worked in" in said
    fresh = json.loads((tmp_path / "05-handshake-fresh.ipynb").read_text())
    assert [cell["source"] for cell in fresh["cells"]] == [["# Why?"], ["1 + 1"]]
    assert fresh["cells"][1]["outputs"] == [] and fresh["cells"][1]["execution_count"] is None and fresh["cells"][1]["metadata"] == {}
    assert (course / "05-handshake.ipynb").read_bytes() == before


def test_nothing_is_ever_written_over(course: Path, tmp_path: Path) -> None:
    (tmp_path / "05-handshake-fresh.ipynb").write_text("mine")
    assert restore("5", tmp_path, course).startswith("05-handshake-fresh-2.ipynb")
    assert restore("05-handshake.ipynb", tmp_path, course).startswith("05-handshake-fresh-3.ipynb")
    assert (tmp_path / "05-handshake-fresh.ipynb").read_text() == "mine"


def test_what_was_committed_is_fresh_whatever_became_of_the_file(course: Path, tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(course)]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "The course"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    (course / "05-handshake.ipynb").write_text("{ half a notebo")
    assert restore("05", tmp_path, course) == "05-handshake-fresh.ipynb: a fresh copy of 05-handshake, outputs cleared; yours is as it was"
    assert json.loads((tmp_path / "05-handshake-fresh.ipynb").read_text())["cells"][0]["source"] == ["# Why?"]


@pytest.mark.parametrize("wanted", ["99", "../05-handshake", "05-*", "", "/etc/passwd", "-5"])
def test_what_is_no_notebook_of_the_course_is_named_with_those_that_are(wanted: str, course: Path, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="05-handshake, 06-loss-and-rto"):
        restore(wanted, tmp_path, course)
    assert not list(tmp_path.glob("*.ipynb"))


def test_an_installation_without_the_checkout_says_where_the_notebooks_are(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="they come with the checkout"):
        restore("05", tmp_path, tmp_path / "site-packages" / "notebooks")


def test_a_file_that_is_no_notebook_any_more_is_told_as_that(course: Path, tmp_path: Path) -> None:
    (course / "05-handshake.ipynb").write_text("{ half a notebo")
    with pytest.raises(LabError, match="not a notebook any more"):
        restore("05", tmp_path, course)


def test_the_magic_restores_a_notebook_and_without_a_name_the_moment(
    ipython: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mirage_lab import Lab

    monkeypatch.chdir(tmp_path)
    with ipython() as shell:
        shell.run_line_magic("load_ext", "mirage_lab")
        shell.run_line_magic("lab", "restore 05")
        told = capsys.readouterr().out
        lab = Lab.demo("hello", seed=1)
        now = lab.now
        shell.run_line_magic("lab", "restore")
        assert lab.now == now and "t = 1.000 s" in capsys.readouterr().out
    assert "05-handshake-fresh.ipynb: a" in told
    assert [path.name for path in tmp_path.iterdir()] == ["05-handshake-fresh.ipynb"] and (HERE / "05-handshake.ipynb").exists()
