"""xenstore: the tree, bounded, with permissions, and what changed in it last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mirage_lab.lab.said import LabError
from mirage_lab.lab.views.kinds import Act, Args, Look, View, text
from mirage_lab.tracing.svg import INK, MUTED, Svg, visible

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["VIEW"]

NODES: Final = 1_000
VALUE: Final = 200
RECENT: Final = 30
DRAWN: Final = 40


def snapshot(lab: Lab, look: Look) -> dict[str, Any]:
    """Return the rows of the tree in order, at most `NODES`, and the last writes."""
    rows, more = _rows(lab, NODES)
    recent = [
        {"id": event.id, "t": event.t, "kind": event.kind.removeprefix("xenstore."), "path": visible(str(event.fields.get("path", "")), VALUE),
         "value": visible(str(event.fields.get("value", "")), VALUE), "source": event.source}
        for event in lab.machine.world.recorder.latest("xenstore.*", RECENT)
    ]
    return {"rows": rows, "more": more, "recent": recent}


def _rows(lab: Lab, limit: int) -> tuple[list[dict[str, Any]], bool]:
    rows: list[dict[str, Any]] = []
    watchers = lab.machine.toolstack.daemon.watchers()
    for path, value, children, perms in lab.machine.toolstack.xenstore.walk(limit + 1):
        if len(rows) == limit:
            return rows, True
        name = visible(path.rpartition("/")[2], VALUE)
        who = ", ".join(dict.fromkeys(watchers.get(path, ())))
        row = {"path": path, "name": name, "depth": path.count("/") - 1, "value": visible(value, VALUE), "children": len(children)}
        rows.append(row | {"perms": " ".join(perms), "watched": visible(who, VALUE)})
    return rows, False


def words(lab: Lab, look: Look) -> str:
    """Return the first lines of the tree, as `xenstore-ls` prints it."""
    rows, more = _rows(lab, NODES)
    lines = [f'{" " * row["depth"]}{row["name"]} = "{row["value"]}"' for row in rows]
    if len(lines) > 8:
        lines = [*lines[:7], f"... {len(lines) - 7}{' or more' if more else ''} more nodes; lab.vm(...).xenstore or %xenstore ls shows them"]
    return "\n".join(lines)


def picture(lab: Lab, look: Look) -> str:
    """Return the beginning of the tree as SVG."""
    rows, more = _rows(lab, DRAWN)
    svg = Svg(720, 44 + 17 * len(rows) + (17 if more else 0), "xenstore", f"The first {len(rows)} nodes of the xenstore")
    svg.text(14, 24, "xenstore", bold=True)
    for place, row in enumerate(rows):
        svg.text(16 + 14 * row["depth"], 46 + 17 * place, row["name"], size=11, mono=True, limit=40)
        width = 16 + 14 * row["depth"] + 6.8 * min(len(row["name"]), 40)
        svg.text(width + 8, 46 + 17 * place, f'= "{row["value"]}"', size=11, mono=True, fill=MUTED, limit=max(8, int((690 - width) / 6.8)))
    if more:
        svg.text(16, 46 + 17 * len(rows), "... and more", size=11, fill=INK)
    return str(svg)


def _write(lab: Lab, args: Args) -> Act:
    path, value = text(args, "path", 3_072), text(args, "value")
    if not path.startswith("/"):
        raise LabError("a path begins with /")
    lab.command("xenstore.write", path=path, value=value)
    return Act(f'%xenstore write {path} "{value}"', f"{path} is written, as dom0; lab.run(...) lets those who watch it see it")


def _rm(lab: Lab, args: Args) -> Act:
    path = text(args, "path", 3_072)
    if not path.startswith("/") or path == "/":
        raise LabError("a path begins with /, and the root stays")
    lab.command("xenstore.rm", path=path)
    return Act(f"%xenstore rm {path}", f"{path} and all below it is removed, as dom0")


VIEW: Final = View("xenstore", "Xenstore", snapshot, words, picture, {"xenstore.write": _write, "xenstore.rm": _rm}, {})
