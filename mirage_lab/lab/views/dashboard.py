"""dashboard: everything a lab holds, in lists: domains, lans, captures, forwards, and what runs behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mirage_lab.lab import pictures
from mirage_lab.lab.running import told
from mirage_lab.lab.views.kinds import Look, View
from mirage_lab.runtime.clock import show
from mirage_lab.signatures.units import Ns
from mirage_lab.tracing.svg import visible

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["VIEW"]

ROWS: Final = 50
JOURNAL: Final = 12


def snapshot(lab: Lab, look: Look) -> dict[str, Any]:
    """Return the lists, `ROWS` long at most, with how many each really has."""
    machine = lab.machine
    infos = [info for info in machine.toolstack.list() if info.domid]
    domains = []
    for info in infos[:ROWS]:
        seen = machine.toolstack.domain(info.domid).statistics()
        lines = machine.toolstack.console(info.domid).lines
        domains.append(
            {
                "name": info.name,
                "domid": info.domid,
                "state": str(info.state),
                "memory_mib": info.memory_mib,
                "cpu": show(Ns(info.cpu_ns)),
                "hypercalls": sum(seen.hypercalls.values()),
                "lans": list(machine.plugged.get(info.name, ())),
                "line": visible(lines[-1], 120) if lines else "",
            }
        )
    lans = []
    for name, segment in list(machine.lans.items())[:ROWS]:
        counters = segment.statistics()
        lans.append(
            {
                "name": name,
                "subnet": str(machine.subnets[name].network),
                "gateway": str(machine.subnets[name].ip),
                "detail": pictures.lan_detail(machine, name),
                "frames": counters.frames,
                "lost": sum(counters.lost.values()),
                "ports": list(counters.ports)[:20],
            }
        )
    captures = [
        {"name": name, "frames": len(capture), "bytes": capture.bytes, "dropped": capture.dropped} for name, capture in list(machine.captures.items())[:ROWS]
    ]
    forwards = []
    for (name, port), forward in list(machine.forwards.items())[:ROWS]:
        forwards.append({"domain": name, "port": port, "url": forward.url, "state": forward.state})
    mine = [entry for entry in machine.world.journal.entries if not entry.outside]
    return {
        "seed": lab.seed,
        "domains": domains,
        "lans": lans,
        "captures": captures,
        "forwards": forwards,
        "counts": {"domains": len(infos), "lans": len(machine.lans), "captures": len(machine.captures), "forwards": len(machine.forwards)},
        "journal": [{"t": entry.t, "line": visible(told(entry), 120)} for entry in mine[-JOURNAL:]],
        "behind": behind(lab),
    }


def behind(lab: Lab) -> list[str]:
    """Return what goes on by itself, a line each: a player, host connections, programs started in the background."""
    found = [f"playing at {lab.speed:g}x, in a thread of this kernel"] if lab.playing else []
    connections = lab.machine.world.host_connections
    if connections:
        found.append(f"{connections} connection{'' if connections == 1 else 's'} with programs of this computer")
    programs = type(lab).programs
    found += [visible(line, 120) for line in (programs() if programs is not None else [])[:ROWS]]
    return found


def words(lab: Lab, look: Look) -> str:
    """Return the lab in at most 8 lines."""
    return pictures.lab_text(lab)


def picture(lab: Lab, look: Look) -> str:
    """Return the machines and lans as SVG."""
    return pictures.lab_svg(lab)


VIEW: Final = View("dashboard", "Dashboard", snapshot, words, picture, {}, {})
