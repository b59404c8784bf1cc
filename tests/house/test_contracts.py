"""The rules of imports that the contracts of import-linter cannot say by themselves, and that their lists forget nobody."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "mirage_lab"
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
ROOMS = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
OUTSIDE_ENGINES = {"__init__", "flow", "tcpv4", "tcpv6"}
"""The modules of tcpip.tcp that are skin: they have tasks and timers."""

READS_THE_CLOCK = {"runtime/host.py"}
NAMES_IT_ONLY = {"tool/sealing.py": {"time.sleep"}}
"""What a unikernel must not call is recognised by comparing with it."""

CLOCKS = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "thread_time", "sleep", "localtime"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}
"""By the name a module or class is imported as."""
CHANCE = {
    "random": {"random", "randint", "randrange", "choice", "choices", "sample", "shuffle", "seed", "randbytes", "getrandbits", "uniform", "gauss"},
    "os": {"urandom", "getrandom"},
    "uuid": {"uuid1", "uuid4"},
}


def contract(name: str) -> dict[str, Any]:
    return next(one for one in CONTRACTS if one["name"] == name)


def imports(path: Path) -> Iterator[str]:
    """Yield every module a file imports, as `from a import b` yields both a and a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_module(name: str) -> bool:
    place = ROOT / Path(*name.split("."))
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


def modules(room: str) -> set[str]:
    """Return the modules of the lab that a room imports, itself left out."""
    own = f"mirage_lab.{room}"
    found = {name for path in (PACKAGE / room).rglob("*.py") for name in imports(path) if name.startswith("mirage_lab.") and is_module(name)}
    return {name for name in found if name != own and not name.startswith(own + ".")}


def test_every_engine_of_tcp_is_in_the_contract() -> None:
    engines = {path.stem for path in (PACKAGE / "tcpip" / "tcp").glob("*.py")} - OUTSIDE_ENGINES
    listed = contract("Engines never import the runtime")["source_modules"]
    assert {name.removeprefix("mirage_lab.tcpip.tcp.") for name in listed if ".tcp." in name} == engines
    assert "mirage_lab.tcpip.wire" in listed


def test_every_room_is_kept_from_the_conformance_suites() -> None:
    listed = contract("Nobody imports the conformance suites")["source_modules"]
    assert {name.removeprefix("mirage_lab.") for name in listed} == ROOMS - {"testing"}


def test_examples_import_only_signatures_and_tasks() -> None:
    for name in modules("skeleton"):
        assert name.startswith("mirage_lab.signatures") or name in {"mirage_lab.runtime", "mirage_lab.runtime.tasks"}, name
    for path in (PACKAGE / "skeleton").glob("*.py"):
        for name in imports(path):
            assert not name.startswith("mirage_lab.runtime") or name.startswith("mirage_lab.runtime.tasks"), (path.name, name)


@pytest.mark.parametrize("one, other", [("guest", "dom0"), ("guest", "hypervisor"), ("guest", "xenstore"), ("dom0", "guest"), ("hypervisor", "guest")])
def test_the_sides_of_xen_are_kept_apart_by_a_contract(one: str, other: str) -> None:
    forbidden = [each for each in CONTRACTS if each["type"] == "forbidden"]
    assert any(f"mirage_lab.xen.{one}" in each["source_modules"] and f"mirage_lab.xen.{other}" in each["forbidden_modules"] for each in forbidden)


def test_no_contract_is_made_soft() -> None:
    for one in CONTRACTS:
        assert "ignore_imports" not in one, one["name"]
        for name in [*one.get("source_modules", ()), *one.get("forbidden_modules", ())]:
            assert is_module(name), f"{one['name']}: {name} is not there"


def test_no_room_imports_the_package_root() -> None:
    for room in ROOMS:
        for path in (PACKAGE / room).rglob("*.py"):
            for name in imports(path):
                root, _, rest = name.partition(".")
                assert root != "mirage_lab" or rest.split(".")[0] in ROOMS, (path.name, name)


def draws(tree: ast.AST, forbidden: dict[str, set[str]]) -> set[str]:
    """Return what a module uses of it, called, stored or imported by name; the modules themselves must be imported, not passed in."""
    imported, found = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {alias.asname or alias.name for alias in node.names}
            found |= {f"{node.module}.{alias.name}" for alias in node.names if alias.name in forbidden.get(node.module or "", ()) and node.module != "datetime"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imported:
            found |= {f"{node.value.id}.{node.attr}"} if node.attr in forbidden.get(node.value.id, ()) else set()
    return found


def test_one_file_reads_a_clock_and_nobody_draws_from_common_chance() -> None:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name, tree = path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text())
        used = draws(tree, CHANCE)
        if name not in READS_THE_CLOCK and name.split("/")[0] not in {"jupyter", "sweep"}:
            used |= draws(tree, CLOCKS) - NAMES_IT_ONLY.get(name, set())
        assert not {"secrets"} & set(imports(path)), name
        if used:
            found[name] = used
    assert found == {}


@pytest.mark.parametrize(
    "text",
    ["import time\ntime.time()", "from time import monotonic", "import time\nnow = time.perf_counter", "from datetime import datetime\ndatetime.now()"],
)
def test_reading_a_clock_is_noticed_however_it_is_written(text: str) -> None:
    assert draws(ast.parse(text), CLOCKS)


LINUX = {"lab/xenstored.py", "lab/xensocket.py", "vnetif/tap.py"}
"""What is Linux's own, and says so where it is missing."""


def test_what_only_linux_has_is_named_nowhere_but_in_a_comment() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        drawn = {"fcntl", "resource", "termios", "pty", "pwd", "grp"} & set(imports(path))
        assert drawn <= ({"fcntl"} if path.relative_to(PACKAGE).as_posix() == "vnetif/tap.py" else set()), path.name
        if path.relative_to(PACKAGE).as_posix() not in LINUX:
            assert not draws(ast.parse(path.read_text()), {"os": {"fork"}, "socket": {"AF_UNIX"}}), path.name


def test_the_emulator_of_cpus_is_imported_in_one_file() -> None:
    """Unicorn is GPL v2: an optional extra that one file reaches."""
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if any(name.split(".")[0] == "unicorn" for name in imports(path))}
    assert found == {"vcpu/emulator.py"}
