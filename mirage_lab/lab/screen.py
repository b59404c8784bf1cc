"""screen: what a terminal would show of what a guest printed: the moves of a VT100 that kernels and boot loaders use.

    ESC [ row ; column H    go there          ESC [ n A B C D    up, down, right, left        ESC [ n G, n d   column, row
    ESC [ n J, n K          erase             ESC [ ... m        colours: not shown           CR LF BS TAB     as always

Everything else is left out, and the size is fixed: a guest may print what it likes.  (ECMA-48; the VT100 user guide.)
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["Screen"]

COLUMNS: Final = 80
ROWS: Final = 24
_PIECES: Final = re.compile(r"\x1b\[([0-9;?]{0,32})([@-~])|\x1b\[[0-9;?]*|\x1b[()][A-Z0-9]|\x1b[^\[]?|[\x00-\x1a\x1c-\x1f\x7f]|[^\x00-\x1f\x7f]+")


class Screen:
    """A terminal of `columns` and `rows`; `feed` it text, and look at `lines`."""

    def __init__(self, columns: int = COLUMNS, rows: int = ROWS) -> None:
        self.columns = columns
        self.rows = rows
        self.row = 0
        self.column = 0
        self._cells = [self._blank() for _ in range(rows)]

    def _blank(self) -> list[str]:
        return [" "] * self.columns

    @property
    def lines(self) -> list[str]:
        """The rows, without spaces at their ends, down to the last that is not empty."""
        found = ["".join(row).rstrip() for row in self._cells]
        while found and not found[-1]:
            found.pop()
        return found

    def feed(self, text: str) -> None:
        """Take what a guest printed; an escape sequence that is cut off at the end is left out."""
        for piece in _PIECES.finditer(text):
            final = piece[2]
            if final is not None:
                self._control(final, piece[1])
            elif piece[0][0] >= " " and piece[0] != "\x7f":
                self._print(piece[0])
            else:
                self._character(piece[0])

    def _print(self, text: str) -> None:
        for character in text:
            if self.column == self.columns:
                self._character("\r")
                self._character("\n")
            self._cells[self.row][self.column] = character
            self.column += 1

    def _character(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            if self.row < self.rows - 1:
                self.row += 1
            else:
                self._cells = [*self._cells[1:], self._blank()]
        elif character == "\b":
            self.column = max(0, self.column - 1)
        elif character == "\t":
            self.column = min(self.columns - 1, (self.column // 8 + 1) * 8)

    def _control(self, final: str, numbers: str) -> None:
        values = [min(int(number), 9_999) if number.isdigit() else 0 for number in numbers.split(";")]
        n = values[0] or 1
        column = min(self.column, self.columns - 1)
        match final:
            case "A":
                self._go(self.row - n, column)
            case "B":
                self._go(self.row + n, column)
            case "C":
                self._go(self.row, column + n)
            case "D":
                self._go(self.row, column - n)
            case "G":
                self._go(self.row, n - 1)
            case "d":
                self._go(n - 1, column)
            case "H" | "f":
                self._go(n - 1, (values[1] if len(values) > 1 and values[1] else 1) - 1)
            case "J":
                self._erase(values[0], whole=True)
            case "K":
                self._erase(values[0], whole=False)
            case _:
                """Colours, modes, and what a VT100 does not know."""

    def _go(self, row: int, column: int) -> None:
        self.row = min(max(row, 0), self.rows - 1)
        self.column = min(max(column, 0), self.columns - 1)

    def _erase(self, how: int, *, whole: bool) -> None:
        """Erase to the end (0), from the beginning (1) or all (2), of the line or of the whole screen."""
        here = min(self.column, self.columns - 1)
        row = self._cells[self.row]
        if how in (0, 2):
            row[here if how == 0 else 0 :] = [" "] * (self.columns - (here if how == 0 else 0))
        elif how == 1:
            row[: here + 1] = [" "] * (here + 1)
        if whole:
            others = {0: range(self.row + 1, self.rows), 1: range(self.row), 2: range(self.rows)}.get(how, range(0))
            for number in others:
                self._cells[number] = self._blank()
