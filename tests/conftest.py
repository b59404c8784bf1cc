"""What all tests share: hypothesis without chance or clock, and real counterparts that must be there in CI."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.needs import found

settings.register_profile("house", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


@pytest.fixture
def require() -> Callable[[str], str]:
    """Return `require(program)`: its path (or that of a package's file); without it the test is skipped, or fails under MIRAGE_LAB_REQUIRE=all."""

    def find(program: str) -> str:
        path = found(program)
        if path is None:
            if os.environ.get("MIRAGE_LAB_REQUIRE") == "all":
                pytest.fail(f"{program} is not installed and MIRAGE_LAB_REQUIRE=all")
            pytest.skip(f"{program} is not installed")
        return path

    return find


@pytest.fixture
def require_file() -> Callable[[Path, str], Path]:
    """Return `require_file(path, package)`: the path; without the file the same happens as without a program."""

    def find(path: Path, package: str) -> Path:
        if not path.exists():
            if os.environ.get("MIRAGE_LAB_REQUIRE") == "all":
                pytest.fail(f"{path} is not there (package {package}) and MIRAGE_LAB_REQUIRE=all")
            pytest.skip(f"{path} is not there (package {package})")
        return path

    return find


@pytest.fixture(scope="session")
def ipython() -> Callable[[], AbstractContextManager[Any]]:
    """Return `ipython()`: an IPython shell for a `with`; at its end labs are closed and what %load_ext set on Lab is put back."""

    @contextmanager
    def shell() -> Iterator[Any]:
        from mirage_lab import Lab
        from mirage_lab.sweep import Sweep

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from IPython.core.interactiveshell import InteractiveShell

            made: Any = InteractiveShell()
        hooks = {name: vars(Lab)[name] for name in ("places", "programs", "progress", "reporter")}
        try:
            yield made
        finally:
            while (lab := Lab.current()) is not None:
                lab.close()
            for name, hook in hooks.items():
                setattr(Lab, name, hook)
            Sweep.progress = None
            made.history_manager.end_session()

    return shell
