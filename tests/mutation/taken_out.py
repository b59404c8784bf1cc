"""A plugin of pytest: -p tests.mutation.taken_out loads one module of mirage_lab without an arm, as MUTANT=module:number says.

The names of the tests that fail then are written to the file NOTICED, if there is one, each on a line.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from tests.mutation.arms import without


class _Loader(importlib.machinery.SourceFileLoader):
    number = 0

    def get_code(self, fullname: str) -> CodeType:
        return without(Path(self.path), self.number)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, module: str, number: int) -> None:
        self.module, self.number = module, number

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert spec is not None and spec.origin is not None
        loader = _Loader(fullname, spec.origin)
        loader.number = self.number
        spec.loader = loader
        return spec


_module, _, _number = os.environ["MUTANT"].rpartition(":")
assert _module not in sys.modules, f"{_module} is there already, with all its arms"
sys.meta_path.insert(0, _Finder(_module, int(_number)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A test that fails is one that noticed."""
    if report.failed and "NOTICED" in os.environ:
        with Path(os.environ["NOTICED"]).open("a", encoding="utf-8") as file:
            file.write(report.nodeid + "\n")
