"""packets_frame: one frame taken apart, byte by byte, and what it is the effect and the cause of.

    woken by an event ─▶ hypercall of the sender ─▶ slot of its tx ring, grant of the page ─▶ FRAME ─▶ slot of an rx ring, grant

What led to a frame is in the events (each has the number of its cause); where it went is found among the events that
follow: a back end gives a frame on with the cause that brought it.  What grants say is read in the tables as they are now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mirage_lab.lab.pictures import hosts
from mirage_lab.lab.said import LabError
from mirage_lab.lab.views.boot_bytes import domain_named
from mirage_lab.lab.views.boot_timeline import said
from mirage_lab.tcpip.dissect import Packet, Tcp, dissect
from mirage_lab.tcpip.tcp.states import Event as Move
from mirage_lab.tcpip.wire import tcp
from mirage_lab.tcpip.wire.seq import distance
from mirage_lab.tracing.capture import Capture, Frame
from mirage_lab.tracing.recorder import Event, Recorder
from mirage_lab.tracing.svg import visible
from mirage_lab.xen.abi import grant_table as abi
from mirage_lab.xen.abi.io.netif import SLOTS

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["BYTES", "causes", "packet"]

BYTES: Final = 65_549
"""Bytes of a frame that are shown: the longest a lan carries."""

LAYERS: Final = 20
FIELDS: Final = 60
VALUE: Final = 300
CHAIN: Final = 24
NEAR: Final = 200
STEP: Final = 2_000
"""Events before a hypercall among which the callback of its step is sought."""
AHEAD: Final = 4_000
"""Events after a frame among which its arrival is sought."""
ARRIVALS: Final = 6
NEAREST: Final = 6
"""Causes between the arrival of a segment and what TCP made of it: hypercall, notification, upcall."""
EARLIER: Final = 16
"""Frames before and after one among which others of its connection are sought that arrived together with it."""
MADE_BY: Final = {
    Move.PASSIVE_OPEN.value: tcp.SYN, Move.SYN.value: tcp.SYN, Move.SYN_ACKED.value: tcp.ACK, Move.FIN_ACKED.value: tcp.ACK,
    Move.FIN.value: tcp.FIN, Move.RESET.value: tcp.RST,
}  # fmt: skip
"""The flag of a segment that makes a move; programs and timers make the others."""
SOON: Final = 50_000_000

FORGOTTEN: Final = "events of that time are no longer kept"

Step = dict[str, Any]


def packet(lab: Lab, capture: Capture, n: int, info: str = "") -> dict[str, Any]:
    """Return frame `n`: its layers with the place of each field, its bytes as hex, its fate and its causes."""
    frame = capture.frame_number(n)
    if frame is None:
        held = f"it holds {capture.dropped + 1:,} to {capture.last:,}" if len(capture) else "it holds none yet"
        raise LabError(f"{capture.name} has no frame {n:,}: {held}")
    found = dissect(frame.data)
    layers = [
        {
            "name": visible(layer.name, 40),
            "offset": layer.offset,
            "length": layer.length,
            "fields": [
                {"name": visible(field.name, 60), "value": visible(field.value, VALUE), "offset": field.offset, "length": field.length}
                for field in layer.fields[:FIELDS]
            ],
        }
        for layer in found.layers[:LAYERS]
    ]
    return {
        "n": n,
        "t": frame.t,
        "length": len(frame.data),
        "protocol": visible(found.protocol, 20),
        "info": visible(info or found.info, VALUE),
        "src": visible(found.src, 40),
        "dst": visible(found.dst, 40),
        "fate": visible(frame.fate, 80),
        "layers": layers,
        "hex": frame.data[:BYTES].hex(),
        **causes(lab, capture, frame),
    }


def causes(lab: Lab, capture: Capture, frame: Frame) -> dict[str, Any]:
    """Return {"story": steps in the order of time, "chain": events that led here, nearest first, "end": why it ends}."""
    recorder = lab.machine.world.recorder
    chain: list[Event] = []
    at = frame.cause
    while at and len(chain) < CHAIN and (event := recorder.event(at)) is not None:
        chain.append(event)
        at = event.cause
    end = "outside" if not at else "more" if len(chain) == CHAIN else "dropped"
    arrivals = [] if frame.lost else _arrivals(lab, capture, frame)
    story = [*_before(lab, capture, frame, chain, end), _entered(frame), *_after(lab, frame, arrivals), *_transitions(lab, capture, frame, arrivals)]
    return {"story": story, "chain": [_told(event) for event in chain], "end": end}


def _told(event: Event) -> Step:
    return {"id": event.id, "t": event.t, "source": visible(event.source, 64), "kind": event.kind, "words": said(event)}


def _step(what: str, words: str, event: Event | None = None, t: int | None = None) -> Step:
    return {"what": what, "words": visible(words, VALUE), "event": event.id if event else None, "t": event.t if event else t}


def _entered(frame: Frame) -> Step:
    fate = "" if frame.fate == "delivered" else f"; {frame.fate}"
    where = "reached the captured port from the lan" if frame.port == "lan" else f"entered the lan at the port of {frame.port or 'nobody known'}"
    return _step("this frame", f"{where}, {len(frame.data):,} bytes{fate}", t=frame.t)


def _before(lab: Lab, capture: Capture, frame: Frame, chain: list[Event], end: str) -> list[Step]:
    """What led to a frame: the way out of its sender, or (of one that no back end sent) the frame that it answers."""
    if not chain:
        why = FORGOTTEN if end == "dropped" else "no event led here: a timer of the sender, or a command"
        return [_step("because", why, t=frame.t)]
    sent = chain[0]
    if sent.kind != "net.tx":
        return [_step("because", f"{sent.source} {sent.kind}: {said(sent, 120)}", sent)]
    vif = str(sent.fields.get("vif", ""))
    steps = _ring(lab, "tx", sent, vif)
    sender = frame.port if frame.port != "lan" else hosts(lab.machine).name(frame.data[6:12].hex(":"))
    if sender not in (vif, _owner(lab, vif)):
        because = _step("because", f"{sender} has no ring; it sends because of that frame of {vif}", sent)
        steps.append(because | {"frame": _numbered(capture, frame, sent.id)})
    return _woken(lab, chain, steps, end)


def _numbered(capture: Capture, frame: Frame, cause: int) -> int | None:
    """The number of the frame that an event sent, among the NEAR last before `frame`."""
    for n in range(frame.n - 1, max(0, frame.n - NEAR), -1):
        other = capture.frame_number(n)
        if other is not None and other.cause == cause and other.port != frame.port:
            return n
    return None


def _woken(lab: Lab, chain: list[Event], steps: list[Step], end: str) -> list[Step]:
    """The hypercall of a domain that sent, and what woke it."""
    call = next((event for event in chain[1:4] if event.kind == "xen.hypercall"), None)
    if call is None:
        return steps
    called = f"{call.fields.get('name')}, {call.fields.get('args')}"
    steps.insert(0, _step("hypercall", f"{call.source} calls {called}: its ring has something for the back end", call))
    place = chain.index(call)
    woke = chain[place + 1] if place + 1 < len(chain) else None
    if woke is None:
        why = FORGOTTEN if end == "dropped" else f"no event woke {call.source}: a timer of its own, or its start"
        return [_step("because", why, t=call.t), *steps]
    if woke.kind == "evtchn.notify" and woke.source != call.source:
        woken = [_step("wake-up", f"{woke.source} notifies port {woke.fields.get('remote_port')} of {call.source}", woke)]
        upcall = _upcall(lab.machine.world.recorder, woke, call)
        if upcall is not None:
            woken.append(_step("upcall", f"{call.source} runs its event callback: {said(upcall, 80)}", upcall))
        else:
            woken.append(_step("timer", f"{call.source} had gone to sleep since; a timer that it set since then woke it", t=call.t))
        led = chain[place + 2 : place + 4]
        because = next((event for event in led if event.kind in ("net.rx", "net.tx")), None)
        if because is not None and because.kind == "net.rx":
            woken = [*_ring(lab, "rx", because, str(because.fields.get("vif", ""))), *woken]
        return [*woken, *steps]
    return [_step("because", f"{woke.source} {woke.kind}: {said(woke, 120)}", woke), *steps]


def _after(lab: Lab, frame: Frame, arrivals: list[Event]) -> list[Step]:
    """Where a frame went: the rx rings it reached."""
    if frame.lost:
        return [_step("lost", f"never arrived: {frame.lost}", t=frame.t)]
    steps = []
    for event in arrivals:
        steps += _ring(lab, "rx", event, str(event.fields.get("vif", "")))
    if steps:
        return steps
    recorder = lab.machine.world.recorder
    if recorder.dropped and (0 < frame.cause <= recorder.dropped or _first_at(recorder, frame.t) == recorder.dropped + 1):
        return [_step("arrival", FORGOTTEN, t=frame.t)]
    stations = {gateway.netif.mac: f"gateway of {name}" for name, gateway in lab.machine.gateways.items()}
    station = stations.get(frame.data[:6].hex(":"))
    reached = f"the {station} takes it as it is: it is on this computer and has no ring" if station else "no ring of a domain was reached, so far"
    return [_step("arrival", reached, t=frame.t)]


def _transitions(lab: Lab, capture: Capture, frame: Frame, arrivals: list[Event]) -> list[Step]:
    """What the TCP that got a segment became by it: its moves in the table of states whose causes lead back to the arrival.

    A back end tells the domain once of all it has put into the ring: of those together the first that fits made the move.
    """
    recorder, seen = lab.machine.world.recorder, dissect(frame.data)
    if frame.lost or seen.tcp is None or not (arrivals or frame.cause):
        return []
    together = _together(recorder, arrivals[0]) if arrivals else [frame.cause]
    mates = {n: other for n in _near(frame) if arrivals and (other := _mate(lab, capture, n, frame, seen, together)) is not None}
    flags, ack = seen.tcp.flags, seen.tcp.ack
    before = [other for n, other in mates.items() if n < frame.n]
    newest = all(distance(other.ack, ack) >= (1 if n < frame.n else 0) for n, other in mates.items() if other.flags & tcp.ACK)
    ends = (f"{seen.dst}:{seen.tcp.dst_port}", f"{seen.src}:{seen.tcp.src_port}")
    steps = []
    for event in recorder.after(together[0], AHEAD):
        if event.kind != "tcp.state" or (event.fields.get("local"), event.fields.get("remote")) != ends:
            continue
        why = str(event.fields.get("why"))
        needed = MADE_BY.get(why, 0)
        fits = newest if why == Move.FIN_ACKED.value else not any(other.flags & needed for other in before)
        if flags & needed and fits and _leads_back(recorder, event, frozenset(together)):
            steps.append(_step("transition", f"{event.source}: {event.fields.get('old')} to {event.fields.get('new')}, by {why}", event))
            if len(steps) == ARRIVALS:
                break
    return steps


def _near(frame: Frame) -> range:
    return range(max(1, frame.n - EARLIER), frame.n + EARLIER)


def _mate(lab: Lab, capture: Capture, n: int, frame: Frame, seen: Packet, together: list[int]) -> Tcp | None:
    """Frame `n`, if it is another of the same connection and direction that arrived together with `frame`."""
    other = capture.frame_number(n) if n != frame.n else None
    if other is None or other.lost or other.data[:12] != frame.data[:12] or seen.tcp is None:
        return None
    told = dissect(other.data)
    same = told.tcp is not None and (told.src, told.dst, told.tcp.src_port, told.tcp.dst_port) == (seen.src, seen.dst, seen.tcp.src_port, seen.tcp.dst_port)
    return told.tcp if same and any(event.id in together for event in _arrivals(lab, capture, other)) else None


def _together(recorder: Recorder, arrival: Event) -> list[int]:
    """The arrivals in one ring that a domain was told of at once, in order."""
    found = [arrival.id]
    for way in (-1, 1):
        for id in range(arrival.id + way, arrival.id + way * NEAR, way):
            event = recorder.event(id)
            if event is None or (event.kind == "xen.hypercall" and event.source == arrival.source):
                break
            if event.kind == "net.rx" and event.fields.get("vif") == arrival.fields.get("vif"):
                found.append(id)
    return sorted(found)


def _leads_back(recorder: Recorder, event: Event, roots: frozenset[int]) -> bool:
    """True if one of the nearest causes of `event` is among `roots`: no further frame lies between."""
    at = event.cause
    for _ in range(NEAREST):
        if at in roots:
            return True
        cause = recorder.event(at) if at else None
        if cause is None or cause.kind in ("net.rx", "net.tx"):
            return False
        at = cause.cause
    return False


def _ring(lab: Lab, way: str, event: Event, vif: str) -> list[Step]:
    slot, ref = event.fields.get("slot"), event.fields.get("ref")
    took = f"the back end takes {event.fields.get('length')} bytes from" if way == "tx" else f"the back end puts {event.fields.get('length')} bytes into"
    steps = [_step("ring slot", f"{took} slot {slot} of {SLOTS} of the {way} ring of {vif}", event)]
    if isinstance(ref, int):
        steps.append(_step("grant", f"reference {ref} of {vif}{_entry(lab, vif, ref)}", event))
    return steps


def _owner(lab: Lab, vif: str) -> str:
    """The domain of a vif: its first is called as the domain is, the others "name.1"."""
    head, _, tail = vif.rpartition(".")
    return head if tail.isdigit() and not lab.machine.exists(vif) else vif


def _entry(lab: Lab, name: str, ref: int) -> str:
    """What the grant table of a domain says of `ref` now; "" when it is gone."""
    try:
        domain = domain_named(lab, _owner(lab, name))
    except LabError:
        return ""
    index, place = divmod(ref, abi.ENTRIES_PER_FRAME)
    if not 0 <= index < len(domain.grants.frames):
        return ""
    flags, to, mfn = abi.ENTRY.unpack_from(domain.grants.frames[index], place * abi.ENTRY.size)
    if flags & abi.GTF_TYPE_MASK != abi.GTF_PERMIT_ACCESS:
        return ": no longer granted"
    pfn = mfn - domain.memory.base
    own = f"page {pfn:#x} of its memory" if 0 <= pfn < domain.memory.nr_pages else f"frame {mfn:#x}"
    return f": {own}, granted to {'dom0' if to == 0 else f'domain {to}'}{', read only' if flags & abi.GTF_READONLY else ''}"


def _upcall(recorder: Recorder, woke: Event, call: Event) -> Event | None:
    """The callback that `woke` led to, if the domain did not go to sleep between it and `call`."""
    for id in range(call.id - 1, max(woke.id, call.id - STEP), -1):
        event = recorder.event(id)
        if event is None or event.source != call.source:
            continue
        if event.kind == "evtchn.upcall" and event.cause == woke.id:
            return event
        if event.kind == "xen.hypercall" and event.fields.get("name") == "sched_op.block":
            return None
    return None


def _arrivals(lab: Lab, capture: Capture, frame: Frame) -> list[Event]:
    """The events by which a frame reached domains: with its cause and length, as many later as such frames came before it.

    A back end tells no more of a frame, and frames of one port stay in order.  One without a cause is followed a short while.
    """
    recorder, machine = lab.machine.world.recorder, lab.machine
    target = hosts(machine).name(frame.data[:6].hex(":"))
    faults = [segment.faults for segment in machine.lans.values()]
    until = frame.t + SOON + 4 * max((each["latency"] + each["jitter"] for each in faults), default=0)
    turn = 0
    for n in range(frame.n - 1, max(0, frame.n - NEAR), -1):
        other = capture.frame_number(n)
        if other is None or (not frame.cause and other.t != frame.t):
            break
        if other.cause == frame.cause and other.port == frame.port and len(other.data) == len(frame.data) and other.data[:6] == frame.data[:6]:
            turn += not other.lost
    found: list[Event] = []
    seen: dict[str, int] = {}
    for event in recorder.after(frame.cause or _first_at(recorder, frame.t) - 1, AHEAD):
        if event.kind != "net.rx" or event.cause != frame.cause or event.fields.get("length") != len(frame.data):
            continue
        vif = str(event.fields.get("vif"))
        if vif == frame.port or (not frame.data[0] & 1 and _owner(lab, vif) != target) or (not frame.cause and event.t > until):
            continue
        seen[vif] = seen.get(vif, 0) + 1
        if seen[vif] == turn + 1:
            found.append(event)
            if len(found) == ARRIVALS:
                break
    return found


def _first_at(recorder: Recorder, t: int) -> int:
    """The number of the first kept event at `t` or later."""
    low, high = recorder.dropped + 1, recorder.last + 1
    while low < high:
        middle = (low + high) // 2
        event = recorder.event(middle)
        if event is not None and event.t < t:
            low = middle + 1
        else:
            high = middle
    return low
