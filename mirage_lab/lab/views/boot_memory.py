"""boot_memory: a domain's pages as runs: what each is for, who owns it, and whom it is granted to.

    0 .......................... RAM, the domain's own .......................... | beyond: what it has mapped
    image | start_info | xenstore ring | console ring | pfn list | its kernel's ...  shared_info, grant table, pages of others

The hypervisor knows owners and grants, the builder what it put where; what a kernel does with the rest, only the kernel
knows.  A grant table is the guest's to write: an entry counts when its frame is the domain's own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.lab.said import LabError
from mirage_lab.lab.views.boot_bytes import domain_named, rows_of
from mirage_lab.lab.views.kinds import Args, text, whole
from mirage_lab.lab.views.machine_memory import framed, laid_out, mapped_at
from mirage_lab.tracing.svg import FAINT, INK, MUTED, OKABE_ITO, Svg, visible
from mirage_lab.xen.abi import grant_table as abi
from mirage_lab.xen.abi.xen import PAGE_SHIFT, PAGE_SIZE
from mirage_lab.xen.arch.translated import Translated
from mirage_lab.xen.arch.x86.pv import Pv
from mirage_lab.xen.dom0 import builder
from mirage_lab.xen.dom0.toolstack import STAGING
from mirage_lab.xen.hypervisor import Domain

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["GRANTS", "Run", "memory", "memory_line", "memory_picture", "page", "runs_of"]

RUNS: Final = 240
"""Runs sent at most; a map with more is drawn by kind alone, and what is left after that is counted."""
MAPPED: Final = 512
REFS: Final = 8
PLAIN: Final = ("kernel", "RAM")
"""Pages that a kernel uses as it likes, of Python and of machine code."""
VIFS: Final = 8
STAGED: Final = 256

GRANTS: Final = ("not granted", "granted", "granted, read only", "granted, in use", "mapped from another")
_XENS: Final = ("shared_info", "grant table", "devices", "Xen's")
_USED: Final = abi.GTF_READING | abi.GTF_WRITING
_RINGS: Final = (("tx-ring-ref", "tx ring"), ("rx-ring-ref", "rx ring"))


@dataclass(slots=True)
class Run:
    """Pages that are alike: `first` and `count`; `to` is whom they are granted to, or "" ; `ref` of the first."""

    first: int
    count: int
    type: str
    owner: str
    grant: str = GRANTS[0]
    to: str = ""
    ref: int | None = None

    @property
    def alike(self) -> tuple[str, str, str, str]:
        """Runs that are alike and touch are one run."""
        return (self.type, self.owner, self.grant, self.to)


def runs_of(lab: Lab, domain: Domain) -> list[Run]:
    """Return all pages of a domain in order: its RAM, then what it has mapped.  A guest that has frames of its own: by its numbers."""
    names = {info.domid: info.name for info in lab.machine.toolstack.list()}
    runs = _ram(lab, domain, names)
    vcpu = framed(domain)
    if vcpu is None:
        return _joined([*runs, *_mapped(domain, names)])
    base, end = domain.memory.base, domain.memory.base + domain.memory.nr_pages
    for run in runs:
        run.first += base
    beyond = [Run(first, count, kind, _owner(kind, domain)) for first, count, kind in laid_out(lab, domain, vcpu) if not base <= first < end]
    there = _laid_over(sorted([*runs, *beyond], key=lambda run: run.first), _given_up(domain))
    return _joined(_laid_over(there, _granted_to(domain, vcpu, names)))


def _granted_to(domain: Domain, vcpu: Translated | Pv, names: dict[int, str]) -> list[Run]:
    """Pages of others that a guest of machine code has mapped, where it wanted them."""
    found = []
    for mapping in islice(domain.grants.handles.values(), MAPPED):
        owner = names.get(mapping.owner.domid, f"domain {mapping.owner.domid}")
        found.append(Run(mapped_at(vcpu, mapping.address), 1, "mapped by grant", owner, GRANTS[4], domain.name, mapping.ref))
    return found


def _given_up(domain: Domain) -> list[Run]:
    """Pages of its RAM that a guest gave back."""
    pages = [Run(domain.memory.base + pfn, 1, "given up", "nobody") for pfn in sorted(domain.memory.absent)]
    return _joined(pages)


def _laid_over(runs: list[Run], above: list[Run]) -> list[Run]:
    """Return runs in order with others in place of the pages they cover."""
    above = sorted(above, key=lambda run: run.first)
    found = list(above)
    at = 0
    for run in runs:
        first, end = run.first, run.first + run.count
        while at < len(above) and above[at].first + above[at].count <= first:
            at += 1
        for cover in above[at:]:
            if cover.first >= end:
                break
            if cover.first > first:
                found.append(replace(run, first=first, count=cover.first - first))
            first = max(first, cover.first + cover.count)
        if first < end:
            found.append(replace(run, first=first, count=end - first))
    return sorted(found, key=lambda run: run.first)


def _built(lab: Lab, domain: Domain) -> list[tuple[int, str]]:
    """What the builder, or dom0's toolstack, laid out: (first page, type), in order."""
    vcpu = framed(domain)
    if vcpu is not None:
        marks = [(first - domain.memory.base, count, kind) for first, count, kind in laid_out(lab, domain, vcpu)]
        edges = sorted({0, *(pfn for first, count, _ in marks for pfn in (first, first + count) if 0 < pfn < domain.memory.nr_pages)})
        return [(pfn, next((kind for first, count, kind in reversed(marks) if first <= pfn < first + count), "RAM")) for pfn in edges]
    if domain.domid == 0:
        return [(0, "kernel"), (int(STAGING), "netback staging"), (int(STAGING) + STAGED, "kernel")]
    listed = -(-domain.memory.nr_pages * 8 // PAGE_SIZE)
    magic = ((builder.START_INFO, "start_info"), (builder.STORE, "xenstore ring"), (builder.CONSOLE, "console ring"), (builder.P2M, "pfn list"))
    return [(0, "image"), *((int(pfn), name) for pfn, name in magic), (int(builder.P2M) + listed, "kernel")]


def _ram(lab: Lab, domain: Domain, names: dict[int, str]) -> list[Run]:
    granted = _granted(domain)
    rings = _rings(lab, domain) if granted else {}
    built = _built(lab, domain)
    runs = []
    marks = iter(sorted(granted))
    mark = next(marks, None)
    for (first, kind), (end, _) in zip(built, [*built[1:], (domain.memory.nr_pages, "")]):
        at = first
        while mark is not None and mark < end:
            if at < mark:
                runs.append(Run(at, mark - at, kind, _owner(kind, domain)))
            ref, to, flags = granted[mark]
            what = rings.get(ref) or ("shared pages" if kind in PLAIN else kind)
            runs.append(Run(mark, 1, what, domain.name, _grant(flags), names.get(to, f"domain {to}"), ref))
            at, mark = mark + 1, next(marks, None)
        if at < end:
            runs.append(Run(at, end - at, kind, _owner(kind, domain)))
    return runs


def _owner(kind: str, domain: Domain) -> str:
    return domain.name if not kind.startswith(_XENS) else "Xen"


def _granted(domain: Domain) -> dict[int, tuple[int, int, int]]:
    """Granted pages: page -> (ref, to, flags), of several grants one in use.  Entries for frames of others are no grants."""
    base, pages = domain.memory.base, domain.memory.nr_pages
    found: dict[int, tuple[int, int, int]] = {}
    for index, frame in enumerate(domain.grants.frames):
        for place, (flags, to, mfn) in enumerate(abi.ENTRY.iter_unpack(frame)):
            if flags & abi.GTF_TYPE_MASK == abi.GTF_PERMIT_ACCESS and 0 <= mfn - base < pages:
                pfn = mfn - base
                if pfn not in found or not found[pfn][2] & _USED:
                    found[pfn] = (index * abi.ENTRIES_PER_FRAME + place, to, flags)
    return found


def _grant(flags: int) -> str:
    if flags & _USED:
        return GRANTS[3]
    return GRANTS[2] if flags & abi.GTF_READONLY else GRANTS[1]


def _rings(lab: Lab, domain: Domain) -> dict[int, str]:
    """Grant references that xenstore names: ref -> "vif/0 tx ring"."""
    xenstore = lab.machine.toolstack.xenstore
    home = f"/local/domain/{domain.domid}/device/vif"
    found: dict[int, str] = {}
    for handle in xenstore.list(home)[:VIFS] if xenstore.exists(home) else []:
        for key, name in _RINGS:
            value = xenstore.get(f"{home}/{handle}/{key}") or ""
            if value.isascii() and value.isdigit() and len(value) < 10:
                found[int(value)] = f"vif/{visible(str(handle), 12)} {name}"
    return found


def _mapped(domain: Domain, names: dict[int, str]) -> list[Run]:
    """Pages mapped beyond RAM: of the hypervisor, or of another domain by grant."""
    grants = {mapping.address: mapping for mapping in islice(domain.grants.handles.values(), MAPPED)}
    runs = []
    for address, page in domain.memory.mapped[:MAPPED]:
        pfn = address >> PAGE_SHIFT
        mapping = grants.get(address)
        if mapping is not None:
            owner = names.get(mapping.owner.domid, f"domain {mapping.owner.domid}")
            runs.append(Run(pfn, 1, "mapped by grant", owner, GRANTS[4], domain.name, mapping.ref))
        elif page.obj is domain.shared.obj:
            runs.append(Run(pfn, 1, "shared_info", "Xen"))
        elif any(page.obj is frame.obj for frame in domain.grants.frames):
            runs.append(Run(pfn, 1, "grant table", "Xen"))
        else:
            runs.append(Run(pfn, 1, "mapped", domain.name))
    return runs


def _joined(runs: list[Run]) -> list[Run]:
    joined: list[Run] = []
    for run in runs:
        last = joined[-1] if joined else None
        if last is not None and last.first + last.count == run.first and last.alike == run.alike:
            last.count += run.count
        else:
            joined.append(run)
    return joined


def memory(lab: Lab, name: str) -> dict[str, Any]:
    """Return the map of a domain: runs, the words for colours, and counts of pages by each."""
    domain = domain_named(lab, name)
    runs = runs_of(lab, domain)
    if len(runs) > RUNS:
        for run in runs:
            run.grant = GRANTS[1] if run.to and run.grant != GRANTS[4] else run.grant
        runs = _joined(runs)
    counts = {key: Counter[str]() for key in ("type", "owner", "grant")}
    for run in runs:
        for key, counter in counts.items():
            counter[getattr(run, key)] += run.count
    return {
        "domain": name,
        "ram": list(_ram_of(domain)),
        "own_frames": framed(domain) is not None,
        "nr_pages": domain.memory.nr_pages,
        "base": domain.memory.base,
        "runs": [[run.first, run.count, run.type, run.owner, run.grant, run.to, run.ref] for run in runs[:RUNS]],
        "left_out": max(0, len(runs) - RUNS),
        "counts": {key: sorted(counter.items(), key=lambda row: (-row[1], row[0]))[:16] for key, counter in counts.items()},
    }


def _ram_of(domain: Domain) -> tuple[int, int]:
    """Where its RAM begins and ends, by the numbers of the map."""
    first = domain.memory.base if framed(domain) is not None else 0
    return first, first + domain.memory.nr_pages


def memory_line(lab: Lab, name: str) -> str:
    """Return the memory of a domain in a line."""
    domain = domain_named(lab, name)
    runs = runs_of(lab, domain)
    granted = sum(run.count for run in runs if run.to and run.grant != GRANTS[4])
    used = sum(run.count for run in runs if run.grant == GRANTS[3])
    first, end = _ram_of(domain)
    mapped = sum(run.count for run in runs if not first <= run.first < end and run.type != "devices")
    return f"  memory: {domain.memory.nr_pages:,} pages, {granted:,} granted ({used:,} in use), {mapped:,} mapped beyond RAM"


def page(lab: Lab, args: Args) -> dict[str, Any]:
    """Answer "boot.page": the bytes of one page; args: domain, pfn.  Raises LabError where nothing is."""
    name, pfn = text(args, "domain", 64), whole(args, "pfn", 0, (1 << 52) - 1)
    domain = domain_named(lab, name)
    vcpu = framed(domain)
    try:
        found = domain.memory.at(pfn << PAGE_SHIFT) if vcpu is None else vcpu.cpu.physical(pfn << PAGE_SHIFT, PAGE_SIZE)
    except (KeyError, IndexError):
        found = None
    if found is None:
        raise LabError(f"{name} has no page {pfn}")
    return {"domain": name, "pfn": pfn, "address": pfn << PAGE_SHIFT, "rows": rows_of(bytes(found))}


def memory_picture(lab: Lab, name: str, width: float) -> Svg:
    """Return the map as a picture: a bar for the whole of it, and the runs in words."""
    domain = domain_named(lab, name)
    runs = runs_of(lab, domain)
    shown = runs[:14]
    picture = Svg(width, 84 + 18 * (len(shown) + (len(runs) > len(shown))), f"memory of {name}", memory_line(lab, name).strip())
    picture.text(16, 24, f"memory of {name}", size=13, bold=True)
    picture.text(width - 16, 24, f"{domain.memory.nr_pages:,} pages of 4 KiB", size=11, anchor="end", fill=MUTED)
    kinds = list(dict.fromkeys(run.type for run in runs))
    total = sum(run.count for run in runs) or 1
    x = 16.0
    least, room = 3.0, width - 32 - 3.0 * len(runs)
    for run in runs if room > 0 else []:
        wide = least + run.count / total * room
        picture.rect(x, 38, wide - 1, 18, fill=_ink(kinds.index(run.type), run.type), tip=_words(run))
        x += wide
    y = 78.0
    for run in shown:
        picture.rect(16, y - 9, 10, 10, fill=_ink(kinds.index(run.type), run.type), stroke=FAINT)
        picture.text(34, y, f"{run.first:,}", size=11, mono=True, fill=MUTED)
        picture.text(120, y, f"{run.count:,} page{'' if run.count == 1 else 's'}", size=11, fill=MUTED)
        picture.text(216, y, _words(run), size=11, fill=INK, limit=100)
        y += 18
    if len(runs) > len(shown):
        picture.text(34, y, f"{len(runs) - len(shown):,} more runs", size=11, fill=MUTED)
    return picture


def _ink(place: int, kind: str) -> str:
    return FAINT if kind in PLAIN else OKABE_ITO[place % len(OKABE_ITO)]


def _words(run: Run) -> str:
    told = [run.type] + ([f"· {run.owner}'s"] if run.owner == "Xen" or run.grant == GRANTS[4] else [])
    if run.to and run.grant != GRANTS[4]:
        told.append(f"· {run.grant.replace('granted', f'granted to {run.to}', 1)}")
    if run.ref is not None:
        told.append(f"· ref {run.ref}" + (" on" if run.count > 1 else ""))
    return " ".join(told)
