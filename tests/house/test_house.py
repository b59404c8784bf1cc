"""The house: what its documents say is true, and its rules hold."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "mirage_lab"
MODULES = sorted(PACKAGE.rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirements(lines: list[str]) -> dict[str, str]:
    """Return {package: constraint}."""
    found = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9_.-]+)(.*)", line.strip())
        assert match is not None, line
        found[match[1].lower().replace("_", "-")] = match[2]
    return found


BY_PIP = ("guests", "native")
"""Extras whose packages conda-forge lacks in part: pip installs them whole."""


def declared() -> dict[str, str]:
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    by_pip = [line for name in BY_PIP for line in extras[name]]
    lines = [*project["dependencies"], *(line for extra in extras.values() for line in extra if line not in by_pip)]
    return requirements(lines)


def test_environment_yml_has_the_same_packages() -> None:
    lines = [line.strip()[2:] for line in (ROOT / "environment.yml").read_text().splitlines() if line.startswith("  - ")]
    conda = requirements([line for line in lines if line != "conda-forge" and not line.startswith(("python>", "pip"))])
    assert conda == declared()


def test_environment_yml_installs_the_lab_itself_with_a_line_that_pip_takes() -> None:
    _, _, pip = (ROOT / "environment.yml").read_text().partition("- pip:\n")
    assert [line.strip() for line in pip.splitlines()] == [f"- -e .[{','.join(BY_PIP)}]"]  # a line of requirements knows no --no-deps


def test_the_lock_has_every_package_with_hashes_and_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text()
    locked = set(re.findall(r"^([a-z0-9_.-]+)==", text, re.MULTILINE))
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = requirements([*PROJECT["project"]["dependencies"], *extras["test"], *extras["build"]])
    assert set(wanted) <= locked
    blocks = re.split(r"^(?=[a-z0-9_.-]+==)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text and "index-url" not in text and "find-links" not in text


def layers() -> list[list[str]]:
    contract = next(one for one in PROJECT["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    assert contract["exhaustive"]
    return [re.findall(r"[a-z0-9]+", line) for line in contract["layers"]]


def test_the_readme_draws_the_house_that_is_checked() -> None:
    readme = (ROOT / "README.md").read_text()
    drawing = re.search(r"```\nmirage_lab/\n(.*?)```", readme, re.DOTALL)
    assert drawing is not None
    rows = [re.split(r"\s{3,}", line.strip())[0] for line in drawing[1].splitlines() if line.strip()]
    there = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    expected = [[room for room in row if room in there] for row in layers()]
    assert [re.findall(r"[a-z0-9]+", row) for row in rows] == [row for row in expected if row]
    assert {room for row in expected for room in row} == there


def test_every_module_the_glossary_names_is_there() -> None:
    names = set(re.findall(r"`(mirage_lab[\w.]*)`", (ROOT / "docs" / "glossary.md").read_text()))
    assert len(names) > 30
    for name in names:
        importlib.import_module(name)


def test_files_the_tour_of_the_internals_names_are_there() -> None:
    for name in re.findall(r"`([\w/]+\.py)`", (ROOT / "docs" / "tour.md").read_text()):
        assert list(PACKAGE.rglob(name)) or (PACKAGE / name).exists(), name


def test_what_the_tour_of_the_internals_names_is_there() -> None:
    classes: dict[str, set[str]] = {}
    for path in MODULES:
        tree = ast.parse(path.read_text())
        named = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        classes.setdefault(path.stem, set()).update(named)
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, set()).update(inner.name for inner in node.body if isinstance(inner, ast.FunctionDef))
    text = (ROOT / "docs" / "tour.md").read_text()
    names = re.findall(r"`(\w+)\.(\w+)`", text)
    assert len(names) > 12
    for owner, name in names:
        assert name == "py" or name in classes[owner], f"{owner}.{name}"


def test_the_trail_of_the_tour_is_what_its_cell_prints() -> None:
    text = (ROOT / "docs" / "tour.md").read_text()
    cell = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", text, re.DOTALL)
    assert cell is not None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(cell[1], {})
    assert printed.getvalue() == cell[2]


def test_importing_the_lab_is_light() -> None:
    heavy = ["networkx", "matplotlib", "pandas", "cryptography", "dulwich", "anywidget", "unicorn", "capstone", "IPython"]
    code = f"import sys\nfrom mirage_lab import Lab, configure, devices\nprint([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, cwd=ROOT).stdout == "[]\n"


def test_modules_are_short() -> None:
    assert {path.name: lines for path in MODULES if (lines := len(path.read_text().splitlines())) > 500} == {}


def test_nobody_prints_below_the_notebook_but_the_command_line() -> None:
    for path in MODULES:
        tree = ast.parse(path.read_text())
        prints = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"]
        assert not prints or path.relative_to(PACKAGE).parts[0] == "jupyter" or path.name == "cli.py", path


def test_every_module_and_public_name_is_documented() -> None:
    for path in MODULES:
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_the_makefile_only_calls_bootstrap() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert targets is not None and targets[1].split() == ["help", "lab", "setup", "check", "test", "notebooks", "bench", "fuzz", "soak"]
    recipes = [line.strip() for line in text.splitlines() if line.startswith("\t")]
    assert all(line.startswith("@echo") or line == "@$(PYTHON) bootstrap.py $@" for line in recipes)


def test_bootstrap_is_standard_library_only_and_the_doctor_speaks() -> None:
    tree = ast.parse((ROOT / "bootstrap.py").read_text())
    imported = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert imported <= set(sys.stdlib_module_names)
    said = subprocess.run([sys.executable, "bootstrap.py", "doctor"], capture_output=True, text=True, cwd=ROOT, check=False).stdout
    lines = said.splitlines()
    checks = [line for line in lines if line.startswith(("ok ", "BAD"))]
    assert len(checks) >= 6 and (lines[-1] == "READY") == all(line.startswith("ok ") for line in checks)
    if lines[-1] != "READY":
        assert lines[-1][0].isdigit()


def test_every_bench_is_measured_and_the_table_names_its_machine() -> None:
    measuring = {path.stem for path in (ROOT / "bench").glob("*.py") if "\ndef run() -> list[Row]:" in path.read_text()}
    main = ast.parse((ROOT / "bench" / "__main__.py").read_text())
    listed = next(node.value for node in main.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODULES")
    assert isinstance(listed, ast.Dict) and {ast.literal_eval(key) for key in listed.keys if key is not None} == measuring
    table = (ROOT / "docs" / "benchmarks.md").read_text()
    assert re.search(r"on one machine: .*\d+ cores.*Python 3\.\d+", table)
    for goal in (">= 200", ">= 100", ">= 1400", ">= 260", ">= 120", "<= 40", "<= 20", "< 1,536", "< 200"):
        assert f"| {goal} |" in table, goal


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_says_its_question_and_carries_no_error(path: Path) -> None:
    notebook = json.loads(path.read_text())
    assert notebook["metadata"]["mirage_lab"]["question"].endswith("?")
    assert notebook["metadata"]["mirage_lab"]["question"] in "".join(notebook["cells"][0]["source"])
    for cell in notebook["cells"]:
        assert all(output["output_type"] != "error" for output in cell.get("outputs", ()))
    if path.stem == "00-tour":
        assert sum(cell["cell_type"] == "code" for cell in notebook["cells"]) <= 15


def test_the_list_of_notebooks_is_made_from_them() -> None:
    lines = ["# Notebooks", "", "One question each. Run them in order, or where your question is.", ""]
    lines += ["| notebook | question | minutes | needs |", "|---|---|---|---|"]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        about = json.loads(path.read_text())["metadata"]["mirage_lab"]
        lines.append(f"| [{path.stem}]({path.name}) | {about['question']} | {about['minutes']} | {about['needs']} |")
    assert (ROOT / "notebooks" / "README.md").read_text() == "\n".join(lines) + "\n"


def test_nothing_of_a_workplace_is_in_the_repository() -> None:
    done = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    for name in done.stdout.splitlines():
        if name.endswith((".py", ".md", ".toml", ".yml", ".ipynb", ".lock")) and name != "tests/house/test_house.py":
            text = (ROOT / name).read_text(encoding="utf-8")
            assert not re.search(r"/work/|/tmp/|/root/|/home/\w", text), name
            assert not re.search(r"^(<{7}|>{7}) ", text, re.MULTILINE), f"{name}: a merge was not finished"


def test_the_picture_of_the_readme_is_the_boot_of_the_demo() -> None:
    from mirage_lab import Lab

    with Lab.demo("web", seed=1) as lab:
        assert (ROOT / "docs" / "boot.svg").read_text() == f"{lab.vm('web')._repr_svg_()}\n"


def documented_events() -> dict[str, set[str]]:
    """Return {event: fields} of docs/events.md."""
    found = {}
    for line in (ROOT / "docs" / "events.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        for name in re.findall(r"`([a-z]+\.[a-z]+)`", cells[1]) if len(cells) > 3 else ():
            found[name] = set(re.findall(r"\w+", cells[2]))
    return found


def test_every_event_is_documented_with_its_fields_and_every_documented_one_exists() -> None:
    from mirage_lab import Lab, devices, seconds
    from mirage_lab.skeleton import web

    documented = documented_events()
    source = "".join(path.read_text() for path in MODULES)
    for name in documented:
        prefix, _, rest = name.partition(".")
        assert f'"{name}"' in source or (f'"{prefix}.' in source and f'"{rest}"' in source) or prefix == "xenstore", name
    with Lab.demo("web", seed=1) as lab:
        lab.machine.world.recorder.enable("*")
        lan = lab.lan("br0", loss=0.3)
        lab.fetch("10.0.0.2")
        tcpip = devices.direct_stackv4_with_static_ipv4(devices.netif("0"), address="10.0.0.2/24")
        vm = lab.create(web(devices.default_console, tcpip), vif=[lan])
        vm.unpause()
        lab.run(seconds(1))
        vm.pause()
        vm.unpause()
        lab.fetch("10.0.0.2", within=seconds(100))
        vm.destroy()
        seen = {event.kind: set(event.fields) for event in lab.events()}
    assert len(seen) > 20
    for kind, fields in seen.items():
        assert kind in documented, kind
        assert fields <= documented[kind] or kind.endswith(".drop"), (kind, fields)
