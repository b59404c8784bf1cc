"""Recovery: what an acknowledgment means: what arrived, what was lost, and what congestion control is told.

    OPEN ──loss──▶ RECOVERY ──all of the episode acknowledged──▶ OPEN          RFC 6675, 8985; without SACK RFC 6582
         ──ECE, or a tail that a probe mended──▶ REDUCED ──▶ OPEN              RFC 3168, RFC 8985 section 7.4
         ──timeout──▶ LOSS ──▶ OPEN                                            RFC 6298, RFC 5681
    RECOVERY, LOSS ──the first acknowledgment answers the original, not what was sent again──▶ OPEN, undone   Eifel: RFC 3522, 4015

An episode ends at `high`, which was the end of what was sent when it began.
"""

from __future__ import annotations

from enum import Enum

from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.tcp.congestion import Congestion
from mirage_lab.tcpip.tcp.profile import Profile
from mirage_lab.tcpip.tcp.prr import Prr
from mirage_lab.tcpip.tcp.rack import DUPLICATES, Rack
from mirage_lab.tcpip.tcp.rtt import Rtt
from mirage_lab.tcpip.tcp.scoreboard import MS, NEVER, Sample, Scoreboard, Sent
from mirage_lab.tcpip.wire.seq import HALF, MASK

__all__ = ["Phase", "Recovery"]

SPENT = -2


class Phase(Enum):
    """Where loss recovery stands."""

    OPEN = "open"
    REDUCED = "reduced"
    RECOVERY = "recovery"
    LOSS = "loss"


