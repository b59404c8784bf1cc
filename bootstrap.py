#!/usr/bin/env python3
"""Set up and run mirage_lab with nothing but Python 3.11: makes .venv beside this file and does the work there.

    python3 bootstrap.py lab         install and open JupyterLab at the tour
    python3 bootstrap.py test        install and run every test
    python3 bootstrap.py setup       install only
    python3 bootstrap.py check       ruff, mypy --strict, import contracts
    python3 bootstrap.py notebooks   run the notebooks and compare their outputs
    python3 bootstrap.py bench       measure, and write docs/benchmarks.md
    python3 bootstrap.py fuzz        give the parsers bytes that lie (--seconds for each, or NAMEs)
    python3 bootstrap.py doctor      say what is there, and what to do about what is not
    python3 bootstrap.py wheelhouse DIR    download everything, for machines without a network
    python3 bootstrap.py wheelhouse DIR --for windows-3.12 --for macos-arm-3.13    for other machines than this one
Any of them takes `--from DIR` to install from such a directory.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
LOCK = HERE / "requirements.lock"
STAMP = VENV / "mirage-lab.stamp"
NEEDED = (3, 11)
FREE_MIB = 2_000
QUIET = '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}'
"""Settings of JupyterLab in .venv: nobody is asked about news, and nothing is asked of the internet."""


def python() -> str:
    """Return the interpreter of .venv."""
    return str(VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def run(*command: str, **env: str) -> int:
    """Run a command here and return its exit code."""
    return subprocess.call(command, cwd=HERE, env={**os.environ, **env})


def must(*command: str, why: str) -> None:
    """Run a command; stop with one message if it fails."""
    if run(*command) != 0:
        sys.exit(f"bootstrap: {why} failed; `{Path(sys.argv[0]).name} doctor` looks for the reason")


def fingerprint() -> str:
    """Return what the installed state hangs on."""
    parts = [LOCK.read_bytes(), (HERE / "pyproject.toml").read_bytes(), sys.version.encode(), str(HERE).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def source(directory: str | None) -> list[str]:
    """Return pip's options for installing from a directory instead of an index."""
    if directory is None:
        return []
    if not any(Path(directory).glob("*.whl")):
        sys.exit(f"bootstrap: --from {directory}: no wheels are there; `bootstrap.py wheelhouse DIR`, on a computer with a network, fills a directory")
    return ["--no-index", "--find-links", str(Path(directory).resolve())]


def setup(directory: str | None) -> None:
    """Make .venv and install the locked versions, unless that was done before."""
    if sys.version_info < NEEDED:
        sys.exit(f"bootstrap: Python {NEEDED[0]}.{NEEDED[1]} or newer is needed; this is {sys.version.split()[0]}")
    wheels = source(directory)
    if STAMP.exists() and STAMP.read_text() == fingerprint():
        return
    if not Path(python()).exists():
        print("bootstrap: making .venv", flush=True)
        must(sys.executable, "-m", "venv", "--clear", str(VENV), why="making .venv")
    pip = (python(), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *wheels)
    print("bootstrap: installing the locked packages (about a minute)", flush=True)
    must(*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK), why="installing the locked packages")
    must(*pip, "--no-build-isolation", "--no-deps", "--editable", str(HERE), why="installing mirage_lab")
    quiet = VENV / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    quiet.parent.mkdir(parents=True, exist_ok=True)
    quiet.write_text(QUIET)
    STAMP.write_text(fingerprint())


