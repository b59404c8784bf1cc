"""arch: domains whose code is machine code: what lies between a CPU of `vcpu` and the hypervisor that all domains share.

    vcpu.run() ─▶ Exit ─▶ Vcpu: the registers are a hypercall ─▶ calls ─▶ hypervisor.hypercall(nr, op, arg) ─▶ registers
    a port becomes pending ─▶ shared_info ─▶ Vcpu.kick() ─▶ the guest's handler, when the guest lets it in

The hypercall table, event channels, grants and xenstore are those of Python guests.  Read vcpu, calls, translated, cuts, recorded, then x86 and arm.
"""
