"""pvmmu: the hypercalls by which a PV guest changes its page tables: mmu_update, update_va_mapping, mmuext_op (xen/arch/x86/mm.c).

    the guest's request ─▶ is it a table of this level, and the frame the domain's? (frames) ─▶ written ─▶ the CPU forgets the old one
"""

from __future__ import annotations

from typing import Final

from mirage_lab.xen.abi import mmu
from mirage_lab.xen.abi.errno import E2BIG, EBUSY, EFAULT, EINVAL, ENOSYS, EPERM, ESRCH
from mirage_lab.xen.abi.pv import VIRT_END, VIRT_START
from mirage_lab.xen.abi.xen import DOMID_SELF, PAGE_SHIFT, PAGE_SIZE
from mirage_lab.xen.arch.x86.frames import L1, L4, NONE, REQUEST, WRITABLE, FrameTypes
from mirage_lab.xen.arch.x86.ring3 import Ring3
from mirage_lab.xen.arch.x86.xenspace import XenSpace
from mirage_lab.xen.hypervisor import Domain

__all__ = ["MOST_UPDATES", "PvMmu"]

MOST_UPDATES: Final = 8_192
"""Requests of one hypercall: more are E2BIG."""
_FLUSHES: Final = frozenset({mmu.TLB_FLUSH_LOCAL, mmu.INVLPG_LOCAL, mmu.TLB_FLUSH_MULTI, mmu.INVLPG_MULTI, mmu.TLB_FLUSH_ALL, mmu.INVLPG_ALL, mmu.FLUSH_CACHE})


