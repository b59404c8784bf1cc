"""examples: the guests of skeleton/native as images."""

from __future__ import annotations

from typing import Any

from mirage_lab.skeleton.native import source
from mirage_lab.tool.native.compiling import compile_guest
from mirage_lab.xen.dom0.image import Image

__all__ = ["hello"]


def hello(arch: str = "x86_64", **options: Any) -> Image:
    """Say hello on the console ring, and shut down."""
    return compile_guest(source("hello"), arch, "hello", **options)
