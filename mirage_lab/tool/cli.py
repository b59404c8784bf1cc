"""mirage-lab: configure, depend, build, run, clean: the command line of the front end.

The console script is `mirage_lab.lab.cli`, which adds what needs a lab (`Extra`).

Exit codes are those of mirage: 0, 123 for an error that was explained, 124 for a wrong command line (argparse: 2).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mirage_lab.functoria import Write, dry_run, run
from mirage_lab.tool.building import manifest
from mirage_lab.tool.configuring import Plan
from mirage_lab.tool.depending import load, needs
from mirage_lab.tool.generating import clean, configure_files, stamp

__all__ = ["Extra", "colour", "main"]

FAILED = 123
HERE = str(Path(__file__).resolve().parent.parent)


Extra = tuple[Callable[[Sequence[str]], int], str]
"""A command of a room above: what does it, given the words after its name, and what the help says."""


def colour(text: str, code: str) -> str:
    """Return `text` in an ANSI colour ("36"), on a terminal without NO_COLOR only."""
    plain = not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR"))
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"


def _say(text: str) -> None:
    print(text, flush=True)


def _configure(plan: Plan, config: Path, options: argparse.Namespace) -> int:
    actions = configure_files(plan, config)
    for line in dry_run(actions) if options.dry_run else run(actions):
        _say(colour(" * ", "36") + line)
    _say(f"{plan.name} is configured for {plan.target}; next: make depend")
    return 0


def _describe(plan: Plan, config: Path, options: argparse.Namespace) -> int:
    _say(plan.describe())
    return 0


def _depend(plan: Plan, config: Path, options: argparse.Namespace) -> int:
    found = needs(plan)
    for name, there in found:
        _say(f" {colour('ok', '32') if there else colour('missing', '31')} {name}")
    missing = [name for name, there in found if not there]
    if missing:
        _say(f"{len(missing)} missing: pip install mirage-lab, or choose other devices")
        return FAILED
    run([Write(stamp(config), "".join(f"{name}\n" for name, _ in found))])
    _say("everything is there; next: make")
    return 0


def _forgotten(config: Path) -> bool:
    if stamp(config).exists():
        return False
    _say("the dependencies were not looked at yet; next: make depend")
    return True


def _build(plan: Plan, config: Path, options: argparse.Namespace) -> int:
    if _forgotten(config):
        return FAILED
    facts = manifest(plan)
    target = config.parent / "_build" / f"{plan.name}.manifest"
    run([Write(target, json.dumps(facts, indent=2, default=str) + "\n")])
    for warning in facts["warnings"]:
        _say(colour(f"warning: {warning}", "33"))
    _say(f"{plan.name}: {len(facts['linked'])} libraries linked, left out: {', '.join(facts['left_out']) or 'nothing'}; next: make run")
    return 0


def _run(plan: Plan, config: Path, options: argparse.Namespace) -> int:
    if _forgotten(config):
        return FAILED
    if not (config.parent / "main.py").exists():
        _say("main.py is not here; next: mirage-lab configure")
        return FAILED
    return subprocess.call([sys.executable, "main.py"], cwd=config.parent)


def _clean(plan: Plan, config: Path, options: argparse.Namespace) -> int:
    for line in run(clean(plan, config)):
        _say(colour(" * ", "36") + line)
    return 0


COMMANDS: dict[str, tuple[Callable[[Plan, Path, argparse.Namespace], int], str]] = {
    "configure": (_configure, "write Makefile, main.py and NAME.xl"),
    "describe": (_describe, "tell what the unikernel is made of"),
    "depend": (_depend, "see that everything the unikernel links is there"),
    "build": (_build, "seal the unikernel and write its manifest"),
    "run": (_run, "boot it"),
    "clean": (_clean, "remove what was generated"),
}


def _explain(error: BaseException) -> None:
    """Print the error with the person's own lines, not the tool's."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith((HERE, "<frozen"))]
    for frame in frames:
        if "mirage_lab" not in frame.filename and "importlib" not in frame.filename:
            print(f"{Path(frame.filename).name}, line {frame.lineno}: {frame.line}", file=sys.stderr)
    print(colour(f"mirage-lab: {type(error).__name__}: {error}", "31"), file=sys.stderr)


def main(arguments: Sequence[str] | None = None, extra: Mapping[str, Extra] | None = None) -> int:
    """Do what the command line says; `extra` has commands by name that need no configuration."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if extra and words and words[0] in extra:
        return extra[words[0]][0](words[1:])
    parser = argparse.ArgumentParser(prog="mirage-lab", description="From a config.py to a running unikernel.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, told) in COMMANDS.items():
        sub = commands.add_parser(name, help=told, description=told)
        sub.add_argument("-f", "--file", default="config.py", help="the configuration (config.py)")
        target = sub.add_mutually_exclusive_group()
        target.add_argument("--xen", dest="target", action="store_const", const="xen", default="xen", help="boot on the emulated Xen (default)")
        target.add_argument("--unix", dest="target", action="store_const", const="unix", help="run on this computer")
        sub.add_argument("--profile", choices=("today", "2014"), default=None, help="behave like today's stacks, or like those of 2014")
        if name == "configure":
            sub.add_argument("--dry-run", action="store_true", help="only say what would be written")
    for name, (_, told) in (extra or {}).items():
        commands.add_parser(name, help=told)
    options = parser.parse_args(words)
    config = Path(options.file)
    try:
        plan = load(config, target=options.target, profile=options.profile)
        return COMMANDS[options.command][0](plan, config, options)
    except Exception as error:
        _explain(error)
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
