"""The picture of a history: lanes, branches, and where two of them parted."""

from __future__ import annotations

import pytest

from mirage_lab.irmin import TEXT, Repo, StoreError
from mirage_lab.irmin.lanes import Line, lanes
from mirage_lab.irmin.picture import HistoryPicture


def crossed() -> Repo:
    """Two branches, of which each was merged into the other."""
    repo = Repo(TEXT)
    main = repo.branch()
    main.set("a", "1")
    side = main.clone("side")
    side.set("b", "2")
    main.set("c", "3")
    main.merge(side)
    side.set("d", "4")
    side.merge(main)
    return repo


def test_a_merge_has_two_lines_and_every_line_ends_at_the_parent() -> None:
    repo = crossed()
    placed = lanes(repo.branch("side").history())
    assert [commit.info.message for commit in placed.commits] == ["merge main into side", "set d", "merge side into main", "set c", "set b", "set a"]
    assert placed.at == [0, 0, 1, 1, 0, 0] and placed.width == 2
    ends = {(placed.commits[line.child].name, placed.commits[line.parent].name) for line in placed.lines}
    assert ends == {(commit.name, parent.name) for commit in placed.commits for parent in commit.parents}


def test_no_line_goes_through_a_commit() -> None:
    repo = crossed()
    for number in range(6):
        other = repo.branch("main").clone(f"b{number}")
        other.set(f"x{number}", "1")
        repo.branch("side").merge(other)
        repo.branch("main").set(f"y{number}", "2")
    repo.branch("main").merge(repo.branch("side"))
    placed = lanes(repo.branch("main").history())
    for row, lane in enumerate(placed.at):
        assert lane not in placed.passing(row)


def test_a_parent_that_is_not_shown_is_below_the_last_row() -> None:
    repo = crossed()
    placed = lanes(repo.branch("side").history()[:2])
    assert Line(1, 0, 2) in placed.lines


def test_the_words_name_branches_and_the_lowest_common_ancestor() -> None:
    repo = crossed()
    repo.branch("main").set("e", "5")
    lines = repr(HistoryPicture(repo, meet=("main", "side"))).splitlines()
    assert sum("[main]" in line for line in lines) == sum("[side]" in line for line in lines) == 1
    assert [line for line in lines if "lowest common ancestor" in line and "merge side into main" in line]
    assert repr(HistoryPicture(repo, most=2)).splitlines()[-1] == "... and earlier ones"
    assert "<svg" in HistoryPicture(repo)._repr_svg_()


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(StoreError, match="'nobody' is no branch"):
        HistoryPicture(crossed(), ["nobody"])
    with pytest.raises(StoreError, match="two commits meet, not 1"):
        HistoryPicture(crossed(), meet=("main",))


def test_a_message_is_text_in_the_picture() -> None:
    repo = Repo(TEXT)
    repo.branch().set("a", "1", message="<script>alert(1)</script>\nmore")
    drawn = HistoryPicture(repo)._repr_svg_()
    assert "<script>" not in drawn and "&lt;script&gt;" in drawn