def server_words() -> list[str]:
    """Return how JupyterLab is started: for this computer only, and without asking the internet for news or newer versions."""
    words = ["-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", "--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        words.append("--allow-root")  # a container, where root is the only user
    return words


def lab(options: argparse.Namespace) -> int:
    """Open JupyterLab at the tour."""
    setup(options.source)
    tour = HERE / "notebooks" / "00-tour.ipynb"
    words = [*server_words(), *(["--no-browser"] if options.no_open else [])]
    if options.dry_run:
        return run(python(), "-m", "jupyterlab", "--version")
    return run(python(), *words, str(tour) if tour.exists() else str(HERE))


def test(options: argparse.Namespace) -> int:
    """Run every test and compare the notebooks."""
    setup(options.source)
    started, failed = time.monotonic(), []
    steps: list[tuple[str, list[str]]] = [
        ("check", []),
        ("unit", ["-q", "tests/unit", "tests/house"]),
        ("unit without Linux", ["-q", "-p", "tests.hidden", "tests/unit"]),
        ("compat", ["-q", "tests/compat"]),
        ("notebooks", ["-q", "-p", "tests.needs", "--nbval", "notebooks"]),
        ("browser", ["-q", "tests/browser"]),
    ]
    for name, words in steps:
        began = time.monotonic()
        if name == "check":
            code = check(options)
        else:
            print(f"bootstrap: {name}", flush=True)
            code = run(python(), "-m", "pytest", *words, MIRAGE_LAB_PROGRESS="off")
        print(f"bootstrap: {name} {'passed' if code == 0 else 'FAILED'} in {time.monotonic() - began:.0f} s", flush=True)
        failed += [name] if code else []
    print(f"bootstrap: {'failed: ' + ', '.join(failed) if failed else 'everything passed'} in {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


def notebooks(options: argparse.Namespace) -> int:
    """Run the notebooks and compare their outputs."""
    setup(options.source)
    return run(python(), "-m", "pytest", "-q", "-p", "tests.needs", "--nbval", "notebooks", MIRAGE_LAB_PROGRESS="off")


def check(options: argparse.Namespace) -> int:
    """Lint, types, import contracts."""
    setup(options.source)
    codes = [
        run(python(), "-m", "ruff", "check", "."),
        run(python(), "-m", "mypy"),
        run(str(Path(python()).with_name("lint-imports" + (".exe" if os.name == "nt" else "")))),
    ]
    return 1 if any(codes) else 0


def bench(options: argparse.Namespace) -> int:
    """Measure."""
    setup(options.source)
    return run(python(), "-m", "bench", *options.rest)


def fuzz(options: argparse.Namespace) -> int:
    """Give the parsers bytes that lie, each for a while, or all of them together."""
    setup(options.source)
    if subprocess.run([python(), "-c", "import atheris"], capture_output=True, check=False).returncode:
        pip = (python(), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *source(options.source))
        why = "installing atheris (it has wheels for Linux on x86-64, Python 3.11 to 3.13)"
        must(*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(HERE / "requirements-fuzz.lock"), why=why)
    names = options.rest
    if not names and not options.together:
        listed = subprocess.run([python(), "-m", "tests.fuzz", "--list"], cwd=HERE, capture_output=True, text=True, check=False)
        names = listed.stderr.splitlines()
    for name in names or [""]:
        print(f"bootstrap: fuzzing {name or 'every parser'} for {options.seconds} s", flush=True)
        code = run(python(), "-m", "tests.fuzz", "--seconds", str(options.seconds), *([name] if name else []))
        if code:
            print(f"bootstrap: {name or 'a parser'} did not bear it; the bytes are in build/fuzz", flush=True)
            return code
    return 0


def soak(options: argparse.Namespace) -> int:
    """Kill the stores again and again while they write, and make histories as long as years make them."""
    setup(options.source)
    print(f"bootstrap: {options.rounds} rounds of each kill, then a million commits", flush=True)
    killed = ["tests/compat/test_irmin.py", "tests/compat/test_xenstore_tools.py", "-k", "killed", "--timeout", "3600"]
    code = run(python(), "-m", "pytest", "-q", *killed, MIRAGE_LAB_ROUNDS=str(options.rounds))
    return run(python(), "-m", "pytest", "-q", "-s", "tests/soak") or code


# Kinds of machine: (os_name, sys_platform) as markers of the lock know them, and the tags of their wheels, newest first.
# There is no Intel Mac: for it argon2-cffi-bindings 26.2.0 (a part of Jupyter's server) has no wheel.
KINDS = {
    "linux": ("posix", "linux", [*(f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)), "manylinux2014_x86_64"]),
    "linux-arm": ("posix", "linux", [*(f"manylinux_2_{minor}_aarch64" for minor in range(28, 16, -1)), "manylinux2014_aarch64"]),
    "macos-arm": ("posix", "darwin", ["macosx_14_0_arm64"]),
    "windows": ("nt", "win32", ["win_amd64"]),
}


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def holds(marker: ast.expr, about: dict[str, str]) -> bool:
    """Say whether a marker of the lock, parsed as Python, holds for a machine."""
    if isinstance(marker, ast.BoolOp):
        return (all if isinstance(marker.op, ast.And) else any)(holds(part, about) for part in marker.values)
    assert isinstance(marker, ast.Compare) and isinstance(marker.left, ast.Name) and isinstance(marker.comparators[0], ast.Constant)
    has, wanted = about[marker.left.id], str(marker.comparators[0].value)
    if isinstance(marker.ops[0], ast.Eq):
        return has == wanted
    if isinstance(marker.ops[0], ast.NotEq):
        return has != wanted
    return _order(has) < _order(wanted) if isinstance(marker.ops[0], ast.Lt) else _order(has) >= _order(wanted)


def locked(text: str, kind: str, version: str) -> str:
    """Return the lines of a lock that are for a machine with this full version of Python, without their markers.

    pip judges markers by the machine it runs on, also when it downloads for another.
    """
    about = {"os_name": KINDS[kind][0], "sys_platform": KINDS[kind][1], "python_full_version": version}
    about.update(platform_python_implementation="CPython", implementation_name="cpython")
    lines, wanted = [], True
    for line in text.splitlines():
        if line[:1].isalnum():
            name, _, rest = line.partition(" ; ")
            wanted = not rest or holds(ast.parse(rest.rstrip(" \\"), mode="eval").body, about)
            line = f"{name} \\" if rest else line
        lines += [line] if wanted else []
    return "\n".join(lines) + "\n"


def wheelhouse(options: argparse.Namespace) -> int:
    """Download what `setup` installs into a directory: for this platform and Python, or for others."""
    for machine in options.machines:
        kind, _, version = machine.rpartition("-")
        if kind not in KINDS or not version.startswith("3.") or not version[2:].isdigit() or _order(version) < NEEDED:
            sys.exit(f"bootstrap: --for {machine}: one of {', '.join(KINDS)}, a dash, and 3.{NEEDED[1]} or newer, such as windows-3.12")
    Path(options.directory).mkdir(parents=True, exist_ok=True)
    words = ("-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--require-hashes", "--only-binary", ":all:")
    chosen = sys.executable if _has("pip") else python()
    if not Path(chosen).exists():
        sys.exit("bootstrap: pip is needed to download; run: bootstrap.py setup, which brings one, and then this again")
    if not options.machines:
        code = run(chosen, *words, "-d", options.directory, "-r", str(LOCK))
    else:
        code = max(download([chosen, *words, "-d", options.directory], machine) for machine in options.machines)
    if code == 0:
        print(f"bootstrap: {len(list(Path(options.directory).glob('*.whl')))} wheels in {options.directory}; then: bootstrap.py lab --from {options.directory}")
    return code


def download(pip: list[str], machine: str) -> int:
    """Download for a machine such as "windows-3.12": for the first and the last Python of that minor, which may differ."""
    kind, _, version = machine.rpartition("-")
    text = LOCK.read_text(encoding="utf-8")
    tags = [word for tag in KINDS[kind][2] for word in ("--platform", tag)]
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "requirements.txt")
        print(f"bootstrap: downloading for {machine}", flush=True)
        for full in {locked(text, kind, full): full for full in (f"{version}.99", f"{version}.0")}.values():
            file.write_text(locked(text, kind, full), encoding="utf-8")
            # no dependencies are looked for: the lock names them all, and pip would ask the markers of this machine
            code = run(*pip, *tags, "--python-version", full, "--implementation", "cp", "--no-deps", "-r", str(file))
            if code != 0:
                print(f"bootstrap: {machine}: not everything is there as a wheel", flush=True)
                return code
    return 0


