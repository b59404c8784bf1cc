"""native: guests of your own: C or assembly in, a bootable image out (Xen: docs/misc/pvh.pandoc, arch-arm.h).

    source ── reach: includes what it may ── toolchain: clang, ld.lld of ziglang ── flattening (ARM) ──▶ Image
                                               └ cache: compiled once            └ diagnostics: at the line of the source

    guest/include    guest.h and xen.h: what a guest has at hand, and what it says to Xen
    guest/runtime    print, events, time, xenstore, grants; x86_64, aarch64, armv7: from the entry to main

    examples         hello, ticks, ping and pong, lend and borrow, fault: the files of skeleton/native as images

Read targets, compiling, then guest/include/guest.h and guest/x86_64/start.S.  The compiler is the extra `native`; it is a
program of its own, and nothing here needs Jupyter.
"""

from mirage_lab.tool.native.compiling import compile_guest
from mirage_lab.tool.native.diagnostics import CompileError, Diagnostic
from mirage_lab.tool.native.examples import borrow, fault, hello, hello_hex, httpd, lend, ping, pong, ticks
from mirage_lab.tool.native.toolchain import NativeMissing

__all__ = ["CompileError", "Diagnostic", "NativeMissing", "borrow", "compile_guest", "fault", "hello", "hello_hex", "httpd", "lend", "ping", "pong", "ticks"]
