"""boot_channels: the event channels of a domain: port, what for, the other end, pending, masked.

    web                                              dom0
    port 1  xenstore  ────────────────────────────── port 1
    port 3  vif/0     ── pending ─────────────────── port 3

What a channel is for is read in xenstore, where both ends say it; a guest writes there what it likes, so that is a name
and nothing more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mirage_lab.lab.views.boot_bytes import domain_named
from mirage_lab.tracing.svg import FAINT, INK, MUTED, OKABE_ITO, Svg, visible
from mirage_lab.xen.abi import event_channel as abi
from mirage_lab.xen.abi.xen import VIRQ_NAMES
from mirage_lab.xen.hypervisor import Domain

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["channels", "channels_line", "channels_picture"]

PORTS: Final = 64
VIFS: Final = 8


def channels(lab: Lab, name: str) -> dict[str, Any]:
    """Return the ports of a domain, `PORTS` at most, and its upcall state."""
    toolstack = lab.machine.toolstack
    domain = domain_named(lab, name)
    names = {info.domid: info.name for info in toolstack.list()}
    items = domain.ports.items()
    purposes: dict[int, dict[int, str]] = {}
    ports = []
    for port, channel in items[:PORTS]:
        bound = channel.status == abi.INTERDOMAIN
        remote = channel.remote if channel.status in (abi.INTERDOMAIN, abi.UNBOUND) else None
        guest, guest_port = (domain.domid, port) if domain.domid else (channel.remote, channel.remote_port)
        if guest not in purposes:
            purposes[guest] = _purposes(lab, guest) if guest in names else {}
        other = toolstack.hypervisor.domain(channel.remote) if bound else None
        ports.append(
            {
                "port": port,
                "status": abi.STATUS_NAMES.get(channel.status, str(channel.status)),
                "purpose": purposes[guest].get(guest_port, "") if remote is not None else VIRQ_NAMES.get(channel.virq, f"virq {channel.virq}"),
                "remote": None if remote is None else names.get(remote, f"domain {remote}"),
                "remote_port": channel.remote_port if bound else None,
                "pending": _bit(domain, domain.layout.pending_word, port),
                "masked": _bit(domain, domain.layout.mask_word, port),
                "remote_pending": other is not None and _bit(other, other.layout.pending_word, channel.remote_port),
                "remote_masked": other is not None and _bit(other, other.layout.mask_word, channel.remote_port),
                "cause": domain.causes.get(port, 0),
            }
        )
    return {
        "domain": name,
        "ports": ports,
        "left_out": max(0, len(items) - PORTS),
        "sent": domain.events_sent,
        "upcalls": domain.upcalls,
        "state": domain.state,
    }


def _bit(domain: Domain, words: int, port: int) -> bool:
    return bool(domain.shared_words[words + (port >> 6)] >> (port & 63) & 1)


def _purposes(lab: Lab, domid: int) -> dict[int, str]:
    """What the ports of a guest are for, by port."""
    xenstore = lab.machine.toolstack.xenstore
    home = f"/local/domain/{domid}"
    found: dict[int, str] = {}
    places = [("xenstore", f"{home}/store/port"), ("console", f"{home}/console/port")]
    if xenstore.exists(f"{home}/device/vif"):
        places += [(f"vif/{visible(str(handle), 12)}", f"{home}/device/vif/{handle}/event-channel") for handle in xenstore.list(f"{home}/device/vif")[:VIFS]]
    for what, path in places:
        value = xenstore.get(path) or ""
        if value.isascii() and value.isdigit() and len(value) < 6:
            found.setdefault(int(value), what)
    return found


def channels_line(lab: Lab, name: str) -> str:
    """Return the event channels of a domain in a line."""
    seen = channels(lab, name)
    ports = [f"{row['port']} {row['purpose'] or row['status']}" + (" (pending)" if row["pending"] else "") for row in seen["ports"][:6]]
    more = len(seen["ports"]) + seen["left_out"] - len(ports)
    return f"  event channels: {', '.join(ports) or 'none'}" + (f", {more:,} more" if more else "")


def channels_picture(lab: Lab, name: str, width: float) -> Svg:
    """Return the ports and their other ends as a picture."""
    seen = channels(lab, name)
    rows = seen["ports"][:16]
    left = seen["left_out"] + len(seen["ports"]) - len(rows)
    picture = Svg(width, 62 + 26 * max(1, len(rows)) + 20 * bool(left), f"event channels of {name}", channels_line(lab, name).strip())
    picture.text(16, 24, f"event channels of {name}", size=13, bold=True)
    picture.text(width - 16, 24, f"{seen['sent']:,} sent, {seen['upcalls']:,} upcalls", size=11, anchor="end", fill=MUTED)
    for index, row in enumerate(rows):
        y = 44.0 + 26 * index
        near, far = width * 0.34, width * 0.66
        picture.rect(16, y, near - 16, 20, fill="#fafafa", stroke=OKABE_ITO[0], radius=4)
        picture.text(26, y + 14, f"port {row['port']}", size=11, mono=True)
        picture.text(near - 10, y + 14, row["purpose"] or row["status"], size=11, anchor="end", fill=MUTED, limit=24)
        state = " ".join(word for word, true in (("pending", row["pending"]), ("masked", row["masked"])) if true)
        if row["remote_port"] is None:
            picture.line(near, y + 10, near + 40, y + 10, stroke=MUTED, dash="3 3")
            picture.text(near + 48, y + 14, f"{row['status']}" + (f", for {row['remote']}" if row["remote"] else ""), size=11, fill=MUTED, limit=40)
            continue
        picture.line(near, y + 10, far, y + 10, stroke=OKABE_ITO[1] if row["pending"] else MUTED, thick=2 if row["pending"] else 1)
        if state:
            picture.rect(width / 2 - 36, y + 2, 72, 16, fill="#ffffff", stroke=FAINT, radius=8)
            picture.text(width / 2, y + 14, state, size=10, anchor="middle", fill=INK)
        picture.rect(far, y, width - 16 - far, 20, fill="#fafafa", stroke=FAINT, radius=4)
        picture.text(far + 10, y + 14, f"{row['remote']} port {row['remote_port']}", size=11, mono=True, limit=34)
    if left:
        picture.text(16, 62 + 26 * len(rows), f"{left:,} more ports", size=11, fill=MUTED)
    return picture
