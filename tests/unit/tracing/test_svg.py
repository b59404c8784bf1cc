"""Pictures and tables carry what guests wrote as text only."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.tracing.svg import MUTED, OKABE_ITO, Svg, bounded, colour_of, html_table, visible

PAYLOAD = '<img src=x onerror="alert(1)">'
NS = "{http://www.w3.org/2000/svg}"


def drawn(words: str) -> ET.Element:
    picture = Svg(200, 100, words, words)
    picture.text(1, 2, words, tip=words)
    picture.rect(1, 2, 3, 4, fill="#ffffff", stroke="#000000", tip=words)
    with picture.group(words, dx=3):
        picture.arrow(0, 0, 10, 10, tip=words)
    return ET.fromstring(str(picture))


@given(st.text(min_size=1, max_size=300))
def test_any_text_makes_well_formed_xml_with_no_elements_of_its_own(words: str) -> None:
    plain = [element.tag for element in drawn("plain words").iter() if element.tag != f"{NS}title"]
    assert [element.tag for element in drawn(words).iter() if element.tag != f"{NS}title"] == plain


def test_lone_surrogates_and_null_bytes_are_drawn_not_refused() -> None:
    text = drawn("a\x00b\ud800c\x1b[31m").find(f"{NS}text")
    assert text is not None
    assert "a\u2400b\ufffdc\u241b[31m" in "".join(text.itertext())


def test_an_img_payload_is_text_in_pictures_and_tables() -> None:
    picture = Svg(10, 10, PAYLOAD, PAYLOAD)
    picture.text(0, 0, PAYLOAD, tip=PAYLOAD)
    for markup in (str(picture), html_table([PAYLOAD], [[PAYLOAD]], caption=PAYLOAD, note=PAYLOAD)):
        assert "<img" not in markup
        assert "&lt;img src=x onerror=&quot;" in markup


def test_every_text_is_bounded() -> None:
    assert len(str(drawn("x" * 100_000)).encode()) < 10_000
    assert len(html_table(["a"], [["y" * 100_000]])) < 1_000
    assert bounded("abcdef", 4) == "abc\u2026"
    assert bounded("abcd", 4) == "abcd"


def test_bidirectional_overrides_are_shown() -> None:
    assert visible("abc\u202edef") == "abc\\u202edef"


@pytest.mark.parametrize("bad", ["red", 'url("x")', "#fff", '#000000" onload="x', "javascript:1"])
def test_a_colour_that_is_not_a_colour_is_refused(bad: str) -> None:
    picture = Svg(10, 10, "t")
    with pytest.raises(ValueError, match="a colour is"):
        picture.rect(0, 0, 1, 1, fill=bad)
    with pytest.raises(ValueError, match="a colour is"):
        html_table(["a"], [[1]], colours=[bad])


def test_a_path_or_dash_with_anything_else_in_it_is_refused() -> None:
    picture = Svg(10, 10, "t")
    with pytest.raises(ValueError, match="not a path"):
        picture.path('M0 0"/><script>')
    with pytest.raises(ValueError, match="a dash"):
        picture.line(0, 0, 1, 1, dash='1"')
    with pytest.raises(ValueError, match="no place"):
        picture.line(0, 0, float("nan"), 1)


def test_a_picture_names_itself_and_scales() -> None:
    root = ET.fromstring(str(Svg(120, 40, "two hosts", "a and b")))
    assert (root.get("role"), root.get("viewBox")) == ("img", "0 0 120 40")
    assert [child.tag for child in root][:2] == [f"{NS}title", f"{NS}desc"]


def test_colours_follow_the_order_of_appearance() -> None:
    order = ["gateway", "web", "client"]
    assert [colour_of(name, order) for name in order] == list(OKABE_ITO[:3])
    assert colour_of("web", order) == colour_of("web", [*order, "later"])
    assert colour_of("stranger", order) == MUTED


def test_numbers_in_a_table_are_set_right_and_rows_carry_marks() -> None:
    table = html_table(["n", "info"], [[1, "a"], [2, "b"]], colours=[OKABE_ITO[0], ""])
    assert '<td style="text-align:right;white-space:pre"><span style="color:#0072b2">' in table
    assert table.count("<span") == 1
