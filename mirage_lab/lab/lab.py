"""Lab: the one object a person needs.  It holds a machine, drives it, and remembers every command.

Handles (`vm`, `lan`, `trace`, `site`) hold the lab and a name.  Everything that changes the world is a journalled command,
so that `undo`, `rewind` and `reset` build the machine again from its seed.  One driver at a time moves the world, under
one lock: `run` on the calling thread, `play` in a thread of its own.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from mirage_lab.lab import rewinding, running
from mirage_lab.lab.debugger import Debugger
from mirage_lab.lab.handles import Domains, Events, Lan, Site, TapHandle, Vm, XenStore
from mirage_lab.lab.machine import Machine
from mirage_lab.lab.said import LabError, Said
from mirage_lab.lab.trace import Trace
from mirage_lab.runtime.clock import show
from mirage_lab.runtime.driver import Driver, Player
from mirage_lab.runtime.journal import Entry
from mirage_lab.runtime.places import Place, Report, plain_place
from mirage_lab.runtime.turns import Turns
from mirage_lab.signatures.units import Ns
from mirage_lab.tracing.capture import LIMIT_BYTES
from mirage_lab.tracing.recorder import Event

__all__ = ["Lab"]


SHORT: Final = 100
"""Nanoseconds below which a number was meant to be another unit."""


class Lab:
    """A lab with a seed: same seed, same cells, same bytes.

    Nothing is opened or started by making one; making another of the same `name` closes the older one as soon as the new
    one is used.  `with Lab() as lab:` closes at the end of the block.
    """

    places: ClassVar[Place] = staticmethod(plain_place)
    """How a file and line are called; the notebook extension says "cell 2, line 5"."""

    reporter: ClassVar[Callable[[list[Report]], None] | None] = None
    """Who shows messages of the world to the person; None: they are part of what `run` returns."""

    progress: ClassVar[Callable[[str], None] | None] = None
    """Who shows a progress line while a run takes more than half a second."""

    programs: ClassVar[Callable[[], list[str]] | None] = None
    """Who knows the programs of this computer that were started in the background: a line for each."""

    _open: ClassVar[dict[str, weakref.ref[Lab]]] = {}

    def __init__(self, seed: int = 0, *, name: str = "lab") -> None:
        self.seed = seed
        self.name = name
        self.lock = Turns()
        self.closed = False
        self._machine = self._fresh_machine()
        self.debugger = Debugger(self)
        self._machine.on_vcpu = self.debugger.on_vcpu
        self.watchers: list[Callable[[], None]] = []
        """Called between the slices of a run, on the thread that drives: live views look at the world there."""
        self.heading: tuple[Ns, Ns] | None = None
        """While `run` drives: from where to where."""
        self._player: Player | None = None
        self._claimed = False

    def _fresh_machine(self) -> Machine:
        machine = Machine(self.seed)
        machine.world.place = type(self).places
        return machine

    # what is there -----------------------------------------------------------------------------------------------

    @property
    def machine(self) -> Machine:
        """The machine as it is now; raises LabError when the lab is closed."""
        if self.closed:
            raise LabError("this lab is closed: Lab(seed=...) makes a new one")
        return self._machine

    @property
    def now(self) -> Ns:
        """Virtual time, ns."""
        return self.machine.now

    @property
    def domains(self) -> Domains:
        """The domains, shown as `xl list`."""
        return Domains(self)

    @property
    def xenstore(self) -> XenStore:
        """The whole xenstore, with its history."""
        return XenStore(self)

    @property
    def lans(self) -> list[Lan]:
        """The lans in order of creation."""
        return [Lan(self, name) for name in self.machine.lans]

    @property
    def traces(self) -> list[Trace]:
        """The captures in order of creation."""
        return [Trace(self, name) for name in self.machine.captures]

    @property
    def forwards(self) -> list[Site]:
        """The forwards in order of creation."""
        return [Site(self, name, port) for name, port in self.machine.forwards]

    def vm(self, name: str) -> Vm:
        """Return the handle of the domain called `name`; raises LabError."""
        self.machine.domid(name)
        return Vm(self, name)

    @property
    def playing(self) -> bool:
        """True while `play` drives the world."""
        return self._player is not None and self._player.playing

    @property
    def speed(self) -> float:
        """Virtual seconds a second while playing; 0 when not."""
        return self._player.speed if self._player and self.playing else 0.0

    @property
    def journal(self) -> list[Entry]:
        """Every command so far."""
        return list(self.machine.world.journal.entries)

    @property
    def badge(self) -> str:
        """Whether this can be had again: from the seed alone, from seed and journal, or not."""
        return running.badge(self.machine)

    def events(self, pattern: str = "*", source: str | None = None) -> Events:
        """Return recorded events whose kind matches the glob `pattern`, such as "xenbus.*"."""
        with self.lock:
            return Events(self.machine.world.recorder.events(pattern, source))

    def __repr__(self) -> str:
        if self.closed:
            return "a closed lab: Lab(seed=...) makes a new one"
        from mirage_lab.lab.pictures import lab_text

        return lab_text(self)

    def _repr_svg_(self) -> str | None:
        if self.closed:
            return None
        from mirage_lab.lab.pictures import lab_svg

        return lab_svg(self)

    # commands ----------------------------------------------------------------------------------------------------

    def command(self, name: str, /, **args: Any) -> Any:
        """Apply a journalled command; what `lan`, `create`, `forward` and the handles call."""
        self._claim()
        with self.lock:
            return self.machine.world.command(name, **args)

    def lan(self, name: str = "br0", *, subnet: str = "10.0.0.0/24", dhcp: bool | dict[str, Any] = False, ipv6: str | None = None, **faults: Any) -> Lan:
        """Return the lan `name`, made now if it was not there.  The lab's own gateway is the first address of `subnet`.

        With `dhcp` the gateway gives addresses: True, or a dict of `first`, `last`, `lease` (s), `dns`, `reservations`, ...
        With `ipv6` ("fd00:1::/64") it announces this prefix, of which stacks make addresses; its own ends in 1.
        `faults`: latency, jitter (ns), loss, burst, ack_loss, nth, reorder, duplicate, corrupt, trailing, mtu, rate (bit/s), queue
        (frames), discipline (droptail, red, codel), blackout: mirage_lab.vnetif.faults says what each is.
        """
        if name in self.machine.lans:
            if faults:
                self.set_lan(name, **faults)
            if dhcp and (dhcp is not True or self.machine.gateways[name].dhcp is None):
                self.command("dhcp", lan=name, pool={} if dhcp is True else dict(dhcp))
            if ipv6 is not None and ipv6 != self.machine.gateways[name].prefix6:
                self.command("ipv6", lan=name, prefix=ipv6)
        else:
            self.command("lan", name=name, subnet=subnet, **({"dhcp": dhcp} if dhcp else {}), **({"ipv6": ipv6} if ipv6 else {}), **faults)
        return Lan(self, name)

    def set_lan(self, name: str, **faults: Any) -> Said:
        """Change a lan from this moment on."""
        changed = self.command("lan.set", name=name, **faults)
        told = ", ".join(f"{key} {was} -> {now}" for key, (was, now) in changed.items()) or "nothing changed"
        return Said(f"{name} at t = {show(self.now)}: {told}")

    def capture(self, where: Lan | Vm | str, *, name: str | None = None, limit_bytes: int = LIMIT_BYTES) -> Trace:
        """Return the capture at a place, begun now if it was not running.

        A lan: every frame that enters it, lost later or not.  A domain: what it sends and what reaches it, on its first lan.
        """
        if isinstance(where, Vm):
            lans = self.machine.plugged.get(where.name, ())
            if not lans:
                raise LabError(f"{where.name} is on no lan: there is nothing to capture")
            lan, port = lans[0], where.name
        else:
            lan, port = where if isinstance(where, str) else where.name, None
        if lan not in self.machine.lans:
            raise LabError(f"there is no lan {lan}: lab.lan({lan!r}) makes it")
        name = name or port or lan
        if name not in self.machine.captures:
            self.command("capture", lan=lan, name=name, limit_bytes=limit_bytes, port=port)
        return Trace(self, name)

    def create(
        self,
        what: Any,
        *,
        vif: list[Lan] | None = None,
        disk: Sequence[Any] | None = None,
        name: str | None = None,
        memory_mib: int | None = None,
        profile: str | None = None,
        strict: bool = False,
    ) -> Vm:
        """Build a domain from an image (a plan or a job is built first): like `xl create -p`, it is paused.

        `disk`: a list, for each disk a path, bytes, or a dict of Disk's fields: dict(path="disk.img", vdev="xvdb", readonly=True).
        A domain of that name is replaced; with `strict`, as `xl create` does, it is an error.
        """
        from mirage_lab.lab.disks import disks
        from mirage_lab.lab.making import address_warnings, image_of, plugs

        image = image_of(what, self)
        name = name or image.name
        existing = [vm for vm in self.domains if vm.name == name]
        if existing and strict:
            raise LabError(f"a domain {name} exists (domid {existing[0].domid}): lab.create(image) replaces it, vm.destroy() removes it")
        before = existing[0].domid if existing else None
        lans = plugs(image, vif, name, self)
        plugged = disks(image, disk, name, self)
        for warning in [*image.manifest.get("warnings", ()), *address_warnings(image, name, lans, self)]:
            self.machine.world.report("lab", f"warning: {warning}")
        how = profile or str(image.manifest.get("profile") or "today")
        domid = self.command("create", image=image, name=name, vif=lans, memory_mib=memory_mib, profile=how, **({"disk": plugged} if plugged else {}))
        if before is not None:
            self.machine.world.report(name, f"domid {before} destroyed, now domid {domid}")
        if type(self).reporter is not None:
            self._show_reports()
        return Vm(self, name)

    def unpause(self, vm: Vm | str) -> Said:
        """Let a domain run when the world runs."""
        name = vm if isinstance(vm, str) else vm.name
        state = Vm(self, name).state
        if state != "paused":
            return Said(f"{name} is {state} already; nothing changed")
        self.command("unpause", name=name)
        return Said(f"{name} is unpaused; lab.run(seconds(1)) lets it run")

    def pause_domain(self, vm: Vm | str) -> Said:
        """Stop a domain's vCPU."""
        name = vm if isinstance(vm, str) else vm.name
        if Vm(self, name).state == "paused":
            return Said(f"{name} is paused already; nothing changed")
        self.command("pause", name=name)
        return Said(f"{name} is paused; vm.unpause() lets it go on")

    def destroy(self, vm: Vm | str) -> Said:
        """Destroy a domain."""
        name = vm if isinstance(vm, str) else vm.name
        domid = self.machine.domid(name)
        self.command("destroy", name=name)
        return Said(f"{name}: domid {domid} destroyed")

    def forward(self, vm: Vm | str, port: int, *, host_port: int | None = None, address: str | None = None) -> Site:
        """Lead a port of 127.0.0.1 to `port` of a domain (8080 if it is free; `host_port` chooses)."""
        name = vm if isinstance(vm, str) else vm.name
        if (name, port) not in self.machine.forwards:
            lan, to = self._reach(name, address)
            forward = self.command("forward", lan=lan, name=name, address=to, port=port, host_port=host_port)
            self._amend(host_port=forward.host_port)
        return Site(self, name, port)

    def _reach(self, name: str, address: str | None) -> tuple[str, str]:
        self.machine.domid(name)
        lans = self.machine.plugged.get(name, ())
        if not lans:
            raise LabError(f"{name} is on no lan: lab.create(image, vif=[lan]) plugs it in")
        return lans[0], address or self.machine.address(name)

    def _amend(self, **args: Any) -> None:
        """Note in the journal what the host chose, so that a replay chooses the same."""
        entries = self.machine.world.journal.entries
        last = entries[-1]
        entries[-1] = Entry(last.event, last.t, last.name, {**last.args, **args}, last.outside)

    def tap(self, lan: Lan | str, *, name: str = "tap0") -> TapHandle:
        """Plug a network interface of this computer (Linux) into a lan: its own TCP/IP is a station there.

        Its owner, or who has a network namespace of their own, needs no root.  Raises LocalProtocolError with the way out.
        """
        on = lan if isinstance(lan, str) else lan.name
        if on not in self.machine.lans:
            raise LabError(f"there is no lan {on}: lab.lan({on!r}) makes it")
        there = self.machine.taps.get(name)
        if there is not None and (there.segment.name != on or there.state == "closed"):
            self.command("tap.close", name=name)
        if name not in self.machine.taps:
            self.command("tap", lan=on, name=name)
        return TapHandle(self, name)

    def allow_outbound(self, address: str) -> Said:
        """Let guests reach one host address, such as "127.0.0.1:5432": they dial their gateway at that port."""
        self.command("allow_outbound", address=address)
        port = address.rpartition(":")[2]
        gateways = ", ".join(f"{lan.gateway}:{port}" for lan in self.lans) or "their gateway"
        return Said(f"guests reach {address} of this computer at {gateways}")

    def fetch(self, url: str, *, within: Ns | None = None) -> running.Reply:
        """GET `url` from inside the world, over the gateway's own stack, running the world until the answer is complete."""
        return running.fetch(self, url, within)

    def ping(self, address: str, count: int = 3) -> Said:
        """Send echoes to `address` from the gateway of its lan, a second apart, running the world meanwhile."""
        return running.ping(self, address, count)

    # moving on ---------------------------------------------------------------------------------------------------

    def run(self, duration: Ns) -> Said:
        """Run for `duration` of virtual time; one line says from where to where, what happened and the next step."""
        if not isinstance(duration, int):
            raise LabError(f"a duration is a whole number of nanoseconds, not {duration!r}: lab.run(seconds({duration!r}))")
        if duration < 0:
            raise LabError("time only goes forward: lab.rewind(t) builds the world of an earlier moment")
        said = running.run(self, lambda machine: (Ns(machine.now + duration), None))
        return Said(f"{said} · that was {duration} ns: lab.run(seconds({duration})) runs a second each") if 0 < duration < SHORT else said

    def run_until(self, kind: str, *, within: Ns, source: str | None = None) -> Said:
        """Run until an event of `kind` (such as "tcp.established") happens; raises LabError when it does not, `within`."""
        return running.run_until(self, kind, within, source)

    def step(self, count: int = 1) -> Events:
        """Handle `count` events and return what was recorded meanwhile."""
        with self._driving() as machine:
            last = machine.world.recorder.last
            for _ in range(count):
                if not machine.world.step() or machine.world.stopped is not None:
                    break
            found: list[Event] = [e for e in map(machine.world.recorder.event, range(last + 1, machine.world.recorder.last + 1)) if e]
        self._show_reports()
        return Events(found)

    def play(self, speed: float = 1.0) -> Said:
        """Let time pass by itself, `speed` virtual seconds a second, until `pause`."""
        self._claim()
        if self._player is not None and self._player.playing:
            if self._player.speed == speed:
                return Said(f"playing already at {speed:g}x; lab.pause() stops")
            self._player.stop()
        self._player = Player(self.machine.world, self.lock, speed)
        self._player.start()
        return Said(f"playing from t = {show(self.now)} at {speed:g}x; lab.pause() stops")

    def pause(self) -> Said:
        """Stop playing."""
        if not self.playing:
            return Said(f"paused at t = {show(self.now)}; nothing changed")
        assert self._player is not None
        self._player.stop()
        self._player = None
        self._show_reports()
        return Said(f"paused at t = {show(self.now)}")

    @contextmanager
    def playing_meanwhile(self) -> Iterator[None]:
        """Play inside the block: what `%host` does while its program runs."""
        was = self.playing
        if not was:
            self.play()
        try:
            yield
        finally:
            if not was:
                self.pause()

    @contextmanager
    def _driving(self) -> Iterator[Machine]:
        """Drive on this thread; a player stops meanwhile."""
        self._claim()
        player, self._player = self._player, None
        if player is not None:
            player.stop()
        try:
            with self.lock:
                yield self.machine
        finally:
            if player is not None and not self.closed and self.machine.world.stopped is None:
                self.play(player.speed)

    def driver(self, on_progress: Callable[[Ns], None] | None = None) -> Driver:
        """Return a driver of the machine of the moment."""
        return Driver(self.machine.world, on_progress)

    def _show_reports(self) -> list[Report]:
        """Hand messages to whoever shows them; return those that nobody showed."""
        reporter = type(self).reporter
        if reporter is None:
            return self.machine.world.take_reports()
        reports = self.machine.world.take_reports()
        if reports:
            reporter(reports)
        return []

    # going back --------------------------------------------------------------------------------------------------

    def rewind(self, to: Any = None, *, event: int | None = None) -> Said:
        """Build the world as it was again, from seed and journal: at a time (ns), or behind an event or the number of one."""
        if (to is None) == (event is None):
            raise LabError("where to? lab.rewind(seconds(1)), lab.rewind(lab.events('domain.created')[0]) or lab.rewind(event=70)")
        return rewinding.rewind(self, to) if event is None else rewinding.to_event(self, event)

    def undo(self) -> Said:
        """Take back the last command of a person: the world is as it was just before it."""
        return rewinding.undo(self)

    def reset(self) -> Said:
        """Put the lab back to its start: what was assembled before time first moved, at t = 0."""
        return rewinding.reset(self)

    def _replace(self, machine: Machine) -> None:
        old, self._machine = self._machine, machine
        old.close()
        machine.on_vcpu = self.debugger.on_vcpu
        machine.go_live()
        self.debugger.install()

    def script(self, form: str = "py") -> Said:
        """Return the journal as a program that makes this world again: "py", or "ipynb" for the text of a notebook."""
        from mirage_lab.lab.script import as_notebook, script

        if form not in ("py", "ipynb"):
            raise LabError(f"a script is py or ipynb, not {form!r}")
        return Said(script(self) if form == "py" else as_notebook(self))

    # opening and closing -----------------------------------------------------------------------------------------

    def _claim(self) -> None:
        """At the first use: close the older lab of this name."""
        if self._claimed or self.closed:
            return
        self._claimed = True
        older = Lab._open.pop(self.name, None)
        found = older() if older is not None else None
        Lab._open[self.name] = weakref.ref(self)
        if found is not None and found is not self and not found.closed:
            found.close()
            self.machine.world.report("lab", f"the older lab {self.name!r} (seed {found.seed}) was closed")

    @classmethod
    def current(cls, name: str | None = None) -> Lab | None:
        """Return the open lab used last, or the one called `name`; None when there is none."""
        found = [lab for lab in (ref() for ref in Lab._open.values()) if lab is not None and not lab.closed]
        return next((lab for lab in reversed(found) if name is None or lab.name == name), None)

    def close(self) -> Said:
        """Give back ports and threads; the lab cannot be used any more."""
        if self.closed:
            return Said("closed already; nothing changed")
        self.pause()
        self.debugger.close()
        with self.lock:
            self._machine.close()
            self.closed = True
        return Said("closed: no port, thread or file is left open")

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @classmethod
    def demo(cls, what: str = "web", seed: int = 1) -> Lab:
        """Return a running world: `web`, a unikernel that answers HTTP on 10.0.0.2 port 80."""
        from mirage_lab.lab import demo

        return demo.demo(cls, what, seed)
