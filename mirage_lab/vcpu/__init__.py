"""vcpu: a CPU that runs until it has something to say: `run()` returns an Exit, a value, and never raises out of a guest.

    cpu.run(count, until) ──▶ Exit HYPERCALL │ FIRMWARE │ MSR │ IO │ MMIO │ HALT │ FAULT │ BUDGET
    cpu.read("rax"), cpu.write("rip", 0x1000), cpu.map(address, buffer), cpu.save(), cpu.restore(saved)

Like KVM's and Xen's own vCPU loops (vcpu_run, vmx_vmexit_handler): the CPU knows nothing of domains, and whoever runs it
decides what an exit means.  The instructions are carried out by Unicorn, an optional extra (mirage_lab[guests]); it is
imported in `emulator` alone.  A guest is stopped after a number of instructions, never by a clock: two runs are the same.

Read exits, then cpu; x86 and paging, or arm, aarch64, aarch32, armpaging and timer; then emulator; for a debugger snapshot,
disassembly, symbols and executed.
"""

from mirage_lab.vcpu.emulator import GuestsMissing
from mirage_lab.vcpu.exits import Exit, Why

__all__ = ["Exit", "GuestsMissing", "Why"]
