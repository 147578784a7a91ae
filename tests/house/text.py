"""Lines of the package, and the first sentences of its docstrings."""

from __future__ import annotations

import ast

from tests.house.sources import docstring_lines, sources

WIDTH = 110
QUESTIONS = {
    "How", "What", "Whatever", "When", "Whenever", "Where", "Wherever", "Whether", "Which", "Whichever", "Who", "Whoever",
    "Whom", "Whose", "Why",
}  # fmt: skip


def docstring_count() -> int:
    """Return the number of docstrings of modules, classes and functions."""
    return sum(ast.get_docstring(node) is not None for source in sources() for node in source.documented)


def questions() -> list[str]:
    """Return the docstrings whose summary begins with a question word."""
    found = []
    for source in sources():
        for node in source.documented:
            summary = (ast.get_docstring(node) or "").partition("\n")[0]
            if summary.split(" ")[0].rstrip(",") in QUESTIONS:
                found.append(f"{source.place(docstring_lines(node).start)}: {summary}")
    return found


def long_lines() -> list[str]:
    """Return the lines over the formatter's width, rows of tables in docstrings left out."""
    return [
        f"{source.place(number)}: {len(line)} characters"
        for source in sources()
        for number, line in enumerate(source.lines, 1)
        if len(line) > WIDTH and not line.lstrip().startswith("|")
    ]


def unformatted() -> list[str]:
    """Return the places where the formatter is told to look away."""
    mark = "# fmt: " + "skip"
    return [
        source.place(number)
        for source in sources()
        for number, line in enumerate(source.lines, 1)
        if mark in line or "# fmt: " + "off" in line
    ]


def line_count() -> int:
    """Return the number of lines of the package."""
    return sum(len(source.lines) for source in sources())


def undocumented_line_count() -> int:
    """Return the number of lines without those of docstrings, which are to grow."""
    documented = sum(len(docstring_lines(node)) for source in sources() for node in source.documented)
    return line_count() - documented
