"""The recorder: what happened, when, and because of what.

An event is (id, cause, t, source, kind, fields).  `cause` is the id of the event that was being handled when this one
was emitted; a timer, an event-channel bit or a frame carries it along, so that a packet leads back to the hypercall that
sent it.  Ids count from 1 without a gap; cause 0 means "from outside".

Events are kept as plain tuples (the collector forgets tuples of atoms, so a long history costs no pauses) and become
`Event` records when somebody looks.  At most `limit` are kept: overflow drops the oldest and `dropped` says how many.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

__all__ = ["Event", "Kind", "Recorder"]

Fields = dict[str, Any]
_Row = tuple[int, int, int, str, str, Fields]

LIMIT = 200_000
"""How many events a recorder keeps unless told otherwise."""


QUIET = frozenset({"gnttab.grant", "gnttab.end", "lan.queue", "tcp.buffers", "tcp.cwnd", "xenstore.transaction", "xenstore.watch"})
"""Kinds recorded only when enabled: one vif grants 514 pages, one connection moves its window at each acknowledgment."""


class Event:
    """One thing that happened: `id`, `cause` (an id, 0 from outside), `t` (ns), `source`, `kind`, `fields`."""

    __slots__ = ("cause", "fields", "id", "kind", "source", "t")

    def __init__(self, id: int, cause: int, t: int, source: str, kind: str, fields: Fields) -> None:
        self.id = id
        self.cause = cause
        self.t = t
        self.source = source
        self.kind = kind
        self.fields = fields

    def __repr__(self) -> str:
        told = " ".join(f"{name}={value}" for name, value in self.fields.items())
        return f"{self.id:>6} {self.t / 1e9:12.6f} s  {self.source:<10} {self.kind:<18} {told}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and self._row() == other._row()

    def __hash__(self) -> int:
        return self.id

    def _row(self) -> _Row:
        return (self.id, self.cause, self.t, self.source, self.kind, self.fields)


class Kind:
    """A named kind of event.  Ask `on` before building fields: an unobserved kind costs one attribute read."""

    __slots__ = ("_recorder", "name", "on")

    def __init__(self, recorder: Recorder, name: str, on: bool) -> None:
        self._recorder = recorder
        self.name = name
        self.on = on

    def emit(self, t: int, source: str, cause: int, fields: Fields) -> int:
        """Record one event at `t` ns and return its id (with `on` False: nothing, and `cause` comes back)."""
        if not self.on:
            return cause
        return self._recorder.add(cause, t, source, self.name, fields)


class Recorder:
    """A bounded history of events, oldest first."""

    def __init__(self, limit: int = LIMIT) -> None:
        if limit < 1:
            raise ValueError(f"a recorder keeps at least one event, not {limit}")
        self.limit = limit
        self.dropped = 0
        self._rows: list[_Row] = []
        self._last = 0
        self._kinds: dict[str, Kind] = {}
        self._rules: list[tuple[str, bool]] = []
        self._watchers: dict[str, list[_Watch]] = {}

    def kind(self, name: str) -> Kind:
        """Return the kind called `name`; the same object each time."""
        found = self._kinds.get(name)
        if found is None:
            on = name not in QUIET
            for pattern, wanted in self._rules:
                if fnmatchcase(name, pattern):
                    on = wanted
            found = self._kinds[name] = Kind(self, name, on)
        return found

    def enable(self, pattern: str = "*") -> None:
        """Record kinds matching the glob `pattern` from now on, those not yet known included."""
        self._switch(pattern, True)

    def disable(self, pattern: str = "*") -> None:
        """Stop recording kinds matching the glob `pattern`."""
        self._switch(pattern, False)

    def _switch(self, pattern: str, on: bool) -> None:
        self._rules.append((pattern, on))
        for name, kind in self._kinds.items():
            if fnmatchcase(name, pattern):
                kind.on = on

    def add(self, cause: int, t: int, source: str, kind: str, fields: Fields) -> int:
        """Append one event; called by `Kind.emit`."""
        self._last += 1
        row = (self._last, cause, t, source, kind, fields)
        rows = self._rows
        rows.append(row)
        if len(rows) > self.limit:
            shed = max(1, self.limit // 10)
            del rows[:shed]
            self.dropped += shed
        if self._watchers:
            for watch in self._watchers.get(kind, ()):
                watch.seen.append(row[0])
        return self._last

    def watch(self, kind: str) -> _Watch:
        """Count events of one kind as they are emitted (what `run_until` looks at); `.close()` when done."""
        watch = _Watch(self, kind)
        self._watchers.setdefault(kind, []).append(watch)
        self.kind(kind).on = True
        return watch

    def _unwatch(self, watch: _Watch) -> None:
        watching = self._watchers.get(watch.kind, [])
        if watch in watching:
            watching.remove(watch)
        if not watching:
            self._watchers.pop(watch.kind, None)

    @property
    def last(self) -> int:
        """The id of the newest event, 0 before the first."""
        return self._last

    def __len__(self) -> int:
        return len(self._rows)

    def events(self, pattern: str = "*", source: str | None = None) -> list[Event]:
        """Return the kept events whose kind matches the glob `pattern` (and whose source is `source`), oldest first."""
        if pattern == "*":
            rows = self._rows
        else:
            known = {name for name in self._kinds if fnmatchcase(name, pattern)}
            rows = [row for row in self._rows if row[4] in known]
        return [Event(*row) for row in rows if source is None or row[3] == source]

    def latest(self, pattern: str, count: int, *, look_back: int = 20_000) -> list[Event]:
        """Return the newest `count` events of kinds matching `pattern`, newest first, among the last `look_back` events."""
        known = {name for name in self._kinds if fnmatchcase(name, pattern)}
        rows, found = self._rows, list[Event]()
        for index in range(len(rows) - 1, max(-1, len(rows) - 1 - look_back), -1):
            if rows[index][4] in known:
                found.append(Event(*rows[index]))
                if len(found) == count:
                    break
        return found

    def after(self, id: int, limit: int | None = None) -> list[Event]:
        """Return the kept events newer than event `id`, oldest first, at most the first `limit`."""
        if not self._rows:
            return []
        first = max(0, id + 1 - self._rows[0][0])
        return [Event(*row) for row in self._rows[first : None if limit is None else first + limit]]

    def event(self, id: int) -> Event | None:
        """Return the event with this id, or None when it was never made or is no longer kept."""
        if not self._rows:
            return None
        index = id - self._rows[0][0]
        return Event(*self._rows[index]) if 0 <= index < len(self._rows) else None

    def causes(self, id: int) -> list[Event]:
        """Return event `id` and what led to it, nearest first; ends at the outside or where history was dropped."""
        chain: list[Event] = []
        while id:
            event = self.event(id)
            if event is None:
                break
            chain.append(event)
            id = event.cause
        return chain


class _Watch:
    """Ids of the events of one kind since the watch began."""

    __slots__ = ("_recorder", "kind", "seen")

    def __init__(self, recorder: Recorder, kind: str) -> None:
        self._recorder = recorder
        self.kind = kind
        self.seen: list[int] = []

    def close(self) -> None:
        self._recorder._unwatch(self)
