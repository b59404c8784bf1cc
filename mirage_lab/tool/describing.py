"""describing: a plan as text: a line for each device, what is linked and why, what was left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirage_lab.functoria import Impl
from mirage_lab.tool.building import manifest

if TYPE_CHECKING:
    from mirage_lab.tool.configuring import Plan

__all__ = ["describe", "summary"]


def summary(plan: Plan) -> str:
    """Return the plan on one screen."""
    facts = manifest(plan)
    devices = len(plan.vertices) - 1
    lines = [f"plan {plan.name} for {plan.target}: {devices} device{'' if devices == 1 else 's'}, profile {facts['profile']}"]
    width = max(len(vertex.id) for vertex in plan.vertices)
    for vertex in reversed(plan.vertices):
        on = ", ".join(f"{hole} = {below}" if hole != _type(plan, below) else below for hole, below in vertex.needs)
        lines.append(f"  {vertex.id:<{width}}  {vertex.module_type:<8}{' on ' + on if on else ''}")
    if facts["keys"]:
        lines.append("  keys: " + ", ".join(f"{name} = {value!r}" for name, value in facts["keys"].items()))
    left = ", ".join(facts["left_out"]) or "nothing"
    lines.append(f"  linked: {len(facts['linked'])} libraries · left out: {left} · plan.describe() says why")
    lines += [f"  warning: {warning}" for warning in facts["warnings"]]
    lines.append(f"next: {'image = plan.build()' if plan.target == 'xen' else 'plan.run()'}")
    return "\n".join(lines)


def _type(plan: Plan, name: str) -> str:
    return next((vertex.module_type for vertex in plan.vertices if vertex.id == name), "")


def describe(plan: Plan) -> str:
    """Return all that is known of a plan: devices with their keys, libraries with the reason each is linked."""
    facts = manifest(plan)
    lines = [f"Name       {plan.name}", f"Target     {plan.target}", f"Profile    {facts['profile']}"]
    lines += [f"Key        {name} = {value!r}" for name, value in facts["keys"].items()]
    for vertex in plan.vertices:
        if isinstance(vertex.what, Impl):
            lines.append(f"Device     {vertex.what!r}")
    lines += [f"Linked     {name}  ({why})" for name, why in facts["linked"]]
    lines.append(f"Left out   {', '.join(facts['left_out']) or 'nothing'}")
    lines += [f"Warning    {warning}" for warning in facts["warnings"]]
    return "\n".join(lines)
