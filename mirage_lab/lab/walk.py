"""walk: the tour without a browser: what `mirage-lab demo` prints, as lines, the same for the same seed on every computer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mirage_lab.functoria.graph import Vertex, vertices
from mirage_lab.lab.lab import Lab
from mirage_lab.plot.packets import packets_text
from mirage_lab.signatures.functor import Unikernel
from mirage_lab.signatures.units import ms, seconds

__all__ = ["tree", "walk"]

LOSS = 0.3


def tree(job: Unikernel) -> list[str]:
    """Return the device graph as text: a line per device, indented under what is built on it, with its hole and module type.

    A device that several are built on is drawn below each of them, and from the second time on without what it stands on.
    """
    found = {vertex.id: vertex for vertex in vertices(job)}
    top = list(found.values())[-1]
    lines, drawn = [f"{top.id}: {top.module_type}"], set[str]()

    def below(vertex: Vertex, indent: str) -> None:
        for number, (hole, name) in enumerate(vertex.needs, 1):
            last, device = number == len(vertex.needs), found[name]
            again = " (see above)" if name in drawn and device.needs else ""
            lines.append(f"{indent}{'`' if last else '|'}-- {hole} = {name}: {device.module_type}{again}")
            if name not in drawn:
                drawn.add(name)
                below(device, indent + ("    " if last else "|   "))

    below(top, "")
    return lines


def walk(seed: int = 1) -> Iterator[tuple[str, str]]:
    """Yield (kind, line): kinds are "heading", "typed" (a line of Python a person would type), "shown" and "said".

    Everything happens inside a world: no socket of this computer is opened, and no clock of it is read for what is shown.
    """
    from mirage_lab.skeleton import web
    from mirage_lab.tool import configure, devices

    net = devices.netif("0")
    job = web(devices.default_console, devices.direct_stackv4_with_static_ipv4(net, address="10.0.0.2/24", gateway="10.0.0.1"))
    plan = configure(job, name="web", target="xen")
    with Lab(seed=seed, name="demo") as lab:
        yield from _described(plan, job)
        lan = lab.lan("br0", latency=ms(1))
        trace = lab.capture(lan)
        vm = lab.create(plan.build(), vif=[lan], memory_mib=32)
        yield "heading", "A machine boots"
        yield "said", "The same program as an image on an emulated Xen: memory, hypercalls, event channels, xenstore."
        yield "typed", 'lan = lab.lan("br0", latency=ms(1)); trace = lab.capture(lan)'
        yield "typed", "vm = lab.create(plan.build(), vif=[lan], memory_mib=32); vm.unpause(); lab.run(seconds(1))"
        vm.unpause()
        yield from _shown(str(lab.run(seconds(1))).partition(" · next:")[0])
        yield "typed", "vm"
        yield from _shown(repr(vm))

        yield "heading", "It answers"
        yield "said", "From the lab's own gateway, 10.0.0.1; `lab.forward(vm, 80)` would open a port for your browser."
        yield "typed", 'lab.fetch("10.0.0.2")'
        asked = len(trace)
        reply = lab.fetch("10.0.0.2")
        yield from _shown(f"HTTP {reply.status}", *reply.headers.splitlines(), "", *reply.body.decode("utf-8", "backslashreplace").splitlines())

        yield "heading", "Every packet it took"
        yield "said", "ARP asks who has the address; three segments open a connection, and in the end each side closes its half."
        yield "typed", "trace"
        yield from _shown(packets_text(trace.capture, trace.hosts, rows=20))

        answer = _answer(trace, asked)
        yield "heading", f"Why was frame {answer} sent?"
        yield "said", "It is the answer. From a packet back to its causes: the lines below are events, the latest first."
        yield "typed", f"trace.causes({answer})"
        yield from _shown(*repr(trace.causes(answer)).splitlines()[:12])

        yield "heading", f"What if the lan loses {LOSS:.0%} of all frames?"
        yield "typed", f'lab.reset(); lan.set(loss={LOSS}); lab.run(seconds(1)); lab.fetch("10.0.0.2")'
        lab.reset()
        lan.set(loss=LOSS)
        lab.run(seconds(1))
        yield from _shown(_fetched(lab), f"{sum(bool(frame.lost) for frame in trace)} of {len(trace)} frames were lost; whoever missed an answer sent again")
        yield "typed", "lab"
        yield from _shown(repr(lab))
    yield "heading", "Where to go from here"
    yield "said", "The same with pictures, in a browser: python3 bootstrap.py lab opens notebooks/00-tour.ipynb."
    yield "said", "Your own unikernel in a terminal: write a config.py (01-hello-unikernel shows one), then mirage-lab configure."


def _described(plan: Any, job: Unikernel) -> Iterator[tuple[str, str]]:
    yield "heading", "A unikernel, and what it is built on"
    yield "said", "A web server in nine lines: it is given a console and a TCP/IP stack, and never asks where they come from."
    yield "typed", 'plan = configure(job, name="web", target="xen"); plan'
    yield from _shown(*tree(job), *(line for line in plan.describe().splitlines() if line.startswith("Left out")))


def _answer(trace: Any, after: int) -> int:
    """Return the number of the first frame after frame `after` in which the unikernel sends data."""
    for number in range(after + 1, len(trace) + 1):
        packet = trace.packet(number)
        if packet.tcp is not None and packet.tcp.length and packet.src == "10.0.0.2":
            return number
    return len(trace)


def _fetched(lab: Lab) -> str:
    from mirage_lab.lab.said import LabError

    try:
        return repr(lab.fetch("10.0.0.2", within=seconds(120)))
    except LabError as error:
        return str(error)


def _shown(*texts: str) -> Iterator[tuple[str, str]]:
    for text in texts:
        for line in text.splitlines() or [""]:
            yield "shown", line
