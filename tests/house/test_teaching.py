"""docs/teaching: it names what exists, and each message it quotes is what the lab says to that mistake."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from IPython.utils.capture import capture_output

ROOT = Path(__file__).resolve().parents[2]
TEACHING = ROOT / "docs" / "teaching"
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
MISTAKE = re.compile(r"```python\n(.*?)```\n```text\n(.*?)\n```", re.DOTALL)


def sections() -> dict[str, str]:
    """Return {notebook: what is said about it}."""
    parts = re.split(r"^## (.+)$", (TEACHING / "notebooks.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def said(shell: Any, source: str) -> str:
    """Run a cell; return what it prints, shows and raises."""
    with capture_output() as captured:
        done = shell.run_cell(source)
    error = done.error_in_exec or done.error_before_exec
    return f"{captured.stdout}{captured.stderr}\n{done.result!r}\n{error}"


def test_every_notebook_has_its_section_and_its_minutes() -> None:
    assert list(sections()) == list(NOTEBOOKS)
    for stem, text in sections().items():
        minutes = json.loads(NOTEBOOKS[stem].read_text(encoding="utf-8"))["metadata"]["mirage_lab"]["minutes"]
        assert text.strip().startswith(f"{minutes} minutes"), stem
        assert len(MISTAKE.findall(text)) >= 3 and text.count("```python") == len(MISTAKE.findall(text)), stem


@pytest.mark.parametrize("stem", list(sections()))
def test_the_lab_says_what_is_quoted(stem: str, ipython: Any, require: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRAGE_LAB_PROGRESS", "off")
    notebook = json.loads(NOTEBOOKS[stem].read_text(encoding="utf-8"))
    for program in notebook["metadata"]["mirage_lab"]["needs"].split(", "):
        if program != "nothing":
            require(program)
    with ipython() as shell:
        shell.display_formatter.active_types = ["text/plain"]
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                said(shell, "".join(cell["source"]))
        for mistake, message in MISTAKE.findall(sections()[stem]):
            heard = said(shell, mistake)
            assert message in heard, f"{mistake}{heard}"


def test_the_commands_and_the_remedies_that_are_printed_exist() -> None:
    text, bootstrap = (TEACHING / "README.md").read_text(encoding="utf-8"), (ROOT / "bootstrap.py").read_text(encoding="utf-8")
    for command in set(re.findall(r"bootstrap\.py (\w+)", text)):
        assert f'"{command}"' in bootstrap, command
    for message in (
        "install your system's venv package",
        "allow programs to listen on 127.0.0.1",
        "free some disk space",
        "copy the project to a directory of your own",
    ):
        assert message in text and message in bootstrap, message
    assert "or newer is needed" in text and "or newer is needed" in bootstrap and "remove .venv and run" in bootstrap
    for kind in re.findall(r"--for ([a-z-]+)-3\.\d+", text):
        assert f'"{kind}": (' in bootstrap, kind
    for stem in re.findall(r"\b\d\d-[a-z-]+", text):
        assert stem in NOTEBOOKS, stem
