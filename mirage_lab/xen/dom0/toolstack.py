"""Toolstack: xl and libxl: domains from images, and everything a machine's owner can ask."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from mirage_lab.runtime import RunQueue, World
from mirage_lab.signatures.errors import MirageError
from mirage_lab.signatures.units import Ns
from mirage_lab.xen.abi import shared_info
from mirage_lab.xen.abi.arm import MAGIC_PAGES, RAM_BASE
from mirage_lab.xen.abi.evtchn import Events
from mirage_lab.xen.abi.gntmap import Gntmap
from mirage_lab.xen.abi.grant_table import GREF_XENSTORE
from mirage_lab.xen.abi.io.blkif import DISKS, PARTITIONS, device_name, device_number
from mirage_lab.xen.abi.io.xenbus import XenbusState
from mirage_lab.xen.abi.xen import PAGE_SHIFT, PAGE_SIZE, Domid, Pfn, Port
from mirage_lab.xen.dom0.armbuilder import build_arm
from mirage_lab.xen.dom0.backend import Kernel
from mirage_lab.xen.dom0.blkback import Blkback
from mirage_lab.xen.dom0.builder import Built, build
from mirage_lab.xen.dom0.consoled import Consoled, ConsoleLog
from mirage_lab.xen.dom0.disk import Disk, Volume, open_disk
from mirage_lab.xen.dom0.elf import ImageError, read_elf
from mirage_lab.xen.dom0.image import Image
from mirage_lab.xen.dom0.netback import Netback
from mirage_lab.xen.dom0.pvbuilder import build_pv
from mirage_lab.xen.dom0.pvhbuilder import LARGEST_MIB as LARGEST_MIB_TRANSLATED
from mirage_lab.xen.dom0.pvhbuilder import build_pvh
from mirage_lab.xen.hypervisor import Domain, Hypervisor
from mirage_lab.xen.hypervisor.domain import DomainGate
from mirage_lab.xen.xenstore import Client, Daemon
from mirage_lab.xen.xenstore.history import MOST, History
from mirage_lab.xen.xenstore.history import of_world as history_of
from mirage_lab.xen.xenstore.sessions import Sessions

__all__ = ["DomainInfo", "Toolstack", "ToolstackError", "VifConfig"]

DOM0_MIB: Final = 16
STAGING: Final = Pfn(256)
STAGING_BLK: Final = Pfn(512)
LARGEST_MIB: Final = 4_096
LONGEST_NAME: Final = 64
_BUILDERS: Final[dict[str, Callable[[Hypervisor, Domain, bytes, str, bytes], Built]]] = {"arm": build_arm, "pvh": build_pvh, "pv": build_pv}
Boot = Callable[[RunQueue, DomainGate, Any, Pfn], None]


class ToolstackError(MirageError):
    """Something the toolstack cannot do; the message says what there is."""


@dataclass(frozen=True, slots=True)
class VifConfig:
    """A virtual interface: the segment it is plugged into, its name, and the MAC address (None: one from the seed)."""

    segment: Any
    bridge: str = "br0"
    mac: str | None = None


@dataclass(frozen=True, slots=True)
class DomainInfo:
    """A row of `xl list`."""

    name: str
    domid: int
    memory_mib: int
    state: str
    cpu_ns: Ns


def placed(disks: Sequence[Disk]) -> list[int]:
    """Return the device number of each disk: its `vdev`, or the first free of xvda, xvdb, ...; raises MirageError."""
    named = [device_number(disk.vdev) for disk in disks if disk.vdev]
    twice = next((number for number in named if named.count(number) > 1), None)
    if twice is not None:
        raise ToolstackError(f"two disks are both {device_name(twice)}")
    free = [number for letter in range(DISKS) if (number := device_number("xvda") + letter * PARTITIONS) not in named]
    if len(disks) > DISKS:
        raise ToolstackError(f"{len(disks)} disks; a domain has at most {DISKS}")
    return [device_number(disk.vdev) if disk.vdev else free.pop(0) for disk in disks]


class Toolstack:
    """One machine: hypervisor, dom0 with its daemons, and the domains."""

    def __init__(self, world: World, *, boot: Boot) -> None:
        self.world = world
        self.hypervisor = xen = Hypervisor(world)
        dom0 = xen.create_domain("dom0", DOM0_MIB << 8, guest=False)
        self._boot = boot
        self._queue = dom0.queue
        self._maps = Gntmap(dom0.gate, itertools.count(dom0.memory.demand, PAGE_SIZE))
        self._events = Events(dom0.queue, dom0.gate, dom0.shared)
        dom0.shared[shared_info.UPCALL_MASK] = 0
        history = history_of(world)
        self.daemon = Daemon(world, dom0.queue, xen.say, history=history, sessions=Sessions(history.repo))
        self.daemon.exists = xen.domains.__contains__
        self.xenstore: Client = self.daemon.connect()
        self._consoled = Consoled(dom0.queue, self._events, self._maps, xen.say)
        self.netback = Netback(Kernel(dom0.queue, dom0.gate, self._events, self._maps, self.daemon.connect("dom0"), xen.say), STAGING)
        self.blkback = Blkback(Kernel(dom0.queue, dom0.gate, self._events, self._maps, self.daemon.connect("dom0"), xen.say), STAGING_BLK)
        self._stores: dict[int, tuple[int, tuple[int, int]]] = {}
        self._rng = world.rng("toolstack")
        xen.unpause(dom0)
        with self.xenstore.transaction() as tx:
            tx.write("/local/domain/0/name", "Domain-0")
            tx.write("/local/domain/0/domid", "0")

    def __repr__(self) -> str:
        return f"<Toolstack {', '.join(info.name for info in self.list())}>"

    # domains -----------------------------------------------------------------------------------------------------

    def create(
        self,
        image: Image,
        *,
        name: str | None = None,
        vif: Sequence[VifConfig] = (),
        disk: Sequence[Disk] = (),
        memory_mib: int | None = None,
        profile: str = "today",
    ) -> Domid:
        """Build a domain and leave it paused (`xl create -p`); return its domid.  Raises ToolstackError."""
        name = name or image.name
        if not name.isprintable() or "/" in name or len(name) > LONGEST_NAME:
            raise ToolstackError(f"{name[:LONGEST_NAME]!r}: a name is 1 to {LONGEST_NAME} printable characters without /")
        if any(domain.name == name for domain in self.hypervisor.domains.values()):
            raise ToolstackError(f"a domain called {name} exists already: destroy it first, or give another name")
        mib = image.memory_mib if memory_mib is None else memory_mib
        if not 4 <= mib <= LARGEST_MIB:
            raise ToolstackError(f"{name}: {mib} MiB of memory; 4 to {LARGEST_MIB} are possible")
        for handle, config in enumerate(vif):
            if not hasattr(config.segment, "attach"):
                raise ToolstackError(f"vif {handle} of {name} is not plugged in: its segment is {config.segment!r}; VifConfig(segment=lan)")
        volumes = self._volumes(name, disk)
        try:
            domain, built = self._built(image, name, mib, profile)
        except BaseException:
            for volume in volumes.values():
                volume.close()
            raise
        vm = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        self._domain_nodes(domain, vm)
        self._introduce(domain, built, mib)
        for handle, config in enumerate(vif):
            self._vif_nodes(domain, handle, config)
        for device, volume in volumes.items():
            self._vbd_nodes(domain, device, volume)
        if image.entry is not None:
            self._boot(domain.queue, domain.gate, image.entry, built.start_info)
        return domain.domid

    def _built(self, image: Image, name: str, mib: int, profile: str) -> tuple[Domain, Built]:
        """Return a new domain with the image in its memory; raises ToolstackError, and nothing is left of it."""
        xen = self.hypervisor
        if image.kind == "python":
            domain = xen.create_domain(name, mib << 8)
            cmdline = " ".join([image.cmdline, f"profile={profile}"] if profile != "today" else [image.cmdline]).strip()
            return domain, build(xen, domain, image.data or f"python unikernel {image.name}\n".encode(), cmdline)
        try:
            flavour = "arm" if image.kind == "arm" else read_elf(image.data).flavour(image.boots)
        except ImageError as error:
            raise ToolstackError(f"{name}: {error}") from None
        if flavour != "pv" and mib > LARGEST_MIB_TRANSLATED:
            raise ToolstackError(f"{name}: {mib} MiB of memory; a guest of kind {flavour} has at most {LARGEST_MIB_TRANSLATED}")
        first = {"arm": RAM_BASE >> PAGE_SHIFT, "pvh": 0}.get(flavour)
        domain = xen.create_domain(name, (mib << 8) + (MAGIC_PAGES if flavour == "arm" else 0), translated=first)
        try:
            return domain, _BUILDERS[flavour](xen, domain, image.data, image.cmdline, image.ramdisk)
        except MirageError as error:
            xen.destroy(domain)
            raise ToolstackError(f"{name}: {error}") from None

    def _domain_nodes(self, domain: Domain, vm: str) -> None:
        domid = domain.domid
        home = f"/local/domain/{domid}"
        with self.xenstore.transaction() as tx:
            tx.write(f"/vm/{vm}/name", domain.name)
            tx.write(f"/vm/{vm}/uuid", vm)
            tx.mkdir(f"/libxl/{domid}")
            tx.mkdir(home)
            tx.set_perms(home, ["n0", f"r{domid}"])
            for name, value in (("vm", f"/vm/{vm}"), ("name", domain.name)):
                tx.write(f"{home}/{name}", value)
            for name in ("cpu", "memory", "device", "control"):
                tx.mkdir(f"{home}/{name}")
            for name in ("control/shutdown", "device/suspend/event-channel", "data"):
                tx.mkdir(f"{home}/{name}")
                tx.set_perms(f"{home}/{name}", [f"n{domid}"])
            for name in ("platform-feature-multiprocessor-suspend", "platform-feature-xs_reset_watches"):
                tx.write(f"{home}/control/{name}", "1")

    def _introduce(self, domain: Domain, built: Built, mib: int) -> None:
        domid, home = domain.domid, f"/local/domain/{domain.domid}"
        with self.xenstore.transaction() as tx:
            for name, value in (
                ("memory/static-max", str(mib << 10)),
                ("memory/target", str(mib << 10)),
                ("memory/videoram", "0"),
                ("domid", str(domid)),
                ("store/port", str(built.store_port)),
                ("store/ring-ref", str(built.store_mfn)),
                ("cpu/0/availability", "online"),
                ("console/limit", "1048576"),
                ("console/type", "xenconsoled"),
                ("console/output", "pty"),
                ("console/port", str(built.console_port)),
                ("console/ring-ref", str(built.console_mfn)),
            ):
                tx.write(f"{home}/{name}", value)
        mapping = self._maps.map(domid, GREF_XENSTORE)
        port = self._events.bind_interdomain(domid, built.store_port)
        self._events.bind(port, lambda: self.daemon.kick(domid))
        self._events.unmask(port)
        self._stores[domid] = (port, mapping)
        self.daemon.introduce(domid, self._maps.page(mapping[0]), lambda: self._events.notify(port), domain.name)
        self._consoled.introduce(domid, domain.name, built.console_port)

    def _vif_nodes(self, domain: Domain, handle: int, config: VifConfig) -> None:
        domid = domain.domid
        mac = config.mac or "00:16:3e:" + ":".join(f"{self._rng.randrange(256):02x}" for _ in range(3))
        front, back = f"/local/domain/{domid}/device/vif/{handle}", f"/local/domain/0/backend/vif/{domid}/{handle}"
        state = str(int(XenbusState.INITIALISING))
        with self.xenstore.transaction() as tx:
            tx.mkdir(front)
            tx.set_perms(front, [f"n{domid}", "r0"])
            tx.mkdir(back)
            tx.set_perms(back, ["n0", f"r{domid}"])
            for name, value in (("backend", back), ("backend-id", "0"), ("state", state), ("handle", str(handle)), ("mac", mac)):
                tx.write(f"{front}/{name}", value)
            for name, value in (
                ("frontend", front),
                ("frontend-id", str(domid)),
                ("online", "1"),
                ("state", state),
                ("script", "vif-bridge"),
                ("mac", mac),
                ("bridge", config.bridge),
                ("handle", str(handle)),
                ("type", "vif"),
            ):
                tx.write(f"{back}/{name}", value)
        name = domain.name if handle == 0 else f"{domain.name}.{handle}"
        self.netback.plug(domid, handle, config.segment, name)

    def check_disks(self, name: str, disks: Sequence[Disk], instead_of: int | None = None) -> None:
        """Raise ToolstackError unless these disks can be plugged into a domain, or into the next one in place of another."""
        for volume in self._volumes(name, disks, instead_of).values():
            volume.close()

    def _volumes(self, name: str, disks: Sequence[Disk], instead_of: int | None = None) -> dict[int, Volume]:
        """Return the disks, open, by device number; raises ToolstackError, and none is left open."""
        opened: dict[int, Volume] = {}
        there = [(vbd.name, vbd.volume) for (domid, _), vbd in self.blkback.vbds.items() if domid != instead_of]
        try:
            for device, disk in zip(placed(disks), disks, strict=True):
                opened[device] = volume = open_disk(disk, live=self.world.live)
                same = (user for user, other in there if volume.identity and volume.identity == other.identity and (volume.through or other.through))
                user = next(same, None)
                if user is not None:
                    raise ToolstackError(f"{disk.title} is {user} already, and a file that is written through has one user: destroy that domain first")
                there.append((f"{name}/{device_name(device)}", volume))
        except MirageError as error:
            for volume in opened.values():
                volume.close()
            raise ToolstackError(f"{name}: {error}") from None
        return opened

    def _vbd_nodes(self, domain: Domain, device: int, volume: Volume) -> None:
        domid, disk = domain.domid, volume.disk
        front, back = f"/local/domain/{domid}/device/vbd/{device}", f"/local/domain/0/backend/vbd/{domid}/{device}"
        state = str(int(XenbusState.INITIALISING))
        with self.xenstore.transaction() as tx:
            tx.mkdir(front)
            tx.set_perms(front, [f"n{domid}", "r0"])
            tx.mkdir(back)
            tx.set_perms(back, ["n0", f"r{domid}"])
            for name, value in (("backend", back), ("backend-id", "0"), ("state", state), ("virtual-device", str(device)), ("device-type", "disk")):
                tx.write(f"{front}/{name}", value)
            for name, value in (
                ("frontend", front),
                ("frontend-id", str(domid)),
                ("online", "1"),
                ("removable", "0"),
                ("bootable", "1"),
                ("state", state),
                ("dev", device_name(device)),
                ("type", "phy"),
                ("mode", "r" if disk.readonly else "w"),
                ("device-type", "disk"),
                ("discard-enable", str(int(not disk.readonly))),
                ("params", disk.title),
                ("hotplug-status", "connected"),
            ):
                tx.write(f"{back}/{name}", value)
        self.blkback.plug(domid, device, volume, f"{domain.name}/{device_name(device)}")

    def attach_disk(self, domid: int, disk: Disk) -> int:
        """Plug a disk into a domain (`xl block-attach`); return its device number.  Raises ToolstackError."""
        domain = self._guest(domid)
        there = [replace(vbd.volume.disk, vdev=device_name(vbd.device)) for vbd in self.blkback.of(domid)]
        device = placed([*there, disk])[-1]
        volume = self._volumes(domain.name, [replace(disk, vdev=str(device))])[device]
        self._vbd_nodes(domain, device, volume)
        return device

    def detach_disk(self, domid: int, device: int) -> None:
        """Pull a disk out (`xl block-detach`): its nodes go when the front end has closed it.  Raises ToolstackError."""
        domain = self._guest(domid)
        vbd = self.blkback.vbds.get((domid, device))
        if vbd is None:
            there = ", ".join(device_name(one.device) for one in self.blkback.of(domid)) or "none"
            raise ToolstackError(f"{domain.name} has no disk {device_name(device)}; disks: {there}")
        vbd.detach(lambda: self._remove_nodes(vbd.frontend, vbd.path))

    def _remove_nodes(self, *paths: str) -> None:
        with self.xenstore.transaction() as tx:
            for path in paths:
                if tx.exists(path):
                    tx.rm(path)

    def unpause(self, domid: int) -> None:
        """Let a domain run."""
        self.hypervisor.unpause(self.domain(domid))

    def pause(self, domid: int) -> None:
        """Stop a domain's vCPU."""
        self.hypervisor.pause(self._guest(domid))

    def destroy(self, domid: int) -> None:
        """Remove a domain: back ends, daemons, keys, then itself."""
        domain = self._guest(domid)
        self.netback.unplug(domain.domid)
        self.blkback.unplug(domain.domid)
        self._consoled.release(domain.domid)
        self.daemon.release(domain.domid)
        port, mapping = self._stores.pop(domid)
        self._events.close(port)  # type: ignore[arg-type]
        self._maps.unmap(*mapping)
        vm = self.xenstore.get(f"/local/domain/{domid}/vm")
        back = [f"/local/domain/0/backend/{kind}/{domid}" for kind in ("vif", "vbd")]
        self._remove_nodes(f"/local/domain/{domid}", *([vm] if vm else []), f"/libxl/{domid}", *back)
        self.hypervisor.destroy(domain)

    def restart_xenstored(self) -> Daemon:
        """Kill xenstored and start another, which knows only what the first had kept: the tree, and its clients' sessions."""
        before = self.daemon
        repo = before.history.repo
        before.stop()
        after = self.daemon = Daemon(self.world, self._queue, before.say, before.engine, History(repo, MOST), Sessions(repo))
        after.exists = before.exists
        for client in before.clients:
            after.readopt(client)
        for domid, (port, mapping) in sorted(self._stores.items()):
            after.resume(Domid(domid), self._maps.page(mapping[0]), partial(self._events.notify, Port(port)), self.domain(domid).name)
        return after

    # looking -----------------------------------------------------------------------------------------------------

    def domain(self, domid: int) -> Domain:
        """Return a domain; raises ToolstackError."""
        found = self.hypervisor.domain(domid)
        if found is None:
            there = ", ".join(f"{info.domid} ({info.name})" for info in self.list())
            raise ToolstackError(f"there is no domain {domid}: {there}")
        return found

    def _guest(self, domid: int) -> Domain:
        if domid == 0:
            raise ToolstackError("dom0 cannot be paused or destroyed: it runs the toolstack")
        return self.domain(domid)

    def list(self) -> list[DomainInfo]:
        """Return the domains, dom0 first."""
        rows = sorted(self.hypervisor.domains.items())
        return [DomainInfo(domain.name, domid, domain.memory_mib, domain.state, domain.cpu_ns) for domid, domain in rows]

    def console(self, domid: int) -> ConsoleLog:
        """Return the console of a domain; raises ToolstackError."""
        self._guest(domid)
        return self._consoled.console(domid)

    def dmesg(self) -> str:
        """Return what the hypervisor said."""
        return "\n".join(self.hypervisor.dmesg)
