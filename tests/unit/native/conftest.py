"""One cache of what was compiled, for all tests of guests of our own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What is compiled once is there for all tests, and nothing of it stays."""
    room = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIRAGE_LAB_CACHE", str(room))
        yield room
