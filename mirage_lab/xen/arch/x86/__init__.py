"""x86: PVH guests: 32-bit entry, hypercall page, CPUID leaves, callback vector (Xen: docs/misc/pvh.pandoc, xen/arch/x86/hvm)."""
