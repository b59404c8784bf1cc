"""running: driving a lab's world and telling in one line what happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mirage_lab.lab.said import LabError, Said
from mirage_lab.runtime.clock import show
from mirage_lab.runtime.driver import Outcome
from mirage_lab.runtime.host import monotonic_ns
from mirage_lab.runtime.journal import Entry
from mirage_lab.signatures.errors import MirageError
from mirage_lab.signatures.units import Ns, seconds

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab
    from mirage_lab.lab.machine import Machine

__all__ = ["Reply", "badge", "fetch", "ping", "run", "run_until", "told"]

PATIENCE = Ns(500_000_000)
"""Host time before a progress line appears."""

BAR = 24
"""Characters of a progress bar."""

Goal = tuple[Ns, Callable[[], bool] | None]


def run(lab: Lab, goal: Callable[[Machine], Goal]) -> Said:
    """Drive to a goal; return the line."""
    with lab._driving() as machine:
        frames, event = machine.frames, machine.world.recorder.last
        until, stop = goal(machine)
        outcome = _drive(lab, until, stop)
        line = _line(lab, machine, outcome, frames, event)
    return Said("\n".join([line, *map(str, lab._show_reports())]))


def run_until(lab: Lab, kind: str, within: Ns, source: str | None) -> Said:
    """Drive until an event of a kind; the clock stands at that event."""
    with lab._driving() as machine:
        recorder = machine.world.recorder
        frames, first = machine.frames, recorder.last
        watch = recorder.watch(kind)

        def seen() -> bool:
            if source is None:
                return bool(watch.seen)
            return any(event is not None and event.source == source for event in map(recorder.event, watch.seen))

        try:
            outcome = _drive(lab, Ns(machine.now + within), seen, every=1)
        finally:
            watch.close()
        line = _line(lab, machine, outcome, frames, first)
        if outcome.stopped == "until":
            known = sorted({event.kind for event in recorder.events()})
            hint = "" if kind in known else f"; kinds recorded so far: {', '.join(known)}"
            raise LabError(f"no {kind} within {show(within)} (t = {show(machine.now)}){hint}")
    return Said("\n".join([line, *map(str, lab._show_reports())]))


def _drive(lab: Lab, until: Ns, stop: Callable[[], bool] | None, every: int = 256) -> Outcome:
    began, said = monotonic_ns(), 0
    start = lab.now

    def progress(now: Ns) -> None:
        nonlocal said
        for watch in tuple(lab.watchers):
            watch()
        show_line = type(lab).progress
        elapsed = monotonic_ns() - began
        if show_line is None or elapsed < PATIENCE or elapsed - said < PATIENCE // 2:
            return
        said = elapsed
        share = (now - start) / (until - start) if until > start else 1.0
        full = round(share * BAR)
        bar = "█" * full + "░" * (BAR - full)
        show_line(f"{bar} {share:.0%} · t = {show(now)} of {show(until)} · {lab.machine.frames:,} frames · stop button: the world stays whole")

    lab.heading = (start, until)
    try:
        outcome = lab.driver(progress).run(until, stop, every=every)
    finally:
        lab.heading = None
    if said and (show_line := type(lab).progress) is not None:
        show_line("")
    return outcome


def _line(lab: Lab, machine: Machine, outcome: Outcome, frames: int, event: int) -> str:
    if outcome.stopped == "interrupt":
        return f"stopped at t = {show(machine.now)}; the world is whole; lab.run(...) continues"
    if outcome.stopped == "break":
        return f"t = {show(outcome.started)} -> {show(outcome.ended)} · stopped: {machine.world.stopped}; lab.run(...) goes on"
    new = machine.frames - frames
    parts = [f"t = {show(outcome.started)} -> {show(outcome.ended)}", f"{new:,} frame{'' if new == 1 else 's'}"]
    parts += _news(machine, event)
    step = _next(lab, machine)
    if step:
        parts.append(f"next: {step}")
    return " · ".join(parts)


def _news(machine: Machine, since: int) -> list[str]:
    """The last console line of each domain that printed, and domains that ended."""
    last: dict[str, str] = {}
    for event in machine.world.recorder.events("console.line"):
        if event.id > since:
            last[event.source] = str(event.fields.get("text", ""))
    news = [f"{name}: {text if len(text) <= 80 else text[:79] + '…'}" for name, text in last.items()][:3]
    for event in machine.world.recorder.events("domain.*"):
        if event.id > since and event.kind in ("domain.crashed", "domain.shutdown"):
            news.append(f"{event.source} {'crashed' if event.kind == 'domain.crashed' else 'shut down'}")
    return news


def badge(machine: Machine) -> str:
    """Return whether this world can be had again: from the seed alone, from seed and journal, or not."""
    world = machine.world
    if world.journal.full:
        return "not replayable: more host input came in than the journal keeps"
    if not world.reproducible:
        return "not reproducible: a guest was stopped by the watchdog"
    if machine.written_through:
        return f"not reproducible: {', '.join(machine.written_through)} {'is' if len(machine.written_through) == 1 else 'are'} written through"
    if world.journal.outside:
        return f"replayable: {world.journal.outside} outside inputs recorded"
    return f"reproducible: seed {world.seed}"


def _next(lab: Lab, machine: Machine) -> str:
    for domain in machine.toolstack.list():
        state = str(domain.state)
        if domain.domid and state == "paused":
            return f"lab.vm({domain.name!r}).unpause()"
        if domain.domid and state == "crashed":
            return f"lab.vm({domain.name!r}).why()"
    for event in machine.world.recorder.events("tcp.listen"):
        port = event.fields.get("port")
        if isinstance(port, int) and event.source in machine.images and (event.source, port) not in machine.forwards:
            return f"lab.forward(vm, {port})" if len(machine.images) == 1 else f"lab.forward(lab.vm({event.source!r}), {port})"
    return ""


def told(entry: Entry) -> str:
    """Return a journalled command as a person would say it."""
    args = entry.args
    name = args.get("name", "")
    match entry.name:
        case "lan":
            return f"lab.lan({name!r})"
        case "capture":
            return f"lab.capture({args['lan']!r})"
        case "create":
            return f"lab.create({name})"
        case "unpause" | "pause" | "destroy":
            return f"{name}.{entry.name}()"
        case "forward":
            return f"lab.forward({name}, {args['port']})"
        case "tap":
            return f"lab.tap({args['lan']}, name={name!r})"
        case "lan.set":
            return f"{name}.set({', '.join(f'{key}={value!r}' for key, value in args.items() if key != 'name')})"
        case _:
            return f"{entry.name} {name}".strip()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered: `status`, `headers` (text) and `body` (bytes)."""

    status: int
    headers: str
    body: bytes
    took: Ns

    def __repr__(self) -> str:
        text = self.body.decode("utf-8", "backslashreplace").rstrip("\n")
        shown = text if len(text) <= 200 else text[:199] + "…"
        return f"{self.status} · {len(self.body):,} bytes in {show(self.took)} · {shown}"