class PvMmu:
    """The page tables of one domain.  `kernel` and `user`: frame indices of the L4 tables in use, -1 for none."""

    def __init__(self, domain: Domain, cpu: Ring3, frames: FrameTypes, space: XenSpace) -> None:
        self.domain = domain
        self.cpu = cpu
        self.frames = frames
        self.space = space
        self.kernel = -1
        self.user = -1
        self._stale = False

    # hypercalls --------------------------------------------------------------------------------------------------

    def mmu_update(self, args: list[int]) -> int:
        """Hypercall 1: write entries of page tables, or of the machine-to-physical table."""
        pointer, count, done_at, whose = args[:4]
        found = self._requests(pointer, count, whose, mmu.MMU_UPDATE.size)
        if isinstance(found, int):
            return found
        done, ret = 0, 0
        for ptr, value in mmu.MMU_UPDATE.iter_unpack(found):
            ret = -EBUSY if self.frames.busy else self._update(ptr, value)
            if ret:
                break
            done += 1
        self.frames.work += done * REQUEST
        return self._finish(done, done_at, ret)

    def update_va_mapping(self, args: list[int]) -> int:
        """Hypercall 14: write the entry that maps an address."""
        linear, value = args[:2]
        at = self.entry_of(linear)
        if at is None:
            return -EINVAL
        ret = -EBUSY if self.frames.busy else self.frames.change(*at, value)
        self._stale = self._stale or ret == 1
        return self._finish(0, 0, min(ret, 0))

    def mmuext_op(self, args: list[int]) -> int:
        """Hypercall 26: pin and unpin tables, use others, forget translations."""
        pointer, count, done_at, whose = args[:4]
        found = self._requests(pointer, count, whose, mmu.MMUEXT_OP.size)
        if isinstance(found, int):
            return found
        done, ret = 0, 0
        for cmd, first, second in mmu.MMUEXT_OP.iter_unpack(found):
            ret = -EBUSY if self.frames.busy else self._extended(cmd, first, second)
            if ret:
                break
            done += 1
        self.frames.work += done * REQUEST
        return self._finish(done, done_at, ret)

    def _requests(self, pointer: int, count: int, whose: int, size: int) -> bytes | int:
        """Return the requests of a batch, or a negative errno."""
        count &= 0xFFFF_FFFF & ~mmu.PREEMPTED
        whose &= 0xFFFF_FFFF
        if whose not in (DOMID_SELF, self.domain.domid):
            return -EPERM if whose >> 16 else -ESRCH
        if count > MOST_UPDATES:
            return -E2BIG
        found = self.cpu.load(pointer, count * size)
        return -EFAULT if found is None else found

    def _finish(self, done: int, done_at: int, ret: int) -> int:
        if self._stale:
            self._stale = False
            self.cpu.flush()
        if done_at and not self.cpu.store(done_at, done.to_bytes(4, "little")):
            return -EFAULT
        return ret

    # one request -------------------------------------------------------------------------------------------------

    def _update(self, ptr: int, value: int) -> int:
        kind = ptr & 3
        frames = self.frames
        index = frames.owned(ptr >> PAGE_SHIFT)
        if index < 0:
            return -EINVAL
        if kind == mmu.MACHPHYS:
            self.space.set_m2p(ptr >> PAGE_SHIFT, value)
            return 0
        if kind not in (mmu.NORMAL, mmu.PRESERVE_AD) or ptr & 4:
            return -ENOSYS if kind not in (mmu.NORMAL, mmu.PRESERVE_AD) else -EINVAL
        slot = (ptr & PAGE_SIZE - 1) >> 3
        used = frames.kinds[index]
        if L1 <= used <= L4:
            ret = frames.change(index, slot, value, mmu.ACCESSED | mmu.DIRTY if kind == mmu.PRESERVE_AD else 0)
            self._stale = self._stale or ret == 1
            return min(ret, 0)
        if used not in (NONE, WRITABLE):
            return -EINVAL
        frames.words[index * mmu.ENTRIES + slot] = value
        return 0

    def entry_of(self, linear: int) -> tuple[int, int] | None:
        """Return (frame index, slot) of the L1 entry of an address in the tables in use; None if there is no such table."""
        if VIRT_START <= linear < VIRT_END or linear >> 47 not in (0, 0x1FFFF):
            return None
        frames = self.frames
        table = (self.cpu.root >> PAGE_SHIFT) - frames.base
        for shift in (39, 30, 21):
            entry = frames.words[table * mmu.ENTRIES + (linear >> shift & 511)]
            if not entry & mmu.PRESENT:
                return None
            table = frames.owned(entry >> PAGE_SHIFT & mmu.FRAME)
        return table, linear >> PAGE_SHIFT & 511

    def _extended(self, cmd: int, first: int, second: int) -> int:
        if cmd in _FLUSHES:
            self._stale = self._stale or cmd != mmu.FLUSH_CACHE
            return 0
        if cmd == mmu.SET_LDT:
            return 0 if second == 0 else -ENOSYS
        frames = self.frames
        index = frames.owned(first)
        if cmd == mmu.NEW_USER_BASEPTR:
            return self._new_user(first, index)
        if cmd not in mmu.MMUEXT_NAMES:
            return -ENOSYS
        if index < 0:
            return -EINVAL
        if cmd <= mmu.PIN_L4:
            return frames.pin(index, cmd + 1)
        if cmd == mmu.UNPIN:
            return frames.unpin(index)
        if cmd == mmu.NEW_BASEPTR:
            return self.use(index)
        return self._clear_or_copy(index, frames.owned(second) if cmd == mmu.COPY_PAGE else index)

    def use(self, index: int) -> int:
        """Have a frame be the L4 table of the guest's kernel; 0 or a negative errno."""
        ret = self.frames.get(index, L4)
        if ret:
            return ret
        before, self.kernel = self.kernel, index
        self.cpu.root = self.frames.base + index << PAGE_SHIFT
        self._stale = False
        if before >= 0:
            self.frames.put(before)
        return 0

    def _new_user(self, mfn: int, index: int) -> int:
        if mfn and (index < 0 or self.frames.get(index, L4)):
            return -EINVAL
        before, self.user = self.user, index if mfn else -1
        if before >= 0:
            self.frames.put(before)
        return 0

    def _clear_or_copy(self, index: int, source: int) -> int:
        """CLEAR_PAGE, or COPY_PAGE where the source is another: of a frame that is not a table."""
        frames = self.frames
        if source < 0 or frames.get(index, WRITABLE):
            return -EINVAL
        page = frames.words[index * mmu.ENTRIES : (index + 1) * mmu.ENTRIES]
        words = frames.words[source * mmu.ENTRIES : (source + 1) * mmu.ENTRIES]
        page[:] = words if source != index else memoryview(bytes(PAGE_SIZE)).cast("Q")
        frames.put(index)
        return 0
