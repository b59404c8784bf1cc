"""The arms of a module, and the module without one of them.

An arm is the body of an `if` or of its `else`, or one side of an `and` or `or`.  Without it the body never runs, or the other sides decide.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

__all__ = ["Arm", "arms", "without"]


@dataclass(frozen=True, slots=True)
class Arm:
    """The `number`-th arm of a file, in the function `where` at `line`; `text` is the condition that opens it."""

    file: Path
    number: int
    where: str
    line: int
    text: str

    @property
    def key(self) -> str:
        """What it is called in the list of those that nothing can miss; it has no line, so that it stays."""
        return f"{self.file.stem}.{self.where}: {self.text}"


class _Arms(ast.NodeTransformer):
    """Visits the arms in order, and takes out the one with the number `gone`."""

    def __init__(self, file: Path, gone: int = -1) -> None:
        self.file = file
        self.gone = gone
        self.found: list[Arm] = []
        self._names: list[str] = []

    def _arm(self, node: ast.expr | ast.stmt, text: str) -> bool:
        self.found.append(Arm(self.file, len(self.found), ".".join(self._names), node.lineno, text))
        return len(self.found) - 1 == self.gone

    def _inside(self, node: ast.AST) -> ast.AST:
        assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        self._names.append(node.name)
        self.generic_visit(node)
        self._names.pop()
        return node

    visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _inside

    def visit_If(self, node: ast.If) -> ast.AST:
        text = ast.unparse(node.test)
        out = self._arm(node.test, f"if {text}")
        other = bool(node.orelse) and not isinstance(node.orelse[0], ast.If) and self._arm(node.orelse[0], f"else of if {text}")
        self.generic_visit(node)
        if out:
            node.test = ast.copy_location(ast.Constant(False), node.test)
        if other:
            node.orelse = []
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        neutral = isinstance(node.op, ast.And)
        whole = ast.unparse(node)
        for at, value in enumerate(node.values):
            if self._arm(value, f"{ast.unparse(value)} in {whole}"):
                node.values[at] = ast.copy_location(ast.Constant(neutral), value)
        self.generic_visit(node)
        return node


def arms(file: Path) -> list[Arm]:
    """Return the arms of a Python file, in order."""
    visitor = _Arms(file)
    visitor.visit(ast.parse(file.read_text(encoding="utf-8")))
    return visitor.found


def without(file: Path, number: int) -> CodeType:
    """Return the code of a file without one arm; raises IndexError if it has no such arm."""
    visitor = _Arms(file, number)
    tree = visitor.visit(ast.parse(file.read_text(encoding="utf-8")))
    if not 0 <= number < len(visitor.found):
        raise IndexError(f"{file.name} has {len(visitor.found)} arms; there is no {number}")
    return compile(ast.fix_missing_locations(tree), str(file), "exec")
