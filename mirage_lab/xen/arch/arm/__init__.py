"""arm: ARM guests of 64 and 32 bits: hypercalls by hvc, PSCI, an interrupt controller (GICv2), the virtual timer.

    a port becomes pending ─▶ vcpu_info ─▶ interrupt 31 ─▶ GIC ─▶ the guest's IRQ vector ─▶ IAR ... EOIR

There is no callback to register and no start_info: a guest reads its device tree (Xen: docs/misc/arm/device-tree/guest.txt,
xen/arch/arm/vgic-v2.c, vpsci.c; include/public/arch-arm.h).  Read gic, psci, then vcpu.
"""
