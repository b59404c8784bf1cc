"""Fuzz the parsers, and the world with guests, with atheris (libFuzzer): python -m tests.fuzz [--runs N] [--seconds N] [NAME ...]; no name: all at once.

Coverage of the branches taken leads the mutations.  A crash, a hang of more than 10 s or more than 1 GiB ends it and leaves
the bytes in build/fuzz; `python -m tests.fuzz NAME --again FILE` runs them once more, without atheris.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fuzz.targets import Target

HERE = Path(__file__).resolve().parents[2]


def _targets() -> dict[str, Target]:
    """Return the parsers and, where their emulator is installed, the guests."""
    from tests.fuzz.targets import TARGETS

    if find_spec("unicorn") is None:
        return TARGETS
    from tests.fuzz import guests

    return TARGETS | guests.TARGETS


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--runs", type=int, default=0, help="inputs to try (0: until the time is over)")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--again", type=Path, metavar="FILE")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.again is None and not options.list:
        import atheris

        with atheris.instrument_imports(include=["mirage_lab"], enable_loader_override=False):
            targets = _targets()
    else:
        targets = _targets()
    unknown = [name for name in options.names if name not in targets]
    if unknown or options.list:
        sys.exit("\n".join([*(f"there is no target {name!r}, there are:" for name in unknown), *targets]))
    chosen = [targets[name] for name in options.names] or list(targets.values())
    if options.again is not None:
        for target in chosen:
            target.take(options.again.read_bytes())
        return

    def one(data: bytes) -> None:
        if len(chosen) == 1:
            chosen[0].take(data)
        elif data:
            chosen[data[0] % len(chosen)].take(data[1:])

    corpus = HERE / "build" / "fuzz" / ("-".join(options.names).replace(" ", "_") or "all")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, target in enumerate(chosen):
        for at, seed in enumerate(target.seeds):
            (corpus / f"seed-{number}-{at}").write_bytes(seed if len(chosen) == 1 else bytes((number,)) + seed)
    words = [sys.argv[0], f"-max_total_time={options.seconds}", "-timeout=10", "-rss_limit_mb=1024", "-max_len=4096", "-seed=1", f"-artifact_prefix={corpus}/"]
    atheris.Setup([*words, *([f"-runs={options.runs}"] if options.runs else []), "-verbosity=0", "-print_final_stats=1", str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
