"""dom0: the control domain: builder, toolstack, console daemon and back ends.

Theory of operation.  `Dom0` is domain 0 with a run queue, a gate and an event loop of its own.  The toolstack, a person's
`xl`, builds domains in the order of libxl 4.4 and hangs them on the daemons here: the xenstore and console daemons map
their rings by grant references 0 and 1 and bind their event channels, netback watches the store.

The originals: libxl and libxc of Xen 4.4, xenconsoled, Linux netback.
Reading order: image, dom0, builder, toolstack, consoled, netback.
"""
