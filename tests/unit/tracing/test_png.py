"""The PNG of a picture shows what its SVG shows, and only pictures of ours are read."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mirage_lab.tracing.png import png
from mirage_lab.tracing.svg import Svg


def seen(picture: Svg | str, scale: int = 1) -> Image.Image:
    return Image.open(BytesIO(png(str(picture), scale))).convert("RGB")


def dark(image: Image.Image, box: tuple[int, int, int, int]) -> tuple[int, int, int, int] | None:
    """Where in `box` anything darker than the card is: left, top, right, bottom."""
    found = image.crop(box).convert("L").point(lambda value: 255 if value < 160 else 0).getbbox()
    return None if found is None else (found[0] + box[0], found[1] + box[1], found[2] + box[0], found[3] + box[1])


def test_shapes_stand_where_the_svg_puts_them() -> None:
    picture = Svg(100, 80, "shapes")
    picture.rect(10, 10, 20, 10, fill="#0072b2")
    picture.circle(60, 15, 5, fill="#d55e00", stroke="#000000")
    picture.line(10, 40.5, 30, 40.5, stroke="#000000")
    picture.path("M50 40L60 40L60 50H50Z", fill="#009e73", stroke="none")
    with picture.group(dx=0, dy=20):
        picture.rect(80, 10, 4, 4, fill="#cc79a7")
    image = seen(picture)
    assert image.size == (100, 80)
    assert image.getpixel((10, 10)) == image.getpixel((29, 19)) == (0x00, 0x72, 0xB2)
    assert image.getpixel((9, 10)) == image.getpixel((30, 19)) == image.getpixel((10, 20)) == (255, 255, 255)
    assert image.getpixel((60, 15)) == (0xD5, 0x5E, 0x00)
    assert dark(image, (5, 35, 45, 55)) == (10, 40, 30, 41)
    assert image.getpixel((55, 45)) == (0x00, 0x9E, 0x73)
    assert image.getpixel((81, 32)) == (0xCC, 0x79, 0xA7)


def test_words_take_about_the_room_a_browser_gives_them_and_follow_their_anchor() -> None:
    arial = {"hypercalls 123 xenstore writes": 30 * 6.4, "10.0.0.2/24 latency 1 ms": 24 * 6.2}
    for words, width in arial.items():
        picture = Svg(400, 90, "words")
        picture.text(200, 20, words, size=12)
        picture.text(200, 45, words, size=12, anchor="middle")
        picture.text(200, 70, words, size=12, anchor="end", bold=True)
        image = seen(picture)
        start, middle, end = (dark(image, (5, top, 395, top + 20)) for top in (8, 33, 58))
        assert start is not None and middle is not None and end is not None
        assert 199 <= start[0] <= 202 and abs(sum(middle[::2]) / 2 - 200) <= 2 and 198 <= end[2] <= 201
        assert 0.75 * width < start[2] - start[0] < 1.05 * width
        assert 17 <= start[3] <= 25


def test_a_dash_leaves_gaps_and_a_line_without_one_does_not() -> None:
    picture = Svg(100, 40, "dashes")
    picture.line(10, 10.5, 90, 10.5, stroke="#000000", dash="4 4")
    picture.line(10, 20.5, 90, 20.5, stroke="#000000")
    image = seen(picture)
    assert [image.getpixel((x, 10)) for x in (11, 15, 19, 23)] == [(0, 0, 0), (255, 255, 255), (0, 0, 0), (255, 255, 255)]
    assert {image.getpixel((x, 20)) for x in range(10, 90)} == {(0, 0, 0)}


def test_curves_are_drawn_along_their_points() -> None:
    picture = Svg(100, 60, "curves")
    picture.path("M10 50C10 10 90 10 90 50", stroke="#000000", thick=3)
    image = seen(picture)
    assert dark(image, (45, 5, 55, 55)) is not None
    assert abs(dark(image, (49, 5, 51, 55))[1] - 18.5) <= 2  # type: ignore[index]


def test_the_same_picture_gives_the_same_bytes_and_twice_the_scale_twice_the_size() -> None:
    picture = Svg(100, 60, "same")
    picture.text(10, 30, "same words")
    assert png(str(picture)) == png(str(picture))
    assert seen(picture, 2).size == (200, 120)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=300))
def test_whatever_a_guest_printed_is_drawn(words: str) -> None:
    picture = Svg(80, 30, words, words)
    picture.text(5, 20, words, tip=words, mono=True)
    with picture.group(words):
        picture.rect(1, 1, 5, 5, tip=words)
    assert png(str(picture)).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "foreign",
    [
        "<svg>",
        "not a picture",
        '<svg width="10" height="10"></svg>',
        '<!DOCTYPE x [<!ENTITY a "b">]><svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><text>&a;</text></svg>',
        '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><image href="file:///etc/passwd"/></svg>',
        '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><rect x="1" y="1" width="1" height="1" style="fill:red"/></svg>',
        '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><path d="m1 1l2 2" stroke="#000000"/></svg>',
        '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><path d="L1 1" stroke="#000000"/></svg>',
        '<svg xmlns="http://www.w3.org/2000/svg" width="100000" height="100000"></svg>',
    ],
)
def test_what_svg_never_writes_is_refused(foreign: str) -> None:
    with pytest.raises(ValueError, match=r"not a pic|not a path|Svg does not write|too large"):
        png(foreign)


def test_neither_pillow_nor_matplotlib_is_loaded_before_a_picture_is_drawn_and_matplotlib_never() -> None:
    code = (
        "import sys\nfrom mirage_lab.tracing.png import png\nfrom mirage_lab.tracing.svg import Svg\nbefore = 'PIL' in sys.modules\n"
        "p = Svg(9, 9, 't')\np.text(1, 8, 'a')\npng(str(p))\nprint(before, 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False False\n"
