"""history: the commits of xenstore in lanes; what one of them changed, and where the last two that were picked parted."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.irmin.commit import Commit, ancestors, common_ancestors
from mirage_lab.irmin.lanes import lanes
from mirage_lab.irmin.node import EMPTY, Blob, changes
from mirage_lab.lab.views.kinds import Args, Look, View, text
from mirage_lab.tracing.svg import visible
from mirage_lab.xen.xenstore import whatif
from mirage_lab.xen.xenstore.history import decode_entry, entries_of, of_steps
from mirage_lab.xen.xenstore.sessions import BRANCH
from mirage_lab.xen.xenstore.store import Perms

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["VIEW"]

COMMITS: Final = 150
DRAWN: Final = 24
CHANGES: Final = 100
NODES: Final = 500
VALUE: Final = 200


def _heads(lab: Lab) -> dict[str, Commit]:
    heads = lab.machine.toolstack.daemon.history.repo.heads
    return {name: heads[name] for name in sorted(heads) if name != BRANCH}


def snapshot(lab: Lab, look: Look) -> dict[str, Any]:
    """Return the newest commits with their lanes, the lines between them as (row, lane, row), and the branches."""
    heads = _heads(lab)
    found = list(islice(ancestors(*dict.fromkeys(heads.values())), COMMITS + 1))
    placed = lanes(found[:COMMITS])
    named: dict[Commit, list[str]] = {}
    for name, head in heads.items():
        named.setdefault(head, []).append(visible(name, 60))
    rows = [
        {"id": commit.name.hex(), "lane": placed.at[row], "merge": len(commit.parents) > 1, "author": visible(commit.info.author, 40),
         "message": visible(commit.info.message.partition("\n")[0], VALUE), "branches": named.get(commit, [])}
        for row, commit in enumerate(placed.commits)
    ]
    return {"rows": rows, "lines": [list(line) for line in placed.lines], "lanes": placed.width, "more": len(found) > COMMITS}


def words(lab: Lab, look: Look) -> str:
    """Return the newest commits, a line each."""
    return repr(lab.xenstore.graph(7))


def picture(lab: Lab, look: Look) -> str:
    """Return the newest commits as SVG."""
    return lab.xenstore.graph(DRAWN)._repr_svg_()


def _commit(lab: Lab, args: Args) -> dict[str, Any]:
    """What a commit is: its message, its parents, what it changed, its tree; and the common ancestors with another one."""
    daemon = lab.machine.toolstack.daemon
    commit = whatif.commit_of(daemon, text(args, "commit", 40))
    before = commit.parents[0].root if commit.parents else EMPTY
    changed = [
        {"path": visible(of_steps(steps), VALUE), "before": _told(old), "after": _told(new)}
        for steps, old, new in islice(changes(before, commit.root), CHANGES + 1)
    ]
    entries = sorted(islice(entries_of(commit).items(), NODES + 1))
    tree = [
        {"path": visible(path, VALUE), "value": visible(value.decode("utf-8", "backslashreplace"), VALUE), "perms": _letters(perms)}
        for path, (value, perms) in entries[:NODES]
    ]
    other = text(args, "other", 40)
    meet = [each.name.hex() for each in common_ancestors(commit, whatif.commit_of(daemon, other))] if other else []
    info = commit.info
    return {
        "id": commit.name.hex(), "message": visible(info.message, 2_000), "author": visible(info.author, 60), "date": info.date,
        "parents": [parent.name.hex() for parent in commit.parents], "changes": changed[:CHANGES], "more": len(changed) > CHANGES,
        "tree": tree, "more_nodes": len(entries) > NODES, "meet": meet,
    }  # fmt: skip


def _told(blob: Blob | None) -> str | None:
    """A value with its permissions; None for no node."""
    if blob is None:
        return None
    value, perms = decode_entry(blob.data)
    return f'"{visible(value.decode("utf-8", "backslashreplace"), VALUE)}" {_letters(perms)}'


def _letters(perms: Perms) -> str:
    return " ".join(f"{letter}{domid}" for domid, letter in perms)


VIEW: Final = View("history", "Store history", snapshot, words, picture, {}, {"history.commit": _commit})
