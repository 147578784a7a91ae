"""The measures of the house count what they say, and none gets worse than its record."""

from __future__ import annotations

import ast

from tests.house import public
from tests.house.functions import body_lines, complexity
from tests.house.measures import measures, recorded


def function_of(code: str) -> ast.FunctionDef:
    (node,) = ast.parse(code).body
    assert isinstance(node, ast.FunctionDef)
    return node


def test_no_measure_is_worse_than_its_record():
    record, found = recorded(), measures()
    assert {measure.key for measure in found} == set(record), "run python -m tests.house --record"
    worse = [
        f"{m.title}: {m.text(m.value)}, recorded are {m.text(record[m.key])}; python -m tests.house --list {m.key}"
        for m in found
        if m.value > record[m.key]
    ]
    assert not worse, "\n".join(worse)


def test_every_branch_counts_and_functions_inside_count_for_themselves():
    node = function_of("""
def f(rows):
    \"\"\"Twice.

    And more.
    \"\"\"
    def inner(row):
        return row if row else None
    if rows and rows[0] or not rows:
        return [row for row in rows if row]
    return inner
""")
    # one, the if, two operators, the comprehension and its condition
    assert complexity(node) == 6
    assert body_lines(node) == 5


def test_a_docstring_is_complete_with_all_that_the_signature_asks_for():
    def bare(rows: int) -> int:
        """Return the rows."""
        if not rows:
            raise ValueError(rows)
        return rows

    def full(rows: int) -> int:
        """Return the rows.

        Parameters
        ----------
        rows
            How many.

        Returns
        -------
        The same.

        Raises
        ------
        ValueError
            Without any.

        >>> 1 + 1
        2
        """
        if not rows:
            raise ValueError(rows)
        return rows

    assert public.lacking(bare) == ["Parameters", "Returns", "Raises", "example"]
    assert public.lacking(full) == []


def test_methods_of_public_classes_are_public():
    names = public.public_callables()
    assert {"flowdsl.on", "flowdsl.Flow.where", "flowdsl.sinks.InApp.page", "flowdsl.log.open_log"} <= set(
        names
    )
    assert not [name for name in names if name.rpartition(".")[2].startswith("_")]
