"""Recipes of the documentation: what they print is checked with all pages (test_readme.py), here that it is what the rules say."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from executed_notebooks import Executed
from oracle import interpret
from oracle.comparing import bytes_of, said_by_engine, said_by_oracle

import flowdsl as fd
from flowdsl.operators import OPERATORS

# the page is run once
pytestmark = pytest.mark.xdist_group("recipes")
ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "recipes.md"


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_notebook", ROOT / "docs" / "make_notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = maker()
TEXT = PAGE.read_text("utf-8")
RECIPES = {name: (code, printed) for name, code, printed in MAKER.recipes(TEXT)}


class Given(fd.EntityGraph):
    """A graph that knows what it was made of."""

    def __init__(self, entities: Any = None, links: Any = None, **options: Any) -> None:
        super().__init__(entities, links, **options)
        self.given = (entities or {}, links or [], options)


@dataclass(frozen=True)
class Shown:
    """What a recipe replays."""

    flows: list[fd.Flow]
    events: list[dict[str, Any]]
    graph: Given | None
    options: dict[str, Any]

    def replay(self, **options: Any) -> fd.Result:
        return fd.replay(self.flows, self.events, self.graph, **self.options, **options)


@cache
def shown() -> dict[str, list[Shown]]:
    """Run the page, and take down what each recipe shows."""
    found: dict[str, list[Shown]] = {name: [] for name in RECIPES}
    names: dict[str, Any] = {"print": lambda *_: None}
    plain = fd.EntityGraph
    fd.EntityGraph = Given  # type: ignore[misc]
    try:
        head = TEXT.partition("```python\n")[2].partition("```")[0]
        exec(head, names)
        for name, (code, _) in RECIPES.items():
            names["show"] = taking_down(found[name])
            exec(code, names)
    finally:
        fd.EntityGraph = plain  # type: ignore[misc]
    return found


def taking_down(found: list[Shown]) -> Callable[..., None]:
    def show(flows: Any, history: Any, graph: Any = None, **options: Any) -> None:
        events = [{"timestamp": f"2026-01-{time}:00Z", "event": event} for time, event in history]
        found.append(Shown(flows if isinstance(flows, list) else [flows], events, graph, options))

    return show


@pytest.mark.parametrize("name", RECIPES)
def test_the_plain_interpreter_says_the_same_of_a_recipe(name: str):
    for one in shown()[name]:
        entities, links, options = one.graph.given if one.graph is not None else ({}, [], {})
        numbered = [{**event, "seq_no": number} for number, event in enumerate(one.events, 1)]
        outcome = interpret(one.flows, numbered, entities, links, **one.options, **options)
        expected = said_by_oracle(outcome, one.flows)
        found = said_by_engine(one.replay(), one.flows)
        for part, said in expected.items():
            assert found[part] == said, part


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_gives_the_same_in_chunks_of_one_event_and_from_its_own_text(name: str):
    for one in shown()[name]:
        whole = bytes_of(one.replay())
        assert bytes_of(one.replay(chunk_size=1)) == whole
        for flow in one.flows:
            names: dict[str, Any] = {}
            exec(flow.to_python(), names)
            assert [value for value in names.values() if isinstance(value, fd.Flow)] == [flow]


def test_a_recipe_says_what_each_operator_is_for():
    used = {
        step.method
        for recipe in shown().values()
        for one in recipe
        for flow in one.flows
        for step in flow.steps
    }
    assert used == {operator.method for operator in OPERATORS.own.values()}


def test_no_recipe_shows_nothing():
    assert len(RECIPES) >= 30
    assert [name for name, found in shown().items() if not found] == []


def test_the_notebook_is_what_the_page_says(tmp_path: Path):
    assert MAKER.NOTEBOOK.read_text("utf-8") == MAKER.notebook_text(TEXT), "make it anew: make recipes"
    run = Executed("recipes.ipynb", tmp_path)
    assert {name: run.printed(name) for name in RECIPES} == {
        name: printed for name, (_, printed) in RECIPES.items()
    }
