"""Take out one arm of TCP after another, and see a test fail for each: python -m tests.mutation [--jobs N] [MODULE[:NUMBER] ...]

A module is the name of a file of mirage_lab/tcpip/tcp; without one it is the engine of TCP, all of it (minutes).  An arm whose absence
no test notices is listed, and the exit code is 1, unless tests/mutation/equivalent.py says why nothing can notice it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutation.arms import Arm, arms
from tests.mutation.equivalent import EQUIVALENT

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "mirage_lab" / "tcpip" / "tcp"
MODULES = ("pcb", "calls", "timers", "output", "recovery", "scoreboard", "rack", "prr", "rtt", "reassembly", "numbers", "cookies")
_NAMES = ("rack", "stories", "stories_of_arms", "recovery", "pcb", "tcp_limits", "congestion", "stack", "states", "vnetif_zoo")
TESTS = [f"tests/unit/tcpip/test_{name}.py" for name in _NAMES]
"""The quick ones first: the first that fails is enough."""
PATIENCE = 120
"""Seconds after which the tests hang: without an arm a loop may have no end."""


def noticed(arm: Arm) -> bool:
    """Say whether a test fails without an arm."""
    env = {**os.environ, "MUTANT": f"mirage_lab.tcpip.tcp.{arm.file.stem}:{arm.number}", "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "tests.mutation.taken_out", *TESTS]
    try:
        return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, timeout=PATIENCE, check=False).returncode != 0
    except subprocess.TimeoutExpired:
        return True


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    chosen: list[Arm] = []
    for word in options.modules or MODULES:
        module, _, number = word.partition(":")
        if module not in MODULES:
            parser.error(f"there is no module {module!r}; there are: {', '.join(MODULES)}")
        chosen += [arm for arm in arms(ENGINE / f"{module}.py") if not number or arm.number == int(number)]
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
