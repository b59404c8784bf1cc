"""dom0: the control domain: what a machine needs beside its hypervisor (libxl, xenconsoled, Linux netback and blkback).

    toolstack  create, unpause, pause, destroy, list, console, dmesg      consoled   takes what domains print
    builder    a domain from an image, step by step                        netback    the other end of every vif
    image      what is built                                               blkback    the other end of every vbd
    disk       what a vbd is made of

Only `toolstack` and `builder` touch the hypervisor's objects, as the privileged calls of a toolstack do; the others are
ordinary kernel code behind dom0's hypercall gate.
"""

from mirage_lab.xen.dom0.disk import Disk
from mirage_lab.xen.dom0.image import Image
from mirage_lab.xen.dom0.toolstack import Toolstack, VifConfig

__all__ = ["Disk", "Image", "Toolstack", "VifConfig"]
