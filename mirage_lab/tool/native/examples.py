"""examples: the guests of skeleton/native as images, for each architecture: `examples.ticks("aarch64")`.

`ping` and `pong`, `lend` and `borrow` are two halves of one: they look for each other in xenstore.  `hello_hex` needs no compiler.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mirage_lab.skeleton.native import source
from mirage_lab.tool.native.compiling import compile_guest
from mirage_lab.tool.native.hexed import read_hex
from mirage_lab.xen.dom0.image import Image

__all__ = ["borrow", "fault", "hello", "hello_hex", "httpd", "lend", "ping", "pong", "ticks"]


def hello(arch: str = "x86_64", **options: Any) -> Image:
    """Say hello on the console ring, and shut down."""
    return _example("hello", arch, options)


def ticks(arch: str = "x86_64", **options: Any) -> Image:
    """Say something every 100 ms, by the machine's timer."""
    return _example("ticks", arch, options)


def ping(arch: str = "x86_64", **options: Any) -> Image:
    """Send events to `pong` over an event channel, and measure how long they take there and back."""
    return _example("ping", arch, options)


def pong(arch: str = "x86_64", **options: Any) -> Image:
    """Send each event of `ping` back."""
    return _example("pong", arch, options)


def lend(arch: str = "x86_64", **options: Any) -> Image:
    """Grant a page to `borrow`, until that has read it."""
    return _example("lend", arch, options)


def borrow(arch: str = "x86_64", **options: Any) -> Image:
    """Read a page that `lend` has granted: a copy, or with cmdline="map" the page itself."""
    return _example("borrow", arch, options)


def fault(arch: str = "x86_64", **options: Any) -> Image:
    """Write where nothing may be written; `cmdline` is null (as without it), wild, code or stack: `vm.why()` tells what came of it."""
    return _example("fault", arch, options)


def httpd(arch: str = "x86_64", *, address: str = "10.0.0.2/24", **options: Any) -> Image:
    """Answer HTTP with a page of one line, at an IPv4 address of the lan that vif/0 is plugged into."""
    image = _example("httpd", arch, {**options, "cmdline": address})
    return replace(image, manifest={**image.manifest, "netifs": ("0",), "address": address})


def hello_hex() -> Image:
    """Return hello for x86 as it was put together by hand, byte by byte (`mirage_lab.skeleton.native.source("hello.hex")`)."""
    return Image("hello", kind="elf", memory_mib=4, manifest={"netifs": (), "arch": "x86_64"}, data=read_hex(source("hello.hex")))


def _example(name: str, arch: str, options: dict[str, Any]) -> Image:
    return compile_guest(source(name), arch, name, **options)
