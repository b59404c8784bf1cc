"""pvh: the vCPU of a PVH guest: 32-bit entry, hypercall page by MSR, callback vector, local APIC (docs/misc/pvh.pandoc)."""

from __future__ import annotations

from typing import Final

from mirage_lab.runtime import costs
from mirage_lab.vcpu.exits import Exit, Why
from mirage_lab.vcpu.x86 import IF, X86
from mirage_lab.xen.abi import hvm, shared_info, version
from mirage_lab.xen.abi.errno import EINVAL, ERESTART
from mirage_lab.xen.abi.gate import Arg
from mirage_lab.xen.abi.xen import PAGE_SIZE
from mirage_lab.xen.arch.calls import hypercall
from mirage_lab.xen.arch.translated import Translated
from mirage_lab.xen.arch.x86.cpuid import cpuid
from mirage_lab.xen.hypervisor import Domain, Hypervisor

__all__ = ["LAPIC", "Pvh", "hypercall_page"]

LAPIC: Final = 0xFEE0_0000
REGISTERS: Final = ("rax", "rdi", "rsi", "rdx", "r10", "r8", "rbx", "rcx")
APIC_BASE_MSR: Final = 0x1B
VMCALL: Final = b"\x0f\x01\xc1"
_APIC_VERSION, _APIC_EOI, _APIC_SVR = 0x30, 0xB0, 0xF0


