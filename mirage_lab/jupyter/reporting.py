"""reporting: messages of a world reach the person: in the cell that drives it, or at the end of the next one."""

from __future__ import annotations

import os
import sys
from typing import Any

from IPython.display import publish_display_data

from mirage_lab.functoria.picture import mismatch_svg
from mirage_lab.jupyter.places import cell_place
from mirage_lab.jupyter.showing import picture_bundle
from mirage_lab.runtime.places import Report, person_frames
from mirage_lab.signatures.errors import MirageError
from mirage_lab.sweep import Sweep

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
            Sweep.progress = staticmethod(self.progress)
        self._ipython.events.register("post_run_cell", self._after_cell)
        self._ipython.set_custom_exc((MirageError,), self._mistake)

    def show(self, reports: list[Report]) -> None:
        """Print messages, a line each."""
        for report in reports:
            print(report)

    def progress(self, line: str) -> None:
        """Show where a long run is; "" wipes the line."""
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()

    def _mistake(self, shell: Any, kind: type[BaseException], error: BaseException, trace: Any, tb_offset: int | None = None) -> list[str]:
        """Show a mistake the lab has explained: the message, and the person's own lines that led to it."""
        place = cell_place(shell)
        frames = [frame for frame in person_frames(error.with_traceback(trace)) if "site-packages" not in frame.filename]
        frames = [frame for frame in frames if not (frame.line or "").startswith("get_ipython().run_cell_magic(")]
        told = [f"  {place(frame.filename, frame.lineno or 0)}: {(frame.line or '').strip()}" for frame in frames]
        lines = [f"{kind.__name__}: {error}", *told]
        shell._showtraceback(kind, error, lines)
        mismatch = getattr(error, "mismatch", None)
        if mismatch is not None:
            publish_display_data(picture_bundle(mismatch_svg(mismatch, str(error)), f"{mismatch.above} -> {mismatch.given}: expected {mismatch.wanted}"))
        return lines

    def _after_cell(self, *ignored: Any) -> None:
        """What happened while a lab was playing."""
        lab = self._lab.current()
        if lab is not None:
            with lab.lock:
                reports = lab.machine.world.take_reports()
            self.show(reports)
