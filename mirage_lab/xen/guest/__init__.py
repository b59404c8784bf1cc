"""guest: the kernel a Python unikernel is linked with: Mini-OS and the front ends (mirage-platform, mirage-net-xen).

    minios      start_kernel: what comes up, in which order        xenstore   client over the ring page
    (events     abi.evtchn: upcalls to handlers)                     xenbus     states of a device, waiting for the other end
    mm, gnttab  pages and grants                                   netfront   NETWORK over two rings
    console     CONSOLE over its ring                              blkfront   BLOCK over one

Guests meet dom0 only in `abi`: shared pages, event channels, xenstore.
"""
