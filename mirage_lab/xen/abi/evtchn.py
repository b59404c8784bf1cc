"""Which ports are pending: the scan of shared_info that every kernel makes (two-level ABI; Mini-OS do_hypervisor_callback).

    evtchn_upcall_pending := 0 ; sel := pending_sel, pending_sel := 0 ; for each word in sel: pending & ~mask, cleared
"""

from __future__ import annotations

from mirage_lab.xen.abi.shared_info import MASK_WORD, PENDING_WORD, SEL_WORD, UPCALL_PENDING

__all__ = ["mask", "take_pending"]


def take_pending(page: memoryview, words: memoryview) -> list[int]:
    """Clear and return the ports that are pending and not masked; `words` is `page.cast("Q")`."""
    found: list[int] = []
    while True:
        page[UPCALL_PENDING] = 0
        selected, words[SEL_WORD] = words[SEL_WORD], 0
        if not selected:
            return found
        while selected:
            word = (selected & -selected).bit_length() - 1
            selected &= selected - 1
            bits = words[PENDING_WORD + word] & ~words[MASK_WORD + word]
            words[PENDING_WORD + word] &= ~bits
            while bits:
                low = bits & -bits
                found.append(word << 6 | low.bit_length() - 1)
                bits ^= low


def mask(words: memoryview, port: int) -> None:
    """Mask a port (unmasking is a hypercall, because an event may have come meanwhile)."""
    words[MASK_WORD + (port >> 6)] |= 1 << (port & 63)
