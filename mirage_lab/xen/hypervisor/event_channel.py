"""Event channels: one-bit notifications between domains (xen/common/event_channel.c, two-level ABI).

    free ──alloc_unbound──▶ unbound ──bind_interdomain of the remote domain──▶ interdomain ──close──▶ free
    free ──bind_virq / bind_ipi──▶ virq / ipi ──close──▶ free           (closing one end leaves the other unbound)

Sending sets a bit in the receiver's shared_info; unless it is masked, the receiver gets an upcall.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from mirage_lab.xen.abi import event_channel as abi
from mirage_lab.xen.abi.errno import EBUSY, EEXIST, EINVAL, ENOSPC, EPERM, ESRCH
from mirage_lab.xen.abi.gate import Arg
from mirage_lab.xen.abi.shared_info import NR_PORTS, NR_WORDS, Layout
from mirage_lab.xen.abi.xen import DOMID_SELF, GLOBAL_VIRQS, NR_VIRQS, Domid

if TYPE_CHECKING:
    from mirage_lab.xen.hypervisor.domain import Domain
    from mirage_lab.xen.hypervisor.hypervisor import Hypervisor

__all__ = ["HANDLERS", "Channel", "Ports", "set_pending"]

_U32 = struct.Struct("<I")


class Channel:
    """One port: its status, the domain and port at the other end, or the virtual interrupt."""

    __slots__ = ("remote", "remote_port", "status", "virq")

    def __init__(self, status: int, remote: Domid, remote_port: int = 0, virq: int = 0) -> None:
        self.status = status
        self.remote = remote
        self.remote_port = remote_port
        self.virq = virq


class Ports:
    """The ports of one domain, below `limit`; port 0 is never used."""

    __slots__ = ("_channels", "_lowest", "limit", "virqs")

    def __init__(self) -> None:
        self._channels: dict[int, Channel] = {}
        self._lowest = 1
        self.limit = NR_PORTS
        self.virqs: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._channels)

    def get(self, port: int) -> Channel | None:
        """Return the channel at `port`, None when it is free."""
        return self._channels.get(port)

    def items(self) -> list[tuple[int, Channel]]:
        """Return (port, channel) in order of port."""
        return sorted(self._channels.items())

    def allocate(self, channel: Channel) -> int:
        """Give a channel the lowest free port; -ENOSPC when there is none."""
        channels, port = self._channels, self._lowest
        while port in channels:
            port += 1
        self._lowest = port
        if port >= self.limit:
            return -ENOSPC
        channels[port] = channel
        return port

    def free(self, port: int) -> None:
        """Forget the channel at `port`."""
        del self._channels[port]
        self._lowest = min(self._lowest, port)

    def pending(self, words: memoryview, selected: int, layout: Layout) -> list[int]:
        """Return the ports that are pending and not masked, of the words that are selected."""
        found = []
        for word in range(NR_WORDS):
            if selected >> word & 1:
                bits = words[layout.pending_word + word] & ~words[layout.mask_word + word]
                found += [word * 64 + bit for bit in range(64) if bits >> bit & 1]
        return found


def set_pending(domain: Domain, port: int, cause: int) -> None:
    """Make `port` of `domain` pending; one that its shared_info has no bit for, since it went from 64 bits to 32, never is."""
    if port >= domain.ports.limit:
        return
    words = domain.shared_words
    word, bit = port >> 6, 1 << (port & 63)
    pending = domain.layout.pending_word + word
    if words[pending] & bit:
        return
    words[pending] |= bit
    domain.causes[port] = cause
    if domain.polling is not None and port in domain.polling:
        domain.wake()
    if not words[domain.mask_word + word] & bit:
        domain.select(port)
        domain.raise_upcall()


def _alloc_unbound(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    dom, remote = abi.ALLOC_UNBOUND_ARG.unpack_from(arg)[:2]
    owner = domain if dom in (DOMID_SELF, domain.domid) else xen.domain(dom)
    if owner is None:
        return -ESRCH
    if owner is not domain and domain.domid != 0:
        return -EPERM
    port = owner.ports.allocate(Channel(abi.UNBOUND, domain.domid if remote == DOMID_SELF else Domid(remote)))
    if port > 0:
        _U32.pack_into(arg, 4, port)
    return min(port, 0)


def _bind_interdomain(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    remote_dom, remote_port, _ = abi.BIND_INTERDOMAIN_ARG.unpack_from(arg)
    remote = domain if remote_dom == DOMID_SELF else xen.domain(remote_dom)
    if remote is None:
        return -ESRCH
    channel = remote.ports.get(remote_port)
    if channel is None or channel.status != abi.UNBOUND or channel.remote != domain.domid:
        return -EINVAL
    port = domain.ports.allocate(Channel(abi.INTERDOMAIN, remote.domid, remote_port))
    if port < 0:
        return port
    channel.status, channel.remote_port = abi.INTERDOMAIN, port
    _U32.pack_into(arg, 8, port)
    set_pending(domain, port, xen.world.cause)
    return 0


def _bind_virq(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    virq, vcpu, _ = abi.BIND_VIRQ_ARG.unpack_from(arg)
    if virq >= NR_VIRQS or vcpu != 0:
        return -EINVAL
    if virq in GLOBAL_VIRQS and domain.domid != 0:
        return -EPERM
    if virq in domain.ports.virqs:
        return -EEXIST
    port = domain.ports.allocate(Channel(abi.VIRQ, domain.domid, 0, virq))
    if port < 0:
        return port
    domain.ports.virqs[virq] = port
    _U32.pack_into(arg, 8, port)
    return 0


def _bind_ipi(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    vcpu, _ = abi.BIND_IPI_ARG.unpack_from(arg)
    if vcpu != 0:
        return -EINVAL
    port = domain.ports.allocate(Channel(abi.IPI, domain.domid))
    if port > 0:
        _U32.pack_into(arg, 4, port)
    return min(port, 0)


def _bind_vcpu(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    port, vcpu = abi.BIND_VCPU_ARG.unpack_from(arg)
    return 0 if vcpu == 0 and domain.ports.get(port) is not None else -EINVAL


def _send(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    port = _U32.unpack_from(arg)[0]
    channel = domain.ports.get(port)
    if channel is None:
        return -EINVAL
    if channel.status == abi.INTERDOMAIN:
        remote, remote_port = xen.domain(channel.remote), channel.remote_port
        if remote is None:
            return 0
    elif channel.status == abi.IPI:
        remote, remote_port = domain, port
    else:
        return 0 if channel.status == abi.UNBOUND else -EINVAL
    domain.events_sent += 1
    world = xen.world
    before = world.cause
    if xen.k_notify.on:
        fields = {"port": port, "remote": remote.domid, "remote_port": remote_port}
        world.cause = xen.k_notify.emit(world.now, domain.name, before, fields)
    set_pending(remote, remote_port, world.cause)
    world.cause = before
    return 0


def close(xen: Hypervisor, domain: Domain, port: int) -> int:
    """Close a port; the other end of an interdomain channel becomes unbound."""
    channel = domain.ports.get(port)
    if channel is None:
        return -EINVAL
    if channel.status == abi.INTERDOMAIN:
        remote = xen.domain(channel.remote)
        other = remote.ports.get(channel.remote_port) if remote is not None else None
        if other is not None and other.status == abi.INTERDOMAIN:
            other.status, other.remote_port = abi.UNBOUND, 0
    elif channel.status == abi.VIRQ:
        domain.ports.virqs.pop(channel.virq, None)
    domain.ports.free(port)
    if port < domain.ports.limit:
        domain.shared_words[domain.layout.pending_word + (port >> 6)] &= ~(1 << (port & 63))
    domain.causes.pop(port, None)
    return 0


def _close(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    return close(xen, domain, _U32.unpack_from(arg)[0])


def _unmask(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    port = _U32.unpack_from(arg)[0]
    if domain.ports.get(port) is None or port >= domain.ports.limit:
        return -EINVAL
    words = domain.shared_words
    word, bit = port >> 6, 1 << (port & 63)
    words[domain.mask_word + word] &= ~bit
    if words[domain.layout.pending_word + word] & bit:
        domain.select(port)
        domain.raise_upcall()
    return 0


def _status(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    dom, port, _, _, _ = abi.STATUS_ARG.unpack_from(arg)
    owner = domain if dom in (DOMID_SELF, domain.domid) else xen.domain(dom)
    if owner is None:
        return -ESRCH
    if owner is not domain and domain.domid != 0:
        return -EPERM
    if not 0 < port < NR_PORTS:
        return -EINVAL
    channel = owner.ports.get(port)
    if channel is None:
        abi.STATUS_ARG.pack_into(arg, 0, dom, port, abi.CLOSED, 0, bytes(8))
        return 0
    union = struct.pack("<HxxI", channel.remote, channel.remote_port) if channel.status != abi.VIRQ else struct.pack("<II", channel.virq, 0)
    abi.STATUS_ARG.pack_into(arg, 0, dom, port, channel.status, 0, union)
    return 0


def _reset(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    dom = abi.RESET_ARG.unpack_from(arg)[0]
    if dom not in (DOMID_SELF, domain.domid):
        return -EPERM
    if domain.domid == 0:
        return -EBUSY
    for port, _ in domain.ports.items():
        close(xen, domain, port)
    return 0


HANDLERS = {
    abi.BIND_INTERDOMAIN: _bind_interdomain,
    abi.BIND_VIRQ: _bind_virq,
    abi.CLOSE: _close,
    abi.SEND: _send,
    abi.STATUS: _status,
    abi.ALLOC_UNBOUND: _alloc_unbound,
    abi.BIND_IPI: _bind_ipi,
    abi.BIND_VCPU: _bind_vcpu,
    abi.UNMASK: _unmask,
    abi.RESET: _reset,
}

