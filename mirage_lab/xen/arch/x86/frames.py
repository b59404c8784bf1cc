"""frames: what each machine frame of a PV domain is used as, and that no use gets in the way of another (xen/arch/x86/mm.c).

    type          writable │ L1 │ L2 │ L3 │ L4 │ descriptors     one at a time, with a count of uses; none when it is 0
    L4 of n uses ─▶ each L3 it names has one ─▶ L2 ─▶ L1 ─▶ each frame it maps for writing has one

A guest writes its page tables itself by no way but through Xen: a frame that is a table is mapped for writing nowhere.  So
every entry the CPU may come upon was checked: it names a frame of the domain, or one that Xen shares with it.

A table is looked at entry by entry when it becomes one, and again when it no longer is.  Who has more tables than an eighth of
its memory, or has as many looked at within one call, is refused: no guest keeps its host busy for long.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Final

from mirage_lab.xen.abi.errno import EBUSY, EINVAL, ENOMEM, EPERM
from mirage_lab.xen.abi.mmu import ENTRIES, FRAME, LARGE, PRESENT, RW, USER
from mirage_lab.xen.abi.pv import FIRST_SLOT, LAST_SLOT
from mirage_lab.xen.hypervisor.memory import DomainMemory

__all__ = ["DESCRIPTORS", "L1", "L2", "L3", "L4", "NONE", "TYPE_NAMES", "WRITABLE", "FrameTypes"]

NONE: Final = 0
L1: Final = 1
L2: Final = 2
L3: Final = 3
L4: Final = 4
WRITABLE: Final = 5
DESCRIPTORS: Final = 6
TYPE_NAMES: Final = {0: "none", 1: "L1 table", 2: "L2 table", 3: "L3 table", 4: "L4 table", 5: "writable", 6: "descriptors"}
MOST_TABLES: Final = 1_024
"""Tables that any domain may have."""
REQUEST: Final = 20
"""What a request costs, in entries looked at."""
_CHANGES_MEANING: Final = FRAME << 12 | PRESENT | RW


class FrameTypes:
    """Types and counts, by the index of a frame in the domain's memory.  `special(mfn)`: Xen shares that frame with the guest."""

    __slots__ = ("absent", "base", "counts", "kinds", "most", "nr", "pinned", "slots", "special", "tables", "words", "work")

    def __init__(self, memory: DomainMemory, special: Callable[[int], bool], slots: list[int]) -> None:
        self.base: int = memory.base
        self.nr = memory.nr_pages
        self.absent = memory.absent
        """Frames that the domain has given up."""
        self.words = memory.view.cast("Q")
        self.kinds = bytearray(self.nr)
        self.counts = array("I", bytes(4 * self.nr))
        self.pinned: set[int] = set()
        self.special = special
        self.tables = 0
        self.most = max(MOST_TABLES, self.nr // 8)
        self.work = 0
        """Entries looked at, since the guest's call began."""
        self.slots = slots
        """Xen's own entries of each L4 table."""

    # types and their counts --------------------------------------------------------------------------------------

    def get(self, index: int, kind: int) -> int:
        """Use a frame as `kind` once more; 0, or a negative errno if it is something else or what is in it is not allowed."""
        count = self.counts[index]
        if count:
            if self.kinds[index] != kind:
                return -EINVAL
            self.counts[index] = count + 1
            return 0
        if kind <= L4:
            if self.tables >= self.most:
                return -ENOMEM
            if self.busy:
                return -EBUSY
            self.tables += 1
            self.work += ENTRIES
        self.kinds[index] = kind
        self.counts[index] = 1
        if kind > L4:
            return 0
        ret = self._validate_l1(index) if kind == L1 else self._validate(index, kind)
        if ret:
            self.kinds[index] = NONE
            self.counts[index] = 0
            self.tables -= 1
        return ret

    @property
    def busy(self) -> bool:
        """True if no more is to be begun within this call."""
        return self.work >= self.most * ENTRIES

    def put(self, index: int) -> None:
        """One use less."""
        count = self.counts[index] - 1
        self.counts[index] = count
        if not count:
            kind = self.kinds[index]
            if kind <= L4:
                self.tables -= 1
                self.work += ENTRIES
                start = index * ENTRIES
                self._put_all(self.words[start : start + ENTRIES].tolist(), kind)
            self.kinds[index] = NONE

    def pin(self, index: int, kind: int) -> int:
        """Keep a frame a table of that level, whether or not it is in use."""
        if index in self.pinned:
            return -EINVAL
        ret = self.get(index, kind)
        if not ret:
            self.pinned.add(index)
        return ret

    def unpin(self, index: int) -> int:
        """Take `pin` back."""
        if index not in self.pinned:
            return -EINVAL
        self.pinned.remove(index)
        self.put(index)
        return 0

    def owned(self, mfn: int) -> int:
        """Return the index of a machine frame, -1 if it is not the domain's."""
        index = mfn - self.base
        return index if 0 <= index < self.nr and index not in self.absent else -1

    # entries -----------------------------------------------------------------------------------------------------

    def _validate_l1(self, index: int) -> int:
        words, kinds, counts, base, nr, absent = self.words, self.kinds, self.counts, self.base, self.nr, self.absent
        start = index * ENTRIES
        entries = words[start : start + ENTRIES].tolist()
        for at, entry in enumerate(entries):
            if not entry & PRESENT:
                continue
            frame = (entry >> 12 & FRAME) - base
            if 0 <= frame < nr and frame not in absent:
                if entry & RW:
                    if not counts[frame]:
                        kinds[frame] = WRITABLE
                    elif kinds[frame] != WRITABLE:
                        self._put_all(entries[:at], L1)
                        return -EINVAL
                    counts[frame] += 1
            elif not self.special(frame + base):
                self._put_all(entries[:at], L1)
                return -EPERM
            if not entry & USER:
                words[start + at] = entry | USER
        return 0

    def _validate(self, index: int, kind: int) -> int:
        words, start = self.words, index * ENTRIES
        entries = words[start : start + ENTRIES].tolist()
        if kind == L4:
            entries[FIRST_SLOT : LAST_SLOT + 1] = [0] * len(self.slots)
        for at, entry in enumerate(entries):
            if entry & PRESENT:
                ret = self._get_entry(entry, kind)
                if ret:
                    self._put_all(entries[:at], kind)
                    return ret
                words[start + at] = entry | USER
        if kind == L4:
            for at, entry in enumerate(self.slots):
                words[start + FIRST_SLOT + at] = entry
        return 0

    def _get_entry(self, entry: int, kind: int) -> int:
        """Take the use that a present entry in a table of level `kind` makes; 0 or a negative errno."""
        mfn = entry >> 12 & FRAME
        index = self.owned(mfn)
        if kind == L1:
            if index < 0:
                return 0 if self.special(mfn) else -EPERM
            return self.get(index, WRITABLE) if entry & RW else 0
        if entry & LARGE:
            return -EINVAL
        return -EPERM if index < 0 else self.get(index, kind - 1)

    def _put_entry(self, entry: int, kind: int) -> None:
        index = self.owned(entry >> 12 & FRAME)
        if index >= 0 and (kind != L1 or entry & RW):
            self.put(index)

    def _put_all(self, entries: list[int], kind: int) -> None:
        """End the uses that the entries of a table of level `kind` make."""
        if kind == L4:
            entries[FIRST_SLOT : LAST_SLOT + 1] = []
        for entry in entries:
            if entry & PRESENT:
                self._put_entry(entry, kind)

    def change(self, index: int, slot: int, entry: int, keep: int = 0) -> int:
        """Write an entry of a table; `keep`: bits that stay as they are.  Return 1 if an old one was replaced, 0, or a negative errno."""
        kind = self.kinds[index]
        if kind == L4 and FIRST_SLOT <= slot <= LAST_SLOT:
            return -EINVAL
        at = index * ENTRIES + slot
        old = self.words[at]
        if entry & PRESENT:
            entry |= USER | (old & keep if old & PRESENT else 0)
            if (old ^ entry) & _CHANGES_MEANING or (kind != L1 and entry & LARGE):
                ret = self._get_entry(entry, kind)
                if ret:
                    return ret
            else:
                self.words[at] = entry
                return 1
        self.words[at] = entry
        if old & PRESENT:
            self._put_entry(old, kind)
            return 1
        return 0
