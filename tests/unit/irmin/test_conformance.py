"""Every backend keeps the promises of Irmin's suite; a backend that breaks one is found out."""

from __future__ import annotations

import pytest

from mirage_lab.irmin import Repo
from mirage_lab.irmin.commit import Commit
from mirage_lab.irmin.contents import TEXT
from mirage_lab.irmin.store import Backend
from mirage_lab.testing import check_irmin
from mirage_lab.testing.story import Broken


def test_a_store_in_memory_keeps_every_promise() -> None:
    story = check_irmin(lambda: Repo(TEXT))
    assert story.title == "Irmin on Backend" and len(story.steps) > 110


def test_a_backend_that_remembers_another_store_is_found_out() -> None:
    left: dict[str, Commit] = {}

    class Leaky(Backend):
        def branches(self) -> dict[str, Commit]:
            return left

        def move(self, branch: str, before: Commit | None, after: Commit | None) -> None:
            if after is not None:
                left[branch] = after

    with pytest.raises(Broken, match="it begins empty"):
        check_irmin(lambda: Repo(TEXT, Leaky()))
