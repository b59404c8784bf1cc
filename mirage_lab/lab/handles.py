"""Handles: `vm`, `lan` and `site`, what a person holds.

A handle holds the lab and a name and looks the object up at each use, so that after a rewind, or when a domain was
replaced, it stands for the thing of that name as it is now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirage_lab.lab.disks import DiskHandle, as_disks, stamped
from mirage_lab.lab.said import LabError, Said
from mirage_lab.lab.screen import Screen
from mirage_lab.lab.store import Store, XenStore
from mirage_lab.runtime.clock import show
from mirage_lab.signatures.units import Ns
from mirage_lab.tracing.recorder import Event
from mirage_lab.xen.abi.io.blkif import device_name

if TYPE_CHECKING:
    from mirage_lab.lab.debugging import CpuHandle
    from mirage_lab.lab.gdb import GdbServer
    from mirage_lab.lab.lab import Lab
    from mirage_lab.usernet import Forward
    from mirage_lab.vnetif import Segment, Tap

__all__ = ["Console", "Domains", "Events", "Lan", "Site", "Store", "TapHandle", "Vm", "XenStore"]


class Vm:
    """A domain of the lab, by name."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab = lab
        self.name = name

    @property
    def domid(self) -> int:
        """The domain's number now."""
        return self._lab.machine.domid(self.name)

    @property
    def state(self) -> str:
        """`paused`, `running`, `blocked`, `shutdown`, `crashed`, or `gone`."""
        for domain in self._lab.machine.toolstack.list():
            if domain.name == self.name:
                return str(domain.state)
        return "gone"

    @property
    def console(self) -> Console:
        """What the domain printed; `.write(text)` types into it."""
        return Console(self._lab, self.name)

    @property
    def xenstore(self) -> Store:
        """The domain's own part of xenstore."""
        return Store(self._lab, f"/local/domain/{self.domid}")

    @property
    def cpu(self) -> CpuHandle:
        """The CPU of a guest that is machine code: registers, instructions, steps, breakpoints; raises LabError for a Python unikernel."""
        from mirage_lab.lab.debugging import CpuHandle

        return CpuHandle(self._lab, self.name)

    def gdb(self, port: int = 0) -> GdbServer:
        """Let a real gdb in, on a port of 127.0.0.1: breakpoints, registers, memory, steps, and back."""
        from mirage_lab.lab.gdb import serve

        return serve(self._lab, self.name, port)

    def step_back(self) -> Said:
        """Have the world as it was before the last event in which this domain did something."""
        from mirage_lab.lab.rewinding import last_step_of

        return last_step_of(self._lab, self.name)

    def disk(self, dev: str = "xvda") -> DiskHandle:
        """Return a disk of the domain: `.data`, `.read(sector, count)`, `.save(path)`, `.statistics()`; raises LabError."""
        handle = DiskHandle(self._lab, self.name, dev)
        handle.statistics()
        return handle

    def attach(self, disk: Any) -> Said:
        """Plug in a disk while the domain runs: a path, bytes or a dict, as an entry of `disk=[...]` at create."""
        [made] = stamped(as_disks([disk]))
        dev = self._lab.command("disk.attach", name=self.name, disk=made)
        return Said(f"{self.name} has a disk {dev}")

    def detach(self, dev: str = "xvda") -> Said:
        """Pull a disk out: its front end has 10 s to close it."""
        disk = self.disk(dev)
        self._lab.command("disk.detach", name=self.name, dev=dev)
        return Said(f"{self.name}: {disk.dev} is pulled out; lab.run(...) lets the domain see it")

    @property
    def disks(self) -> list[DiskHandle]:
        """Its disks, in the order they were plugged in."""
        blkback = self._lab.machine.toolstack.blkback
        return [DiskHandle(self._lab, self.name, device_name(vbd.device)) for vbd in blkback.of(self.domid)]

    def unpause(self) -> Said:
        """Let it run."""
        return self._lab.unpause(self)

    def pause(self) -> Said:
        """Stop its vCPU; its timers wait."""
        return self._lab.pause_domain(self)

    def destroy(self) -> Said:
        """Pull its plug."""
        return self._lab.destroy(self)

    def events(self, pattern: str = "*") -> Events:
        """Return the events of this domain."""
        return self._lab.events(pattern, source=self.name)

    def statistics(self) -> Any:
        """Return counters of the domain, a frozen record."""
        machine = self._lab.machine
        return machine.toolstack.domain(machine.domid(self.name)).statistics()

    def why(self) -> Said:
        """Return what the domain waits for, or why it stopped."""
        from mirage_lab.lab.why import why

        return Said(why(self._lab.machine, self.name))

    def __repr__(self) -> str:
        if self.state == "gone":
            return f"{self.name}: gone; lab.create(image) makes it again"
        from mirage_lab.lab.pictures import vm_text

        return vm_text(self._lab.machine, self.name)

    def _repr_svg_(self) -> str | None:
        if self.state == "gone":
            return None
        from mirage_lab.lab.pictures import vm_svg
        from mirage_lab.lab.views import cpu

        if self._lab.machine.vcpu(self.name) is not None:
            return cpu.VIEW.picture(self._lab, {"cpu.0.domain": self.name})
        return vm_svg(self._lab.machine, self.name)


