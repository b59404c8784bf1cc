"""compiled: a filter ready to look at frames."""

from __future__ import annotations

from mirage_lab.tcpip.displayfilter.grammar import parse
from mirage_lab.tcpip.displayfilter.places import Seen
from mirage_lab.tcpip.displayfilter.streams import Streams
from mirage_lab.tcpip.displayfilter.words import LONGEST, FilterError

__all__ = ["DisplayFilter", "compile_filter"]


class DisplayFilter:
    """A filter that was read: `text` and `matches`.

    A filter with `tcp.stream`, `tcp.seq` or `tcp.ack` remembers connections: it wants the frames of one capture, in the
    order of their numbers; for another capture, or from the beginning again, the text is compiled again.  A frame that
    comes out of order is judged by what was seen so far.  Any other filter looks at each frame alone.
    """

    __slots__ = ("_streams", "_test", "text")

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise FilterError(f"a filter has {LONGEST:,} characters at most, and this one {len(text):,}", text, LONGEST)
        self.text = text
        self._test, follows = parse(text)
        self._streams = Streams() if follows else None

    def matches(self, n: int, t_ns: int, frame: bytes) -> bool:
        """Tell whether frame number `n`, seen `t_ns` ns after the first, is shown.  Never raises, whatever the bytes are."""
        seen = Seen(n, t_ns, frame)
        if self._streams is not None:
            self._streams.look(seen)
        return self._test(seen)

    def __repr__(self) -> str:
        return f"<DisplayFilter {self.text!r}>"


def compile_filter(text: str) -> DisplayFilter:
    """Return the filter that `text` says in the language of Wireshark's display filters; empty text lets every frame in.

    docs/filters.md has the fields and the operators.  Raises FilterError, which points at the place in the text.

    >>> syn = bytes.fromhex("0200000000020200000000010800450000280000400040060000 0a0000010a000002 c0000050000000640000000050022000 00000000")
    >>> compile_filter("tcp.port == 80 and ip.src == 10.0.0.1").matches(1, 0, syn)
    True
    """
    return DisplayFilter(text)
