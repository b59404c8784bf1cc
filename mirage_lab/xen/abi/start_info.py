"""start_info: what the domain builder tells a PV guest (xen.h, x86-64; 1168 bytes, at the start of its page).

    0    magic[32]            88   pt_base        u64 (VA)
    32   nr_pages       u64   96   nr_pt_frames   u64
    40   shared_info    u64   104  mfn_list       u64 (VA)    one u64 per page: pfn -> mfn
    48   flags          u32   112  mod_start      u64 (VA)
    56   store_mfn      u64   120  mod_len        u64
    64   store_evtchn   u32   128  cmd_line[1024]
    72   console.domU.mfn u64 1152 first_p2m_pfn  u64
    80   console.domU.evtchn u32   1160 nr_p2m_frames u64
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from mirage_lab.xen.abi.xen import Mfn, Port

SIZE: Final = 1168
MAGIC: Final = "xen-3.0-x86_64"
CMD_LINE: Final = 128
MAX_CMDLINE: Final = 1024
CONSOLE_EVTCHN: Final = 80
SIF_PRIVILEGED: Final = 1
SIF_INITDOMAIN: Final = 2

LAYOUT: Final = struct.Struct("<32sQQI4xQI4xQI4xQQQQQ1024sQQ")

FIELDS: Final[tuple[tuple[str, int, int], ...]] = (
    ("magic", 0, 32),
    ("nr_pages", 32, 8),
    ("shared_info", 40, 8),
    ("flags", 48, 4),
    ("store_mfn", 56, 8),
    ("store_evtchn", 64, 4),
    ("console.domU.mfn", 72, 8),
    ("console.domU.evtchn", 80, 4),
    ("pt_base", 88, 8),
    ("nr_pt_frames", 96, 8),
    ("mfn_list", 104, 8),
    ("mod_start", 112, 8),
    ("mod_len", 120, 8),
    ("cmd_line", 128, 1024),
    ("first_p2m_pfn", 1152, 8),
    ("nr_p2m_frames", 1160, 8),
)
"""Name, offset and bytes of each field, as xen.h calls them, in the order of `LAYOUT`."""


@dataclass(frozen=True, slots=True)
class StartInfo:
    """The start_info of one domain; `shared_info` is a machine address, `mfn_list` a virtual one."""

    nr_pages: int
    shared_info: int
    store_mfn: Mfn
    store_evtchn: Port
    console_mfn: Mfn
    console_evtchn: Port
    mfn_list: int
    cmd_line: str = ""
    flags: int = 0
    pt_base: int = 0
    nr_pt_frames: int = 0
    mod_start: int = 0
    mod_len: int = 0
    first_p2m_pfn: int = 0
    nr_p2m_frames: int = 0
    magic: str = MAGIC

    def encode(self) -> bytes:
        """Return the 1168 bytes; a command line of 1024 bytes or more is cut (its end is a zero)."""
        line = self.cmd_line.encode()[: MAX_CMDLINE - 1]
        return LAYOUT.pack(
            self.magic.encode(),
            self.nr_pages,
            self.shared_info,
            self.flags,
            self.store_mfn,
            self.store_evtchn,
            self.console_mfn,
            self.console_evtchn,
            self.pt_base,
            self.nr_pt_frames,
            self.mfn_list,
            self.mod_start,
            self.mod_len,
            line,
            self.first_p2m_pfn,
            self.nr_p2m_frames,
        )

    @classmethod
    def decode(cls, page: bytes | bytearray | memoryview) -> StartInfo:
        """Read the structure at the start of `page`."""
        (
            magic,
            nr_pages,
            shared_info,
            flags,
            store_mfn,
            store_evtchn,
            console_mfn,
            console_evtchn,
            pt_base,
            nr_pt_frames,
            mfn_list,
            mod_start,
            mod_len,
            cmd_line,
            first_p2m_pfn,
            nr_p2m_frames,
        ) = LAYOUT.unpack_from(page)
        return cls(
            nr_pages=nr_pages,
            shared_info=shared_info,
            store_mfn=Mfn(store_mfn),
            store_evtchn=Port(store_evtchn),
            console_mfn=Mfn(console_mfn),
            console_evtchn=Port(console_evtchn),
            mfn_list=mfn_list,
            cmd_line=_text(cmd_line),
            flags=flags,
            pt_base=pt_base,
            nr_pt_frames=nr_pt_frames,
            mod_start=mod_start,
            mod_len=mod_len,
            first_p2m_pfn=first_p2m_pfn,
            nr_p2m_frames=nr_p2m_frames,
            magic=_text(magic),
        )


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode(errors="replace")
