"""waiting: what a guest of machine code waits for: how, which ports could wake it, what is bound to each, and when its timer rings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirage_lab.plot.scale import spoken
from mirage_lab.runtime.clock import show
from mirage_lab.signatures.errors import MirageError
from mirage_lab.signatures.units import Ns
from mirage_lab.tracing.svg import visible
from mirage_lab.vcpu.disassembly import around
from mirage_lab.vcpu.symbols import Symbols, read_symbols
from mirage_lab.xen.abi import event_channel as abi
from mirage_lab.xen.abi.xen import VIRQ_NAMES
from mirage_lab.xen.arch.vcpu import Vcpu
from mirage_lab.xen.dom0.image import Image
from mirage_lab.xen.hypervisor import Domain

if TYPE_CHECKING:
    from mirage_lab.lab.machine import Machine

__all__ = ["stands", "symbols_of", "waits"]

PORTS: Final = 16


def symbols_of(image: Image) -> Symbols:
    """Return the symbols of a kernel: of its ELF file, or of the one its manifest has beside it ("elf")."""
    beside = image.manifest.get("elf")
    data = beside if isinstance(beside, bytes) else image.data
    return read_symbols(data) if data[:4] == b"\x7fELF" else Symbols()


def stands(machine: Machine, vcpu: Vcpu) -> str:
    """Return where a CPU stands: `main+0x12 (0x100132): hlt`."""
    cpu = vcpu.cpu
    pc = cpu.pc
    try:
        symbol = symbols_of(machine.images[vcpu.domain.name]).at(pc)
        found = around(cpu, pc, 1)
        text = found[0].text if found else "there is no memory"
    except MirageError:
        symbol, text = "", "?"
    where = f"{visible(symbol, 100)} ({pc:#x})" if symbol else f"{pc:#x}"
    return f"{where}: {text}"


def waits(machine: Machine, vcpu: Vcpu) -> list[str]:
    """Return the lines that say what it waits for, or that it runs."""
    domain = vcpu.domain
    told = [f"  {_how(machine, vcpu)}", f"  it stands at {stands(machine, vcpu)}"]
    if not domain.blocked and not vcpu.halted:
        return told
    timer = domain.timer.when if domain.timer is not None and domain.timer.pending else None
    if timer is not None:
        told.append(f"  its timer rings at t = {show(timer)}, in {spoken(max(0, timer - machine.now))}")
    ports = domain.ports.items()
    if domain.polling is not None:
        ports = [row for row in ports if row[0] in domain.polling]
    names = _names(machine, domain)
    told += [f"  port {port}: {_bound(machine, domain, port, channel, names)}" for port, channel in ports[:PORTS]]
    if len(ports) > PORTS:
        told.append(f"  and {len(ports) - PORTS} more ports")
    if not ports and timer is None:
        told.append("  no port and no timer of its own could wake it")
    return told


def _how(machine: Machine, vcpu: Vcpu) -> str:
    domain = vcpu.domain
    if domain.polling is not None:
        ports = ", ".join(map(str, sorted(domain.polling)))
        what = f"ports {ports}" if len(domain.polling) > 1 else f"port {ports}" if ports else "no port"
        until = domain.poll_timer.when if domain.poll_timer is not None and domain.poll_timer.pending else None
        end = "for ever" if until is None else f"until t = {show(until)}, in {spoken(max(0, until - machine.now))}"
        return f"it polls {what} (sched_op.poll), {end}"
    if domain.blocked:
        return "it blocks (sched_op.block) until an event comes that is not masked"
    if vcpu.halted:
        return "it halts, with interrupts let in, until one comes"
    if vcpu.cuts.under_way:
        return f"a debugger has stopped it, {vcpu.cuts.done:,} instructions into a step; lab.run(...) goes on"
    return f"it runs: {vcpu.instructions:,} instructions so far, {Ns(machine.now - domain.created) / 1e9:.6f} s old"


def _names(machine: Machine, domain: Domain) -> dict[int, str]:
    """Return what the ports are for that xenstore names."""
    xenstore, names = machine.toolstack.xenstore, dict[int, str]()
    home = f"/local/domain/{domain.domid}"
    nodes = [(f"{home}/console/port", "the console"), (f"{home}/store/port", "xenstore")]
    for kind in ("vif", "vbd"):
        for handle in xenstore.list(f"{home}/device/{kind}")[:8] if xenstore.exists(f"{home}/device/{kind}") else []:
            for node, what in (("event-channel", ""), ("event-channel-tx", " tx"), ("event-channel-rx", " rx")):
                nodes.append((f"{home}/device/{kind}/{handle}/{node}", f"{kind}/{visible(handle, 20)}{what}"))
    for path, name in nodes:
        port = xenstore.get(path) or ""
        if port.isascii() and port.isdigit() and len(port) < 6:
            names.setdefault(int(port), name)
    return names


def _bound(machine: Machine, domain: Domain, port: int, channel: object, names: dict[int, str]) -> str:
    status, remote = getattr(channel, "status", 0), machine.toolstack.hypervisor.domains.get(getattr(channel, "remote", -1))
    who = remote.name if remote is not None else "a domain that is gone"
    match status:
        case abi.INTERDOMAIN:
            what = f"{who}, port {getattr(channel, 'remote_port', 0)}"
        case abi.UNBOUND:
            what = f"for {who}, which has not bound it"
        case abi.VIRQ:
            what = VIRQ_NAMES.get(getattr(channel, "virq", -1), "a virtual interrupt")
        case _:
            what = abi.STATUS_NAMES.get(status, str(status))
    layout, words = domain.layout, domain.shared_words
    bits = [name for name, word in (("pending", layout.pending_word), ("masked", layout.mask_word)) if words[word + (port >> 6)] >> (port & 63) & 1]
    return ", ".join([*([names[port]] if port in names else []), what, *bits])
