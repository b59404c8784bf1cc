"""native: example guests in C: each file is one, to read and to change.

    hello.c   says hello on the console ring            hello.hex           the same without a compiler, byte by byte
    ticks.c   a line every 100 ms                       ping.c and pong.c   play over an event channel
    fault.c   writes where nothing may be written       lend.c and borrow.c a page for another domain
    httpd.c   a web server of one page, on <net.h>
"""

from __future__ import annotations

from pathlib import Path

from mirage_lab.signatures.errors import UnknownName

__all__ = ["source"]


def source(name: str) -> str:
    """Return the source of an example, `hello` or `ticks`; raises UnknownName."""
    room = Path(__file__).parent
    there = sorted(path.name for path in room.iterdir() if path.suffix in (".c", ".hex"))
    wanted = name if "." in name else f"{name}.c"
    if wanted not in there:
        raise UnknownName(f"there is no example {name!r}: {', '.join(there)}")
    return (room / wanted).read_text(encoding="utf-8")
