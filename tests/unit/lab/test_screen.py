"""What a terminal would show: moves, erasing, wrapping and scrolling, within a fixed size whatever is printed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirage_lab.lab.screen import COLUMNS, ROWS, Screen


def shown(text: str, columns: int = 10, rows: int = 3) -> list[str]:
    screen = Screen(columns, rows)
    screen.feed(text)
    return screen.lines


def test_lines_follow_one_another() -> None:
    assert shown("one\r\ntwo\r\n") == ["one", "two"]


def test_a_line_that_is_too_long_goes_on_below() -> None:
    assert shown("0123456789") == ["0123456789"]
    assert shown("0123456789ab") == ["0123456789", "ab"]


def test_what_leaves_at_the_top_is_gone() -> None:
    assert shown("1\r\n2\r\n3\r\n4") == ["2", "3", "4"]


def test_the_cursor_goes_where_it_is_told_and_no_further() -> None:
    assert shown("\x1b[2;4Hx\x1b[Hy\x1b[99;99Hz") == ["y", "   x", "         z"]
    assert shown("abc\x1b[2Dx\x1b[Bq\x1b[5Gr\x1b[dt") == ["axc  t", "  q r"]


def test_a_part_of_a_line_is_erased_and_all_of_the_screen() -> None:
    assert shown("abcdef\x1b[3D\x1b[K") == ["abc"]
    assert shown("abcdef\x1b[3D\x1b[1K") == ["    ef"]
    assert shown("abcdef\x1b[2K") == []
    assert shown("a\r\nb\r\nc\x1b[2;1H\x1b[J") == ["a"]
    assert shown("a\r\nb\r\nc\x1b[2;1H\x1b[1J") == ["", "", "c"]
    assert shown("a\r\nb\x1b[2Jc") == ["", " c"]


def test_a_letter_is_corrected_and_a_tab_leads_to_the_next_eighth() -> None:
    assert shown("ab\bc\td") == ["ac      d"]


def test_colours_and_what_is_cut_off_are_not_shown() -> None:
    assert shown("\x1b[1;31mred\x1b[0m\x1b[?25l\x1b(B!\x1b[12") == ["red!"]
    assert shown("x\x1b") == ["x"]


@given(st.text(alphabet=st.sampled_from([*"ab0123456789;?[]HJKmABCDGdf", "\x1b", "\r", "\n", "\b", "\t", "\x00", "\u2603"]), max_size=300))
def test_whatever_is_printed_the_screen_keeps_its_size(text: str) -> None:
    lines = shown(text, COLUMNS, ROWS)
    assert len(lines) <= ROWS and all(len(line) <= COLUMNS and "\x1b" not in line for line in lines)
