"""reservation: how much of its memory a domain has now (xen/common/memory.c): ballooning down and up, never above what it was made with.

    decrease_reservation, remove_from_physmap   the page is nobody's: the host has its bytes back, the guest sees no memory there
    populate_physmap, increase_reservation      it is there again, and empty

A list of extents is done from its beginning, and the number of those that were done is the answer, as far as it went.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from mirage_lab.xen.abi import memory as abi
from mirage_lab.xen.abi.errno import EFAULT, EINVAL, ENOSYS, EPERM, ESRCH
from mirage_lab.xen.abi.gate import Arg
from mirage_lab.xen.abi.xen import DOMID_SELF

if TYPE_CHECKING:
    from mirage_lab.xen.hypervisor.domain import Domain
    from mirage_lab.xen.hypervisor.hypervisor import Hypervisor

__all__ = ["HANDLERS", "give_up", "take_back"]

MOST_EXTENTS: Final = 256
"""Extents that one call gets done: who has more calls again."""
LARGEST_ORDER: Final = 9


def give_up(domain: Domain, pfn: int, count: int = 1) -> bool:
    """Take pages from a domain; False if one is not there, in use by others, or cannot be taken from what the guest sees."""
    memory = domain.memory
    pages = range(pfn, pfn + count)
    if any(memory.ram(memory.base + page) is None or page in memory.pins for page in pages):
        return False
    if domain.machine is not None and not domain.machine.hide(pfn, count):
        return False
    for page in pages:
        memory.drop(page)
    return True


def take_back(domain: Domain, pfn: int, count: int = 1) -> bool:
    """Give a domain pages again that it gave up; False if one is not such a page, or something else is in its place."""
    memory = domain.memory
    pages = range(pfn, pfn + count)
    if any(page not in memory.absent or page in memory.covered for page in pages):
        return False
    if domain.machine is not None and not domain.machine.show(pfn, count):
        return False
    memory.absent.difference_update(pages)
    return True


def _extents(domain: Domain, arg: Arg) -> tuple[int, int, int] | int:
    """Return where the list of a reservation lies, how many extents it has, and the pages of each; or a negative errno."""
    start, extents, order, _, dom = abi.RESERVATION_ARG.unpack_from(arg)
    if dom not in (DOMID_SELF, domain.domid):
        return -EPERM
    return start, 0 if order > LARGEST_ORDER else min(extents, MOST_EXTENTS), 1 << min(order, LARGEST_ORDER)


def _list(domain: Domain, start: int, extents: int) -> memoryview | None:
    found = domain.memory.load(start, domain.memory.word * extents)
    return None if found is None else memoryview(found).cast("Q" if domain.memory.word == 8 else "I")


def _decrease(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    asked = _extents(domain, arg)
    if isinstance(asked, int):
        return asked
    start, extents, pages = asked
    frames = _list(domain, start, extents)
    if frames is None:
        return -EFAULT
    for done, frame in enumerate(frames):
        if not give_up(domain, frame - domain.memory.base, pages):
            return done
    return extents


def _populate(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    asked = _extents(domain, arg)
    if isinstance(asked, int):
        return asked
    start, extents, pages = asked
    frames = _list(domain, start, extents)
    if frames is None:
        return -EFAULT
    memory = domain.memory
    translated = domain.machine is not None and domain.machine.translated
    done = 0
    for frame in frames:
        if not take_back(domain, frame - memory.base if translated else frame, pages):
            break
        done += 1
    return done if translated or _tell(domain, start, [memory.base + frame for frame in frames[:done]]) else -EFAULT


def _increase(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    """Pages the domain may place by itself: those with the lowest numbers; one that cannot place them gets none."""
    asked = _extents(domain, arg)
    if isinstance(asked, int):
        return asked
    start, extents, pages = asked
    if domain.machine is not None and domain.machine.translated:
        return 0
    lowest = sorted(domain.memory.absent)[:extents] if pages == 1 else []
    got = [domain.memory.base + pfn for pfn in lowest if take_back(domain, pfn)]
    return len(got) if _tell(domain, start, got) else -EFAULT


def _tell(domain: Domain, start: int, frames: list[int]) -> bool:
    """Write the machine frames of extents that were allocated, if the guest wants them."""
    word = "Q" if domain.memory.word == 8 else "I"
    return not start or not frames or domain.memory.store(start, array(word, frames).tobytes())


def _remove(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    dom, gpfn = abi.REMOVE_FROM_PHYSMAP_ARG.unpack_from(arg)
    if domain.machine is None or not domain.machine.translated:
        return -ENOSYS
    if dom not in (DOMID_SELF, domain.domid):
        return -EPERM
    if domain.memory.owns(gpfn):
        return 0 if give_up(domain, gpfn - domain.memory.base) else -EINVAL
    return domain.machine.remove(gpfn)


def _current(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    of = _asked(xen, domain, arg)
    return of if isinstance(of, int) else of.memory.nr_pages - len(of.memory.absent)


def _maximum(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    of = _asked(xen, domain, arg)
    return of if isinstance(of, int) else of.memory.nr_pages


def _asked(xen: Hypervisor, domain: Domain, arg: Arg) -> Domain | int:
    dom = abi.DOMID_ARG.unpack_from(arg)[0]
    of = domain if dom in (DOMID_SELF, domain.domid) else xen.domain(dom)
    if of is None:
        return -ESRCH
    return of if of is domain or domain.domid == 0 else -EPERM


def _highest(xen: Hypervisor, domain: Domain, arg: Arg, count: int) -> int:
    return xen.highest_mfn


HANDLERS: Final = {
    abi.INCREASE_RESERVATION: _increase,
    abi.DECREASE_RESERVATION: _decrease,
    abi.MAXIMUM_RAM_PAGE: _highest,
    abi.CURRENT_RESERVATION: _current,
    abi.MAXIMUM_RESERVATION: _maximum,
    abi.POPULATE_PHYSMAP: _populate,
    abi.REMOVE_FROM_PHYSMAP: _remove,
}
