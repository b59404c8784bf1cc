"""xen: an emulated Xen: hypervisor, xenstore, dom0 and the drivers of Python guests, all in the bytes of the real one.

    guest (minios, netfront, ...) ──┐                        ┌── dom0 (netback, consoled, toolstack, xenstored)
          rings, grants, events ────┴── gate ── hypervisor ──┴──
                                        abi: the public headers as codecs

Sources: xen/include/public, mirage-platform, mirage-net-xen.  Read abi, hypervisor, guest.minios, then dom0.toolstack.
"""