class Recovery:
    """Loss recovery of one connection.  `force`: one segment goes out whatever the window says; `look_at`: when RACK looks again."""

    __slots__ = (
        "board",
        "congestion",
        "duplicates",
        "force",
        "high",
        "look_at",
        "phase",
        "profile",
        "prr",
        "rack",
        "rtt",
        "sack",
        "sample",
        "timed",
        "undo_from",
        "undo_ms",
    )

    def __init__(self, profile: Profile, rtt: Rtt, congestion: Congestion, sack: bool) -> None:
        self.profile = profile
        self.rtt = rtt
        self.congestion = congestion
        self.sack = sack
        self.board = Scoreboard()
        self.rack = Rack()
        self.prr = Prr()
        self.sample = Sample()
        self.phase = Phase.OPEN
        self.high = 0
        self.duplicates = 0
        self.timed = 0
        self.force = False
        self.undo_ms = -1
        self.undo_from = 0
        self.look_at = NEVER

    @property
    def name(self) -> str:
        """`recovery`, `loss`, or what congestion control is doing."""
        return self.congestion.phase if self.phase is Phase.OPEN else self.phase.value

    # acknowledgments ---------------------------------------------------------------------------------------------

    def on_ack(self, ack: int, blocks: list[tuple[int, int]], duplicate: bool, ece: bool, echo: int, now: Ns) -> bool:
        """Take an acknowledgment up to `ack` with SACK `blocks` (positions); True if it showed a spurious recovery.

        `duplicate`: nothing new in it (RFC 5681 section 2); `echo`: the ms that came back in a timestamp, -1 for none.
        """
        board, sample = self.board, self.sample
        before, due = board.delivered, board.due
        sample.now, sample.echo, sample.newest, sample.rtt, sample.rate = now, echo, None, -1, 0
        sample.flight = board.nxt - board.una - board.sacked - due - board.guessed
        una = board.una
        if ack > una:
            board.acknowledge(ack, sample)
        if self.phase is Phase.OPEN and not blocks and not duplicate and not ece and not board.sacked and not board.due and self.rack.probe < 0:
            self.duplicates = 0
            board.guessed = 0
            sample.acked = sample.delivered = board.delivered
            sample.acked -= before
            sample.lost = 0
            sample.pipe = board.nxt - ack
            self._measure(now)
            self.congestion.on_ack(sample)
            return False
        return self._carefully(ack, ack - una, blocks, duplicate, ece, before, now)

    def _carefully(self, ack: int, progress: int, blocks: list[tuple[int, int]], duplicate: bool, ece: bool, before: int, now: Ns) -> bool:
        board, sample = self.board, self.sample
        due, dsack, news = board.due, False, 0
        if blocks:
            left, right = blocks[0]
            dsack = right <= ack or (len(blocks) > 1 and blocks[1][0] <= left and right <= blocks[1][1])
            if dsack:
                self.rack.duplicate(board)
            for left, right in blocks[1:] if dsack else blocks:
                if ack < right <= board.nxt and left < right:
                    news += board.sack(left, right, sample)
        elif duplicate and not self.sack:
            board.guess(self.congestion.mss)
        if progress and board.guessed:
            arrived = min(board.guessed, max(progress - self.congestion.mss, 0))
            board.guessed -= arrived
            board.delivered -= min(arrived, board.delivered - before)
        sample.acked = board.delivered - before
        sample.delivered = board.delivered
        self._measure(now)
        undone = progress > 0 and self._spurious()
        if undone:
            self._undo(now)
        else:
            self._find_losses(progress, duplicate, now)
        sample.lost = max(board.due - due, 0)
        sample.pipe = board.pipe
        mended = self.rack.repaired(ack, dsack, not progress and not news)
        self._advance(ack, progress, ece or mended, now)
        return undone

    def _measure(self, now: Ns) -> None:
        """Take a round trip and a delivery rate from the newest segment that arrived."""
        sample, board = self.sample, self.board
        newest = sample.newest
        if newest is None:
            if sample.echo >= 0 and sample.acked:  # RFC 7323 section 4: also what was sent again is timed by its echo
                elapsed = ((now // MS - sample.echo) & MASK) * MS
                if elapsed < HALF:
                    self.rtt.sample(max(elapsed, MS))
            return
        rtt = now - newest.at
        sample.prior = newest.delivered
        if not newest.tries:
            sample.rtt = rtt
            if rtt < board.min_rtt:
                board.min_rtt = max(rtt, 1)
            if newest.start >= self.timed:
                self.timed = board.nxt
                self.rtt.sample(rtt)
        rack = self.rack
        if newest.order > rack.order:
            rack.order, rack.rtt = newest.order, rtt
        if self.congestion.models:
            board.rate(sample)

    # losses ------------------------------------------------------------------------------------------------------

    def _find_losses(self, progress: int, duplicate: bool, now: Ns) -> None:
        board = self.board
        if self.sack:
            if self.profile.rack:
                self.look(now)
            else:
                board.lose_by_count((DUPLICATES - 1) * self.congestion.mss)
            return
        if progress:
            self.duplicates = 0
            if self.phase is Phase.RECOVERY and board.una < self.high and board.records:
                board.lose(board.records[0])  # a partial acknowledgment shows the next hole (RFC 6582 section 3.2, step 3)
                self.force = True
        elif duplicate:
            self.duplicates += 1
            if self.duplicates == DUPLICATES and self.phase in (Phase.OPEN, Phase.REDUCED) and board.una >= self.high and board.records:
                board.lose(board.records[0])

    def look(self, now: Ns) -> None:
        """RACK: mark what is lost by now, and say when to look again."""
        again = self.rack.find(self.board, self.rtt.srtt, self.phase in (Phase.RECOVERY, Phase.LOSS), now)
        self.look_at = now + again if again else NEVER

    def on_look(self, now: Ns) -> None:
        """The reordering window has passed."""
        board, sample = self.board, self.sample
        due = board.due
        sample.now, sample.flight, sample.acked, sample.newest, sample.rtt, sample.rate = now, board.pipe, 0, None, -1, 0
        self.look(now)
        sample.lost, sample.pipe = max(board.due - due, 0), board.pipe
        self._advance(board.una, 0, False, now)

    def _advance(self, ack: int, progress: int, marked: bool, now: Ns) -> None:
        """Move between the phases and set the window."""
        congestion, board, sample = self.congestion, self.board, self.sample
        ended = False
        if self.phase is not Phase.OPEN and ack >= self.high:
            ended = self.phase is not Phase.LOSS
            if ended:
                congestion.on_recovered(now)
            self.rack.recovered()
            self._open()
        if self.phase in (Phase.OPEN, Phase.REDUCED) and board.due:
            if self.phase is Phase.OPEN:
                self._begin(Phase.RECOVERY, progress, now)
            self.phase, self.high = Phase.RECOVERY, board.nxt
            self.force = True
            ended = False
        elif self.phase is Phase.OPEN and marked and ack > self.high:  # what came before `high` was sent before our CWR
            self._begin(Phase.REDUCED, progress, now)
        if congestion.models or self.phase in (Phase.OPEN, Phase.LOSS):
            if not ended and sample.acked and (progress or congestion.models):  # never for a duplicate (RFC 5681 section 3.2)
                congestion.on_ack(sample)
        elif self.profile.prr:
            safe = progress > 0 and not sample.lost
            congestion.cwnd = max(self.prr.window(sample.acked, sample.pipe, congestion.ssthresh, congestion.mss, safe), congestion.mss)
        else:
            congestion.cwnd = congestion.ssthresh

    def _begin(self, phase: Phase, progress: int, now: Ns) -> None:
        """An episode: FlightSize is what was out before this acknowledgment, limited transmit left out (RFC 5681 section 3.2)."""
        flight = min(self.board.nxt - self.board.una + progress, self.congestion.cwnd)
        self.congestion.on_loss(flight, now)
        self.prr.begin(flight)
        self.phase, self.high = phase, self.board.nxt
        self.undo_ms = -1

    def _open(self) -> None:
        self.phase = Phase.OPEN
        self.duplicates = self.board.guessed = 0
        self.undo_ms = -1

    def on_rto(self, now: Ns, again: bool) -> None:
        """The retransmission timer ran out."""
        board = self.board
        flight = board.nxt - board.una
        board.lose_all()
        self.congestion.on_rto(flight, now, again)
        self.rack.probe = -1
        self.look_at = NEVER
        self.duplicates = 0
        self.high = board.nxt
        if not again:
            self.undo_ms = -1
        self.phase = Phase.LOSS
        self.force = True

    def on_resend(self, record: Sent, now: Ns) -> None:
        """A segment goes out again."""
        self.board.resend(record, now)
        if self.undo_ms == -1:
            self.undo_ms, self.undo_from = now // MS, record.start
        self.prr.out += record.end - record.start

    # what was none -----------------------------------------------------------------------------------------------

    def _spurious(self) -> bool:
        """True if the first acknowledgment of what was sent again first answers the original (RFC 3522 section 3.2)."""
        if self.undo_ms < 0 or self.sample.echo < 0 or self.phase not in (Phase.RECOVERY, Phase.LOSS) or self.board.una <= self.undo_from:
            return False
        first, self.undo_ms = self.undo_ms, SPENT
        return (self.sample.echo - first) & MASK >= HALF

    def _undo(self, now: Ns) -> None:
        if self.phase is Phase.RECOVERY:
            self.board.reordered = True
        self.board.keep_all()
        self.congestion.on_undo(now)
        self.rtt.backoff = 0
        self._open()
        self.high = self.board.una
