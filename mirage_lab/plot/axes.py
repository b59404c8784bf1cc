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
    from matplotlib.axis import Axis
    from matplotlib.transforms import Transform

    from mirage_lab.tracing.capture import Capture

__all__ = ["SECONDS", "above", "clock", "counted", "drawing", "label", "nothing", "told"]

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
    """Set the title, the axis labels and, if anything drawn has a label, the legend, at the side; a "$" in a name stays a "$"."""
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.set_title(title, fontsize="medium", parse_math=False)
    if ax.get_legend_handles_labels()[1]:
        legend = ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, fontsize="small", frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)


def counted(*axes: Axis) -> None:
    """Write the numbers of these axes out in full, in groups of three: 262,144."""
    from matplotlib.ticker import StrMethodFormatter

    for axis in axes:
        axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def clock(capture: Capture) -> str:
    """Return the label of a capture's time axis."""
    return f"{capture.clock} (s)"


def nothing(ax: Axes, what: str, x: str, y: str) -> Axes:
    """Label Axes on which there is nothing to draw, and say why; return them."""
    label(ax, what, x, y)
    return told(ax, what)


def above(ax: Axes, points: float) -> Transform:
    """Return the transform that draws `points` above the data, so that a letter does not hide what it marks."""
    from matplotlib.transforms import ScaledTranslation

    figure = ax.get_figure(root=True)
    assert figure is not None
    return ax.transData + ScaledTranslation(0, points / 72, figure.dpi_scale_trans)


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
