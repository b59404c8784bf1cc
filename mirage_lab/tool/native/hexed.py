"""hexed: bytes written down by hand, with what they mean behind each line.

    0034  01 00 00 00        # p_type: PT_LOAD          offset, bytes, and whatever follows a #
"""

from __future__ import annotations

from mirage_lab.signatures.errors import MirageError

__all__ = ["read_hex"]


def read_hex(text: str) -> bytes:
    """Return the bytes; raises MirageError for a line that is none, or whose offset is not how many came before."""
    data = bytearray()
    for number, line in enumerate(text.splitlines(), 1):
        offset, *pairs = line.partition("#")[0].split() or ("",)
        if not offset:
            continue
        try:
            right = int(offset, 16) == len(data)
            data += bytes(int(pair, 16) for pair in pairs)
        except ValueError:
            raise MirageError(f"line {number}: {line.strip()[:60]!r} is no offset and bytes in hex") from None
        if not right:
            raise MirageError(f"line {number}: it says offset {offset}, and {len(data) - len(pairs):04x} bytes came before")
    return bytes(data)
