"""exercises: claims about a trace, for the checks of exercises: told with the frames that were found, never with the answer.

First find, then claim.  What is found is a `Found`: a sequence of frames with a name, and its repr shows them.

    >>> from mirage_lab.testing.exercises import Claims, syn_retransmissions
    >>> syn_retransmissions(trace)                                     # doctest: +SKIP
    1 SYN retransmission: frame 4 (t = 1.000 s, 10.0.0.1 -> 10.0.0.2)

A check of an exercise is a function that takes what the learner made and returns the story of its claims:

    def check_one_lost_syn(trace: Traced) -> Story:
        claims = Claims(trace, "one lost SYN")
        again = claims.syn_retransmissions()
        claims.at_least(1, claims.handshakes())        # "at least 1 complete handshake"
        claims.exactly(1, again)                       # "exactly 1 SYN retransmission"
        claims.at(again, [seconds(1)])                 # "the SYN retransmission is at t = 1.000 s"
        return claims.story

The first claim that does not hold raises `NotYet` (an AssertionError), which tells the claims that held, this one, and what
the trace holds instead:

    one lost SYN: 1 claim holds, then one does not
      ✓ 1. at least 1 complete handshake
      ✗ 2. exactly 1 SYN retransmission
           the trace has 2 SYN retransmissions: frame 4 (t = 1.000 s, ...), frame 5 (t = 3.000 s, ...)

Where the claim itself would give the answer away, `say="..."` words it differently; where what was found would, `hide=True`
leaves that out.  A number or a word that the learner typed is claimed with `answer`, which shows neither:

        claims.answer("your count of retransmissions", given, len(again), look=again)

The selections are methods of `Claims` and functions of a trace, with the same names:

    syns, syn_acks, resets, fins, data        TCP segments by kind (SYN without ACK; with; RST; FIN; with bytes)
    syn_retransmissions                       a SYN sent again with the same number
    syn_ack_retransmissions                   the same for SYN, ACK
    retransmissions                           any segment that brings numbers already sent
    handshakes                                the ACKs that complete one (the third frame)
    lost                                      frames the lan lost, or a queue dropped
    arp_requests, arp_replies, echo_requests, echo_replies, datagrams
    frames(what, where)                       any other: `where(packet)` says yes, `what` names one ("window update")

`Claims(trace, title, since=t, after=n)` looks only at frames from virtual time `since` on, or after number `n`; times in
claims are counted from `since`.  A trace is a `lab.capture(...)` or a tracing Capture; it is read once, as it is then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast, overload

from mirage_lab.signatures.units import Ns, ms
from mirage_lab.tcpip.dissect import Packet, Tcp, dissect
from mirage_lab.tcpip.wire import tcp
from mirage_lab.tcpip.wire.seq import distance
from mirage_lab.testing.story import Broken, Story
from mirage_lab.tracing.capture import Capture, Frame

__all__ = [
    "Claims",
    "Found",
    "NotYet",
    "Seen",
    "Traced",
    "arp_replies",
    "arp_requests",
    "data",
    "datagrams",
    "echo_replies",
    "echo_requests",
    "fins",
    "handshakes",
    "lost",
    "resets",
    "retransmissions",
    "syn_ack_retransmissions",
    "syn_acks",
    "syn_retransmissions",
    "syns",
]

SHOWN: Final = 6
"""Frames a message names before it says how many more."""


class _HasCapture(Protocol):
    @property
    def capture(self) -> Capture:
        """The frames."""


Traced = Capture | _HasCapture
"""What can be looked at: a Capture, or something that has one (the Trace of a lab)."""


class NotYet(Broken):
    """A claim about a trace that does not hold (yet)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame of a trace and what is in it; `t` is the virtual time, ns."""

    frame: Frame
    packet: Packet
    t: Ns

    @property
    def n(self) -> int:
        """Its number, from 1."""
        return self.frame.n

    def __repr__(self) -> str:
        fate = f", {self.frame.fate}" if self.frame.lost else ""
        return f"frame {self.n} (t = {self.t / 1e9:.3f} s, {self.packet.src} -> {self.packet.dst}{fate})"


class Found(Sequence[Seen]):
    """Frames of one kind: `what` names one of them.  Its repr is "2 SYNs: frame 3 (...), frame 5 (...)"."""

    def __init__(self, what: str, seen: Sequence[Seen]) -> None:
        self.what = what
        self._seen = tuple(seen)

    @overload
    def __getitem__(self, index: int) -> Seen: ...

    @overload
    def __getitem__(self, index: slice) -> Found: ...

    def __getitem__(self, index: int | slice) -> Seen | Found:
        return Found(self.what, self._seen[index]) if isinstance(index, slice) else self._seen[index]

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the frames."""
        return [seen.n for seen in self]

    @property
    def times(self) -> list[Ns]:
        """The times of the frames, virtual ns."""
        return [seen.t for seen in self]

    def where(self, src: str | None = None, dst: str | None = None, port: int | None = None, before: Ns | None = None) -> Found:
        """Return those from `src`, to `dst`, with `port` at one end (TCP), sent before `before`."""
        return Found(
            self.what,
            [
                seen
                for seen in self
                if (src is None or seen.packet.src == src)
                and (dst is None or seen.packet.dst == dst)
                and (port is None or (seen.packet.tcp is not None and port in (seen.packet.tcp.src_port, seen.packet.tcp.dst_port)))
                and (before is None or seen.t < before)
            ],
        )

    def counted(self, count: int) -> str:
        """Return "no SYN", "1 SYN", "2 SYNs"."""
        word = self.what if count == 1 or count == 0 else _plural(self.what)
        return f"{count or 'no'} {word}"

    def __repr__(self) -> str:
        if not self:
            return self.counted(0)
        more = f" and {len(self) - SHOWN} more" if len(self) > SHOWN else ""
        return f"{self.counted(len(self))}: {', '.join(map(repr, self._seen[:SHOWN]))}{more}"


