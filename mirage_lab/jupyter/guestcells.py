"""guestcells: %%c and %%asm: a cell that is a guest; its image is assigned to a name, and only what is wrong is shown."""

from __future__ import annotations

import argparse
import shlex

from IPython.core.magic import Magics as IPythonMagics
from IPython.core.magic import line_cell_magic, magics_class, no_var_expand

from mirage_lab.jupyter.arguments import Exit, Parser
from mirage_lab.signatures.errors import MirageError

__all__ = ["OPTIONS", "GuestCells"]

ARCHES = ("x86_64", "aarch64", "armv7")
OPTIONS: dict[str, tuple[str, ...]] = {
    "c": ("--arch", "--memory", "--cmdline", *ARCHES),
    "asm": ("--arch", "--memory", "--cmdline", "--bare", *ARCHES),
}
"""What TAB offers behind each."""


@magics_class
class GuestCells(IPythonMagics):
    """The magics whose cells are compiled."""

    def register_completions(self) -> None:
        """TAB after %%c and a blank offers its options."""
        for magic, options in OPTIONS.items():
            self.shell.set_hook("complete_command", lambda _, event, names=options: list(names), str_key=f"%%{magic}")

    @no_var_expand
    @line_cell_magic
    def c(self, line: str, cell: str | None = None) -> None:
        """Compile the cell, C with a main, to a guest's image: %%c hello --arch aarch64."""
        self._compile("c", line, cell)

    @no_var_expand
    @line_cell_magic
    def asm(self, line: str, cell: str | None = None) -> None:
        """Assemble the cell, which has a main, to a guest's image: %%asm hello; with --bare it has its own entry and nothing of ours."""
        self._compile("asm", line, cell)

    def _compile(self, language: str, line: str, cell: str | None) -> None:
        from mirage_lab.tool.native import compile_guest

        if cell is None and not {"-h", "--help"} & set(line.split()):  # IPython takes a bare word for a magic when there is no such variable
            raise MirageError(f"{language} is no variable in this notebook; %%{language} NAME begins a cell, and the guest is what follows in it")
        options = self._options(language, line)
        if options is None or cell is None:
            return
        image = compile_guest(
            cell,
            options.arch,
            options.name,
            language,
            memory_mib=options.memory,
            cmdline=options.cmdline,
            bare=bool(vars(options).get("bare")),
            first_line=2,
        )
        warnings = image.manifest.get("compiler")
        if warnings:
            print(warnings)
        self.shell.user_ns[options.name] = image

    def _options(self, language: str, line: str) -> argparse.Namespace | None:
        what = "C that includes <guest.h> and has a main" if language == "c" else "assembly (with the C preprocessor) that has a main"
        parser = Parser(prog=f"%%{language}", description=f"Compile the cell, {what}, to a guest's image, and assign it to NAME.")
        parser.add_argument("name", metavar="NAME", help="the variable, and the name of the domain")
        parser.add_argument("--arch", choices=ARCHES, default="x86_64", help="the machine it is for (x86_64)")
        parser.add_argument("--memory", type=int, default=16, metavar="MIB", help="of the domain (16)")
        parser.add_argument("--cmdline", default="", metavar="TEXT", help="what the guest finds in cmdline")
        if language == "asm":
            parser.add_argument("--bare", action="store_true", help="it has its own entry _start and header, and gets nothing of ours")
        try:
            options = parser.parse_args(shlex.split(line))
        except Exit:
            return None
        except ValueError as error:
            print(f"%%{language}: {error}")
            return None
        if not options.name.isidentifier():
            raise MirageError(f"%%{language}: {options.name!r} is no name of a variable")
        return options