class Console:
    """A domain's console: `text`, `lines`, `write(text)`."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab = lab
        self._name = name

    @property
    def text(self) -> str:
        """All that is kept of what the domain printed."""
        machine = self._lab.machine
        return str(machine.toolstack.console(machine.domid(self._name)).text)

    @property
    def lines(self) -> list[str]:
        """The same by lines."""
        return self.text.splitlines()

    @property
    def screen(self) -> Said:
        """What a terminal of 80 columns and 24 rows would show now."""
        screen = Screen()
        screen.feed(self.text)
        return Said("\n".join(screen.lines))

    def write(self, text: str) -> Said:
        """Type `text` into the console."""
        self._lab.command("console", name=self._name, text=text)
        return Said(f"{self._name}: {len(text)} characters typed; lab.run(...) lets the domain read them")

    def __repr__(self) -> str:
        return self.text.rstrip("\n")


class Lan:
    """An Ethernet segment of the lab, by name."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab = lab
        self.name = name

    @property
    def segment(self) -> Segment:
        """The segment as it is now."""
        return self._lab.machine.lans[self.name]

    @property
    def gateway(self) -> str:
        """The lab's own address on it."""
        return str(self._lab.machine.subnets[self.name].ip)

    @property
    def leases(self) -> dict[str, str]:
        """Addresses the gateway's DHCP server has given, by MAC address; none without one."""
        dhcp = self._lab.machine.gateways[self.name].dhcp
        return dhcp.statistics().leases if dhcp is not None else {}

    def set(self, **faults: Any) -> Said:
        """Change faults from now on: latency, jitter, loss, burst, ack_loss, nth, reorder, duplicate, corrupt, trailing, mtu, rate, ..."""
        return self._lab.set_lan(self.name, **faults)

    def statistics(self) -> Any:
        """Return counters, a frozen record."""
        return self.segment.statistics()

    def __repr__(self) -> str:
        from mirage_lab.lab.pictures import lan_text

        return lan_text(self._lab.machine, self.name)


class Site:
    """A forward: a port of 127.0.0.1 that leads to a port of a domain."""

    def __init__(self, lab: Lab, name: str, port: int) -> None:
        self._lab = lab
        self.name = name
        self.port = port

    @property
    def forward(self) -> Forward:
        """The forward as it is now; raises LabError when it was closed."""
        found = self._lab.machine.forwards.get((self.name, self.port))
        if found is None:
            raise LabError(f"{self.name}:{self.port} is not forwarded: lab.forward(vm, {self.port}) does it")
        return found

    @property
    def host_port(self) -> int:
        """The port of 127.0.0.1."""
        return int(self.forward.host_port)

    @property
    def url(self) -> str:
        """Where a browser or curl finds it."""
        return str(self.forward.url)

    def close(self) -> Said:
        """Take the forward back."""
        self._lab.command("forward.close", name=self.name, port=self.port)
        return Said(f"{self.name}:{self.port} is no longer forwarded")

    def statistics(self) -> Any:
        """Return counters, a frozen record."""
        return self.forward.statistics()

    def __repr__(self) -> str:
        forward = self._lab.machine.forwards.get((self.name, self.port))
        if forward is None:
            return f"{self.name}:{self.port}: closed; lab.forward(vm, {self.port}) opens it again"
        waits = "" if self._lab.playing else " · the world is paused: connections wait until lab.run(...), lab.play() or %host"
        return f"{forward.url} -> {self.name}:{self.port} · {forward.state}{waits}"


class TapHandle:
    """An interface of this computer on a lan, by name."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab = lab
        self.name = name

    @property
    def tap(self) -> Tap:
        """The TAP interface as it is now; raises LabError when it was closed."""
        found = self._lab.machine.taps.get(self.name)
        if found is None:
            raise LabError(f"{self.name} is not plugged in: lab.tap(lan, name={self.name!r}) does it")
        return found

    def close(self) -> Said:
        """Unplug the interface; one that is not persistent is gone."""
        self._lab.command("tap.close", name=self.tap.name)
        return Said(f"{self.name} is unplugged")

    def statistics(self) -> Any:
        """Return counters, a frozen record."""
        return self.tap.statistics()

    def __repr__(self) -> str:
        tap = self._lab.machine.taps.get(self.name)
        if tap is None:
            return f"{self.name}: closed; lab.tap(lan, name={self.name!r}) plugs it in again"
        lan, seen = tap.segment.name, tap.statistics()
        network = self._lab.machine.subnets[lan].network
        ready = f"ip address add {network.network_address + 9}/{network.prefixlen} dev {self.name}; ip link set {self.name} up"
        then = f"; next, as root or its owner: {ready}" if not seen.from_host and not seen.to_host else ""
        return f"{self.name} on {lan}, {tap.state}: {seen.from_host:,} frames from this computer, {seen.to_host:,} to it{then}"


class Events(list[Event]):
    """Events, one line each; the first and last are shown when there are many."""

    SHOWN = 40
    LAST = 10

    def __repr__(self) -> str:
        if len(self) <= self.SHOWN:
            return "\n".join(map(repr, self)) or "no such events"
        head, tail = self[: self.SHOWN - self.LAST], self[-self.LAST :]
        left = len(self) - len(head) - len(tail)
        return "\n".join([*map(repr, head), f"   ... {left} more: iterate, or ask for fewer kinds ...", *map(repr, tail)])


class Causes(Events):
    """What led to something, nearest first; the far end of a long chain is the beginning of the world."""

    SHOWN = 10
    LAST = 1


class Domains(list[Vm]):
    """The domains of a lab, shown as `xl list`."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(Vm(lab, domain.name) for domain in lab.machine.toolstack.list() if domain.domid != 0)
        self._rows = [
            (domain.name, domain.domid, domain.memory_mib, str(domain.state), show(Ns(domain.cpu_ns)))
            for domain in lab.machine.toolstack.list()
        ]

    def __repr__(self) -> str:
        lines = [f"{'Name':<20} {'ID':>4} {'Mem':>5} {'State':<9} {'Time':>10}"]
        lines += [f"{name:<20} {domid:>4} {mem:>5} {state:<9} {time:>10}" for name, domid, mem, state, time in self._rows]
        return "\n".join(lines)