def hypercall_page() -> bytes:
    """Return the page of entries `mov eax, N; vmcall; ret`, 32 bytes each."""
    entries = (b"\xb8" + number.to_bytes(4, "little") + VMCALL + b"\xc3" for number in range(PAGE_SIZE // hvm.HYPERCALL_SLOT))
    return b"".join(entry.ljust(hvm.HYPERCALL_SLOT, b"\xcc") for entry in entries)


class Pvh(Translated):
    """The one vCPU of a PVH domain."""

    cpu: X86
    features = (*Translated.features, version.FEATURE_HVM_CALLBACK_VECTOR, version.FEATURE_HVM_SAFE_PVCLOCK)

    def __init__(self, xen: Hypervisor, domain: Domain, params: dict[int, int], regions: list[tuple[int, int, int]]) -> None:
        cpu = X86(lambda: self.clock, cpuid, look_ns=costs.EXIT)
        cpu.no_ports()
        cpu.watch_syscalls()
        super().__init__(xen, domain, cpu, params, regions)
        self.vector = 0
        self.through_lapic = False
        self.in_service = False
        self._settled = False
        self._registers = cpu.emulator.batch(*REGISTERS)
        cpu.device(LAPIC, PAGE_SIZE, self._lapic_read, self._lapic_write)

    def start(self, entry: int, start_info: int) -> None:
        """Put the CPU at the entry; it runs when the domain is unpaused."""
        self.cpu.enter32(entry, start_info)
        self.begin()

    @property
    def _due(self) -> bool:
        """True if the guest is to be interrupted."""
        return bool(self.domain.info[shared_info.UPCALL_PENDING] and self.vector and not self.in_service)

    def _answer(self, found: Exit) -> None:
        match found.why:
            case Why.HYPERCALL:
                self._hypercall()
            case Why.MSR:
                self._msr(found)
            case Why.SYSCALL:
                if not self.cpu.system_call() and not self.cpu.deliver(6):
                    self.crash(self._triple(Exit(Why.EXCEPTION, vector=6)))
            case Why.HALT:
                self._halt()
            case Why.EXCEPTION:
                if not self.cpu.deliver(found.vector, found.error):
                    self.crash(self._triple(found))
            case Why.FAULT:
                self.crash(found.detail)
            case _:
                """Nothing is asked."""

    def _hypercall(self) -> None:
        """The registers hold a hypercall: rax, and rdi rsi rdx r10 r8 in 64 bits, rbx rcx rdx rsi rdi in 32."""
        cpu = self.cpu
        if not self._settled:  # it needs no hypercall page (Linux since XSA-466), or says the number of its register outright
            self._settled = True
            cpu.watch_msrs_only(APIC_BASE_MSR, hvm.HYPERCALL_MSR)
        rax, rdi, rsi, rdx, r10, r8, rbx, rcx = self._registers.read()
        if cpu.long_mode:
            args = [rdi, rsi, rdx, r10, r8]
            ret = hypercall(self.xen, self.domain, cpu, rax, args, True)
            if ret == -ERESTART:
                self.restart(3, rdi=args[0], rsi=args[1])
            else:
                cpu.write("rax", ret & 0xFFFF_FFFF_FFFF_FFFF)
        else:
            args = [value & 0xFFFF_FFFF for value in (rbx, rcx, rdx, rsi, rdi)]
            ret = hypercall(self.xen, self.domain, cpu, rax & 0xFFFF_FFFF, args, False)
            if ret == -ERESTART:
                self.restart(3, rbx=args[0], rcx=args[1])
            else:
                cpu.write("rax", ret & 0xFFFF_FFFF)

    def _halt(self) -> None:
        if self.cpu.read("eflags") & IF:
            self.halt()
        else:
            self.power_off("its CPU halts with interrupts off, and nothing can wake it")

    def _upcall(self) -> None:
        self.in_service = self.through_lapic
        if not self.cpu.deliver(self.vector):
            self.crash(f"the callback vector {self.vector} leads to no handler in its descriptor table")

    def _triple(self, found: Exit) -> str:
        names = {0: "division by zero", 6: "an instruction that is none", 13: "a general protection fault", 14: "a page fault"}
        what = names.get(found.vector, f"exception {found.vector}")
        where = f" at {self.cpu.read('rip'):#x}"
        touched = f", on address {self.cpu.read('cr2'):#x}" if found.vector == 14 else ""
        return f"{what}{where}{touched}, and the guest has no handler for it (a triple fault)"

    # model-specific registers and the local APIC -----------------------------------------------------------------

    def _msr(self, found: Exit) -> None:
        cpu = self.cpu
        if found.value is None:
            value = LAPIC | 0x900 if found.number == APIC_BASE_MSR else 0
            cpu.write("rax", value & 0xFFFF_FFFF)
            cpu.write("rdx", value >> 32)
        elif found.number == hvm.HYPERCALL_MSR:
            page = cpu.physical(found.value & ~0xFFF, PAGE_SIZE)
            if page is not None and not page.readonly:
                page[:] = hypercall_page()
                self._settled = True
                cpu.watch_msrs_only(APIC_BASE_MSR)  # of the others the CPU knows those there are

    def _lapic_read(self, offset: int, size: int) -> int:
        return 0x0005_0014 if offset == _APIC_VERSION else 0x1FF if offset == _APIC_SVR else 0

    def _lapic_write(self, offset: int, size: int, value: int) -> None:
        if offset == _APIC_EOI:
            self.in_service = False

    def devices(self) -> bool:
        """Return whether an interrupt of the local APIC is in service."""
        return self.in_service

    def set_devices(self, kept: bool) -> None:
        """Have it so."""
        self.in_service = kept

    # what the hypervisor asks of it ------------------------------------------------------------------------------

    @property
    def _narrow(self) -> bool:
        return not self.cpu.long_mode

    def _place(self, gpfn: int) -> memoryview | int:
        return -EINVAL if gpfn == LAPIC // PAGE_SIZE else super()._place(gpfn)

    def hvm_op(self, op: int, arg: Arg) -> int:
        """Hypercall 34: parameters, and the vector of the upcall."""
        if op != hvm.SET_EVTCHN_UPCALL_VECTOR:
            return super().hvm_op(op, arg)
        vcpu, vector = hvm.UPCALL_VECTOR_ARG.unpack_from(arg)
        if vcpu != 0 or vector < 16:
            return -EINVAL
        self.vector, self.through_lapic = vector, True
        return 0

    def _set_callback(self, value: int) -> int:
        self.latch()
        if value >> 56 == hvm.CALLBACK_VECTOR:
            self.vector, self.through_lapic = value & 0xFF, False
            self.kick()
        return 0
