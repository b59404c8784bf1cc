"""framing: DNS messages on a stream: two bytes of length before each (RFC 1035 section 4.2.2, RFC 7766)."""

from __future__ import annotations

from mirage_lab.signatures.errors import LocalProtocolError

__all__ = ["Frames", "framed"]


def framed(message: bytes) -> bytes:
    """Return a message with its length before it."""
    if len(message) > 0xFFFF:
        raise LocalProtocolError(f"a DNS message of {len(message)} bytes; its length has 16 bits")
    return len(message).to_bytes(2, "big") + message


class Frames:
    """What came so far: at most one message that is not whole, 65,537 bytes."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return the messages that are whole now."""
        held, found, at = self._held, [], 0
        held += data
        while len(held) - at >= 2:
            end = at + 2 + (held[at] << 8 | held[at + 1])
            if end > len(held):
                break
            found.append(bytes(held[at + 2 : end]))
            at = end
        del held[:at]
        return found
