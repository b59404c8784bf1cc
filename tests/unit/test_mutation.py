"""The mutation run: an arm can be taken out, and a test notices; the list of what nothing can miss names arms that are there."""

from __future__ import annotations

from pathlib import Path

from tests.mutation.__main__ import ENGINE, MODULES
from tests.mutation.arms import arms, without
from tests.mutation.equivalent import EQUIVALENT

SOURCE = '''
def small(n):
    word = ""
    if n > 0 and n < 10:
        word = "small"
    else:
        word = "other"
    return word
'''


def test_an_arm_and_each_side_of_a_condition_can_be_taken_out(tmp_path: Path) -> None:
    file = tmp_path / "sample.py"
    file.write_text(SOURCE)
    found = arms(file)
    assert [(arm.where, arm.line, arm.text) for arm in found] == [
        ("small", 4, "if n > 0 and n < 10"),
        ("small", 7, "else of if n > 0 and n < 10"),
        ("small", 4, "n > 0 in n > 0 and n < 10"),
        ("small", 4, "n < 10 in n > 0 and n < 10"),
    ]
    said = []
    for arm in found:
        space: dict[str, object] = {}
        exec(without(file, arm.number), space)
        said.append([space["small"](n) for n in (-1, 5, 20)])  # type: ignore[operator]
    assert said == [["other", "other", "other"], ["", "small", ""], ["small", "small", "other"], ["other", "small", "small"]]


def test_what_nothing_can_miss_is_still_there() -> None:
    keys = {arm.key for module in MODULES for arm in arms(ENGINE / f"{module}.py")}
    assert set(EQUIVALENT) <= keys and all(EQUIVALENT.values())
