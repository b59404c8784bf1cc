"""png: our own pictures as PNG, for the places that show no SVG: untrusted notebooks, nbviewer, a printed page.

    str(Svg) --> shapes as points and texts --> drawn larger --> made small again (that smooths the edges) --> PNG

This reads what `tracing.svg.Svg` writes and nothing else: another element, attribute or path is an error, so the writer
and this reader stay in step.  Pillow draws, with the DejaVu fonts; both come with matplotlib and are loaded only here.
DejaVu is wider than the fonts of a browser, so its letters are set a little smaller and take the same room.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from itertools import cycle, pairwise
from math import ceil, cos, hypot, pi, sin
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mirage_lab.tracing.svg import INK

__all__ = ["png"]

FINER = 3
"""Each px of the result is drawn as this many by this many, then averaged."""
ROOM = 64_000_000
"""Dots drawn at most; a larger picture is refused."""

SANS, BOLD, MONO = ("DejaVuSans.ttf", 0.88), ("DejaVuSans-Bold.ttf", 0.83), ("DejaVuSansMono.ttf", 1.0)
"""A font of matplotlib's and the size that makes a text as wide as a browser's sans-serif (Arial) sets it."""

_NAMESPACE = "{http://www.w3.org/2000/svg}"
_PRESERVE = "{http://www.w3.org/XML/1998/namespace}space"
_LOOK = {"fill", "stroke", "stroke-width", "stroke-dasharray"}
_ATTRIBUTES = {
    "rect": {"x", "y", "width", "height", "rx"} | _LOOK,
    "circle": {"cx", "cy", "r"} | _LOOK,
    "line": {"x1", "y1", "x2", "y2"} | _LOOK,
    "path": {"d"} | _LOOK,
    "text": {"x", "y", "font-size", "fill", "text-anchor", "font-weight", "font-family", _PRESERVE},
    "g": {"transform"},
}
_MOVE = re.compile(r"translate\(([0-9.-]+) ([0-9.-]+)\)")
_STEP = re.compile(r"([MLHVCQZ])|(-?[0-9.]+)")
_ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "Q": 4, "Z": 0}
_CURVE_STEPS = 16

Point = tuple[float, float]


def png(picture: str, scale: int = 1) -> bytes:
    """Return `picture`, the text of an `Svg`, as the bytes of a PNG of `scale` dots for each px.

    The same picture gives the same bytes.  Raises ValueError on what `Svg` does not write and on a picture too large to draw.
    """
    from PIL import Image, ImageDraw

    if "<!" in picture or "<?" in picture:
        raise ValueError("not a picture of Svg: a declaration")
    try:
        root = ElementTree.fromstring(picture)
    except ElementTree.ParseError as error:
        raise ValueError(f"not a picture of Svg: {error}") from None
    if root.tag != f"{_NAMESPACE}svg" or scale < 1:
        raise ValueError(f"not a picture of Svg: {root.tag} at scale {scale}")
    finer = FINER * scale
    size = ceil(_number(root, "width")) * finer, ceil(_number(root, "height")) * finer
    if size[0] * size[1] > ROOM:
        raise ValueError(f"a picture of {size[0]} x {size[1]} is too large to draw")
    canvas = Image.new("RGB", size, "#ffffff")
    _Pen(ImageDraw.Draw(canvas), finer).draw(root, 0.0, 0.0)
    out = BytesIO()
    canvas.reduce(FINER).save(out, "PNG", dpi=(96 * scale, 96 * scale))
    return out.getvalue()


class _Pen:
    """Draws elements at `finer` dots for each px."""

    def __init__(self, canvas: Any, finer: int) -> None:
        self._canvas = canvas
        self._finer = finer

    def draw(self, parent: ElementTree.Element, dx: float, dy: float) -> None:
        """Draw the children of `parent`, moved by (dx, dy) px."""
        for element in parent:
            name = element.tag.removeprefix(_NAMESPACE)
            if name in ("title", "desc"):
                continue
            unknown = set(element.keys()) - _ATTRIBUTES[name] if name in _ATTRIBUTES else name
            if unknown:
                raise ValueError(f"Svg does not write {name} with {unknown}")
            if name == "g":
                move = _MOVE.fullmatch(element.get("transform", "translate(0 0)"))
                if move is None:
                    raise ValueError(f"Svg does not write {element.get('transform')!r}")
                self.draw(element, dx + float(move[1]), dy + float(move[2]))
            elif name == "text":
                self._text(element, dx, dy)
            else:
                for points, closed in _outline(name, element):
                    self._shape(element, [(x + dx, y + dy) for x, y in points], closed)

    def _shape(self, element: ElementTree.Element, points: Sequence[Point], closed: bool) -> None:
        fill, stroke = element.get("fill", "none"), element.get("stroke", "none")
        k = self._finer
        if fill != "none" and len(points) > 2:
            if _upright(points):
                left, right = min(x for x, _ in points), max(x for x, _ in points)
                top, bottom = min(y for _, y in points), max(y for _, y in points)
                self._block(left, top, right, bottom, fill)
            else:
                self._canvas.polygon([(x * k, y * k) for x, y in points], fill=fill)
        if stroke == "none" or len(points) < 2:
            return
        thick = float(element.get("stroke-width", "1"))
        way = [*points, points[0]] if closed else list(points)
        dash = [float(part) for part in element.get("stroke-dasharray", "").split()]
        for piece in _dashed(way, dash):
            self._stroke(piece, thick, stroke, closed and not dash)

    def _stroke(self, way: Sequence[Point], thick: float, colour: str, closed: bool) -> None:
        k, half = self._finer, thick / 2
        if all(x1 == x2 or y1 == y2 for (x1, y1), (x2, y2) in pairwise(way)):
            corner = half if len(way) > 2 or closed else 0.0
            for (x1, y1), (x2, y2) in pairwise(way):
                ex, ey = (half, corner) if x1 == x2 else (corner, half)
                self._block(min(x1, x2) - ex, min(y1, y2) - ey, max(x1, x2) + ex, max(y1, y2) + ey, colour)
            return
        self._canvas.line([(x * k, y * k) for x, y in way], fill=colour, width=max(1, round(thick * k)), joint="curve")

    def _block(self, left: float, top: float, right: float, bottom: float, colour: str) -> None:
        """Fill an upright rectangle; one that is not empty covers a dot at least."""
        k = self._finer
        if right <= left or bottom <= top:
            return
        x, y = round(left * k), round(top * k)
        self._canvas.rectangle((x, y, max(x, round(right * k) - 1), max(y, round(bottom * k) - 1)), fill=colour)

    def _text(self, element: ElementTree.Element, dx: float, dy: float) -> None:
        words = (element.text or "") + "".join(child.tail or "" for child in element)
        kind = MONO if element.get("font-family") else BOLD if element.get("font-weight") else SANS
        font = _font(kind[0], round(_number(element, "font-size") * kind[1] * self._finer * 4) / 4)
        anchor = {"start": "ls", "middle": "ms", "end": "rs"}[element.get("text-anchor", "start")]
        at = ((_number(element, "x") + dx) * self._finer, (_number(element, "y") + dy) * self._finer)
        self._canvas.text(at, words, fill=element.get("fill", INK), font=font, anchor=anchor)


def _outline(name: str, element: ElementTree.Element) -> Iterator[tuple[list[Point], bool]]:
    """A shape as lines of points, and whether each is closed."""
    if name == "rect":
        x, y, width, height = (_number(element, part) for part in ("x", "y", "width", "height"))
        yield _corners(x, y, width, height, min(float(element.get("rx", "0")), width / 2, height / 2)), True
    elif name == "circle":
        yield _arc(_number(element, "cx"), _number(element, "cy"), _number(element, "r"), 0, 4), True
    elif name == "line":
        x1, y1, x2, y2 = (_number(element, part) for part in ("x1", "y1", "x2", "y2"))
        yield [(x1, y1), (x2, y2)], False
    else:
        yield from _path(element.get("d", ""))


def _corners(x: float, y: float, width: float, height: float, radius: float) -> list[Point]:
    if not radius:
        return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    inner = ((x + width - radius, y + height - radius), (x + radius, y + height - radius), (x + radius, y + radius), (x + width - radius, y + radius))
    return [point for quarter, (cx, cy) in enumerate(inner) for point in _arc(cx, cy, radius, quarter, 1)]


def _arc(cx: float, cy: float, radius: float, first: int, quarters: int) -> list[Point]:
    steps = quarters * max(4, round(radius))
    turn = quarters * pi / 2 / steps
    angles = [first * pi / 2 + turn * step for step in range(steps + (quarters < 4))]
    return [(round(cx + radius * cos(angle), 3), round(cy + radius * sin(angle), 3)) for angle in angles]


def _path(d: str) -> Iterator[tuple[list[Point], bool]]:
    """The lines of a path of absolute M L H V C Q Z; curves become short lines."""
    words = _STEP.findall(d)
    points: list[Point] = []
    at = 0
    command = ""
    while at < len(words):
        if words[at][0]:
            command = words[at][0]
            at += 1
        need = _ARGUMENTS.get(command, 0)
        numbers = [float(number) for _, number in words[at : at + need] if number]
        if len(numbers) < need or (not need and command != "Z") or (command != "M" and not points):
            raise ValueError(f"not a path that Svg writes: {d[:60]!r}")
        at += need
        if command == "Z":
            yield points, True
            points = points[:1]
            command = ""
        elif command == "M":
            if len(points) > 1:
                yield points, False
            points, command = [(numbers[0], numbers[1])], "L"
        elif command == "H":
            points.append((numbers[0], points[-1][1]))
        elif command == "V":
            points.append((points[-1][0], numbers[0]))
        else:
            points += _curve([points[-1], *zip(numbers[::2], numbers[1::2], strict=True)])
    if len(points) > 1:
        yield points, False


def _curve(control: list[Point]) -> Iterator[Point]:
    """The points of a line or a Bezier curve after its first one (de Casteljau)."""
    steps = 1 if len(control) == 2 else _CURVE_STEPS
    for step in range(1, steps + 1):
        t, row = step / steps, control
        while len(row) > 1:
            row = [(x1 + (x2 - x1) * t, y1 + (y2 - y1) * t) for (x1, y1), (x2, y2) in pairwise(row)]
        yield row[0]


def _dashed(way: list[Point], dash: list[float]) -> Iterator[list[Point]]:
    """Cut a line into the pieces that are drawn."""
    if not dash or sum(dash) <= 0:
        yield way
        return
    lengths = cycle(dash if len(dash) % 2 == 0 else dash * 2)
    left, drawn = next(lengths), True
    piece = [way[0]]
    for (x1, y1), (x2, y2) in pairwise(way):
        length, done = hypot(x2 - x1, y2 - y1), 0.0
        while length - done > left:
            done += left
            here = (round(x1 + (x2 - x1) * done / length, 3), round(y1 + (y2 - y1) * done / length, 3))
            if drawn:
                yield [*piece, here]
            piece, left, drawn = [here], next(lengths), not drawn
        left -= length - done
        piece.append((x2, y2))
    if drawn and len(piece) > 1:
        yield piece


def _upright(points: Sequence[Point]) -> bool:
    return len(points) == 4 and all(x1 == x2 or y1 == y2 for (x1, y1), (x2, y2) in pairwise([*points, points[0]]))


def _number(element: ElementTree.Element, name: str) -> float:
    return float(element.get(name, ""))


@lru_cache(maxsize=64)
def _font(file: str, size: float) -> Any:
    """A font of matplotlib's, found without importing matplotlib; the same layout on every machine."""
    from PIL import ImageFont

    found = find_spec("matplotlib")
    if found is None or found.origin is None:
        raise ValueError("matplotlib, whose fonts pictures are drawn with, is not installed")
    place = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / file
    return ImageFont.truetype(str(place), size, layout_engine=ImageFont.Layout.BASIC)
