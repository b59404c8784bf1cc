"""Machine: one emulated Xen host with its lans, gateways, captures and forwards, in one world.

A machine changes only by commands (`world.command`) and by events.  A journal of commands and its seed make it again;
`Lab` keeps the machine of the moment and builds another one to go back.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mirage_lab.lab.said import LabError
from mirage_lab.lab.xensocket import XenSocket
from mirage_lab.runtime import World, tasks
from mirage_lab.runtime.journal import CUT, Entry
from mirage_lab.signatures.errors import ConnectionTimedOut, LocalProtocolError, MirageError
from mirage_lab.signatures.units import Ns, seconds
from mirage_lab.tcpip.stack import Stack
from mirage_lab.tracing.capture import Capture
from mirage_lab.usernet import Forward, Gateway
from mirage_lab.vnetif import Segment, Tap
from mirage_lab.xen.abi.io.blkif import device_name, device_number
from mirage_lab.xen.arch.vcpu import Vcpu
from mirage_lab.xen.dom0.disk import Disk, stamp
from mirage_lab.xen.dom0.image import Image
from mirage_lab.xen.dom0.toolstack import Toolstack, VifConfig, placed
from mirage_lab.xen.guest.minios import boot
from mirage_lab.xen.xenstore import whatif

__all__ = ["Machine"]

FETCHED = 64 << 20
"""Bytes of an answer that `fetch` keeps; a server that never stops is cut off there."""


class Machine:
    """Everything that exists in a lab at one moment of virtual time."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.toolstack = Toolstack(self.world, boot=boot)
        self.lans: dict[str, Segment] = {}
        self.subnets: dict[str, ipaddress.IPv4Interface] = {}
        self.gateways: dict[str, Gateway] = {}
        self.captures: dict[str, Capture] = {}
        self.forwards: dict[tuple[str, int], Forward] = {}
        self.taps: dict[str, Tap] = {}
        self.servers: list[Any] = []
        self.xensocket: XenSocket | None = None
        self.on_vcpu: Callable[[Vcpu], None] | None = None
        """Who is told of each vCPU that is made, for a domain of machine code."""
        self.images: dict[str, Image] = {}
        self.plugged: dict[str, tuple[str, ...]] = {}
        self.disks: dict[str, tuple[Disk, ...]] = {}
        self.written_through: list[str] = []
        """Files that a domain may have changed: no replay takes that back."""
        self._notes: list[tuple[str, str]] = []
        on = self.world.on_command
        on("lan", self._lan)
        on("lan.set", self._lan_set)
        on("dhcp", self._dhcp)
        on("ipv6", self._ipv6)
        on("capture", self._capture)
        on("create", self._create)
        on("disk.attach", self._attach)
        on("disk.detach", self._detach)
        on("unpause", self._unpause)
        on("pause", self._pause)
        on("destroy", self._destroy)
        on("forward", self._forward)
        on("forward.close", self._forward_close)
        on("allow_outbound", self._allow_outbound)
        on("tap", self._tap)
        on("tap.close", self._tap_close)
        on("console", self._console)
        on("xenstore.write", self._xenstore_write)
        on("xenstore.rm", self._xenstore_rm)
        on("xenstore.chmod", self._xenstore_chmod)
        on("xenstored.restart", self._xenstored_restart)
        on("xenstored.socket", self._xenstored_socket)
        on("xenstore.branch", lambda name, at: whatif.begin(self.toolstack.daemon, name, at))
        on("xenstore.drop", lambda name: whatif.drop(self.toolstack.daemon, name))
        on("xenstore.try", lambda branch, path, value: whatif.write(self.toolstack.daemon, branch, path, value))
        on("xenstore.merge", lambda branch: whatif.merge(self.toolstack.daemon, branch))
        on("xenstore.restore", lambda at: whatif.restore(self.toolstack.daemon, at))
        on(CUT, self._cut)
        on("poke", self._poke)
        on("fetch", self._fetch)
        on("ping", self._ping)

    @classmethod
    def replayed(cls, seed: int, entries: list[Entry], place: Any, on_vcpu: Callable[[Vcpu], None] | None = None) -> Machine:
        """Return the machine that `entries` make from `seed`; it touches no host socket, file or display."""
        machine = cls(seed)
        machine.world.place = place
        machine.on_vcpu = on_vcpu
        machine.world.live = False
        try:
            machine.world.replay(entries)
        except BaseException:
            machine.close()
            raise
        machine.world.take_reports()
        return machine

    def go_live(self) -> None:
        """After a replay: open the host side of forwards and TAP interfaces again, and say what it could not have as it was."""
        self.world.live = True
        for gateway in self.gateways.values():
            gateway.go_live()
        for tap in self.taps.values():
            tap.open()
        if self.xensocket is not None:
            self.xensocket.open()
        for note in self._notes:
            self.world.report(*note)
        self._notes.clear()

    def close(self) -> None:
        """Close host sockets and threads; virtual things need no closing."""
        for server in self.servers:
            server.close()
        if self.xensocket is not None:
            self.xensocket.shut()
        for tap in self.taps.values():
            tap.shut()
        for gateway in self.gateways.values():
            gateway.close()
            gateway.queue.close()
        self.toolstack.blkback.close()
        for domain in self.toolstack.hypervisor.domains.values():
            domain.queue.close()
        self.world.close()

    # what is there -----------------------------------------------------------------------------------------------

    def domid(self, name: str) -> int:
        """Return the domid of the domain called `name`; raises LabError."""
        for domain in self.toolstack.list():
            if domain.name == name and domain.domid != 0:
                return domain.domid
        raise LabError(f"there is no domain {name}: lab.create(image) makes one")

    def vcpu(self, name: str) -> Vcpu | None:
        """Return the vCPU of a domain that is machine code, None of a Python unikernel; raises LabError."""
        found = self.toolstack.domain(self.domid(name)).machine
        return found if isinstance(found, Vcpu) else None

    def exists(self, name: str) -> bool:
        """True if there is a domain called `name`."""
        return self._existing(name) is not None

    def address(self, name: str) -> str:
        """Return the IPv4 address the domain `name` has, or will have, on its first lan; raises LabError."""
        image = self.images.get(name)
        address = image.manifest.get("address") if image is not None else None
        if not address:
            address = self._given_address(name)
        if not address:
            raise LabError(f"{name} has no address that the lab knows: lab.forward(vm, port, address=...) names it")
        return str(address).split("/")[0]

    def _given_address(self, name: str) -> str | None:
        """Return the address a stack of the domain got by DHCP."""
        for slot in self.toolstack.domain(self.domid(name)).queue.devices.values():
            if isinstance(slot.device, Stack) and slot.device.ipv4.address:
                return slot.device.ipv4.get_ip()
        return None

    # commands ----------------------------------------------------------------------------------------------------

    def _lan(self, name: str, subnet: str, dhcp: bool | dict[str, Any] = False, ipv6: str | None = None, **faults: Any) -> Segment:
        segment = Segment(self.world, name, **faults)
        network = ipaddress.IPv4Network(subnet)
        gateway = ipaddress.IPv4Interface(f"{network.network_address + 1}/{network.prefixlen}")
        self.lans[name] = segment
        self.subnets[name] = gateway
        self.gateways[name] = Gateway(self.world, segment, address=str(gateway))
        if dhcp:
            self._dhcp(name, {} if dhcp is True else dhcp)
        if ipv6 is not None:
            self._ipv6(name, ipv6)
        return segment

    def _ipv6(self, lan: str, prefix: str) -> None:
        self.gateways[lan].announce(prefix)

    def _dhcp(self, lan: str, pool: dict[str, Any]) -> None:
        self.gateways[lan].serve_dhcp(**pool)

    def _lan_set(self, name: str, **faults: Any) -> dict[str, Any]:
        return dict(self.lans[name].set(**faults))

    def _capture(self, lan: str, name: str, limit_bytes: int, port: str | None = None) -> Capture:
        capture = Capture(name, limit_bytes=limit_bytes)
        self.captures[name] = capture
        if port is None:
            self.lans[lan].captures.append(capture)
        else:
            self.lans[lan].tap(port, capture)
        return capture

    def _create(self, image: Image, name: str, vif: tuple[str, ...], memory_mib: int | None, profile: str, disk: tuple[Disk, ...] = ()) -> int:
        before = self._existing(name)
        self.toolstack.check_disks(name, disk, before)
        self._note_files(name, disk)
        if before is not None:
            self.toolstack.destroy(before)
        plugs = [VifConfig(segment=self.lans[lan], bridge=lan) for lan in vif]
        domid = self.toolstack.create(image, name=name, vif=plugs, memory_mib=memory_mib, profile=profile, disk=disk)
        self.images[name] = image
        self.plugged[name] = vif
        self.disks[name] = tuple(replace(one, vdev=device_name(number)) for one, number in zip(disk, placed(disk), strict=True))
        vcpu = self.vcpu(name)
        if vcpu is not None and self.on_vcpu is not None:
            self.on_vcpu(vcpu)
        return domid

    def _attach(self, name: str, disk: Disk) -> str:
        dev = device_name(self.toolstack.attach_disk(self.domid(name), disk))
        self._note_files(name, (disk,))
        self.disks[name] = (*self.disks.get(name, ()), replace(disk, vdev=dev))
        return dev

    def _detach(self, name: str, dev: str) -> None:
        number = device_number(dev)
        self.toolstack.detach_disk(self.domid(name), number)
        self.disks[name] = tuple(disk for disk in self.disks.get(name, ()) if device_number(disk.vdev) != number)

    def _note_files(self, name: str, disks: tuple[Disk, ...]) -> None:
        """Note which files are written through, and say what a replay cannot have again."""
        for disk in disks:
            if disk.writable and disk.title not in self.written_through:
                self.written_through.append(disk.title)
            if disk.path is None or self.world.live:
                continue
            if disk.writable:
                self._notes.append((name, f"{disk.title}: this world was built again, so what is written stays in memory; lab.create(...) writes to the file"))
            elif disk.stamp != stamp(disk.path):
                self._notes.append((name, f"{disk.title}: the file has changed since it was plugged in: this world may not be the same"))

    def _existing(self, name: str) -> int | None:
        try:
            return self.domid(name)
        except LabError:
            return None

    def _unpause(self, name: str) -> None:
        self.toolstack.unpause(self.domid(name))

    def _pause(self, name: str) -> None:
        self.toolstack.pause(self.domid(name))

    def _destroy(self, name: str) -> None:
        self.toolstack.destroy(self.domid(name))

    def _forward(self, lan: str, name: str, address: str, port: int, host_port: int | None) -> Forward:
        forward = self.gateways[lan].forward(address, port, host_port=host_port, name=name)
        self.forwards[name, port] = forward
        return forward

    def _forward_close(self, name: str, port: int) -> None:
        self.forwards.pop((name, port)).close()

    def _allow_outbound(self, address: str) -> None:
        for gateway in self.gateways.values():
            gateway.allow_outbound(address)

    def _tap(self, lan: str, name: str) -> Tap:
        tap = Tap(self.world, self.lans[lan], name)
        if self.world.live:
            try:
                tap.open()
            except LocalProtocolError:
                tap.close()
                raise
        self.taps[name] = tap
        return tap

    def _tap_close(self, name: str) -> None:
        self.taps.pop(name).close()

    def _console(self, name: str, text: str) -> None:
        self.toolstack.console(self.domid(name)).write(text)

    def _xenstore_write(self, path: str, value: str) -> None:
        self.toolstack.xenstore.write(path, value)

    def _xenstore_rm(self, path: str) -> None:
        self.toolstack.xenstore.rm(path)

    def _xenstore_chmod(self, path: str, perms: list[str]) -> None:
        self.toolstack.xenstore.set_perms(path, perms)

    def _xenstored_restart(self) -> None:
        if self.xensocket is not None:
            self.xensocket.drop_all()
        self.toolstack.restart_xenstored()

    def _xenstored_socket(self, path: str, own_folder: bool) -> XenSocket:
        if self.xensocket is None:
            self.xensocket = XenSocket(self.world, self.toolstack, path, own_folder)
        if self.world.live:
            self.xensocket.open()
        return self.xensocket

    def _cut(self, name: str, instructions: int) -> None:
        vcpu = self.vcpu(name)
        if vcpu is not None:
            vcpu.cuts.cut_at(instructions)

    def _poke(self, name: str, register: str, address: int, data: bytes) -> bool:
        """A debugger writes: a register by name, little-endian, or bytes at a linear address; False where there is no memory."""
        vcpu = self.vcpu(name)
        if vcpu is None:
            return False
        if not register:
            return vcpu.cpu.patch(address, data)
        value = int.from_bytes(data, "little")
        if register == vcpu.cpu.program_counter and vcpu.cpu.load(value, 1) is None:
            return False
        vcpu.cpu.write(register, value)
        return True

    def _fetch(self, lan: str, address: str, port: int, request: bytes) -> list[bytes | MirageError]:
        """Ask from inside the world, over the gateway's own stack; the reply grows and ends with b"", or with what went wrong."""
        gateway, into = self.gateways[lan], list[bytes | MirageError]()

        async def client() -> None:
            try:
                flow = await gateway.stack.tcpv4.create_connection((address, port))
                await flow.write(request)
                size = 0
                while (data := await flow.read()) and size < FETCHED:
                    into.append(data)
                    size += len(data)
                into.append(b"")
                if size < FETCHED:
                    await flow.close()
                else:
                    flow.abort()
            except MirageError as error:
                into.append(error)

        gateway.queue.spawn(client(), "fetch")
        return into

    def _ping(self, lan: str, address: str, count: int) -> list[Ns | None]:
        """Send echoes from the gateway, a second apart; the answers grow: a round trip, or None for none within a second."""
        gateway, into = self.gateways[lan], list[Ns | None]()

        async def pinger() -> None:
            for number in range(count):
                if number:
                    await tasks.sleep(seconds(1))
                try:
                    into.append(await gateway.stack.icmpv4.ping(address))
                except ConnectionTimedOut:
                    into.append(None)

        gateway.queue.spawn(pinger(), "ping")
        return into

    @property
    def frames(self) -> int:
        """Frames that entered any lan so far."""
        return sum(segment.statistics().frames for segment in self.lans.values())

    @property
    def now(self) -> Ns:
        """Virtual time."""
        return self.world.now
