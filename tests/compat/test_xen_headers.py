"""Our xen.h beside Xen's public headers (package libxen-dev), compiled for each machine; our images read by Xen's own tool and by file."""

from __future__ import annotations

import io
import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("ziglang")
pytest.importorskip("elftools")

from mirage_lab import native
from mirage_lab.tool.native.targets import COMMON, INCLUDE, TARGETS
from mirage_lab.tool.native.toolchain import Toolchain

ARCHES = ("x86_64", "aarch64", "armv7")
REAL = ("xen", "version", "memory", "sched", "vcpu", "event_channel", "grant_table")
REAL += ("hvm/hvm_op", "hvm/params", "arch-x86/hvm/start_info", "io/console", "io/xs_wire")
FIELDS = {
    "evtchn_alloc_unbound": "dom remote_dom port",
    "evtchn_bind_interdomain": "remote_dom remote_port local_port",
    "evtchn_bind_virq": "virq vcpu port",
    "evtchn_close": "port",
    "evtchn_send": "port",
    "evtchn_unmask": "port",
    "sched_poll": "ports nr_ports timeout",
    "sched_shutdown": "reason",
    "grant_entry_v1": "flags domid frame",
    "gnttab_map_grant_ref": "host_addr flags ref dom status handle dev_bus_addr",
    "gnttab_unmap_grant_ref": "host_addr dev_bus_addr handle status",
    "gnttab_setup_table": "dom nr_frames status frame_list",
    "gnttab_copy": "source dest len flags status source.domid source.offset",
    "xen_add_to_physmap": "domid size space idx gpfn",
    "xen_hvm_param": "domid index value",
    "shared_info": "vcpu_info evtchn_pending evtchn_mask wc_version wc_sec wc_nsec",
    "vcpu_info": "evtchn_upcall_pending evtchn_pending_sel time",
    "vcpu_time_info": "version tsc_timestamp system_time tsc_to_system_mul tsc_shift flags",
    "xencons_interface": "in out in_cons in_prod out_cons out_prod",
    "xenstore_domain_interface": "req rsp req_cons req_prod rsp_cons rsp_prod",
    "xsd_sockmsg": "type req_id tx_id len",
    "hvm_start_info": "magic version flags nr_modules modlist_paddr cmdline_paddr rsdp_paddr memmap_paddr memmap_entries",
    "hvm_memmap_table_entry": "addr size type",
}
OPEN_ENDED = ("shared_info", "xencons_interface", "xenstore_domain_interface")
"""Pages of which ours names the beginning: their size is not compared."""


def names() -> list[str]:
    """Every number that our xen.h gives a name, but those of C and of errno, which Xen's headers call otherwise."""
    text = (INCLUDE / "xen.h").read_text()
    found = re.findall(r"^#define ([A-Za-z_]\w*) \S+$", text, re.MULTILINE) + re.findall(r"^    (XS_\w+) = ", text, re.MULTILINE)
    return [name for name in found if not re.fullmatch(r"E[A-Z0-9]+|PAGE_SHIFT|PAGE_SIZE", name)]


def expressions() -> list[str]:
    """What is asked of both."""
    asked = [f"sizeof(struct {name})" for name in FIELDS if name not in OPEN_ENDED]
    return asked + [f"__builtin_offsetof(struct {name}, {field})" for name, fields in FIELDS.items() for field in fields.split()] + names()


def answers(arch: str, headers: str, includes: list[Path], work: Path) -> dict[str, int]:
    """Compile the expressions with some headers, and read the values out of the object file."""
    to, asked = TARGETS[arch], expressions()
    (work / "asked.c").write_text(f"#include <stdint.h>\n#include <stddef.h>\n{headers}const uint64_t values[] = {{\n" + ",\n".join(asked) + "\n};\n")
    flags = ["clang", "--no-default-config", f"--target={to.triple}", *to.flags, *COMMON, *(f"-I{path}" for path in includes)]
    done = Toolchain(work, work).run([*flags, "-c", "asked.c", "-o", "asked.o"])
    assert done.code == 0, done.said
    from elftools.elf.elffile import ELFFile

    section = ELFFile(io.BytesIO((work / "asked.o").read_bytes())).get_section_by_name(".rodata.values")
    return dict(zip(asked, struct.unpack(f"<{len(asked)}Q", section.data())))


@pytest.mark.parametrize("arch", ARCHES)
def test_numbers_sizes_and_offsets_of_xen_h_are_those_of_xens_public_headers(arch: str, require_file: Callable[[Path, str], Path], tmp_path: Path) -> None:
    real = require_file(Path("/usr/include/xen/xen.h"), "libxen-dev").parent.parent
    ours = answers(arch, "#include <xen.h>\n", [INCLUDE], tmp_path)
    (tmp_path / "xen").symlink_to(real / "xen")
    headers = "#define __XEN_INTERFACE_VERSION__ 0x00040d00\n" + "".join(f"#include <xen/{name}.h>\n" for name in REAL)
    theirs = answers(arch, headers, [tmp_path, INCLUDE], tmp_path)
    assert ours == theirs and len(ours) > 150


def test_xens_own_tool_reads_the_note_of_our_image(require_file: Callable[[Path, str], Path], tmp_path: Path) -> None:
    tool = require_file(Path("/usr/lib/xen-4.17/bin/readnotes"), "xen-utils-4.17")
    for name, image in (("compiled", native.hello()), ("by-hand", native.hello_hex())):
        (tmp_path / name).write_bytes(image.data)
        done = subprocess.run([tool, tmp_path / name], capture_output=True, text=True, check=False)
        assert re.match(r"PHYS32_ENTRY: +0x1000(00|88) \(4 bytes\)", done.stdout), done.stdout + done.stderr


def test_file_knows_our_images_for_arm(require: Callable[[str], str], tmp_path: Path) -> None:
    said = {"aarch64": "Linux kernel ARM64 boot executable Image, little-endian, 4K pages", "armv7": "Linux kernel ARM boot executable zImage (little-endian)"}
    for arch, expected in said.items():
        (tmp_path / arch).write_bytes(native.hello(arch).data)
        assert subprocess.run([require("file"), "-b", tmp_path / arch], capture_output=True, text=True, check=True).stdout.strip() == expected