def fetch(lab: Lab, url: str, within: Ns | None) -> Reply:
    """GET over the gateway's stack, inside the world; raises LabError when no complete answer comes in time."""
    parts = urlsplit(url if "//" in url else f"http://{url}")
    address, port, path = parts.hostname or "", parts.port or 80, parts.path or "/"
    lan = _lan_of(lab, address)
    request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: mirage-lab\r\nConnection: close\r\n\r\n"
    with lab._driving() as machine:
        started = machine.now
        into: list[bytes | MirageError] = machine.world.command("fetch", lan=lan, address=address, port=port, request=request.encode())
        _drive(lab, Ns(started + (within or seconds(30))), lambda: bool(into) and not (isinstance(into[-1], bytes) and into[-1]), every=1)
        took = Ns(machine.now - started)
        stopped = machine.world.stopped
    lab._show_reports()
    if stopped is not None and not (into and into[-1] == b""):
        raise LabError(f"{url}: no answer yet, the world was stopped: {stopped}; lab.run(...) goes on")
    pieces = [piece for piece in into if isinstance(piece, bytes)]
    failures = [failure for failure in into if isinstance(failure, MirageError)]
    if failures:
        raise LabError(f"{failures[0]} (after {show(took)})")
    if not pieces or pieces[-1]:
        raise LabError(f"{url}: no complete answer within {show(took)} of virtual time; lab.vm(...).why() tells what it waits for")
    head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
    line, _, headers = head.decode("latin-1").partition("\r\n")
    words = line.split(" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        raise LabError(f"{url}: the answer is not HTTP: {line[:60]!r}")
    return Reply(int(words[1]), headers, body, took)


def ping(lab: Lab, address: str, count: int) -> Said:
    """Echo from inside the world; one line with the round trips."""
    if not 1 <= count <= 1_000:
        raise LabError(f"{count} echoes: 1 to 1,000 can be sent")
    lan = _lan_of(lab, address)
    with lab._driving() as machine:
        into: list[Ns | None] = machine.world.command("ping", lan=lan, address=address, count=count)
        _drive(lab, Ns(machine.now + seconds(2 * count + 1)), lambda: len(into) == count, every=1)
    lab._show_reports()
    trips = ", ".join("no answer" if trip is None else show(trip) for trip in into[:10])
    answered = sum(trip is not None for trip in into)
    return Said(f"{address}: {answered} of {count} answered · {trips}{', ...' if count > 10 else ''}")


def _lan_of(lab: Lab, address: str) -> str:
    import ipaddress

    try:
        wanted = ipaddress.IPv4Address(address)
    except ValueError:
        raise LabError(f"{address!r} is not an IPv4 address of a lan of this lab") from None
    for name, interface in lab.machine.subnets.items():
        if wanted in interface.network:
            return name
    raise LabError(f"{address} is on no lan of this lab: {', '.join(str(i.network) for i in lab.machine.subnets.values()) or 'there is none'}")