def doctor(options: argparse.Namespace) -> int:
    """Print a line per check, then READY or what to do."""
    remedies: list[str] = []

    def line(good: bool, what: str, remedy: str) -> None:
        print(f"{'ok ' if good else 'BAD'} {what}")
        if not good:
            remedies.append(remedy)

    version = sys.version.split()[0]
    line(sys.version_info >= NEEDED, f"Python {version} (3.11 or newer is needed)", "install Python 3.11 or newer and run this with it")
    line(_has("venv") and _has("ensurepip"), "module venv", "install your system's venv package (Debian: python3-venv)")
    free = shutil.disk_usage(HERE).free >> 20
    line(free > FREE_MIB or STAMP.exists(), f"{free:,} MiB of disk free ({FREE_MIB:,} are needed to install)", "free some disk space")
    line(os.access(HERE, os.W_OK), f"{HERE.name} can be written", "copy the project to a directory of your own")
    line(_loopback(), "127.0.0.1 accepts connections", "allow programs to listen on 127.0.0.1 (a firewall or sandbox forbids it)")
    done = STAMP.exists() and STAMP.read_text() == fingerprint()
    line(done, "packages installed and up to date", "run: python3 bootstrap.py setup (without a network: --from DIR)")
    if done:
        code = subprocess.call([python(), "-c", "import mirage_lab, jupyterlab"], cwd=HERE, stderr=subprocess.DEVNULL)
        line(code == 0, "mirage_lab and JupyterLab import", "remove .venv and run: python3 bootstrap.py setup")
    for number, remedy in enumerate(remedies, 1):
        print(f"{number}. {remedy}")
    if not remedies:
        print("READY")
    return 1 if remedies else 0


def _has(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def _loopback() -> bool:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()[:2], timeout=5):
            return True
    except OSError:
        return False


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    named = {"lab": lab, "test": test, "setup": None, "check": check, "notebooks": notebooks, "bench": bench, "fuzz": fuzz, "soak": soak}
    named |= {"doctor": doctor, "wheelhouse": wheelhouse}
    for name, function in named.items():
        sub = commands.add_parser(name, help=(function or setup).__doc__)
        sub.add_argument("--from", dest="source", metavar="DIR", help="install from a directory of wheels, without a network")
        sub.set_defaults(function=function)
        if name == "lab":
            sub.add_argument("--no-open", action="store_true", help="do not open a browser")
            sub.add_argument("--dry-run", action="store_true", help="install, and only say which JupyterLab would run")
        if name == "wheelhouse":
            sub.add_argument("directory")
            told = "such as windows-3.12 or macos-arm-3.13; may be repeated"
            sub.add_argument("--for", dest="machines", metavar="MACHINE", action="append", default=[], help=told)
        if name in ("bench", "fuzz"):
            sub.add_argument("rest", nargs="*")
        if name == "soak":
            sub.add_argument("--rounds", type=int, default=200, help="how often each writer is killed")
        if name == "fuzz":
            sub.add_argument("--seconds", type=int, default=60, help="for each parser")
            sub.add_argument("--together", action="store_true", help="all parsers in one go")
    options = parser.parse_args()
    if options.function is None:
        setup(options.source)
        return 0
    return int(options.function(options))


if __name__ == "__main__":
    sys.exit(main())
