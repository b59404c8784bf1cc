"""faults: what can go wrong on a lan: each fault's name, what it may be, and what it means.

    latency, jitter   ns under way; jitter adds 0 to that much
    loss              a share of the frames, 0 to 1; `burst`: lost this many in a row on average (the Gilbert model)
    ack_loss          a share of the TCP segments that carry no data
    nth               the frames of these numbers are lost, counted from 1 from when it is set
    reorder           a share of the frames is held back
    duplicate         a share of the frames arrives twice
    corrupt           a share of the frames arrives with one bit changed behind the Ethernet header
    trailing          so many zero bytes follow each frame
    mtu               frames with more payload than this many bytes are lost
    rate, queue       bit/s of each port (None: no limit), frames that may wait for it (None: 1,000)
    discipline        who of those that wait is dropped: droptail, red or codel
    blackout          (from, to) in ns of the lan's clock: everything that enters between the two is lost

Corruption is what the frame check sequence misses: a switch that spoils a frame in its memory and signs it anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mirage_lab.signatures.errors import LocalProtocolError

__all__ = ["FAULTS", "HEADER", "checked", "marked", "pure_ack"]

HEADER: Final = 14
DISCIPLINES: Final = ("droptail", "red", "codel")
NUMBERS: Final = 1_000
"""Frame numbers in `nth`."""
_SUM: Final = slice(24, 26)


@dataclass(frozen=True, slots=True)
class Fault:
    """What a fault is when there is none, and which values it takes, in words and as a test."""

    none: Any
    words: str
    takes: Callable[[Any], bool]


def _whole(value: Any, least: int, most: int = 1 << 62) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def _numbers(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) <= NUMBERS and all(_whole(each, 1) for each in value)


def _span(value: Any) -> bool:
    return value is None or (isinstance(value, tuple) and len(value) == 2 and all(_whole(each, 0) for each in value) and value[0] <= value[1])


_TIME: Final = Fault(0, "a whole number of ns, such as ms(1)", lambda value: _whole(value, 0))
_SHARE: Final = Fault(0.0, "a share of the frames, 0 to 1", _share)

FAULTS: Final[dict[str, Fault]] = {
    "latency": _TIME,
    "jitter": _TIME,
    "loss": _SHARE,
    "burst": Fault(1, "frames lost in a row on average, 1 to 1,000", lambda value: isinstance(value, int | float) and 1 <= value <= 1_000),
    "ack_loss": _SHARE,
    "nth": Fault((), "numbers of frames from 1, such as 3 or (3, 7)", _numbers),
    "reorder": _SHARE,
    "duplicate": _SHARE,
    "corrupt": _SHARE,
    "trailing": Fault(0, "a whole number of bytes, 0 to 46", lambda value: _whole(value, 0, 46)),
    "mtu": Fault(None, "a whole number of bytes from 46, or None", lambda value: value is None or _whole(value, 46)),
    "rate": Fault(None, "a whole number of bit/s from 1, or None", lambda value: value is None or _whole(value, 1)),
    "queue": Fault(None, "a whole number of frames, or None", lambda value: value is None or _whole(value, 0)),
    "discipline": Fault("droptail", ", ".join(DISCIPLINES), lambda value: value in DISCIPLINES),
    "blackout": Fault(None, "(from, to) in ns, such as (seconds(2), seconds(3)), or None", _span),
}
"""Every fault of a lan, in the order they are told."""


def checked(lan: str, faults: dict[str, Any]) -> dict[str, Any]:
    """Return the faults as they are kept; raises LocalProtocolError that says what a fault may be."""
    kept = {}
    for key, value in faults.items():
        if key not in FAULTS:
            raise LocalProtocolError(f"{lan}: a lan has no {key!r}; it has {', '.join(FAULTS)}")
        if key == "nth" and not isinstance(value, tuple):
            value = (value,) if isinstance(value, int) else tuple(value) if isinstance(value, list) else value
        elif key == "blackout" and isinstance(value, list):
            value = tuple(value)
        if not FAULTS[key].takes(value):
            raise LocalProtocolError(f"{lan}: {key}={value!r}; it is {FAULTS[key].words}")
        kept[key] = value
    return kept


def pure_ack(frame: bytes) -> bool:
    """True for a TCP segment in IPv4 or IPv6 that carries neither data nor SYN, FIN or RST."""
    if frame[12:14] == b"\x08\x00" and len(frame) >= 54 and frame[23] == 6:
        start = HEADER + (frame[14] & 15) * 4
        end = HEADER + (frame[16] << 8 | frame[17])
    elif frame[12:14] == b"\x86\xdd" and len(frame) >= 74 and frame[20] == 6:
        start = HEADER + 40
        end = start + (frame[18] << 8 | frame[19])
    else:
        return False
    return len(frame) >= start + 20 and not frame[start + 13] & 7 and end == start + (frame[start + 12] >> 4) * 4


def marked(frame: bytes) -> bytes | None:
    """Return the frame with Congestion Experienced set; None when its sender does not speak ECN (RFC 3168 section 5)."""
    if len(frame) >= 34 and frame[12:14] == b"\x08\x00":
        if not frame[15] & 3:
            return None
        more = 3 - (frame[15] & 3)
        total = int.from_bytes(frame[_SUM], "big") ^ 0xFFFF
        total += more
        check = (total & 0xFFFF) + (total >> 16) ^ 0xFFFF  # RFC 1624
        return b"".join((frame[:15], bytes((frame[15] | 3,)), frame[16:24], check.to_bytes(2, "big"), frame[26:]))
    if len(frame) >= 54 and frame[12:14] == b"\x86\xdd":
        return b"".join((frame[:15], bytes((frame[15] | 0x30,)), frame[16:])) if frame[15] & 0x30 else None
    return None
