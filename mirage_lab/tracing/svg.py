"""svg: pictures and tables as strings, with nothing in them that anyone else wrote as markup.

Every word that reaches a picture passes through `visible` (control characters are shown, length is bounded) and is then
escaped; every number is formatted here; every colour, dash and path is checked against a pattern.  So a guest may print
what it likes: it comes out as text.  No ids, classes, scripts, links or style sheets are ever written: several pictures
share one page, and ids would collide.

A picture is a white card with dark ink, which reads the same on a light and on a dark page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from html import escape

__all__ = ["CARD", "FAINT", "INK", "MUTED", "OKABE_ITO", "Svg", "bounded", "colour_of", "html_table", "visible"]

INK = "#1b1b1b"
MUTED = "#5a5a5a"
FAINT = "#d0d0d0"
CARD = "#ffffff"

OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442")
"""The eight colours of Okabe and Ito ("Color Universal Design", 2008), darkest first so that few hosts are well apart;
people with any of the common colour vision deficiencies can tell them from one another."""

TEXT_LIMIT = 200
"""Characters of any one text in a picture; the rest is an ellipsis."""

FONT = "ui-sans-serif, system-ui, sans-serif"
MONO = "ui-monospace, monospace"

_COLOUR = re.compile(r"#[0-9a-f]{6}|none")
_DASH = re.compile(r"[0-9. ]*")
_PATH = re.compile(r"[MLHVCQZ0-9., -]*")
_ANCHORS = ("start", "middle", "end")
_HIDDEN = {
    **{code: chr(0x2400 + code) for code in range(0x20)},
    0x7F: "\u2421",
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
    **{code: f"\\u{code:04x}" for code in (0xAD, 0x061C, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF)},
    **dict.fromkeys((*range(0xD800, 0xE000), 0xFFFE, 0xFFFF), "\ufffd"),
}


def visible(text: str, limit: int | None = TEXT_LIMIT) -> str:
    """Return `text` with control characters shown (NUL as U+2400, bidirectional overrides as \\u202e), at most `limit` long."""
    if limit is not None:
        text = bounded(text, limit)
    return text.translate(_HIDDEN)


def bounded(text: str, limit: int) -> str:
    """Return `text`, or its first `limit - 1` characters and an ellipsis."""
    return text if len(text) <= limit else text[: max(0, limit - 1)] + "\u2026"


def colour_of(host_name: str, order: Sequence[str]) -> str:
    """Return the colour of `host_name`, by its place in `order` (the hosts as they appeared); a stranger is grey.

    The ninth host has the first one's colour again: names are written beside colours everywhere.
    """
    try:
        return OKABE_ITO[order.index(host_name) % len(OKABE_ITO)]
    except ValueError:
        return MUTED


def number(value: float) -> str:
    """Return `value` with at most two decimals; refuses infinities and NaN."""
    if not abs(value) < 1e9:
        raise ValueError(f"a picture has no place at {value}")
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


class Svg:
    """A picture `width` x `height` px under construction: call the shapes, then `str(picture)`.

    `title` and `desc` are what a screen reader says; a shape's `tip` is its tooltip.  Coordinates are px from the top left.
    """

    def __init__(self, width: float, height: float, title: str, desc: str = "") -> None:
        self.width = width
        self.height = height
        self.title = title
        self.desc = desc
        self._parts: list[str] = []
        self._open = 0
        self.rect(0.5, 0.5, width - 1, height - 1, fill=CARD, stroke=FAINT, radius=6)

    def rect(
        self, x: float, y: float, width: float, height: float, *,
        fill: str = "none", stroke: str = "none", thick: float = 1, radius: float = 0, dash: str = "", tip: str = "",
    ) -> None:
        """Draw a rectangle."""
        where = f'x="{number(x)}" y="{number(y)}" width="{number(max(0, width))}" height="{number(max(0, height))}"'
        if radius:
            where += f' rx="{number(radius)}"'
        self._shape("rect", where, fill, stroke, thick, dash, tip)

    def circle(self, x: float, y: float, radius: float, *, fill: str = INK, stroke: str = "none", tip: str = "") -> None:
        """Draw a circle around (x, y)."""
        self._shape("circle", f'cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"', fill, stroke, 1, "", tip)

    def line(
        self, x1: float, y1: float, x2: float, y2: float, *,
        stroke: str = INK, thick: float = 1, dash: str = "", tip: str = "",
    ) -> None:
        """Draw a straight line."""
        where = f'x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}"'
        self._shape("line", where, "none", stroke, thick, dash, tip)

    def path(
        self, d: str, *, fill: str = "none", stroke: str = INK, thick: float = 1, dash: str = "", tip: str = "",
    ) -> None:
        """Draw a path; `d` holds absolute commands M L H V C Q Z and numbers only."""
        if not _PATH.fullmatch(d):
            raise ValueError(f"not a path of M L H V C Q Z and numbers: {d!r}")
        self._shape("path", f'd="{d}"', fill, stroke, thick, dash, tip)

    def polyline(self, points: Iterable[tuple[float, float]], *, stroke: str = INK, thick: float = 1, dash: str = "", tip: str = "") -> None:
        """Draw straight lines from point to point."""
        steps = [f"{number(x)} {number(y)}" for x, y in points]
        if steps:
            self.path("M" + "L".join(steps), stroke=stroke, thick=thick, dash=dash, tip=tip)

    def arrow(
        self, x1: float, y1: float, x2: float, y2: float, *,
        stroke: str = INK, thick: float = 1, dash: str = "", head: float = 5, tip: str = "",
    ) -> None:
        """Draw a line with a filled head at (x2, y2)."""
        self.line(x1, y1, x2, y2, stroke=stroke, thick=thick, dash=dash, tip=tip)
        length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        if length:
            ux, uy = (x2 - x1) / length * head, (y2 - y1) / length * head
            corners = ((x2, y2), (x2 - ux - uy / 2, y2 - uy + ux / 2), (x2 - ux + uy / 2, y2 - uy - ux / 2))
            self.path("M" + "L".join(f"{number(x)} {number(y)}" for x, y in corners) + "Z", fill=stroke, stroke="none")

    def text(
        self, x: float, y: float, words: str, *,
        size: float = 12, anchor: str = "start", fill: str = INK, bold: bool = False, mono: bool = False,
        limit: int = TEXT_LIMIT, tip: str = "",
    ) -> None:
        """Write `words` with the base line at y; longer than `limit` characters, the tooltip has more of it."""
        if anchor not in _ANCHORS:
            raise ValueError(f"anchor is one of {', '.join(_ANCHORS)}, not {anchor!r}")
        if len(words) > limit and not tip:
            tip = words
        look = f'x="{number(x)}" y="{number(y)}" font-size="{number(size)}" fill="{_colour(fill)}"'
        if anchor != "start":
            look += f' text-anchor="{anchor}"'
        if bold:
            look += ' font-weight="600"'
        if mono:
            look += f' font-family="{MONO}"'
        self._parts.append(f'<text {look} xml:space="preserve">{_tip(tip)}{_words(words, limit)}</text>')

    def place(self, picture: Svg, x: float, y: float) -> None:
        """Draw another picture inside this one, its top left corner at (x, y)."""
        with self.group(picture.title, dx=x, dy=y):
            self._parts += picture._parts

    @contextmanager
    def group(self, tip: str = "", *, dx: float = 0, dy: float = 0) -> Iterator[None]:
        """Shapes drawn inside belong together: one tooltip, moved together by (dx, dy)."""
        move = f' transform="translate({number(dx)} {number(dy)})"' if dx or dy else ""
        self._parts.append(f"<g{move}>{_tip(tip)}")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            self._parts.append("</g>")

    def _shape(self, name: str, where: str, fill: str, stroke: str, thick: float, dash: str, tip: str) -> None:
        look = f' fill="{_colour(fill)}"'
        if stroke != "none":
            look += f' stroke="{_colour(stroke)}"'
            if thick != 1:
                look += f' stroke-width="{number(thick)}"'
            if dash:
                if not _DASH.fullmatch(dash):
                    raise ValueError(f"a dash is numbers, not {dash!r}")
                look += f' stroke-dasharray="{dash}"'
        end = f">{_tip(tip)}</{name}>" if tip else "/>"
        self._parts.append(f"<{name} {where}{look}{end}")

    def __str__(self) -> str:
        if self._open:
            raise ValueError("a group is still open")
        size = f'width="{number(self.width)}" height="{number(self.height)}" viewBox="0 0 {number(self.width)} {number(self.height)}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{FONT}">'
        told = f"<title>{_words(self.title)}</title>"
        if self.desc:
            told += f"<desc>{_words(self.desc, 2_000)}</desc>"
        return "\n".join((head + told, *self._parts, "</svg>"))


def html_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *,
    caption: str = "", note: str = "", colours: Iterable[str] = (), limit: int = TEXT_LIMIT,
) -> str:
    """Return a table as HTML, every cell escaped and at most `limit` characters.

    `colours`, one per row, puts a coloured mark before the row's first cell; numbers are set right.
    """
    marks = iter(colours)
    body = []
    for row in rows:
        colour = next(marks, "")
        mark = f'<span style="color:{_colour(colour)}">&#9632;</span> ' if colour else ""
        cells = []
        for place, value in enumerate(row):
            side = "right" if isinstance(value, int | float) else "left"
            cells.append(f'<td style="text-align:{side};white-space:pre">{"" if place else mark}{_words(str(value), limit)}</td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f'<th style="text-align:left">{_words(str(column), limit)}</th>' for column in columns)
    top = f'<caption style="text-align:left">{_words(caption)}</caption>' if caption else ""
    foot = f"<p>{_words(note, 1_000)}</p>" if note else ""
    return f"<table>{top}<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>{foot}"


def _words(text: str, limit: int = TEXT_LIMIT) -> str:
    return escape(visible(text, limit), quote=True)


def _tip(text: str) -> str:
    return f"<title>{_words(text, 400)}</title>" if text else ""


def _colour(colour: str) -> str:
    if not _COLOUR.fullmatch(colour):
        raise ValueError(f"a colour is #rrggbb or none, not {colour!r}")
    return colour