def _plural(what: str) -> str:
    if what.endswith("y") and what[-2] not in "aeiou":
        return f"{what[:-1]}ies"
    return f"{what}es" if what.endswith(("s", "x", "sh", "ch")) else f"{what}s"


class Claims:
    """Claims about one trace, and their story.  Each claim adds a step to `story` or raises NotYet."""

    def __init__(self, trace: Traced, title: str = "your trace", *, since: int = 0, after: int = 0) -> None:
        self.story = Story(title, noun="claim", held="held", broken="does not hold", error=NotYet)
        self.since = since
        capture = trace if isinstance(trace, Capture) else getattr(trace, "capture", None)
        if not isinstance(capture, Capture):
            raise NotYet(self.story, "there is a trace to look at", (f"came      a {type(trace).__name__}; trace = lab.capture(lan) makes one",))
        self.seen = [Seen(frame, dissect(frame.data), Ns(frame.t - since)) for frame in capture.frames if frame.t >= since and frame.n > after]

    # what there is -----------------------------------------------------------------------------------------------

    def frames(self, what: str, where: Callable[[Packet], object]) -> Found:
        """Return the frames whose packet `where` says yes to; `what` names one of them."""
        return Found(what, [seen for seen in self.seen if where(seen.packet)])

    def _tcp(self, what: str, where: Callable[[Tcp], object]) -> Found:
        return self.frames(what, lambda packet: packet.tcp is not None and where(packet.tcp))

    def syns(self) -> Found:
        """SYNs without ACK: somebody wants to connect."""
        return self._tcp("SYN", lambda said: said.flags & (tcp.SYN | tcp.ACK) == tcp.SYN)

    def syn_acks(self) -> Found:
        """SYN, ACKs: somebody agrees."""
        return self._tcp("SYN, ACK", lambda said: said.flags & (tcp.SYN | tcp.ACK) == tcp.SYN | tcp.ACK)

    def resets(self) -> Found:
        """RSTs."""
        return self._tcp("RST", lambda said: said.flags & tcp.RST)

    def fins(self) -> Found:
        """FINs."""
        return self._tcp("FIN", lambda said: said.flags & tcp.FIN)

    def data(self) -> Found:
        """Segments with bytes of the application."""
        return self._tcp("segment with data", lambda said: said.length)

    def syn_retransmissions(self) -> Found:
        """SYNs sent again with the same number."""
        return self._again("SYN retransmission", lambda said: said.flags & (tcp.SYN | tcp.ACK) == tcp.SYN)

    def syn_ack_retransmissions(self) -> Found:
        """SYN, ACKs sent again with the same number."""
        return self._again("SYN, ACK retransmission", lambda said: said.flags & (tcp.SYN | tcp.ACK) == tcp.SYN | tcp.ACK)

    def retransmissions(self) -> Found:
        """Segments (SYN, data, FIN) that bring numbers already sent in their direction."""
        return self._again("retransmission", lambda said: True)

    def _again(self, what: str, where: Callable[[Tcp], object]) -> Found:
        begun: dict[tuple[Any, ...], int] = {}
        top: dict[tuple[Any, ...], int] = {}
        found = []
        for seen in self.seen:
            said = seen.packet.tcp
            if said is None or said.flags & tcp.RST:
                continue
            way = (seen.packet.src, said.src_port, seen.packet.dst, said.dst_port)
            syn, fin = bool(said.flags & tcp.SYN), bool(said.flags & tcp.FIN)
            if syn and begun.get(way) != said.seq:
                begun[way] = said.seq
                top.pop(way, None)
            size = said.length + syn + fin
            end = said.seq + size
            if size and way in top and distance(said.seq, top[way]) > 0 and where(said):
                found.append(seen)
            if size and (way not in top or distance(top[way], end) > 0):
                top[way] = end
        return Found(what, found)

    def handshakes(self) -> Found:
        """The frames that complete a handshake: the first ACK of a SYN, ACK that answers a SYN."""
        asked: dict[tuple[Any, ...], int] = {}
        agreed: dict[tuple[Any, ...], tuple[int, int]] = {}
        done = []
        for seen in self.seen:
            said = seen.packet.tcp
            if said is None:
                continue
            way = (seen.packet.src, said.src_port, seen.packet.dst, said.dst_port)
            back = (seen.packet.dst, said.dst_port, seen.packet.src, said.src_port)
            flags = said.flags & (tcp.SYN | tcp.ACK | tcp.RST)
            if flags == tcp.SYN:
                asked[way] = said.seq
            elif flags == tcp.SYN | tcp.ACK and back in asked and distance(asked[back], said.ack) == 1:
                agreed[back] = (said.seq, said.ack)
            elif flags == tcp.ACK and way in agreed and not seen.frame.lost:
                begins, ours = agreed[way]
                if distance(begins, said.ack) >= 1 and distance(ours, said.seq) >= 0:
                    del agreed[way], asked[way]
                    done.append(seen)
        return Found("complete handshake", done)

    def lost(self) -> Found:
        """Frames that never arrived."""
        return Found("lost frame", [seen for seen in self.seen if seen.frame.lost])

    def arp_requests(self) -> Found:
        """ARP questions (announcements are not)."""
        return self.frames("ARP request", lambda packet: packet.protocol == "ARP" and packet.info.startswith("who has"))

    def arp_replies(self) -> Found:
        """ARP answers (announcements are not)."""
        return self.frames("ARP reply", lambda packet: packet.protocol == "ARP" and " is at " in packet.info and "announcement" not in packet.info)

    def echo_requests(self) -> Found:
        """Pings."""
        return self.frames("echo request", lambda packet: packet.protocol == "ICMP" and packet.info.startswith("echo request"))

    def echo_replies(self) -> Found:
        """Answers to pings."""
        return self.frames("echo reply", lambda packet: packet.protocol == "ICMP" and packet.info.startswith("echo reply"))

    def datagrams(self) -> Found:
        """UDP."""
        return self.frames("UDP datagram", lambda packet: packet.protocol == "UDP")

    # claims ------------------------------------------------------------------------------------------------------

    def that(self, claim: str, holds: object, found: Found | None = None, *, hide: bool = False) -> None:
        """Claim anything; when it does not hold, `found` is what the trace has instead."""
        self.story.true(claim, holds, *self._had(found, hide))

    def exactly(self, count: int, found: Found, *, say: str = "", hide: bool = False) -> None:
        """Claim that there are `count` of them."""
        self.that(say or (f"exactly {found.counted(count)}" if count else f"no {found.what}"), len(found) == count, found, hide=hide)

    def at_least(self, count: int, found: Found, *, say: str = "", hide: bool = False) -> None:
        """Claim that there are `count` of them or more."""
        self.that(say or f"at least {found.counted(count)}", len(found) >= count, found, hide=hide)

    def none(self, found: Found, *, say: str = "", hide: bool = False) -> None:
        """Claim that there is none."""
        self.exactly(0, found, say=say, hide=hide)

    def at(self, found: Found, times: Sequence[int], *, within: int = ms(10), say: str = "", hide: bool = False) -> None:
        """Claim that they are at these times (ns, counted from `since`), each within `within`, and that there are no others."""
        told = ", ".join(f"{at / 1e9:.3f} s" for at in times)
        claim = say or (f"the {found.what} is at t = {told}" if len(times) == 1 else f"the {_plural(found.what)} are at t = {told}")
        near = len(found) == len(times) and all(abs(seen.t - at) <= within for seen, at in zip(found, times, strict=True))
        self.that(claim, near, found, hide=hide)

    def sent_by(self, found: Found, src: str, *, say: str = "", hide: bool = False) -> None:
        """Claim that there are some and that all come from the address `src`."""
        claim = say or f"every {found.what} comes from {src}"
        self.that(claim, len(found) and all(seen.packet.src == src for seen in found), found, hide=hide)

    def in_order(self, *founds: Found, say: str = "", hide: bool = False) -> None:
        """Claim that the first of each comes after the first of the one before it."""
        firsts = [found[0].n if found else 0 for found in founds]
        claim = say or "in this order: " + ", ".join(f"a {found.what}" for found in founds)
        kept = 0 not in firsts and firsts == sorted(firsts)
        self.that(claim, kept, Found("frame named here", sorted((found[0] for found in founds if found), key=lambda seen: seen.n)), hide=hide)

    def answer(self, what: str, given: object, truth: object, *, look: Found | None = None, within: float = 0) -> None:
        """Claim that what the learner typed is right; the message shows neither the truth nor what was found.

        `...` and None count as no answer yet.  `look` only says from which frame to which to look again; `within` is how far
        a number may lie from the truth.
        """
        if given is ... or given is None:
            self.story.fail(f"{what} is given", "nothing is there yet: replace the dots")
        numbers = isinstance(given, int | float) and isinstance(truth, int | float) and not isinstance(given, bool)
        right = abs(cast(float, given) - cast(float, truth)) <= within if numbers else type(given) is type(truth) and given == truth
        where = [f"look again at frames {look[0].n} to {look[-1].n}"] if look else []
        unit = [f"the answer is a {type(truth).__name__}, and this is a {type(given).__name__}"] if not numbers and type(given) is not type(truth) else []
        self.story.true(f"{what} agrees with the trace", right, f"{given!r} does not", *unit, *where)

    def _had(self, found: Found | None, hide: bool) -> list[str]:
        if hide or found is None:
            return [f"the trace holds {len(self.seen)} frames; trace.ladder() shows them"]
        return [f"the trace has {found!r}"]


def _of(method: Callable[[Claims], Found]) -> Callable[[Traced], Found]:
    def select(trace: Traced) -> Found:
        return method(Claims(trace))

    select.__name__ = select.__qualname__ = method.__name__
    select.__doc__ = method.__doc__
    return select


syns: Final = _of(Claims.syns)
syn_acks: Final = _of(Claims.syn_acks)
resets: Final = _of(Claims.resets)
fins: Final = _of(Claims.fins)
data: Final = _of(Claims.data)
syn_retransmissions: Final = _of(Claims.syn_retransmissions)
syn_ack_retransmissions: Final = _of(Claims.syn_ack_retransmissions)
retransmissions: Final = _of(Claims.retransmissions)
handshakes: Final = _of(Claims.handshakes)
lost: Final = _of(Claims.lost)
arp_requests: Final = _of(Claims.arp_requests)
arp_replies: Final = _of(Claims.arp_replies)
echo_requests: Final = _of(Claims.echo_requests)
echo_replies: Final = _of(Claims.echo_replies)
datagrams: Final = _of(Claims.datagrams)
