"""arguments: what is behind a magic, parsed as a command line is; a mistake is one printed line."""

from __future__ import annotations

import argparse
from typing import NoReturn

__all__ = ["Exit", "Parser"]


class Exit(Exception):
    """argparse has said what there was to say."""


class Parser(argparse.ArgumentParser):
    """A parser that neither exits the kernel nor writes to stderr."""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Say the message, if there is one."""
        if message:
            print(message.strip())
        raise Exit

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, in a line."""
        print(f"{self.prog}: {message}; {self.prog} -h tells more")
        raise Exit
