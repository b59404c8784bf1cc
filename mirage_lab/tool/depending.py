"""depending: config.py: loading it, and what the plans in it need installed."""

from __future__ import annotations

import importlib.util
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from mirage_lab.functoria import Impl
from mirage_lab.signatures.errors import DescriptionError
from mirage_lab.signatures.functor import Unikernel
from mirage_lab.tool.configuring import Plan, configure

__all__ = ["load", "needs", "register"]

_JOBS: ContextVar[list[tuple[str, Unikernel]] | None] = ContextVar("jobs", default=None)


def register(name: str, jobs: list[Unikernel]) -> None:
    """Say what a config.py builds: `register("web", [job])`, its last line; raises DescriptionError."""
    for job in jobs:
        if not isinstance(job, Unikernel) or not job.is_job:
            raise DescriptionError(f"register({name!r}, ...): {job!r} is not a job, a unikernel with its holes filled")
    if len(jobs) != 1:
        raise DescriptionError(f"register({name!r}, ...): one job makes a unikernel, {len(jobs)} were given")
    collected = _JOBS.get()
    if collected is not None:
        collected.append((name, jobs[0]))


def load(path: str | Path, *, target: str = "xen", profile: str | None = None) -> Plan:
    """Run a config.py and return the plan of what it registers; raises DescriptionError."""
    config = Path(path)
    if not config.is_file():
        raise DescriptionError(f"{config.name} is not here: mirage-lab looks for config.py, or -f FILE says which")
    collected: list[tuple[str, Unikernel]] = []
    token = _JOBS.set(collected)
    here = str(config.resolve().parent)
    sys.path.insert(0, here)
    before = set(sys.modules)
    try:
        spec = importlib.util.spec_from_file_location("mirage_config", config)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["mirage_config"] = module
        spec.loader.exec_module(module)
    finally:
        _JOBS.reset(token)
        sys.path.remove(here)
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "") or "").startswith(here):
                del sys.modules[name]
        sys.modules.pop("mirage_config", None)
    if not collected:
        raise DescriptionError(f"{config.name} registers nothing: its last line is register('NAME', [job])")
    name, job = collected[-1]
    return configure(job, name=name, target=target, profile=profile)


def needs(plan: Plan) -> list[tuple[str, bool]]:
    """Return the modules the plan links, and whether each is installed."""
    modules = dict.fromkeys(vertex.what.implementation for vertex in plan.vertices if isinstance(vertex.what, Impl))
    return [(name, _there(name)) for name in modules]


def _there(name: str) -> bool:
    try:
        found: Any = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return False
    return found is not None
