"""boot_bytes: start_info and shared_info as bytes with names: field <-> bytes.

Rows of 16 bytes; rows of zeros are left out, so that a page of 4096 bytes is a few rows.  The tables of fields are those
of `xen.abi`; what a field says is put in words here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mirage_lab.lab.views.machine_memory import framed, laid_out
from mirage_lab.tracing.svg import FAINT, INK, MUTED, OKABE_ITO, Svg, visible
from mirage_lab.xen.abi import hvm, shared_info, start_info
from mirage_lab.xen.abi.xen import PAGE_SHIFT, Pfn
from mirage_lab.xen.arch.translated import Translated
from mirage_lab.xen.arch.x86.pv import Pv
from mirage_lab.xen.dom0 import builder
from mirage_lab.xen.hypervisor import Domain

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["PAGES", "bytes_picture", "domain_named", "rows_of", "structure"]

PAGES: Final = ("start_info", "shared_info")
ROW: Final = 16
ROWS: Final = 256
HVM_FIELDS: Final = (
    ("magic", 4), ("version", 4), ("flags", 4), ("nr_modules", 4), ("modlist_paddr", 8), ("cmdline_paddr", 8), ("rsdp_paddr", 8), ("memmap_paddr", 8),
    ("memmap_entries", 4), ("reserved", 4),
)  # fmt: skip


def domain_named(lab: Lab, name: str) -> Domain:
    """Return the domain called `name`, dom0 among them; raises LabError."""
    return lab.machine.toolstack.domain(0 if name == "dom0" else lab.machine.domid(name))


def rows_of(data: bytes, always: frozenset[int] = frozenset({0}), limit: int = ROWS) -> list[list[Any]]:
    """Return [offset, hex, characters] for each row of 16 bytes that is not all zero, and for those at `always`."""
    found: list[list[Any]] = []
    zeros = bytes(ROW)
    for at in range(0, len(data), ROW):
        row = data[at : at + ROW]
        if (at not in always and row == zeros[: len(row)]) or len(found) == limit:
            continue
        found.append([at, row.hex(), "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)])
    return found


def structure(lab: Lab, name: str, which: str) -> dict[str, Any]:
    """Return one of `PAGES` of a domain: its fields [name, offset, bytes, value, meaning] and its rows of bytes."""
    domain = domain_named(lab, name)
    if which == "start_info" and not domain.domid:
        return {"name": which, "domain": name, "where": "dom0 was not built: it is the lab's own", "size": 0, "fields": [], "rows": [], "zero_rows": 0}
    vcpu = framed(domain)
    if which == "start_info" and isinstance(vcpu, Translated):
        return {"name": which, "domain": name, **_told_otherwise(lab, domain, vcpu)}
    if which == "start_info":
        pfn = int(builder.START_INFO) if vcpu is None else _first(lab, domain, vcpu, "start_info") - domain.memory.base
        data = bytes(domain.memory.page(Pfn(pfn))[: start_info.SIZE])
        table = start_info.FIELDS
        fields = [[field, at, size, *_start(domain, field, data[at : at + size])] for field, at, size in table]
        where = f"page {pfn} of {name}, written by the domain builder before the first step"
    else:
        data = bytes(domain.shared[: shared_info.SIZE])
        table = () if domain.narrow else shared_info.FIELDS
        fields = [[field, at, size, *_shared(field, data[at : at + size])] for field, at, size in table]
        where = f"a page of the hypervisor that {name} has mapped: both write it" + ("; in the layout of 32 bits, without names" if domain.narrow else "")
    rows = rows_of(data, frozenset(at - at % ROW for _, at, _ in table))
    return {"name": which, "domain": name, "where": where, "size": len(data), "fields": fields, "rows": rows, "zero_rows": -(-len(data) // ROW) - len(rows)}


def _first(lab: Lab, domain: Domain, vcpu: Translated | Pv, what: str) -> int:
    """Return the first frame of what was laid out in a domain."""
    return next(first for first, _, kind in laid_out(lab, domain, vcpu) if kind == what)


def _told_otherwise(lab: Lab, domain: Domain, vcpu: Translated) -> dict[str, Any]:
    """What a guest is told by that has no start_info: hvm_start_info (PVH), or a device tree (ARM)."""
    arm = vcpu.cpu.arch != "x86"
    address = _first(lab, domain, vcpu, "device tree" if arm else "start_info") << PAGE_SHIFT
    data = bytes(vcpu.cpu.physical(address, 1_024 if arm else hvm.START_INFO.size) or b"")
    fields, at = [], 0
    for field, size in () if arm else HVM_FIELDS:
        value = int.from_bytes(data[at : at + size], "little")
        fields.append([field, at, size, f"{value:#x}", "address" if field.endswith("_paddr") and value else ""])
        at += size
    rows = rows_of(data)
    where = f"no start_info: {domain.name} is told by {'a device tree' if arm else 'hvm_start_info'}, at {address:#x}"
    return {"where": where, "size": len(data), "fields": fields, "rows": rows, "zero_rows": -(-len(data) // ROW) - len(rows)}


def _start(domain: Domain, field: str, raw: bytes) -> tuple[str, str]:
    """The value and the meaning of a field of start_info; the guest may have written anything there since."""
    if field in ("magic", "cmd_line"):
        return '"' + visible(raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace"), 120) + '"', "text, ended by a zero"
    number = int.from_bytes(raw, "little")
    memory = domain.memory
    match field:
        case "nr_pages":
            return f"{number:,}", f"pages of 4 KiB: {number / 256:g} MiB"
        case "shared_info":
            return f"{number:#x}", f"machine address: frame {number >> PAGE_SHIFT:#x}, to be mapped"
        case "flags":
            return f"{number:#x}", "privileged" if number & start_info.SIF_PRIVILEGED else "an ordinary domain"
        case "store_mfn" | "console.domU.mfn":
            if not memory.owns(number):
                return f"{number:#x}", "not a frame of this domain"
            what = "xenstore ring" if field == "store_mfn" else "console ring"
            return f"{number:#x}", f"machine frame: page {number - memory.base} of this domain, the {what}"
        case "store_evtchn" | "console.domU.evtchn":
            return f"{number}", "event channel port"
        case "mfn_list":
            return f"{number:#x}", f"address of the pfn -> mfn list: page {number >> PAGE_SHIFT}"
        case "pt_base" | "nr_pt_frames" | "mod_start" | "mod_len" | "first_p2m_pfn" | "nr_p2m_frames":
            return f"{number:#x}", "not used by a Python guest" if not number else ""
        case _:
            return f"{number:#x}", ""


def _shared(field: str, raw: bytes) -> tuple[str, str]:
    number = int.from_bytes(raw, "little")
    match field.rpartition(".")[2]:
        case "evtchn_upcall_pending":
            return str(number), "an upcall is due" if number else "no upcall is due"
        case "evtchn_upcall_mask":
            return str(number), "upcalls are held back" if number else "upcalls come through"
        case "evtchn_pending_sel":
            return f"{number:#x}", f"look at {_bits(raw, 'word', 'words')} of evtchn_pending" if number else "no word to look at"
        case "evtchn_pending":
            return _bits(raw, "port", "ports"), "a bit for each port: an event came"
        case "evtchn_mask":
            return _bits(raw, "port", "ports"), "a bit for each port: its events are held back"
        case "wc_sec":
            return f"{number:,}", f"wall clock at system time 0: {datetime.fromtimestamp(number, UTC):%Y-%m-%d %H:%M:%S} UTC"
        case "version" | "wc_version":
            return str(number), "odd while it is being written"
        case "system_time" | "tsc_timestamp" | "wc_nsec":
            return f"{number:,}", "ns"
        case "tsc_to_system_mul":
            return f"{number:#x}", "ns = (tsc << tsc_shift) * this / 2^32"
        case "tsc_shift":
            return str(int.from_bytes(raw, "little", signed=True)), ""
        case "vcpu_info[1..31]" | "arch":
            return "zero" if not number else "set", "not used by a Python guest" if not number else ""
        case _:
            return f"{number:#x}", ""


def _bits(raw: bytes, one: str, many: str) -> str:
    """The numbers of the bits that are set, the first dozen."""
    number = int.from_bytes(raw, "little")
    count = number.bit_count()
    if not count:
        return f"no {one}"
    found = list[int]()
    while number and len(found) < 12:
        low = number & -number
        found.append(low.bit_length() - 1)
        number ^= low
    listed = ", ".join(map(str, found)) + (f" and {count - len(found):,} more" if count > len(found) else "")
    return f"{one if count == 1 else many} {listed}"


def bytes_picture(lab: Lab, name: str, which: str, width: float) -> Svg:
    """Return the structure as a picture: rows of bytes, and the fields that say something."""
    seen = structure(lab, name, which)
    rows = seen["rows"][:16]
    fields = [field for field in seen["fields"] if field[3] not in ("0", "0x0", "zero", '""')][:16]
    picture = Svg(width, 64 + 16 * max(len(rows), len(fields)), f"{which} of {name}", seen["where"])
    picture.text(16, 24, f"{which} of {name}", size=13, bold=True)
    picture.text(width - 16, 24, f"{seen['size']:,} bytes; rows of zeros left out", size=11, anchor="end", fill=MUTED)
    for index, (at, octets, characters) in enumerate(rows):
        y = 48 + 16 * index
        picture.text(16, y, f"{at:04x}", size=10, mono=True, fill=MUTED)
        picture.text(52, y, " ".join(octets[place : place + 2] for place in range(0, len(octets), 2)), size=10, mono=True)
        picture.text(350, y, characters, size=10, mono=True, fill=MUTED)
    picture.line(width * 0.54, 36, width * 0.54, 48 + 16 * max(len(rows), len(fields)), stroke=FAINT)
    for index, (field, at, size, value, _) in enumerate(fields):
        y = 48 + 16 * index
        picture.text(width * 0.56, y, f"{at:04x}", size=10, mono=True, fill=MUTED, tip=f"{size} bytes")
        picture.text(width * 0.56 + 36, y, field.replace("vcpu_info[0].", ""), size=10, fill=OKABE_ITO[0], limit=24)
        picture.text(width * 0.56 + 170, y, value, size=10, mono=True, fill=INK, limit=32)
    return picture
