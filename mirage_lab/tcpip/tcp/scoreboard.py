"""Scoreboard: what of the sent data has arrived, is under way, or is to be sent again (RFC 6675, RFC 8985 section 5).

Positions are counted from our SYN (0) on and do not wrap: data begins at 1.

    una                                                nxt
     │  resent │ SACKed  │   due   │ SACKed  │ under way │
     ▼         ▼         ▼         ▼         ▼           ▼
    one Sent per segment;  pipe = nxt - una - SACKed - due - guessed

Without SACK each duplicate acknowledgment says that one more segment has arrived, but not which: `guessed`.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from mirage_lab.signatures.units import Ns
from mirage_lab.tcpip.wire.seq import HALF, MASK

__all__ = ["NEVER", "RECORDS", "Sample", "Scoreboard", "Sent"]

NEVER: Final = 1 << 62
RECORDS: Final = 8_192
"""Segments that may be outstanding at once."""
MS: Final = 1_000_000


class Sent:
    """A segment that was sent: from `start` to before `end`, last at `at` (ns), again `tries` times.

    `order` counts transmissions: it tells which of two came later even when both left in the same nanosecond.
    `sacked`: it has arrived; `due`: it is thought lost and is to be sent again.  The rest is what the connection had got
    through when it was sent, for the estimate of the delivery rate (draft-cheng-iccrg-delivery-rate-estimation).
    """

    __slots__ = ("at", "begun", "delivered", "delivered_at", "due", "end", "limited", "order", "sacked", "start", "tries")

    def __init__(self, start: int, end: int, at: Ns, order: int, delivered: int, delivered_at: int, begun: int, limited: bool) -> None:
        self.order = order
        self.start = start
        self.end = end
        self.at = at
        self.tries = 0
        self.sacked = False
        self.due = False
        self.delivered = delivered
        self.delivered_at = delivered_at
        self.begun = begun
        self.limited = limited

    def __repr__(self) -> str:
        fate = "SACKed" if self.sacked else "due" if self.due else "under way"
        return f"<{self.start}-{self.end} {fate}, sent at {self.at / 1e9:.6f} s{f', {self.tries} times again' if self.tries else ''}>"


class Sample:
    """What one acknowledgment told.

    `acked` bytes newly arrived (by ACK or SACK), `flight` bytes under way before, `pipe` after; `rtt` in ns, -1 if nothing
    timed it; `rate` in bytes a second, 0 if unknown, `limited` if the application sent too little to tell; `delivered`
    bytes so far, `prior` of them when the newest acknowledged segment was sent; `lost` bytes newly thought
    lost; `echo`: the ms our timestamp echoes, -1.
    """

    __slots__ = ("acked", "delivered", "echo", "flight", "limited", "lost", "newest", "now", "pipe", "prior", "rate", "rtt")

    def __init__(self) -> None:
        self.now = Ns(0)
        self.echo = self.rtt = -1
        self.acked = self.lost = self.flight = self.pipe = self.rate = self.delivered = self.prior = 0
        self.limited = False
        self.newest: Sent | None = None


class Scoreboard:
    """The segments that are outstanding, in order."""

    __slots__ = (
        "begun",
        "delivered",
        "delivered_at",
        "due",
        "fack",
        "guessed",
        "limited",
        "min_rtt",
        "nxt",
        "order",
        "records",
        "reordered",
        "sacked",
        "sacks",
        "una",
    )

    def __init__(self) -> None:
        self.records: list[Sent] = []
        self.una = self.nxt = self.fack = self.order = 0
        self.sacked = self.due = self.guessed = 0
        self.sacks = 0
        self.reordered = False
        self.min_rtt = NEVER
        self.delivered = self.limited = 0
        self.delivered_at = self.begun = 0

    def __repr__(self) -> str:
        return f"<Scoreboard {self.una}-{self.nxt}: {self.sacked} SACKed, {self.due} due, {self.pipe} under way>"

    @property
    def pipe(self) -> int:
        """Bytes thought to be under way (RFC 6675 section 4)."""
        return self.nxt - self.una - self.sacked - self.due - self.guessed

    def restart(self, position: int) -> None:
        """Begin at `position` with nothing outstanding."""
        self.records.clear()
        self.una = self.nxt = self.fack = position
        self.sacked = self.due = self.guessed = self.sacks = 0

    # sending -----------------------------------------------------------------------------------------------------

    def send(self, length: int, now: Ns) -> None:
        """Note that `length` new numbers go out."""
        start = self.nxt
        if not self.records:
            self.begun = self.delivered_at = now
        self.nxt = end = start + length
        self.order = order = self.order + 1
        self.records.append(Sent(start, end, now, order, self.delivered, self.delivered_at, self.begun, self.limited > 0))

    def resend(self, record: Sent, now: Ns) -> None:
        """Note that a segment goes out again."""
        if record.due:
            record.due = False
            self.due -= record.end - record.start
        record.tries += 1
        record.at = now
        self.order = record.order = self.order + 1
        record.delivered, record.delivered_at, record.begun, record.limited = self.delivered, self.delivered_at, self.begun, self.limited > 0

    def first_due(self) -> Sent | None:
        """Return the first segment to send again."""
        if self.due:
            for record in self.records:
                if record.due:
                    return record
        return None

    def split(self, record: Sent, size: int) -> None:
        """Cut a segment in two: the path takes only `size` bytes now."""
        at = self.records.index(record)
        tail = Sent(record.start + size, record.end, record.at, record.order, record.delivered, record.delivered_at, record.begun, record.limited)
        tail.tries, tail.due = record.tries, record.due
        record.end = tail.start
        self.records.insert(at + 1, tail)

    # acknowledgments ---------------------------------------------------------------------------------------------

    def acknowledge(self, ack: int, sample: Sample) -> None:
        """Everything before `ack` has arrived."""
        records = self.records
        gone = 0
        for record in records:
            end = record.end
            if end > ack:
                if record.start < ack:
                    self._trim(record, ack, sample)
                break
            gone += 1
            size = end - record.start
            if record.sacked:
                self.sacked -= size
                self.sacks -= 1
                continue
            if record.due:
                self.due -= size
            self.delivered += size
            if end >= self.fack:
                self.fack = end
            elif not record.tries:
                self.reordered = True
            newest = sample.newest
            if (newest is None or record.order > newest.order) and not (record.tries and self._ambiguous(record, sample)):
                sample.newest = record
        del records[:gone]
        self.una = ack
        if self.guessed:
            self.guessed = min(self.guessed, self.nxt - ack)

    def _trim(self, record: Sent, ack: int, sample: Sample) -> None:
        """The first part of a segment has arrived."""
        size = ack - record.start
        if record.sacked:
            self.sacked -= size
        else:
            if record.due:
                self.due -= size
            self.delivered += size
        record.start = ack

    def sack(self, left: int, right: int, sample: Sample) -> int:
        """What lies whole in the block has arrived; return how many bytes of it are news."""
        records = self.records
        news = 0
        at = bisect_left(records, left, key=lambda record: record.start)
        for record in records[at:]:
            end = record.end
            if end > right:
                break
            if record.sacked:
                continue
            size = end - record.start
            record.sacked = True
            news += size
            self.sacks += 1
            if record.due:
                record.due = False
                self.due -= size
            if end >= self.fack:
                self.fack = end
            elif not record.tries:
                self.reordered = True
            newest = sample.newest
            if (newest is None or record.order > newest.order) and not (record.tries and self._too_soon(record, sample)):
                sample.newest = record
        self.sacked += news
        self.delivered += news
        return news

    def guess(self, size: int) -> int:
        """A duplicate acknowledgment without SACK: one more segment has arrived somewhere; return what is counted."""
        size = max(min(size, self.nxt - self.una - self.due - self.guessed - size), 0)
        self.guessed += size
        self.delivered += size
        return size

    def _ambiguous(self, record: Sent, sample: Sample) -> bool:
        """True if it may be the first copy that arrived, not the last (RFC 8985 section 6.2, step 2).

        Of what is SACKed only the second test tells: the peer echoes the time of the last segment in order.
        """
        if sample.echo >= 0 and (sample.echo - record.at // MS) & MASK >= HALF:
            return True
        return self._too_soon(record, sample)

    def _too_soon(self, record: Sent, sample: Sample) -> bool:
        """True if the last copy can hardly have been answered yet.

        An eighth is left for what varies on the way: without it the answer to a probe that comes a microsecond before the
        shortest round trip tells nothing, and the rest of a lost tail waits for the timer.
        """
        return sample.now - record.at < self.min_rtt - (self.min_rtt >> 3)

    # losses ------------------------------------------------------------------------------------------------------

    def lose(self, record: Sent) -> None:
        """A segment is thought lost."""
        if not record.due and not record.sacked:
            record.due = True
            self.due += record.end - record.start

    def lose_all(self) -> None:
        """The timer ran out: whatever has not arrived is lost (RFC 6675 section 5.1).

        A first segment that was SACKed and yet not acknowledged means that the peer threw data away: SACKs are forgotten.
        """
        if self.records and self.records[0].sacked:
            for record in self.records:
                record.sacked = False
            self.sacked = self.sacks = 0
        self.guessed = 0
        for record in self.records:
            self.lose(record)

    def lose_by_count(self, threshold: int) -> None:
        """Lose what more than `threshold` SACKed bytes lie beyond (RFC 6675 section 4, IsLost)."""
        above = 0
        for record in reversed(self.records):
            if record.sacked:
                above += record.end - record.start
            elif above > threshold and not record.tries:
                self.lose(record)

    def keep_all(self) -> None:
        """Nothing was lost after all."""
        for record in self.records:
            record.due = False
        self.due = 0

    # delivery rate -----------------------------------------------------------------------------------------------

    def rate(self, sample: Sample) -> None:
        """Tell the rate at which data got through lately, by the newest segment of `sample`."""
        newest = sample.newest
        if newest is None:
            return
        self.delivered_at = sample.now
        self.begun = newest.at
        interval = max(newest.at - newest.begun, sample.now - newest.delivered_at)
        sample.prior, sample.limited = newest.delivered, newest.limited
        if interval > 0 and interval >= min(self.min_rtt, NEVER):
            sample.rate = (self.delivered - newest.delivered) * 1_000_000_000 // interval
        if self.limited and self.delivered > self.limited:
            self.limited = 0
