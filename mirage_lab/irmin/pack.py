"""pack: objects in one file as Git has them, with its index, written so that it is there whole or not at all.

    pack    "PACK" version count, objects: type and size, zlib          trailer: SHA-1 of all before it
    index   "\377tOc" 2, fan-out (256), names, CRC-32s, offsets           trailer: that of the pack, SHA-1 of all before it

Objects go in whole, or as a delta to one before them in the same pack.  Many small packs become one by copying.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from mirage_lab.irmin.errors import StoreError
from mirage_lab.irmin.log import synced_directory
from mirage_lab.irmin.objects import BLOB, COMMIT, TREE

__all__ = ["delta", "index_of", "join_packs", "packed", "packed_delta", "read_index", "write_pack"]

KINDS: Final = {COMMIT: 1, TREE: 2, BLOB: 3}
LEVEL: Final = 1
SHORT: Final = 512
TINY: Final = 200
OFS_DELTA: Final = 6
REF_DELTA: Final = 7
MOST_COPIED: Final = 0xFFFFFF
MOST_INSERTED: Final = 127
_STORED: Final = struct.Struct("<HH")


def packed(kind: bytes, body: bytes) -> bytes:
    """Return an object as it stands in a pack."""
    return _head(KINDS[kind], len(body)) + _deflated(body)


def packed_delta(base: bytes, difference: bytes) -> bytes:
    """Return an object that is `difference` (`delta`) from the one named `base`, as it stands in a pack."""
    return _head(REF_DELTA, len(difference)) + base + _deflated(difference)


def delta(base: bytes, body: bytes) -> bytes | None:
    """Return what makes `body` of `base` where they differ in one place: copy, insert, copy (gitformat-pack, deltified representation).

    None when that is not a quarter of the body.
    """
    begin = _common(base, body, 0, min(len(base), len(body)), from_end=False)
    end = _common(base, body, 0, min(len(base), len(body)) - begin, from_end=True)
    inserted = body[begin : len(body) - end]
    if 4 * len(inserted) > len(body):
        return None
    parts = [_size(len(base)), _size(len(body)), _copies(0, begin)]
    parts += [bytes([len(part)]) + part for part in (inserted[at : at + MOST_INSERTED] for at in range(0, len(inserted), MOST_INSERTED))]
    parts.append(_copies(len(base) - end, end))
    return b"".join(parts)


def _common(one: bytes, other: bytes, least: int, most: int, *, from_end: bool) -> int:
    """How many bytes are the same at the beginning (or the end) of both; `least` are known to be, more than `most` are not."""
    while least < most:
        half = (least + most + 1) // 2
        if from_end:
            same = one[len(one) - half : len(one) - least] == other[len(other) - half : len(other) - least]
        else:
            same = one[least:half] == other[least:half]
        least, most = (half, most) if same else (least, half - 1)
    return least


def _size(number: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _copies(offset: int, size: int) -> bytes:
    """Instructions to copy from the base: a bit for each byte of offset (4) and size (3) that is not zero, and those bytes."""
    found = bytearray()
    while size:
        part = min(size, MOST_COPIED)
        given = offset.to_bytes(4, "little") + part.to_bytes(3, "little")
        found.append(0x80 | sum(1 << at for at, byte in enumerate(given) if byte))
        found += bytes(byte for byte in given if byte)
        offset, size = offset + part, size - part
    return bytes(found)


def join_packs(directory: Path, packs: list[Path]) -> Path | None:
    """Make one of packs, and remove them; None when one has deltas to places in it (git's own), and then they are left as they are.

    An object of several packs is taken from the first: then what its delta is to, is too, or was taken from one before.
    """
    entries: dict[bytes, bytes] = {}
    for path in packs:
        data = path.read_bytes()
        rows = sorted((offset, name) for name, offset in read_index(path.with_suffix(".idx").read_bytes()))
        ends = [offset for offset, _ in rows[1:]] + [len(data) - 20]
        for (offset, name), end in zip(rows, ends):
            if data[offset] >> 4 & 7 == OFS_DELTA:
                return None
            entries.setdefault(name, data[offset:end])
    joined = write_pack(directory, entries.items())
    for path in packs:
        if path != joined:
            path.with_suffix(".idx").unlink()
            path.unlink()
    return joined


def write_pack(directory: Path, entries: Iterable[tuple[bytes, bytes]]) -> Path | None:
    """Write objects (name, and as they stand in a pack) to a pack; return its path, None when there was nothing to write."""
    rows: list[tuple[bytes, int, int]] = []
    parts: list[bytes] = []
    at = 12
    for name, data in entries:
        rows.append((name, at, zlib.crc32(data)))
        parts.append(data)
        at += len(data)
    if not rows:
        return None
    rows.sort()
    body = b"".join([b"PACK" + struct.pack(">LL", 2, len(rows)), *parts])
    trailer = hashlib.sha1(body, usedforsecurity=False).digest()
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"pack-{hashlib.sha1(b''.join([row[0] for row in rows]), usedforsecurity=False).hexdigest()}.pack"
    if path.exists() and path.with_suffix(".idx").exists():
        return path
    made = [directory / "tmp_irmin_pack", directory / "tmp_irmin_idx"]
    try:
        with made[0].open("wb") as file:
            file.write(body)
            file.write(trailer)
            _sync(file)
        with made[1].open("wb") as file:
            file.write(index_of(rows, trailer))
            _sync(file)
        made[0].rename(path)
        made[1].rename(path.with_suffix(".idx"))
    except OSError as error:
        for each in made:
            each.unlink(missing_ok=True)
        raise StoreError(f"a pack could not be written: {error.strerror}; everything is still in the log") from None
    synced_directory(directory)
    return path


def index_of(rows: list[tuple[bytes, int, int]], trailer: bytes) -> bytes:
    """Return the index of a pack: rows are (name, offset, CRC-32), in the order of names.  Packs of 2 GiB and more are not made."""
    names, offsets, crcs = zip(*rows) if rows else ((), (), ())
    if offsets and max(offsets) >= 1 << 31:
        raise StoreError("a pack of more than 2 GiB")
    counts = [0] * 256
    for name in names:
        counts[name[0]] += 1
    head = b"\377tOc" + struct.pack(">L256L", 2, *accumulate(counts))
    body = b"".join([head, *names, struct.pack(f">{len(crcs)}L", *crcs), struct.pack(f">{len(offsets)}L", *offsets), trailer])
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def read_index(data: bytes) -> list[tuple[bytes, int]]:
    """Return (name, offset) of each object of an index of version 2; raises StoreError when it is none."""
    if data[:8] != b"\377tOc\0\0\0\2" or len(data) < 1_072:
        raise StoreError("this is no index of a pack")
    count: int = struct.unpack_from(">L", data, 1_028)[0]
    if len(data) < 1_072 + 28 * count:
        raise StoreError("an index of a pack breaks off")
    names = [data[at : at + 20] for at in range(1_032, 1_032 + 20 * count, 20)]
    offsets = struct.unpack_from(f">{count}L", data, 1_032 + 24 * count)
    return [(name, offset) for name, offset in zip(names, offsets) if offset < 1 << 31]


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _deflated(body: bytes) -> bytes:
    """Compressed; with a small window for a small body, which costs a tenth; or only framed (RFC 1950, 1951 3.2.4), for a seventh would be saved."""
    if len(body) <= TINY:
        return b"\x78\x01\x01" + _STORED.pack(len(body), len(body) ^ 0xFFFF) + body + zlib.adler32(body).to_bytes(4, "big")
    if len(body) > SHORT:
        return zlib.compress(body, LEVEL)
    deflater = zlib.compressobj(LEVEL, zlib.DEFLATED, 9, 1)
    return deflater.compress(body) + deflater.flush()


def _head(kind: int, size: int) -> bytes:
    """Type and size of an object, seven bits of size a byte after the first four."""
    first, rest = kind << 4 | size & 15, size >> 4
    return bytes([first | 0x80]) + _size(rest) if rest else bytes([first])
