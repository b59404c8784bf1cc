"""Gntmap: pages of other domains, mapped by grant reference, in dom0 and in guests alike (MirageOS Gnt.Gntmap)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mirage_lab.signatures.errors import LocalProtocolError
from mirage_lab.xen.abi import grant_table as abi
from mirage_lab.xen.abi.errno import check
from mirage_lab.xen.abi.gate import Gate
from mirage_lab.xen.abi.xen import GRANT_TABLE_OP, Domid

__all__ = ["Gntmap"]

_STATUS: Final = abi.STATUS_NAMES


class Gntmap:
    """What a domain has mapped; `addresses` are above its RAM, given out page by page."""

    def __init__(self, gate: Gate, addresses: Iterator[int]) -> None:
        self._gate = gate
        self._addresses = addresses
        self._free: list[int] = []

    def map(self, domid: Domid, ref: int, *, readonly: bool = False) -> tuple[int, int]:
        """Map a granted page; return (address, handle).  Raises LocalProtocolError naming the status."""
        if not 0 <= ref <= 0xFFFF_FFFF:
            raise LocalProtocolError(f"grant reference {ref}")
        address = self._free.pop() if self._free else next(self._addresses)
        arg = bytearray(abi.MAP.size)
        flags = abi.GNTMAP_HOST_MAP | (abi.GNTMAP_READONLY if readonly else 0)
        abi.MAP.pack_into(arg, 0, address, flags, ref, domid, 0, 0, 0)
        check(self._gate.call(GRANT_TABLE_OP, abi.MAP_GRANT_REF, arg), "map_grant_ref")
        _, _, _, _, status, handle, _ = abi.MAP.unpack_from(arg)
        if status:
            self._free.append(address)
            raise LocalProtocolError(f"map_grant_ref of {ref} of domain {domid}: {_STATUS.get(status, status)}")
        return address, handle

    def page(self, address: int) -> memoryview:
        """Return a mapped page."""
        return self._gate.memory.at(address)

    def unmap(self, address: int, handle: int) -> None:
        """End a mapping; its views are released."""
        arg = bytearray(abi.UNMAP.size)
        abi.UNMAP.pack_into(arg, 0, address, 0, handle, 0)
        check(self._gate.call(GRANT_TABLE_OP, abi.UNMAP_GRANT_REF, arg), "unmap_grant_ref")
        self._free.append(address)
