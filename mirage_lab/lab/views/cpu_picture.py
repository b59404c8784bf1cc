"""cpu_picture: a guest of machine code as a picture: registers, the code around the next instruction, memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mirage_lab.lab.views.boot_memory import memory_picture
from mirage_lab.tracing.svg import INK, MUTED, OKABE_ITO, Svg

if TYPE_CHECKING:
    from mirage_lab.lab.lab import Lab

__all__ = ["cpu_picture"]

WIDTH: Final = 860
ROW: Final = 16
CODE_AT: Final = 250
MOST: Final = 18


def cpu_picture(lab: Lab, name: str, told: dict[str, Any]) -> str:
    """Return the picture; `told` is what the view says of the CPU."""
    registers, code = told["registers"], told["code"][:MOST]
    lines = sum(1 + bool(row[3]) for row in code)
    height = 76 + ROW * max(len(registers) + 1, lines, 1)
    desc = f"{told['mode']}, at 0x{told['pc']}; " + ", ".join(f"{key} {value}" for key, value in registers)
    above = Svg(WIDTH, height, f"the CPU of {name}", desc)
    above.text(16, 26, name, size=14, bold=True, limit=40)
    above.text(WIDTH - 16, 26, f"{told['mode']} · {told['exits']:,} exits · {told['instructions']:,} instructions", size=11, anchor="end", fill=MUTED)
    y = 56.0
    for key, value in registers:
        here = key in ("rip", "eip", "pc")
        above.text(16, y, key, size=11, mono=True, fill=MUTED)
        above.text(76, y, value, size=11, mono=True, bold=here)
        y += ROW
    above.text(16, y, "flags", size=11, mono=True, fill=MUTED)
    above.text(76, y, told["flags"], size=11, mono=True, limit=22)
    _code(above, told, code)
    below = memory_picture(lab, name, WIDTH)
    whole = Svg(WIDTH, above.height + below.height + 8, above.title, above.desc)
    whole.place(above, 0, 0)
    whole.place(below, 0, above.height + 8)
    return str(whole)


def _code(picture: Svg, told: dict[str, Any], code: list[list[str]]) -> None:
    y = 56.0
    if told["wrong"]:
        picture.text(CODE_AT, y, told["wrong"], size=11, limit=90)
    for address, data, words, label, target in code:
        if label:
            picture.text(CODE_AT + 18, y, f"{label}:", size=11, mono=True, bold=True, limit=60)
            y += ROW
        if address == told["pc"]:
            picture.rect(CODE_AT, y - 12, WIDTH - CODE_AT - 16, ROW, fill="#fff3c4", stroke=OKABE_ITO[4])
            picture.path(f"M{CODE_AT + 4} {y - 8:g}L{CODE_AT + 12} {y - 4:g}L{CODE_AT + 4} {y:g}Z", fill=INK, stroke="none")
        picture.text(CODE_AT + 18, y, address, size=11, mono=True, fill=MUTED)
        picture.text(CODE_AT + 140, y, data, size=11, mono=True, fill=MUTED, limit=20)
        picture.text(CODE_AT + 290, y, words + (f"  <{target}>" if target else ""), size=11, mono=True, limit=44)
        y += ROW
