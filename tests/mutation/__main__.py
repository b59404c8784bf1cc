"""Take out one arm of TCP after another, and see a test fail for each: python -m tests.mutation [--jobs N] [--stories] [MODULE[:NUMBER] ...]

A module is the name of a file of mirage_lab/tcpip/tcp; without one it is the engine of TCP, all of it (minutes).  An arm whose absence
no test notices is listed, and the exit code is 1, unless tests/mutation/equivalent.py says why nothing can notice it.

With --stories it is the other way round: a story that goes on as it was told whatever is taken out is listed.  It holds the engine to nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutation.arms import Arm, arms
from tests.mutation.equivalent import EQUIVALENT

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "mirage_lab" / "tcpip" / "tcp"
MODULES = ("pcb", "calls", "timers", "output", "recovery", "scoreboard", "rack", "prr", "rtt", "reassembly", "numbers", "cookies", "variables")
_NAMES = ("rack", "stories", "stories_of_arms", "recovery", "pcb", "tcp_limits", "congestion", "stack", "states", "vnetif_zoo")
TESTS = [f"tests/unit/tcpip/test_{name}.py" for name in _NAMES]
"""The quick ones first: the first that fails is enough."""
STORIES = ("tests/unit/tcpip/test_stories.py", "tests/unit/tcpip/test_stories_of_arms.py")
PATIENCE = 120
"""Seconds after which the tests hang: without an arm a loop may have no end."""


def _run(arm: Arm, words: Sequence[str], told: str = "") -> bool:
    """Say whether a test fails without an arm."""
    env = {**os.environ, "MUTANT": f"mirage_lab.tcpip.tcp.{arm.file.stem}:{arm.number}", "PYTHONDONTWRITEBYTECODE": "1"}
    if told:
        env["NOTICED"] = told
    words = [sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-p", "tests.mutation.taken_out", *words]
    try:
        return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, timeout=PATIENCE, check=False).returncode != 0
    except subprocess.TimeoutExpired:
        return True


def noticed(arm: Arm) -> bool:
    """Say whether one of all tests fails without an arm."""
    return _run(arm, ["-x", *TESTS])


def failing(arm: Arm) -> set[str]:
    """The stories that fail without an arm, by the names pytest gives them."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "noticed"
        _run(arm, STORIES, str(file))
        return set(file.read_text("utf-8").splitlines()) if file.exists() else set()


def stories() -> list[str]:
    """Every story, by the name pytest gives it."""
    words = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *STORIES]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    return [line for line in said.splitlines() if "::test_story" in line]


def _without_each(chosen: list[Arm], jobs: int) -> int:
    """List the stories that no arm of `chosen` makes fail."""
    left = stories()
    there = len(left)
    with ThreadPoolExecutor(jobs) as pool:
        for names in pool.map(failing, chosen):
            left = [name for name in left if name not in names]
    for name in left:
        sys.stderr.write(f"fails for no arm: {name}\n")
    sys.stderr.write(f"{there - len(left)} of {there} stories fail when an arm is taken out ({len(chosen)} arms)\n")
    return 1 if left else 0


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--stories", action="store_true", help="which stories does no arm make fail?")
    options = parser.parse_args()
    chosen: list[Arm] = []
    for word in options.modules or MODULES:
        module, _, number = word.partition(":")
        if module not in MODULES:
            parser.error(f"there is no module {module!r}; there are: {', '.join(MODULES)}")
        chosen += [arm for arm in arms(ENGINE / f"{module}.py") if not number or arm.number == int(number)]
    if options.stories:
        return _without_each(chosen, options.jobs)
    wanted = [arm for arm in chosen if arm.key not in EQUIVALENT]
    sys.stderr.write(f"{len(wanted)} arms, and {len(chosen) - len(wanted)} that nothing can miss\n")
    missed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for arm, seen in zip(wanted, pool.map(noticed, wanted), strict=True):
            if not seen:
                missed += 1
                sys.stderr.write(f"nothing noticed: {arm.file.name}:{arm.line} {arm.number} {arm.key}\n")
                sys.stderr.flush()
    sys.stderr.write(f"{len(wanted) - missed} of {len(wanted)} arms are missed by a test\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
