"""x86: the two kinds of guest of x86 (Xen: docs/misc/pvh.pandoc, xen/arch/x86/hvm, xen/arch/x86/pv).

    PVH   pvh        32-bit entry, a machine of its own: hypercall page, CPUID leaves, callback vector
    PV    pv         ring 3, frames of the machine; read ring3, xenspace, frames, pvmmu, ptwr, pvtraps, privileged
"""
