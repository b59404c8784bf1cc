"""The console script `mirage-lab`: the front end's commands, `demo`, the tour without a browser, `irmin` and `xenstored`."""

from __future__ import annotations

import argparse
import io
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mirage_lab.lab.walk import walk
from mirage_lab.tool import cli

__all__ = ["main"]

COLOURS: Final = {"heading": "1", "typed": "36", "said": "", "shown": ""}
MARKS: Final = {"heading": "", "typed": ">>> ", "said": "", "shown": "    "}


def demo(words: Sequence[str]) -> int:
    """Boot a web server on the emulated Xen, fetch its page, print its packets and their causes; no file, no port, no browser."""
    parser = argparse.ArgumentParser(prog="mirage-lab demo", description=demo.__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of everything left to chance (1): same seed, same output")
    options = parser.parse_args(words)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal of 8 bits has no "·"
    number = 0
    for kind, line in walk(options.seed):
        if kind == "heading":
            number += 1
            line = f"{number}. {line}"
            print()
        text = f"{MARKS[kind]}{line}".rstrip()
        print(cli.colour(text, COLOURS[kind]) if COLOURS[kind] and text else text, flush=kind == "heading")
    return 0


def irmin(words: Sequence[str]) -> int:
    """Work on an Irmin store."""
    from mirage_lab.irmin.cli import main as work

    return work(words)


def xenstored(words: Sequence[str]) -> int:
    """Serve a xenstore on a Unix socket, for xenstore-read, -write, -ls, -watch and the like."""
    from mirage_lab.irmin import StoreError
    from mirage_lab.lab.xenstored import Xenstored
    from mirage_lab.xen.xenstore.transaction import ENGINES

    parser = argparse.ArgumentParser(prog="mirage-lab xenstored", description=xenstored.__doc__)
    parser.add_argument("--path", type=Path, default=Path("xenstored.sock"), help="the socket (xenstored.sock)")
    parser.add_argument("--database", type=Path, help="a directory, a Git repository in the end, where every change is kept")
    parser.add_argument("--engine", choices=ENGINES, default="irmin", help="what is a conflict of transactions (irmin)")
    options = parser.parse_args(words)
    try:
        served = Xenstored(options.path, options.engine, options.database)
    except StoreError as error:
        print(f"xenstored: {error}", file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, served.stop)
    if served.recovered:
        print(f"xenstored: {served.recovered}", file=sys.stderr)
    log = f" · git -C {options.database} log --graph main" if options.database else ""
    print(f"xenstored: XENSTORED_PATH={options.path} xenstore-ls{log}", flush=True)
    try:
        served.serve(alone=True)
    finally:
        try:
            served.close()
        except StoreError as error:
            print(f"xenstored: {error}", file=sys.stderr)
            code = 1
        else:
            code = 0
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; exit codes as `mirage_lab.tool.cli`."""
    try:
        return cli.main(
            arguments,
            extra={
                "demo": (demo, "boot a unikernel, fetch its page and follow its packets, here in the terminal"),
                "irmin": (irmin, "a store in branches that are merged three ways, which git can clone"),
                "xenstored": (xenstored, "serve a xenstore on a Unix socket, every change a commit of a Git repository"),
            },
        )
    except BrokenPipeError:  # mirage-lab demo | head
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    sys.exit(main())
