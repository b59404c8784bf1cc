"""words: a filter's text cut into words, each with its place, and the error that points at one."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mirage_lab.signatures.errors import MirageError

__all__ = ["END", "LONGEST", "SPELLINGS", "FilterError", "Word", "words"]

LONGEST: Final = 1_000
"""Characters of a filter."""

END: Final = "end"


class FilterError(MirageError):
    """A display filter that cannot be read: `reason`, the `text`, where in it (`at`, counted from 0) and how long (`length`)."""

    def __init__(self, reason: str, text: str, at: int, length: int = 1) -> None:
        line = "".join(letter if letter.isprintable() else " " for letter in text[:LONGEST])
        super().__init__(f"{reason}\n  {line}\n  {' ' * at}^{'~' * (length - 1)}")
        self.reason = reason
        self.text = text
        self.at = at
        self.length = length


class Word(NamedTuple):
    """A word: its kind ("word", "string", "slice", an operator as itself, or "end"), its text, and its place."""

    kind: str
    text: str
    at: int
    length: int


SPELLINGS: Final = {
    "and": "and",
    "&&": "and",
    "or": "or",
    "||": "or",
    "not": "not",
    "!": "not",
    "eq": "==",
    "any_eq": "==",
    "==": "==",
    "ne": "!=",
    "all_ne": "!=",
    "!=": "!=",
    "any_ne": "~=",
    "!==": "~=",
    "~=": "~=",
    "all_eq": "===",
    "===": "===",
    "gt": ">",
    ">": ">",
    "lt": "<",
    "<": "<",
    "ge": ">=",
    ">=": ">=",
    "le": "<=",
    "<=": "<=",
    "&": "&",
    "bitwise_and": "&",
    "in": "in",
    "contains": "contains",
    "matches": "matches",
    "~": "matches",
}
"""How each operator can be spelled, and what it is called here."""

_WORD: Final = re.compile(
    r"""(?P<string>r?"(?:[^"\\]|\\.)*")"""
    r"""|(?P<slice>\[[^\]]*\])"""
    r"""|(?P<mark>===|!==|==|!=|~=|>=|<=|&&|\|\||\.\.|[><!&~(){},])"""
    r"""|(?P<word>[+-]?[A-Za-z0-9_:](?:[A-Za-z0-9_:/-]|\.(?!\.))*)""",
    re.DOTALL,
)


def words(text: str) -> list[Word]:
    """Return the words of `text`, the last of kind END; raises FilterError."""
    found: list[Word] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = _WORD.match(text, at)
        if match is None:
            raise FilterError(_unread(text[at]), text, at)
        said = match[0]
        kind = match.lastgroup or ""
        if kind in ("mark", "word"):
            kind = SPELLINGS.get(said, "word" if kind == "word" else said)
        elif kind == "string":
            said = said[2:-1].replace("\\", "\\\\") if said.startswith("r") else said[1:-1]
        found.append(Word(kind, said, at, match.end() - at))
        at = match.end()
    found.append(Word(END, "", len(text), 1))
    return found


def _unread(letter: str) -> str:
    told = {
        '"': 'the string that begins here has no closing "',
        "[": "the slice that begins here has no closing ]",
        "=": "one = says nothing: == compares",
        "|": "one | says nothing: || is or",
        "'": 'a string is written in "double quotes"',
    }
    return told.get(letter, f"{letter!r} is not a part of a filter")
