"""reporting: messages of a world reach the person: in the cell that drives it, or at the end of the next one."""

from __future__ import annotations

import os
import sys
from typing import Any

from mirage_lab.runtime.places import Report

__all__ = ["Reporting"]


class Reporting:
    """Prints reports, and one progress line that is wiped at the end."""

    def __init__(self, ipython: Any) -> None:
        self._ipython = ipython
        self._lab: Any = None

    def install(self, lab_class: Any) -> None:
        """Become the one who shows what labs report."""
        self._lab = lab_class
        lab_class.reporter = staticmethod(self.show)
        if os.environ.get("MIRAGE_LAB_PROGRESS", "on") != "off":
            lab_class.progress = staticmethod(self.progress)
        self._ipython.events.register("post_run_cell", self._after_cell)

    def show(self, reports: list[Report]) -> None:
        """Print messages, a line each."""
        for report in reports:
            print(report)

    def progress(self, line: str) -> None:
        """Show where a long run is; "" wipes the line."""
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()

    def _after_cell(self, *ignored: Any) -> None:
        """What happened while a lab was playing."""
        lab = self._lab.current()
        if lab is not None:
            with lab.lock:
                reports = lab.machine.world.take_reports()
            self.show(reports)
