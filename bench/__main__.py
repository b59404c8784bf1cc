"""`python -m bench`: measure everything, print the table, and write docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from bench import boot, displayfilter, domains, guests, hypercalls, imports, irmin, native, plots, scheduler, tap, tcp, widgets, xenstore
from bench.row import Row

MODULES = {
    "tcp": tcp, "tap": tap, "boot": boot, "domains": domains, "scheduler": scheduler, "imports": imports, "widgets": widgets, "displayfilter": displayfilter,
    "plots": plots, "irmin": irmin, "xenstore": xenstore, "native": native, "guests": guests, "hypercalls": hypercalls,
}
HEAD = """# What it costs

Measured by `make bench` (`python3 bootstrap.py bench`), best of several runs, on one machine: {machine}. Times vary between machines and moments;
the ratios (ours to the peer's, of the same unit) vary less. Goals are what we aim at; no test depends on them.

| what | measured | goal | | peer | ratio |
|---|---|---|---|---|---|
"""


def machine() -> str:
    """Return processor, cores, system and Python."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def line(row: Row) -> str:
    """Return a row of the table."""
    value = f"{row.value:,.0f}" if row.value >= 100 else f"{row.value:.3g}"
    met = "" if row.met is None else "met" if row.met else "not met"
    ratio = f"{row.ratio:.3g}" if row.ratio is not None else ""
    return f"| {row.what} | {value} {row.unit} | {row.goal} | {met} | {row.peer} | {ratio} |"


def main(names: list[str]) -> None:
    """Measure what is named, or everything; only a full run writes the file."""
    lines = []
    for name, module in MODULES.items():
        if not names or name in names:
            for row in module.run():
                lines.append(line(row))
                print(lines[-1], flush=True)
    if not names:
        target = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
        target.write_text(HEAD.format(machine=machine()) + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
