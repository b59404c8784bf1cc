"""magics: %mirage %xl %xenstore %host %lab; each takes -h, and TAB completes its commands."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from IPython.core.magic import Magics as IPythonMagics
from IPython.core.magic import line_cell_magic, line_magic, magics_class, no_var_expand

from mirage_lab.jupyter import hostcommand
from mirage_lab.jupyter.arguments import Exit as _Exit
from mirage_lab.jupyter.arguments import Parser as _Parser
from mirage_lab.lab import Lab, LabError
from mirage_lab.signatures.errors import MirageError
from mirage_lab.signatures.units import seconds

__all__ = ["COMMANDS", "Magics"]

COMMANDS: dict[str, tuple[str, ...]] = {
    "mirage": ("configure", "describe", "depend", "build", "run", "clean"),
    "xl": ("list", "create", "console", "destroy", "pause", "unpause", "dmesg"),
    "xenstore": ("ls", "read", "write", "watch", "rm", "chmod", "log", "restart"),
    "lab": ("play", "pause", "step", "rewind", "undo", "reset", "use", "restore"),
    "host": ("-t", "-b"),
}
TIMEOUT = 30.0


def _parser(magic: str, told: dict[str, str]) -> tuple[_Parser, dict[str, argparse.ArgumentParser]]:
    parser = _Parser(prog=f"%{magic}", description=f"Commands: {', '.join(told)}.", formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    return parser, {name: commands.add_parser(name, help=help_text, description=help_text) for name, help_text in told.items()}


def _words(args: object) -> str:
    return " ".join(map(str, args)) if isinstance(args, list | tuple) else str(args)


@magics_class
class Magics(IPythonMagics):
    """The magics of the lab."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._chosen: str | None = None
        self._background: list[subprocess.Popen[bytes]] = []
        atexit.register(self.stop_background)

    def stop_background(self) -> None:
        """End what %host -b started."""
        while self._background:
            hostcommand.stop(self._background.pop())

    def register_completions(self) -> None:
        """TAB after %xl and a blank offers its commands."""
        for magic, commands in COMMANDS.items():
            self.shell.set_hook("complete_command", lambda _, event, names=commands: list(names), str_key=f"%{magic}")

    # what is meant -----------------------------------------------------------------------------------------------

    def _lab(self) -> Lab:
        lab = Lab.current(self._chosen) or Lab.current()
        if lab is None:
            raise LabError("there is no lab yet: lab = Lab(seed=1), then lab.lan(...) and lab.create(...)")
        return lab

    def _named(self, name: str) -> Any:
        if name not in self.shell.user_ns:
            raise LabError(f"there is no {name} in this notebook")
        return self.shell.user_ns[name]

    def _do(self, parser: _Parser, line: str, act: Callable[[argparse.Namespace], Any]) -> Any:
        """Parse, act; a mistake is one printed line."""
        try:
            return act(parser.parse_args(shlex.split(line)))
        except _Exit:
            return None
        except (MirageError, ValueError, KeyError) as error:
            print(error.args[0] if error.args else error)
            return None

    # %mirage -----------------------------------------------------------------------------------------------------

    @line_magic
    def mirage(self, line: str) -> None:
        """The front-end tool, on ./config.py or -f FILE: configure, describe, depend, build, run, clean."""
        from mirage_lab.tool.cli import main

        with contextlib.suppress(SystemExit):
            main(shlex.split(line) or ["-h"])

    # %xl ---------------------------------------------------------------------------------------------------------

    @line_magic
    def xl(self, line: str) -> Any:
        """The toolstack: list, create, console, destroy, pause, unpause, dmesg, block-list, block-attach, block-detach."""
        parser, sub = _parser(
            "xl",
            {
                "list": "the domains",
                "create": "build a domain from an image, plan or job of this notebook, and unpause it",
                "console": "what a domain printed",
                "destroy": "remove a domain",
                "pause": "stop a domain's vCPU",
                "unpause": "let it go on",
                "dmesg": "what the hypervisor said",
                "block-list": "the disks of a domain",
                "block-attach": "plug a disk in",
                "block-detach": "pull a disk out",
            },
        )
        sub["create"].add_argument("image", help="a variable")
        sub["create"].add_argument("-p", "--paused", action="store_true", help="leave it paused")
        sub["create"].add_argument("--vif", action="append", default=[], metavar="LAN", help="plug the next interface into this lan")
        sub["create"].add_argument("--disk", action="append", default=[], metavar="FILE", help="plug in a disk made of this file; writes stay in memory")
        for name in ("console", "destroy", "pause", "unpause", "block-list", "block-attach", "block-detach"):
            sub[name].add_argument("domain")
        sub["block-attach"].add_argument("file", help="what the disk is made of; writes stay in memory")
        sub["block-detach"].add_argument("device", help="xvda, xvdb, ...")
        return self._do(parser, line, self._xl)

    def _xl(self, options: argparse.Namespace) -> Any:
        lab = self._lab()
        match options.command:
            case "list":
                print(repr(lab.domains))
            case "dmesg":
                print(lab.machine.toolstack.dmesg())
            case "create":
                vm = lab.create(self._named(options.image), vif=list(options.vif), disk=list(options.disk) or None, strict=True)
                print(repr(vm).splitlines()[0] if options.paused else vm.unpause())
            case "console":
                print(lab.vm(options.domain).console.text, end="")
            case "destroy":
                print(lab.destroy(options.domain))
            case "pause":
                print(lab.pause_domain(options.domain))
            case "block-list":
                print("\n".join(map(repr, lab.vm(options.domain).disks)) or f"{options.domain} has no disks")
            case "block-attach":
                print(lab.vm(options.domain).attach(options.file))
            case "block-detach":
                print(lab.vm(options.domain).detach(options.device))
            case _:
                print(lab.unpause(options.domain))

    # %xenstore ---------------------------------------------------------------------------------------------------

    @line_magic
    def xenstore(self, line: str) -> Any:
        """The xenstore: ls, read, write, watch, rm, chmod, log, restart."""
        parser, sub = _parser(
            "xenstore",
            {
                "ls": "the tree below a path",
                "read": "a value",
                "write": "write a value",
                "watch": "run the lab for a while and print what changes below a path",
                "rm": "remove a path and all below it",
                "chmod": "set permissions: n0 r1",
                "log": "the newest commits of its history",
                "restart": "kill xenstored and start it again",
            },
        )
        sub["ls"].add_argument("path", nargs="?", default="/")
        for name in ("read", "write", "watch", "rm", "chmod"):
            sub[name].add_argument("path")
        sub["write"].add_argument("value")
        sub["watch"].add_argument("-t", type=float, default=1.0, metavar="SECONDS", help="of virtual time (1)")
        sub["chmod"].add_argument("perms", nargs="+")
        sub["log"].add_argument("-n", type=int, default=20, metavar="COMMITS")
        return self._do(parser, line, self._xenstore)

    def _xenstore(self, options: argparse.Namespace) -> Any:
        from mirage_lab.lab.handles import Store

        lab = self._lab()
        store = Store(lab, options.path if options.command == "ls" else "/")
        match options.command:
            case "ls":
                print(repr(store))
            case "read":
                print(store.read(options.path))
            case "write":
                store.write(options.path, options.value)
            case "rm":
                store.rm(options.path)
            case "chmod":
                store.chmod(options.path, *options.perms)
            case "log":
                print(repr(lab.xenstore.log(max(options.n, 1))))
            case "restart":
                print(lab.xenstore.restart())
            case _:
                last = lab.machine.world.recorder.last
                lab.run(seconds(options.t))
                for event in lab.events("xenstore.*"):
                    path = str(event.fields.get("path"))
                    if event.id > last and (path == options.path or path.startswith(options.path.rstrip("/") + "/")):
                        print(f"{event.kind.removeprefix('xenstore.')} {path} {event.fields.get('value', '')}".rstrip())

    # %host -------------------------------------------------------------------------------------------------------

    @no_var_expand
    @line_cell_magic
    def host(self, line: str, cell: str | None = None) -> None:
        """Run a program of this computer while the lab plays: %host curl -s {site.url}."""
        options, command = self._host_options(line)
        if options is None:
            return
        try:
            words = hostcommand.fill(command, self.shell.user_ns)
            if options.b:
                self._background.append(hostcommand.start(words, quiet=True))
                print(f"{words[0]} runs in the background, process {self._background[-1].pid}; lab.play() lets it reach the lab")
                return
            lab = Lab.current(self._chosen) or Lab.current()
            with lab.playing_meanwhile() if lab is not None else contextlib.nullcontext():
                done = hostcommand.run(words, timeout=options.t, stdin=(cell or "").encode())
        except (MirageError, OSError) as error:
            print(error)
            return
        self._tell(done, options.t)

    def _host_options(self, line: str) -> tuple[Any, str]:
        """Split `-t 5 -b COMMAND ...`: only what stands before the command is ours."""
        parser = _Parser(prog="%host", description="Run a program of this computer while the lab plays. {name} and {name.attr} come from the notebook.")
        parser.add_argument("-t", type=float, default=TIMEOUT, metavar="SECONDS", help="stop it after so long (30)")
        parser.add_argument("-b", action="store_true", help="in the background")
        own, rest = [], line.strip()
        while rest.startswith("-"):
            word, _, rest = rest.partition(" ")
            own.append(word)
            rest = rest.strip()
            if word == "-t":
                value, _, rest = rest.partition(" ")
                own.append(value)
                rest = rest.strip()
        try:
            return parser.parse_args(own), rest
        except _Exit:
            return None, ""

    def _tell(self, done: hostcommand.Finished, timeout: float) -> None:
        sys.stdout.write(done.stdout.decode("utf-8", "backslashreplace"))
        if done.stderr:
            sys.stdout.write(done.stderr.decode("utf-8", "backslashreplace"))
        if done.left_out:
            print(f"... {done.left_out:,} more bytes of output were left out")
        if done.code is None:
            print(f"{Path(done.words[0]).name} was stopped after {timeout:g} s; -t gives it longer")
        else:
            print(f"{Path(done.words[0]).name} ended with {done.code}{self._after_host()}")

    def _after_host(self) -> str:
        """What stands open after a program of this computer ran."""
        lab = Lab.current(self._chosen) or Lab.current()
        if lab is None:
            return ""
        where = "plays on" if lab.playing else "is paused again"
        traces = [trace.name for trace in lab.traces]
        step = f"the packets are in lab.capture({traces[0]!r})" if traces else "lab.capture(lan) records packets"
        return f" · the lab {where} · next: {step}"

    def programs(self) -> list[str]:
        """Return the programs that %host -b started and that still run, a line each."""
        running = [started for started in self._background if started.poll() is None]
        return [f"{_words(started.args)} (process {started.pid}, started by %host -b)" for started in running]

    # %lab --------------------------------------------------------------------------------------------------------

    @line_magic
    def lab(self, line: str) -> Any:
        """The lab: play, pause, step, rewind, undo, reset, use, restore."""
        parser, sub = _parser(
            "lab",
            {
                "play": "let time pass",
                "pause": "stop playing",
                "step": "handle the next event, or so many",
                "rewind": "go back to a time in seconds",
                "undo": "take back the last command",
                "reset": "put the lab back to its start",
                "use": "choose the lab that magics mean, by variable",
                "restore": "build this very moment again from seed and journal; restore 05: write a fresh copy of notebook 05 beside this one",
            },
        )
        sub["play"].add_argument("speed", nargs="?", type=float, default=1.0)
        sub["step"].add_argument("count", nargs="?", type=int, default=1)
        sub["rewind"].add_argument("t", type=float)
        sub["use"].add_argument("name")
        sub["restore"].add_argument("notebook", nargs="?", help="number or name; it is written under a new name, never over yours")
        return self._do(parser, line, self._lab_command)

    def _lab_command(self, options: argparse.Namespace) -> Any:
        if options.command == "use":
            found = self._named(options.name)
            if not isinstance(found, Lab):
                raise LabError(f"{options.name} is no lab")
            self._chosen = found.name
            print(f"magics now mean {options.name}")
            return None
        if options.command == "restore" and options.notebook is not None:
            from mirage_lab.jupyter.restoring import restore

            print(restore(options.notebook, Path.cwd()))
            return None
        lab = self._lab()
        match options.command:
            case "play":
                print(lab.play(options.speed))
            case "pause":
                print(lab.pause())
            case "step":
                print(repr(lab.step(options.count)))
            case "rewind":
                print(lab.rewind(seconds(options.t)))
            case "undo":
                print(lab.undo())
            case "reset":
                print(lab.reset())
            case _:
                print(lab.rewind(lab.now))
        return None
