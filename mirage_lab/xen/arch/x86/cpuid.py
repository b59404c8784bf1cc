"""cpuid: what the CPU of a guest says it is: a plain x86-64 of our own, and Xen's leaves (arch-x86/cpuid.h)."""

from __future__ import annotations

import struct
from typing import Final

from mirage_lab.xen.abi import hvm, version

__all__ = ["cpuid"]

Leaf = tuple[int, int, int, int]


def _text(text: bytes) -> tuple[int, int, int]:
    return struct.unpack("<3I", text)


def _bits(*bits: int) -> int:
    return sum(1 << bit for bit in bits)


_VENDOR = _text(b"MirageLabCPU")
_XEN = _text(b"XenVMMXenVMM")
_EDX: Final = _bits(0, 3, 4, 5, 6, 8, 9, 11, 13, 15, 19, 23, 24, 25, 26)
"""FPU, PSE, TSC, MSR, PAE, CX8, APIC, SEP, PGE, CMOV, CLFSH, MMX, FXSR, SSE, SSE2."""
_ECX: Final = _bits(0, 13, 23, 31)
"""SSE3, CX16, POPCNT, hypervisor present."""

_LEAVES: Final[dict[int, Leaf]] = {
    0: (7, _VENDOR[0], _VENDOR[2], _VENDOR[1]),
    1: (0x0006_0F01, 0x0001_0800, _ECX, _EDX),
    hvm.CPUID_BASE: (hvm.CPUID_BASE + 4, *_XEN),
    hvm.CPUID_BASE + 1: (version.MAJOR << 16 | version.MINOR, 0, 0, 0),
    hvm.CPUID_BASE + 2: (1, hvm.HYPERCALL_MSR, 0, 0),
    0x8000_0000: (0x8000_0008, 0, 0, 0),
    0x8000_0001: (0, 0, 1, _bits(11, 20, 27, 29)),  # LAHF; SYSCALL, NX, RDTSCP, long mode
    0x8000_0007: (0, 0, 0, 1 << 8),  # the TSC never changes its pace
    0x8000_0008: (0x3028, 0, 0, 0),  # 40 physical bits, 48 virtual
}


def cpuid(leaf: int, subleaf: int) -> Leaf:
    """Return eax, ebx, ecx, edx; zeros for a leaf that is not there."""
    if leaf == hvm.CPUID_BASE + 3:
        return (0, 0, 1_000_000, 0) if subleaf == 0 else (0, 0, 0, 0)  # a TSC of 1 GHz, in kHz
    return _LEAVES.get(leaf, (0, 0, 0, 0))
