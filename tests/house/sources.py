"""The files of the package, parsed once for all measures."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "flowdsl"
Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = Function | ast.ClassDef | ast.Module


@dataclass(frozen=True)
class Source:
    """One file of the package."""

    path: Path
    lines: list[str]
    tree: ast.Module

    @property
    def name(self) -> str:
        """Return the last part of the module's name, or of its package's for an `__init__`."""
        return self.path.parent.name if self.path.stem == "__init__" else self.path.stem

    def place(self, line: int) -> str:
        """Return `file:line`, as editors take it."""
        return f"{self.path.relative_to(ROOT)}:{line}"

    @cached_property
    def documented(self) -> list[Documented]:
        """Return the module and every class and function in it, nested ones included."""
        return [node for node in ast.walk(self.tree) if isinstance(node, Documented)]

    @property
    def functions(self) -> list[Function]:
        """Return every function and method, nested ones included."""
        return [node for node in self.documented if isinstance(node, Function)]

    @property
    def classes(self) -> list[ast.ClassDef]:
        """Return every class, nested ones included."""
        return [node for node in self.documented if isinstance(node, ast.ClassDef)]


@cache
def sources() -> tuple[Source, ...]:
    """Return all files of the package, sorted by path."""
    return tuple(_read(path) for path in sorted(PACKAGE.rglob("*.py")))


def _read(path: Path) -> Source:
    text = path.read_text("utf-8")
    return Source(path, text.splitlines(), ast.parse(text))


def docstring_lines(node: Documented) -> range:
    """Return the line numbers that the docstring of a node takes, none without one."""
    if ast.get_docstring(node, clean=False) is None:
        return range(0)
    first = node.body[0]
    return range(first.lineno, (first.end_lineno or first.lineno) + 1)
