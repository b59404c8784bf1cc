"""devicetree: what an ARM guest reads to learn of its machine (Xen: tools/libs/light/libxl_arm.c; Linux: bindings/arm/xen.txt).

    / ─┬─ chosen          bootargs
       ├─ cpus, psci      one CPU; power by hvc
       ├─ memory@40000000
       ├─ interrupt-controller@3001000      GICv2: its interrupts 16 to 31 are written <1 n-16 flags>
       ├─ timer           the virtual one: 27
       └─ hypervisor      "xen,xen-4.x", "xen,xen"; where grants may be mapped; the interrupt of event channels: 31
"""

from __future__ import annotations

from typing import Any, Final

from mirage_lab.signatures.errors import MirageError
from mirage_lab.xen.abi import arm, version

__all__ = ["device_tree"]

GIC_PHANDLE: Final = 65_000
LONGEST_CMDLINE: Final = 2_048
LEVEL_LOW: Final = 0xF08
"""Flags of an interrupt of its own: active low, level, of CPUs 0 to 3 and on."""


def device_tree(bits: int, ram: int, cmdline: str, ramdisk: tuple[int, int] = (0, 0)) -> bytes:
    """Return the flattened tree of a guest with `ram` bytes, and a ramdisk from one address to another.

    Raises MirageError without the library that makes it.
    """
    try:
        import fdt
    except ImportError:
        raise MirageError("an ARM guest needs a device tree: pip install 'mirage_lab[guests]' (fdt)") from None
    tree = fdt.FDT()
    for path, properties in _nodes(bits, ram, cmdline):
        for name, value in properties.items():
            tree.set_property(name, value, path)
    if ramdisk[1] > ramdisk[0]:
        for name, address in zip(("linux,initrd-start", "linux,initrd-end"), ramdisk, strict=True):
            tree.set_property(name, [address >> 32, address & 0xFFFF_FFFF], "/chosen")
    return bytes(tree.to_dtb(17))


def _nodes(bits: int, ram: int, cmdline: str) -> list[tuple[str, dict[str, Any]]]:
    """The nodes in order: path and properties (None: one without a value)."""
    cpu, timer = ("arm,armv8", "arm,armv8-timer") if bits == 64 else ("arm,cortex-a15", "arm,armv7-timer")
    xen = f"{version.MAJOR}.{version.MINOR}"
    psci = ["arm,psci-1.0", "arm,psci-0.2", "arm,psci"]
    lines = (arm.TIMER_PHYS_S_PPI, arm.TIMER_PHYS_NS_PPI, arm.TIMER_VIRT_PPI)
    gic = {
        "compatible": "arm,cortex-a15-gic",
        "#interrupt-cells": 3,
        "#address-cells": 0,
        "interrupt-controller": None,
        "reg": _ranges((arm.GICD_BASE, arm.GICD_SIZE), (arm.GICC_BASE, arm.GICC_SIZE)),
        "phandle": GIC_PHANDLE,
    }
    hypervisor = {
        "compatible": [f"xen,xen-{xen}", "xen,xen"],
        "reg": _ranges((arm.GNTTAB_BASE, arm.GNTTAB_SIZE)),
        "interrupts": _ppi(arm.EVTCHN_PPI),
        "interrupt-parent": GIC_PHANDLE,
    }
    return [
        ("/", {"compatible": [f"xen,xenvm-{xen}", "xen,xenvm"], "#address-cells": 2, "#size-cells": 2, "interrupt-parent": GIC_PHANDLE}),
        ("/chosen", {"bootargs": cmdline.encode()[: LONGEST_CMDLINE - 1] + b"\0"}),
        ("/cpus", {"#address-cells": 1, "#size-cells": 0}),
        ("/cpus/cpu@0", {"device_type": "cpu", "compatible": cpu, "enable-method": "psci", "reg": 0}),
        ("/psci", {"compatible": psci, "method": "hvc", "cpu_off": arm.PSCI_CPU_OFF, "cpu_on": arm.PSCI_CPU_ON}),
        (f"/memory@{arm.RAM_BASE:x}", {"device_type": "memory", "reg": _ranges((arm.RAM_BASE, ram))}),
        (f"/interrupt-controller@{arm.GICD_BASE:x}", gic),
        ("/timer", {"compatible": timer, "interrupts": [word for line in lines for word in _ppi(line)]}),
        ("/hypervisor", hypervisor),
    ]


def _ppi(line: int) -> list[int]:
    """One of the CPU's own interrupts, as three cells."""
    return [1, line - 16, LEVEL_LOW]


def _ranges(*ranges: tuple[int, int]) -> list[int]:
    """Addresses and sizes, two cells each."""
    return [word for pair in ranges for number in pair for word in (number >> 32, number & 0xFFFF_FFFF)]
