"""xen: a hypervisor, its guests and its control domain, in real bytes.

Theory of operation.  A `hypervisor.Hypervisor` owns the machine's frames, the domains, event channels, grant tables and
timers of one world.  A domain is a run queue (its vCPU), a memory and a `Gate`: the one way in, `gate.call(nr, op, arg)`,
with the real hypercall numbers, structures in their x86-64 layout and real errno values.  Nothing a guest passes can raise
out of the gate.  Guests (`guest`) and the control domain (`dom0`) share only `abi`, the public headers as codecs: what
one writes into a page, the other reads from it.

    guest/minios  netfront  console            dom0/toolstack  builder  consoled  netback  xenstore
         |                                          |
         +---- gate.call ----> hypervisor <---- gate.call
         +---- shared pages: start_info, shared_info, rings, grant entries (abi) ----+

The originals: Xen 4.4 (xen/include/public), Mini-OS and mirage-platform 1.1 and 2.0, libxl/libxc 4.4.
Reading order: abi, hypervisor, guest.minios, dom0.builder, dom0.toolstack, xenstore, dom0.netback.
"""
