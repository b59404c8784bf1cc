"""axes: where a plot is drawn, and how it is shown exactly once.

A plot without an `ax=` makes its own figure, unknown to pyplot, so nothing is displayed as a side effect: the Axes it
returns knows its own picture and its own words, and naming it on a cell's last line shows both.  A plot given an `ax=`
from pyplot leaves showing to pyplot, as any other drawing into it does.  In a script, `ax.figure.savefig("x.png")`.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SECONDS", "drawing", "label", "told"]

SECONDS = 1e9
"""Nanoseconds in the unit of every time axis."""


def drawing(ax: Axes | None, width: float, height: float) -> Axes:
    """Return `ax`, or new Axes of their own, `width` x `height` inches."""
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    made: Axes = Figure(figsize=(width, height), layout="constrained", facecolor="white").add_subplot(axes_class=_drawn())
    return made


def label(ax: Axes, title: str, x: str = "", y: str = "") -> None:
    """Set the title, the axis labels and, if anything drawn has a label, the legend; a "$" in a name stays a "$"."""
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.set_title(title, fontsize="medium", parse_math=False)
    if ax.get_legend_handles_labels()[1]:
        for text in ax.legend(loc="best", fontsize="small").get_texts():
            text.set_parse_math(False)


def told(ax: Axes, *lines: str) -> Axes:
    """Give `ax` the words it is shown with, at most 8 lines; return it."""
    if isinstance(ax, _drawn()):
        ax.words = "\n".join(lines[:8])
    return ax


@cache
def _drawn() -> Any:
    from matplotlib.axes import Axes

    class Drawn(Axes):
        """Axes of the lab's own: they show as a PNG and a few lines of fixed text."""

        words = ""

        def __repr__(self) -> str:
            return self.words or super().__repr__()

        def _repr_png_(self) -> bytes:
            out = BytesIO()
            figure = self.get_figure(root=True)
            assert figure is not None
            figure.savefig(out, format="png", dpi=100, metadata={"Software": None})
            return out.getvalue()

    return Drawn
