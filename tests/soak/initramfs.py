"""initramfs: files as the first things a Linux finds, in an archive (cpio, "newc": Documentation/driver-api/early-userspace/buffer-format)."""

from __future__ import annotations

import stat

DIRECTORY = stat.S_IFDIR | 0o755
DEVICE = stat.S_IFCHR | 0o600
PROGRAM = stat.S_IFREG | 0o755
FILE = stat.S_IFREG | 0o644


def archive(files: dict[str, tuple[int, bytes]]) -> bytes:
    """Return an archive of files by name: mode and contents; of a device the contents are its two numbers."""
    out = b""
    for number, (name, (mode, data)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], 1):
        major, minor = data if mode == DEVICE else (0, 0)
        data = b"" if mode == DEVICE else data
        called = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(called), 0)
        for piece in (b"070701" + b"".join(b"%08x" % field for field in fields) + called, data):
            out += piece + bytes(-len(piece) % 4)
    return out
