"""acpi.h: the tables that tell a PVH guest of its one CPU and its local APIC (ACPI 6.3, section 5.2; Xen's tools/libacpi).

    RSDP ─▶ XSDT ─▶ FADT (hardware-reduced: no timer, no ports) ─▶ DSDT (empty)
                └─▶ MADT: a local APIC, for the CPU with id 0

Without a MADT Linux sets up no timer.
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["tables"]

_HEADER: Final = struct.Struct("<4sIBB6s8sI4sI")
"""signature, length, revision, checksum, OEM, OEM table, OEM revision, creator, creator revision."""
_RSDP: Final = struct.Struct("<8sB6sBIIQB3s")
FADT_SIZE: Final = 268
HW_REDUCED_ACPI: Final = 1 << 20


def _table(signature: bytes, revision: int, body: bytes) -> bytes:
    data = bytearray(_HEADER.pack(signature, _HEADER.size + len(body), revision, 0, b"Mirage", b"Lab", 1, b"Lab", 1) + body)
    data[9] = -sum(data) & 0xFF
    return bytes(data)


def tables(at: int, local_apic: int) -> bytes:
    """Return the tables as they lie at physical address `at`, which is that of the RSDP; `local_apic` is the address of its registers."""
    dsdt_at = at + 64
    dsdt = _table(b"DSDT", 2, b"")
    fadt_at = dsdt_at + 64
    fadt = bytearray(FADT_SIZE - _HEADER.size)
    struct.pack_into("<I", fadt, 40 - _HEADER.size, dsdt_at)
    struct.pack_into("<I", fadt, 112 - _HEADER.size, HW_REDUCED_ACPI)
    struct.pack_into("<Q", fadt, 140 - _HEADER.size, dsdt_at)
    madt_at = fadt_at + 320
    madt = _table(b"APIC", 5, struct.pack("<IIBBBBI", local_apic, 0, 0, 8, 0, 0, 1))  # type 0: processor, APIC id, enabled
    xsdt_at = madt_at + 64
    xsdt = _table(b"XSDT", 1, struct.pack("<2Q", fadt_at, madt_at))
    rsdp = bytearray(_RSDP.pack(b"RSD PTR ", 0, b"Mirage", 2, 0, _RSDP.size, xsdt_at, 0, bytes(3)))
    rsdp[8] = -sum(rsdp[:20]) & 0xFF
    rsdp[32] = -sum(rsdp) & 0xFF
    placed = ((0, rsdp), (dsdt_at - at, dsdt), (fadt_at - at, _table(b"FACP", 6, bytes(fadt))), (madt_at - at, madt), (xsdt_at - at, xsdt))
    found = bytearray(xsdt_at - at + len(xsdt))
    for offset, data in placed:
        found[offset : offset + len(data)] = data
    return bytes(found)
