"""arch: domains whose code is machine code: what lies between a CPU of `vcpu` and the hypervisor that all domains share.

    vcpu.run() ─▶ Exit ─▶ arch.x86: the registers are a hypercall ─▶ hypervisor.hypercall(nr, op, arg) ─▶ registers
    a port becomes pending ─▶ shared_info ─▶ machine.kick() ─▶ the callback vector, when the guest lets it in

The hypercall table, event channels, grants and xenstore are those of Python guests.
"""
