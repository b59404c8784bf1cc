"""ptwr: a guest writes an entry of an L1 table as if it were memory, and Xen does it for the guest (xen/arch/x86/mm.c: ptwr_do_page_fault).

    a store to a page that is mapped for reading, since it is a table  ─▶  the one instruction, with the page mapped for writing
    ─▶  what is another entry now is put back, checked, and written if it may be  ─▶  behind the instruction, or a page fault of the guest

Only instructions with one store of 8 bytes at most are done so, that cannot come to use what they have just written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirage_lab.xen.abi.mmu import ENTRIES, FRAME, RW
from mirage_lab.xen.abi.xen import PAGE_SHIFT, PAGE_SIZE
from mirage_lab.xen.arch.x86.frames import L1

if TYPE_CHECKING:
    from mirage_lab.xen.arch.x86.pv import Pv

__all__ = ["wrote_entry"]

_STORES: Final = frozenset((*range(0x00, 0x40, 8), *range(0x01, 0x40, 8), 0x80, 0x81, 0x83, 0x86, 0x87, 0x88, 0x89, 0xC6, 0xC7, 0xF6, 0xF7, 0xFE))
"""add ... xor to memory, arithmetic with a number, xchg, mov, not, neg, inc, dec."""
_PREFIXES: Final = (0xF0, 0x66, 0x3E)
"""lock; operands of 16 bits; the segment ds, which Linux writes over lock where there is one CPU."""
_STORES_0F: Final = frozenset((0xAB, 0xB0, 0xB1, 0xB3, 0xBA, 0xBB, 0xC0, 0xC1))
"""bts, cmpxchg, btr, btc, xadd."""


def wrote_entry(vcpu: Pv, address: int) -> bool:
    """Carry out the store at rip, to `address`, if that is an entry of an L1 table and may be what it becomes; False if not."""
    frames, cpu = vcpu.mmu.frames, vcpu.cpu
    mapped = vcpu.mmu.entry_of(address)
    if mapped is None or address % PAGE_SIZE > PAGE_SIZE - 8 or not _one_store(cpu.load(cpu.pc, 6) or cpu.load(cpu.pc, 3) or b""):
        return False
    words, at = frames.words, mapped[0] * ENTRIES + mapped[1]
    readonly = words[at]
    index = frames.owned(readonly >> PAGE_SHIFT & FRAME)
    if not readonly & 1 or readonly & RW or index < 0 or frames.kinds[index] != L1:
        return False
    if index == mapped[0] and abs(address % PAGE_SIZE // 8 - mapped[1]) < 2:
        return False  # the very entry by which it is mapped
    table, registers = words[index * ENTRIES : (index + 1) * ENTRIES], cpu.save()
    before = bytes(table)
    words[at] = readonly | RW
    cpu.flush()
    done = cpu.once()
    words[at] = readonly
    after = table.tolist()
    table[:] = memoryview(before).cast("Q")
    for slot, (old, new) in enumerate(zip(table.tolist(), after)):
        done = done and (old == new or frames.change(index, slot, new) >= 0)
    if not done:
        cpu.restore(registers)
    cpu.flush()
    return done


def _one_store(code: bytes) -> bool:
    """True for an instruction that does nothing to memory but one store."""
    at = 0
    while at < len(code) - 1 and (code[at] in _PREFIXES or code[at] & 0xF0 == 0x40):
        at += 1
    if at + 1 >= len(code):
        return False
    return code[at + 1] in _STORES_0F if code[at] == 0x0F else code[at] in _STORES
