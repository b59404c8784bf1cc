"""pictures: what a lab's objects look like: text and SVG, from events and counters only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mirage_lab.plot.boot import Boot, boot_of, boot_svg, boot_text
from mirage_lab.plot.hosts import Hosts
from mirage_lab.plot.overview import ForwardBox, LanBox, MachineBox, Overview, overview_svg, overview_text
from mirage_lab.plot.packets import packets_html, packets_text
from mirage_lab.plot.scale import spoken
from mirage_lab.xen.abi.io.blkif import device_name

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab
    from mirage_lab.lab.machine import Machine

__all__ = ["hosts", "lab_svg", "lab_text", "lan_detail", "lan_text", "trace_html", "trace_text", "vm_svg", "vm_text"]


def hosts(machine: Machine) -> Hosts:
    """Return names and colours of the machines on the lans: the gateways, then the domains as they were created."""
    names: dict[str, str] = {}
    order = ["gateway"]
    for gateway in machine.gateways.values():
        names[gateway.stack.ipv4.get_ip()] = names[gateway.netif.mac] = "gateway"
    xenstore = machine.toolstack.xenstore
    for domain in machine.toolstack.list():
        if not domain.domid:
            continue
        order.append(domain.name)
        image = machine.images.get(domain.name)
        address = image.manifest.get("address") if image is not None else None
        if address:
            names.setdefault(str(address).split("/")[0], domain.name)
        vifs = f"/local/domain/{domain.domid}/device/vif"
        if xenstore.exists(vifs):
            for handle in xenstore.list(vifs):
                names[xenstore.get(f"{vifs}/{handle}/mac")] = domain.name
    return Hosts(names, order)


def _boot(machine: Machine, name: str) -> Boot:
    return boot_of(machine.world.recorder.events(), name, machine.domid(name))


def _header(machine: Machine, name: str) -> str:
    info = next(domain for domain in machine.toolstack.list() if domain.name == name)
    lans = ", ".join(machine.plugged.get(name, ())) or "no lan"
    disks = "".join(f", disk {device_name(vbd.device)}" for vbd in machine.toolstack.blkback.of(info.domid))
    return f"{name}: domid {info.domid}, {info.state}, {info.memory_mib} MiB, on {lans}{disks}"


def vm_text(machine: Machine, name: str) -> str:
    """Return a domain in a few lines: its state, its boot, its console."""
    header = _header(machine, name)
    if not machine.world.recorder.events("domain.unpaused", name):
        return f"{header} · built and paused; next: vm.unpause()"
    return f"{header}\n{boot_text(_boot(machine, name))}"


def vm_svg(machine: Machine, name: str) -> str | None:
    """Return the boot timeline; None before the domain first ran."""
    if not machine.world.recorder.events("domain.unpaused", name):
        return None
    names = hosts(machine)
    return boot_svg(_boot(machine, name), names.colour(name))


def lan_text(machine: Machine, name: str) -> str:
    """Return a lan in one line."""
    seen = machine.lans[name].statistics()
    lost = sum(seen.lost.values())
    ports = ", ".join(seen.ports)
    return f"lan {name}: {_lan(machine, name).subnet}, {lan_detail(machine, name)}; {seen.frames:,} frames, {lost:,} lost; ports: {ports}"


def lan_detail(machine: Machine, name: str) -> str:
    """Return the faults of a lan in words, and the interfaces of this computer on it."""
    faults = machine.lans[name].faults
    told = [f"latency {spoken(faults['latency'])}"] if faults["latency"] else ["no latency"]
    told += [f"{key} {spoken(faults[key])}" for key in ("jitter",) if faults[key]]
    shares = {"loss": "loss", "ack_loss": "ACK loss", "reorder": "reorder", "duplicate": "duplicate", "corrupt": "corrupt"}
    told += [f"{faults[key]:.1%} {label}".replace(".0%", " %") for key, label in shares.items() if faults[key]]
    told += [f"{faults['rate'] / 1e6:g} Mbit/s"] if faults["rate"] else []
    told += [f"{key} {value}" for key, value in machine.lans[name].active.items() if key in ("burst", "nth", "trailing", "mtu", "discipline")]
    told += [f"blackout {spoken(faults['blackout'][0])} to {spoken(faults['blackout'][1])}"] if faults["blackout"] else []
    told += [f"this computer at {tap.name}" for tap in machine.taps.values() if tap.segment.name == name and tap.state == "open"]
    return ", ".join(told)


def _lan(machine: Machine, name: str) -> LanBox:
    interface = machine.subnets[name]
    return LanBox(name, str(interface.network), str(interface.ip), lan_detail(machine, name))


def _machine(machine: Machine, name: str) -> MachineBox:
    info = next(domain for domain in machine.toolstack.list() if domain.name == name)
    lines = machine.toolstack.console(info.domid).lines
    return MachineBox(name, info.domid, info.state, info.memory_mib, machine.plugged.get(name, ()), lines[-1] if lines else "")


def overview(lab: Lab) -> Overview:
    """Return everything the picture of a lab says."""
    machine = lab.machine
    world = machine.world
    clock = datetime.fromtimestamp((world.epoch_ns + world.now) // 1_000_000_000, UTC)
    names = [domain.name for domain in machine.toolstack.list() if domain.domid]
    forwards = [ForwardBox(forward.url, name, port, forward.state) for (name, port), forward in machine.forwards.items()]
    return Overview(
        name=lab.name,
        seed=lab.seed,
        t=world.now,
        clock=f"{clock:%Y-%m-%d %H:%M:%S} UTC",
        state="playing" if lab.playing else "paused",
        machines=tuple(_machine(machine, name) for name in names),
        lans=tuple(_lan(machine, name) for name in machine.lans),
        forwards=tuple(forwards),
        notes=(lab.badge,),
    )


def lab_text(lab: Lab) -> str:
    """Return a lab in at most 8 lines."""
    with lab.lock:
        return overview_text(overview(lab))


def lab_svg(lab: Lab) -> str:
    """Return the picture of a lab."""
    with lab.lock:
        return overview_svg(overview(lab), hosts(lab.machine))


def trace_text(machine: Machine, name: str) -> str:
    """Return the first frames of a capture."""
    return packets_text(machine.captures[name], hosts(machine))


def trace_html(machine: Machine, name: str) -> str:
    """Return a capture as a table."""
    return packets_html(machine.captures[name], hosts(machine))
