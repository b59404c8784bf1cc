"""What all tests share: hypothesis without chance or clock, and real counterparts that must be there in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("house", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


@pytest.fixture
def require() -> Callable[[str], str]:
    """Return `require(program)`: its path; without the program the test is skipped, or fails under MIRAGE_LAB_REQUIRE=all."""

    def find(program: str) -> str:
        path = shutil.which(program)
        if path is None:
            if os.environ.get("MIRAGE_LAB_REQUIRE") == "all":
                pytest.fail(f"{program} is not installed and MIRAGE_LAB_REQUIRE=all")
            pytest.skip(f"{program} is not installed")
        return path

    return find
