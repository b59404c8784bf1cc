"""privileged: instructions that ring 3 may not execute, and that Xen carries out for a PV guest (xen/arch/x86/traps.c: emulate_privileged_op).

    #GP ─▶ the instruction at rip is one of the table ─▶ done, rip behind it
    #UD ─▶ ud2; .ascii "xen"; cpuid ─▶ cpuid as a guest is to see it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirage_lab.xen.abi import pv, shared_info
from mirage_lab.xen.arch.x86.ring3 import CR0, CR4, TS

if TYPE_CHECKING:
    from mirage_lab.xen.arch.x86.pv import Pv

__all__ = ["FORCED_CPUID", "carry_out", "forced_cpuid"]

FORCED_CPUID: Final = b"\x0f\x0bxen\x0f\xa2"
_REGISTERS: Final = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
EFER: Final = 0xC000_0080
APIC_BASE: Final = 0x1B


def forced_cpuid(vcpu: Pv) -> bool:
    """Carry out ud2, "xen", cpuid, if that is what rip is at."""
    cpu = vcpu.cpu
    rip = cpu.read("rip")
    if cpu.load(rip, len(FORCED_CPUID)) != FORCED_CPUID:
        return False
    cpu._cpuid()
    cpu.write("rip", rip + len(FORCED_CPUID))
    return True


def carry_out(vcpu: Pv) -> bool:
    """Carry out the instruction at rip; False if a guest may not have it done."""
    cpu = vcpu.cpu
    rip = cpu.read("rip")
    code = cpu.load(rip, 4) or cpu.load(rip, 3) or cpu.load(rip, 2) or cpu.load(rip, 1) or b""
    rex, at = 0, 0
    if code and code[0] & 0xF0 == 0x40:
        rex, at = code[0], 1
    first = code[at : at + 1]
    if first == b"\x0f":
        second, operand = code[at + 1 : at + 2], code[at + 2 : at + 3]
        size = _two_bytes(vcpu, second, operand, rex)
        size += size and at + 1
    else:
        size = at + 1 if _one_byte(vcpu, first) else 0
    if size:
        cpu.write("rip", rip + size)
    return bool(size)


def _one_byte(vcpu: Pv, opcode: bytes) -> bool:
    shared = vcpu.domain.info
    match opcode:
        case b"\xfa":
            shared[shared_info.UPCALL_MASK] = 1
        case b"\xfb":
            shared[shared_info.UPCALL_MASK] = 0
        case b"\xf4":
            vcpu.domain.block()
        case _:
            return False
    return True


def _two_bytes(vcpu: Pv, opcode: bytes, operand: bytes, rex: int) -> int:
    """Carry out 0f `opcode`; return its bytes behind the 0f, 0 if it is none of these."""
    match opcode:
        case b"\x06":
            vcpu.set_ts(False)
        case b"\x08" | b"\x09":
            """invd, wbinvd: there are no caches."""
        case b"\x30" | b"\x32":
            return 1 if _msr(vcpu, opcode == b"\x30") else 0
        case b"\x20" | b"\x22" if operand and operand[0] >= 0xC0:
            number = operand[0] >> 3 & 7 | (rex << 1 & 8)
            register = _REGISTERS[operand[0] & 7 | (rex << 3 & 8)]
            return 2 if _control(vcpu, number, register, opcode == b"\x22") else 0
        case b"\x21" | b"\x23" if operand and operand[0] >= 0xC0:
            number, register = operand[0] >> 3 & 7, _REGISTERS[operand[0] & 7 | (rex << 3 & 8)]
            if opcode == b"\x23":
                return 2 if vcpu.set_debugreg([number, vcpu.cpu.read(register)]) == 0 else 0
            vcpu.cpu.write(register, vcpu.debug[number])
            return 2
        case _:
            return 0
    return 1


def _msr(vcpu: Pv, write: bool) -> bool:
    cpu = vcpu.cpu
    number = cpu.read("rcx") & 0xFFFF_FFFF
    if write:
        value = (cpu.read("rdx") & 0xFFFF_FFFF) << 32 | cpu.read("rax") & 0xFFFF_FFFF
        return vcpu.traps.set_base(number, value) if number in (pv.FS_BASE, pv.GS_BASE, pv.SHADOW_GS) else True
    if number in (pv.FS_BASE, pv.GS_BASE, pv.SHADOW_GS):
        value = vcpu.traps.base(number)
    else:
        value = {EFER: 0xD01, APIC_BASE: 0xFEE0_0900}.get(number, 0)
    cpu.write("rax", value & 0xFFFF_FFFF)
    cpu.write("rdx", value >> 32)
    return True


def _control(vcpu: Pv, number: int, register: str, write: bool) -> bool:
    """mov to or from a control register."""
    cpu, shared = vcpu.cpu, vcpu.domain.info
    at = shared_info.VCPU_INFO + shared_info.VCPU_ARCH
    if not write:
        values = {
            0: CR0 & ~TS | (TS if vcpu.ts else 0),
            2: int.from_bytes(shared[at : at + 8], "little"),
            3: cpu.root,
            4: CR4,
        }
        if number in values:
            cpu.write(register, values[number])
        return number in values
    value = cpu.read(register)
    match number:
        case 0:
            if (value ^ CR0) & ~TS:
                return False
            vcpu.set_ts(bool(value & TS))
        case 2:
            shared[at : at + 8] = value.to_bytes(8, "little")
        case 3:
            index = vcpu.mmu.frames.owned(value >> 12)
            return index >= 0 and vcpu.mmu.use(index) == 0
        case 4:
            return value == CR4
        case _:
            return False
    return True
