"""stack: the network stack of a domain: its layers with counters and drops, its TCP connections, the state they are in.

The gateway of a lan has a stack too, the lab's own, and can be chosen like a domain.  Below stand the faults of a lan; a
slider changes one at the exact virtual time of the moment, as `lab.set_lan` does, so that it is journalled and replayed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.lab.said import LabError
from mirage_lab.lab.views.kinds import Act, Action, Args, Look, View, text, whole
from mirage_lab.lab.views.stack_states import diagram, states_picture
from mirage_lab.runtime.clock import show
from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.stack import Stack
from mirage_lab.tcpip.tcp.flow import TcpFlow
from mirage_lab.tcpip.tcp.newreno import HUGE
from mirage_lab.tracing.svg import INK, MUTED, Svg, visible
from mirage_lab.vnetif.segment import QUEUE

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab
    from mirage_lab.vnetif import Segment

__all__ = ["CONNECTIONS", "VIEW", "connection", "layers"]

CONNECTIONS: Final = 50
"""Connections listed."""
REASONS: Final = 12
NAMES: Final = 50
GATEWAY: Final = "gateway of "

LAYERS: Final[Mapping[str, str]] = {
    "tcpv4": "TCP", "udpv4": "UDP", "icmpv4": "ICMP", "ipv4": "IPv4", "ipv6": "IPv6", "icmpv6": "ICMPv6", "arp": "ARP", "ethif": "Ethernet",
}  # fmt: skip
"""Layers of a stack by the name its statistics have, from the application down."""

LATENCIES: Final = (0, 100_000, 500_000, *(number * 1_000_000 for number in (1, 2, 5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 500, 750, 1_000)))
SHARES: Final = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0)
RATES: Final = (
    9_600, 64_000, 128_000, 256_000, 512_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 20_000_000, 50_000_000, 100_000_000, 1_000_000_000, None,
)  # fmt: skip

BURSTS: Final = (1, 2, 3, 5, 10, 20, 50, 100)
MTUS: Final = (576, 1_006, 1_280, 1_400, 1_492, 1_500, None)
QUEUES: Final = (0, 5, 10, 20, 50, 100, 200, 500, None, 5_000)
DISCIPLINES: Final = ("droptail", "red", "codel")

FAULTS: Final[Mapping[str, tuple[Any, ...]]] = {
    "latency": LATENCIES, "jitter": LATENCIES, "loss": SHARES, "burst": BURSTS, "ack_loss": SHARES, "reorder": SHARES, "duplicate": SHARES,
    "corrupt": SHARES, "mtu": MTUS, "rate": RATES, "queue": QUEUES, "discipline": DISCIPLINES,
}  # fmt: skip
"""The faults that have a slider, and the values it stops at."""


def _stacks(lab: Lab) -> dict[str, Stack]:
    """Stacks by name: those of the domains (a second stack of one has its device's name too), then the gateways'."""
    machine = lab.machine
    found: dict[str, Stack] = {}
    for info in machine.toolstack.list()[:NAMES]:
        if info.domid:
            slots = machine.toolstack.domain(info.domid).queue.devices
            for id, slot in slots.items():
                if isinstance(slot.device, Stack):
                    found[info.name if info.name not in found else f"{info.name} {id}"] = slot.device
    found |= {f"{GATEWAY}{name}": gateway.stack for name, gateway in list(machine.gateways.items())[:NAMES]}
    return found


def _chosen(stacks: Mapping[str, Stack], look: Look) -> str | None:
    wanted = look.get("stack.domain")
    return str(wanted) if wanted in stacks else next(iter(stacks), None)


def layers(stack: Stack) -> list[dict[str, Any]]:
    """Return a row per layer, the application's first: its name, frames or packets in and out, other counts, drops by reason."""
    seen = stack.statistics()
    rows = []
    for field in dataclasses.fields(seen):
        part = getattr(seen, field.name)
        counts = {each.name: getattr(part, each.name) for each in dataclasses.fields(part)}
        drops = counts.pop("dropped", {})
        rows.append(_row(LAYERS.get(field.name, field.name), counts.pop("received", None), counts.pop("sent", None), counts, drops))
    rows.sort(key=lambda row: list(LAYERS.values()).index(row["name"]) if row["name"] in LAYERS.values() else -1)
    counters = stack.ethif.netif.get_stats_counters()
    counts = {"bytes in": counters.rx_bytes, "bytes out": counters.tx_bytes}
    return [*rows, _row("NETWORK", counters.rx_pkts, counters.tx_pkts, counts, {})]


def _row(name: str, received: int | None, sent: int | None, counts: Mapping[str, Any], drops: Mapping[str, int]) -> dict[str, Any]:
    told = [[label.replace("_", " "), value] for label, value in counts.items() if isinstance(value, int)]
    reasons = [[visible(why, 60), count] for why, count in sorted(drops.items(), key=lambda drop: (-drop[1], drop[0]))[:REASONS]]
    return {"name": name, "in": received, "out": sent, "counts": told, "drops": reasons, "dropped": sum(drops.values())}


def connection(flow: TcpFlow) -> dict[str, Any]:
    """Return what a connection is at the moment; sizes in bytes, times in ns, None for what is not known yet."""
    pcb = flow.pcb
    unread, early, queued = pcb.buffered
    congestion = pcb.congestion
    return {
        "id": _id(flow),
        "local": "{}:{}".format(*flow.src),
        "remote": "{}:{}".format(*flow.dst),
        "state": pcb.state.value,
        "phase": pcb.recovery.name,
        "cwnd": congestion.cwnd,
        "ssthresh": congestion.ssthresh if congestion.ssthresh < HUGE else None,
        "flight": pcb.flight,
        "window": pcb.snd_wnd,
        "rto": pcb.rtt.rto,
        "srtt": pcb.rtt.srtt or None,
        "retransmitted": flow.retransmitted,
        "send": [queued, pcb.profile.buffer],
        "receive": [unread + early, pcb.profile.buffer],
        "early": early,
        "mss": pcb.mss,
    }


def _faults(segment: Segment) -> list[dict[str, Any]]:
    rows = []
    for name, stops in FAULTS.items():
        value = getattr(segment, name)
        rows.append({"name": name, "at": _nearest(stops, value), "stops": [_said(name, stop) for stop in stops], "shown": _said(name, value)})
    return rows


def _nearest(stops: tuple[Any, ...], value: Any) -> int:
    if value is None or isinstance(value, str):
        return stops.index(value)
    known = [(abs(stop - value), number) for number, stop in enumerate(stops) if stop is not None]
    return min(known)[1]


def _said(name: str, value: Any) -> str:
    if name in ("latency", "jitter"):
        return show(Ns(value))
    if name == "rate":
        if value is None:
            return "no limit"
        unit, size = next(((unit, size) for unit, size in (("Gbit/s", 10**9), ("Mbit/s", 10**6), ("kbit/s", 10**3)) if value >= size), ("bit/s", 1))
        return f"{value / size:g} {unit}"
    if name == "mtu":
        return "any size" if value is None else f"{value:,} bytes"
    if name == "queue":
        return f"{QUEUE if value is None else value:,} frames"
    if name == "burst":
        return "one by one" if value == 1 else f"{value:g} in a row"
    return value if isinstance(value, str) else f"{100 * value:g} %"


def _typed(name: str, value: Any) -> str:
    """A value as a person would type it."""
    if name in ("latency", "jitter"):
        return f"ms({value // 1_000_000})" if value % 1_000_000 == 0 else f"us({value // 1_000})"
    return f"{value:_}" if name in ("rate", "mtu", "queue") and value is not None else repr(value)


def snapshot(lab: Lab, look: Look) -> dict[str, Any]:
    """Return the layers and connections of the chosen stack, the diagram, and the faults of the chosen lan."""
    stacks = _stacks(lab)
    name = _chosen(stacks, look)
    lans = lab.machine.lans
    lan = look.get("stack.lan")
    lan = str(lan) if lan in lans else next(iter(lans), None)
    data: dict[str, Any] = {
        "stacks": list(stacks),
        "stack": name,
        "lans": list(lans)[:NAMES],
        "lan": lan,
        "faults": [] if lan is None else _faults(lans[lan]),
        "lost": [] if lan is None else [[visible(why, 60), count] for why, count in sorted(lans[lan].statistics().lost.items())[:REASONS]],
        "diagram": diagram(),
    }
    if name is None:
        return data
    stack = stacks[name]
    flows = stack.tcpv4.connections
    wanted = look.get("stack.connection")
    shown = [connection(flow) for flow in flows[-CONNECTIONS:]]
    if wanted is not None and all(row["id"] != wanted for row in shown):
        shown = [*(connection(flow) for flow in flows if _id(flow) == wanted), *shown]
    return data | {
        "address": f"{stack.ipv4.get_ip()} · {stack.ethif.mac}",
        "listening": stack.tcpv4.listening[:NAMES],
        "layers": layers(stack),
        "connections": shown,
        "more": max(0, len(flows) - len(shown)),
        "lit": _lit(flows),
        "selected": wanted if any(row["id"] == wanted for row in shown) else None,
    }


def _id(flow: TcpFlow) -> str:
    return "{}:{} {}:{}".format(*flow.src, *flow.dst)


def _lit(flows: list[TcpFlow]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for flow in flows:
        counts[flow.state.value] = counts.get(flow.state.value, 0) + 1
    return counts


def words(lab: Lab, look: Look) -> str:
    """Return the stack in at most 8 lines: its layers, its drops, its connections."""
    stacks = _stacks(lab)
    name = _chosen(stacks, look)
    if name is None:
        return "no stack yet: a domain with a STACKV4, or lab.lan(...), has one"
    stack = stacks[name]
    lines = [f"{name}: {stack.ipv4.get_ip()}, listening on {', '.join(map(str, stack.tcpv4.listening[:10])) or 'nothing'}"]
    rows = layers(stack)
    lines.append("  " + ", ".join(f"{row['name']} {row['in']:,} in {row['out']:,} out" for row in rows if row["in"] is not None and row["out"] is not None))
    dropped = [f"{row['name']}: {why} {count:,}" for row in rows for why, count in row["drops"]]
    lines.append("  dropped: " + ("; ".join(dropped[:6]) or "nothing"))
    flows = stack.tcpv4.connections
    lines += [f"  {flow!r}"[:150] for flow in flows[:4]]
    if len(flows) > 4:
        lines.append(f"  {len(flows) - 4} more connections")
    return "\n".join(lines if flows else [*lines, "  no connection"])


def picture(lab: Lab, look: Look) -> str | None:
    """Return the layers beside the state diagram as SVG; None without a stack."""
    stacks = _stacks(lab)
    name = _chosen(stacks, look)
    if name is None:
        return None
    stack = stacks[name]
    lit = _lit(stack.tcpv4.connections)
    chosen = next((flow.state.value for flow in stack.tcpv4.connections if _id(flow) == look.get("stack.connection")), None)
    right = states_picture(lit, chosen)
    left = 400
    svg = Svg(left + right.width, right.height, f"{name}: network stack", words(lab, look))
    svg.place(right, left, 0)
    svg.text(14, 26, name, size=14, bold=True, limit=40)
    svg.text(14, 42, f"{stack.ipv4.get_ip()}, listening on {', '.join(map(str, stack.tcpv4.listening[:6])) or 'nothing'}", size=11, fill=MUTED, limit=60)
    y = 58.0
    for row in layers(stack):
        svg.rect(14, y, left - 34, 40, stroke=MUTED, radius=5)
        svg.text(24, y + 16, row["name"], size=12, bold=True)
        if row["in"] is not None:
            svg.text(left - 30, y + 16, f"{row['in']:,} in  {row['out'] or 0:,} out", size=11, anchor="end", fill=INK)
        told = [f"{why}: {count:,} dropped" for why, count in row["drops"][:2]] or [f"{label} {value:,}" for label, value in row["counts"][:3]]
        svg.text(24, y + 32, " · ".join(told), size=10, fill=MUTED, limit=62)
        y += 46
    return str(svg)


def _lan(lab: Lab, args: Args) -> Act:
    """Set a fault of a lan to one of the stops of its slider."""
    lan, fault = text(args, "lan", 64), text(args, "fault", 20)
    if lan not in lab.machine.lans:
        raise LabError(f"there is no lan {lan}")
    if fault not in FAULTS:
        raise LabError(f"there is no slider {fault!r}: {', '.join(FAULTS)}")
    value = FAULTS[fault][whole(args, "at", 0, len(FAULTS[fault]) - 1)]
    return Act(f"lab.set_lan({lan!r}, {fault}={_typed(fault, value)})", lab.set_lan(lan, **{fault: value}))


ACTIONS: Final[Mapping[str, Action]] = {"stack.lan": _lan}

VIEW: Final = View("stack", "Network stack", snapshot, words, picture, ACTIONS, {})
