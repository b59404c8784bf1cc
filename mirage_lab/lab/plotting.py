"""plotting: the pictures that a table of frames can be asked for, from a lab's capture and from a file alike.

Each figure returns its Axes; name it on a cell's last line and it is shown.  The drawing is `mirage_lab.plot`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirage_lab.lab.said import LabError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mirage_lab.plot.hosts import Hosts
    from mirage_lab.tracing.capture import Capture

__all__ = ["Pictures", "need_pandas"]


def need_pandas(what: str) -> Any:
    """Return pandas; raises LabError that says how to get it."""
    try:
        import pandas
    except ImportError:
        raise LabError(f"{what} needs pandas: pip install 'mirage-lab[pandas]'") from None
    return pandas


class Pictures:
    """What has `capture` and `hosts` can be drawn."""

    @property
    def capture(self) -> Capture:
        """The frames as they are now."""
        raise NotImplementedError

    @property
    def hosts(self) -> Hosts:
        """Names and colours of those who speak."""
        raise NotImplementedError

    def ladder(self, **options: Any) -> Axes:
        """Draw who sent what to whom, time running down."""
        from mirage_lab.plot import ladder

        return ladder(self.capture, hosts=self.hosts, **options)

    def time_sequence(self, **options: Any) -> Axes:
        """Draw sequence numbers over time for one direction of one connection."""
        from mirage_lab.plot import time_sequence

        return time_sequence(self.capture, hosts=self.hosts, **options)

    def throughput(self, **options: Any) -> Axes:
        """Draw Mbit/s over time for each direction."""
        from mirage_lab.plot import throughput

        return throughput(self.capture, hosts=self.hosts, **options)
