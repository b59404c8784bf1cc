"""gdbpackets: how gdb and a stub speak (gdb manual, appendix E.1): packets with a checksum, an acknowledgment each, and ^C.

    $ payload # two hex digits: sum of the payload mod 256          } in the payload: the next byte, xor 0x20
    +  that was right        -  again, please        03  stop what runs

Whoever speaks may lie: a packet has a bound, what is outside of one is ignored, a wrong checksum asks again.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BREAK", "LARGEST", "Packets", "encode", "escaped"]

LARGEST: Final = 16_384
"""Bytes of a packet at most, as qSupported tells."""
BREAK: Final = b"\x03"
_ESCAPED: Final = frozenset(b"#$}*")


def encode(payload: bytes) -> bytes:
    """Return a payload, escaped already where it has to be, as a packet."""
    return b"$%s#%02x" % (payload, sum(payload) & 0xFF)


def escaped(data: bytes) -> bytes:
    """Return bytes as they may stand in a payload."""
    return b"".join(bytes((0x7D, byte ^ 0x20)) if byte in _ESCAPED else bytes((byte,)) for byte in data)


def _plain(payload: bytes) -> bytes:
    out, at = bytearray(), 0
    while at < len(payload):
        if payload[at] == 0x7D and at + 1 < len(payload):
            at += 1
            out.append(payload[at] ^ 0x20)
        else:
            out.append(payload[at])
        at += 1
    return bytes(out)


class Packets:
    """The receiving end: bytes in, payloads out.  `acks`: acknowledgments are sent, until gdb asks for none."""

    def __init__(self) -> None:
        self.acks = True
        self.broken = False
        """True once a packet was longer than any may be: there is nothing to do but hang up."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Return what came, payloads and BREAK and b"-" for a reply that is wanted again, and the acknowledgments to send."""
        buffer, found, answer = self._buffer, list[bytes](), bytearray()
        if not self.broken:
            buffer += data
        while buffer and not self.broken:
            if buffer[0] != 0x24:
                if buffer[0] in b"\x03-":
                    found.append(bytes(buffer[:1]))
                del buffer[0]
                continue
            end = buffer.find(b"#")
            if (end if end >= 0 else len(buffer)) > LARGEST:
                self.broken = True
                buffer.clear()
            elif end < 0 or len(buffer) < end + 3:
                break
            else:
                payload, told = bytes(buffer[1:end]), bytes(buffer[end + 1 : end + 3])
                del buffer[: end + 3]
                right = told.lower() == b"%02x" % (sum(payload) & 0xFF)
                if self.acks:
                    answer += b"+" if right else b"-"
                if right:
                    found.append(_plain(payload))
        return found, bytes(answer)
