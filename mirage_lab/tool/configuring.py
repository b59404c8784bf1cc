"""configuring: a job and its keys become a plan for a target; nothing is built or run yet."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mirage_lab.functoria import Impl, Vertex, vertices
from mirage_lab.functoria.graph import to_networkx
from mirage_lab.signatures.errors import DescriptionError
from mirage_lab.signatures.functor import Unikernel, check_key
from mirage_lab.tool.building import build
from mirage_lab.tool.describing import describe, summary

if TYPE_CHECKING:
    from mirage_lab.tool.running import Running
    from mirage_lab.xen.dom0.image import Image

__all__ = ["TARGETS", "Plan", "Said", "configure"]

TARGETS = ("xen", "unix")
PROFILES = ("today", "2014")


class Said(str):
    """Text that displays as itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Plan:
    """A job for a target with its keys resolved; show it, look at `graph`, then `build()` or, for unix, `run()`."""

    __slots__ = ("job", "keys", "name", "profile", "target", "vertices")

    def __init__(self, job: Unikernel, name: str, target: str, keys: Mapping[str, Any], profile: str | None) -> None:
        self.job = job
        self.name = name
        self.target = target
        self.keys = MappingProxyType(dict(keys))
        self.profile = profile
        self.vertices: list[Vertex] = vertices(job)

    @property
    def graph(self) -> Any:
        """The device graph, a networkx.DiGraph."""
        return to_networkx(self.vertices)

    def describe(self) -> Said:
        """Return everything that is known of the plan."""
        return Said(describe(self))

    def build(self) -> Image:
        """Return the sealed image; raises DescriptionError for target unix, which runs as it is."""
        if self.target != "xen":
            raise DescriptionError(f"{self.name} is configured for {self.target}, which has no image: plan.run(), or configure(job, target='xen')")
        return build(self)

    def run(self, *, log: Any = None) -> Said:
        """Run on this computer until the unikernel ends or Ctrl-C (target unix)."""
        from mirage_lab.tool.running import run

        return Said(run(self, log))

    def start(self, *, log: Any = None) -> Running:
        """Run on this computer in the background: `running.url(80)`, `running.console`, `running.stop()` (target unix)."""
        from mirage_lab.tool.running import start

        return start(self, log)

    def __repr__(self) -> str:
        return summary(self)

    def _repr_svg_(self) -> str:
        from mirage_lab.functoria.picture import unikernel_svg

        return unikernel_svg(self.job, f"{self.name} for {self.target}: device graph")


def configure(
    job: Unikernel, name: str | None = None, *, target: str = "xen", keys: Mapping[str, Any] | None = None, profile: str | None = None
) -> Plan:
    """Return the plan of `job`; raises DescriptionError for open holes, unknown keys or targets, devices of another target."""
    if not isinstance(job, Unikernel):
        raise DescriptionError(f"configure takes a job, a unikernel with its holes filled, not {type(job).__name__}")
    if not job.is_job:
        raise DescriptionError(f"{job!r}; fill the holes first: configure({job.name}(...), ...)")
    if target not in TARGETS:
        raise DescriptionError(f"there is no target {target!r}: {' or '.join(TARGETS)}")
    if profile is not None and profile not in PROFILES:
        raise DescriptionError(f"there is no profile {profile!r}: {' or '.join(PROFILES)}")
    name = name or job.name
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii() or len(name) > 64:
        raise DescriptionError(f"{name!r} is no name for a domain: letters, digits, - and _, at most 64")
    plan = Plan(job, name, target, _keys(job, keys or {}), profile)
    for vertex in plan.vertices:
        if isinstance(vertex.what, Impl) and target not in vertex.what.targets:
            other = "devices.socket_stackv4()" if target == "unix" else "devices.direct_stackv4_with_static_ipv4(devices.netif('0'), ...)"
            other = "devices.block_of_file('disk.img')" if vertex.module_type == "BLOCK" else other
            raise DescriptionError(f"{vertex.what.name} is for target {' and '.join(vertex.what.targets)}, not {target}: use {other}")
    return plan


def _keys(job: Unikernel, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every key's value: from configure, else the call, else the default."""
    known = {key.name: key for key in job.keys}
    for name in given:
        if name not in known:
            raise DescriptionError(f"{job.name} has no key {name!r}; it has {', '.join(known) or 'none'}")
    found = {}
    for key in job.keys:
        if key.name in given:
            found[key.name] = check_key(job.name, key, given[key.name])
        elif key.name in job.key_values:
            found[key.name] = job.key_values[key.name]
        elif key.required:
            raise DescriptionError(f"{job.name} needs the key {key.name} ({key.type.__name__}): configure(job, keys={{{key.name!r}: ...}})")
        else:
            found[key.name] = key.default
    return found
