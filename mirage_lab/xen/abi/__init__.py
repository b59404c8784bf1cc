"""abi: Xen's public headers as codecs; all that guests, dom0 and the hypervisor have in common.

One module per header: numbers as constants, structures as `struct.Struct` in x86-64 layout with a drawing of their fields,
and the few rules that belong to the layout (how a pending bit is found, how a ring index wraps).  Offsets are those gcc
gives for xen/include/public, 64-bit; a test compares them.

Reading order: xen, errno, gate, shared_info, start_info, event_channel, evtchn, grant_table, sched, io.
"""
