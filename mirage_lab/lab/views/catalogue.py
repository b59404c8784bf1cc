"""catalogue: the tabs of a lab, in the order they stand in."""

from __future__ import annotations

from typing import Final

from mirage_lab.lab.views import boot, cpu, dashboard, graph, history, packets, stack, xenstore
from mirage_lab.lab.views.kinds import View

__all__ = ["VIEWS"]

VIEWS: Final[tuple[View, ...]] = (dashboard.VIEW, graph.VIEW, boot.VIEW, cpu.VIEW, stack.VIEW, packets.VIEW, xenstore.VIEW, history.VIEW)
