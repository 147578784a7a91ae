"""Form fields for operators' options, and completions from the data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from flowdsl.operators import OPERATORS
from flowdsl.operators.options import Option
from flowdsl.operators.scope import ANY

if TYPE_CHECKING:
    from flowdsl.notebook.log_sample import SampledLog
    from flowdsl.operators.scope import ValueShape

# limits of completions: depth of paths, their number, length of an example
DEPTH: Final = 4
MOST: Final = 200
WIDTH: Final = 60


def operator_list() -> list[dict[str, str]]:
    """Return the available operators: YAML name, Python method, description and example."""
    return [
        {"name": o.name, "method": o.method, "summary": o.summary, "example": o.example}
        for o in OPERATORS.values()
    ]


def control(option: Option) -> str:
    """Return the kind of form field for an option, such as `template`, `choice`, `flag`, `path` or `duration`

    >>> {name: control(option) for name, option in OPERATORS["deduplicate"].yaml_options().items()}
    {'key': 'paths', 'window': 'duration'}
    """
    return option.kind.control


def offered_by(option: Option) -> str | None:
    """Return the completion list of a field: `paths`, `links`, `entities` or `examples`; None if it has
    none.
    """
    return option.kind.offers


def examples_of(option: Option) -> list[str]:
    """Return the examples of a declaration as a list."""
    found: list[str] = []
    for example in option.schema.get("examples", ()):
        found += (
            map(str, example)
            if isinstance(example, list)
            else [example if isinstance(example, str) else json.dumps(example)]
        )
    return found


def paths_of(name: str, shape: ValueShape, values: Iterable[Any]) -> list[list[str]]:
    """Return the readable paths of a variable, each with an example from the data (JSON, or "")

    `values` are values of the variable that occurred. Paths that only its declaration has are included.

    >>> paths_of("owner", ANY, [{"id": "u1", "name": None}, {"id": "u2", "name": "Ann", "tags": []}])
    [['owner', '{2 fields}'], ['owner.id', '"u1"'], ['owner.name', '"Ann"'], ['owner.tags', '[0 items]']]
    """
    found: dict[str, str] = {}
    _known(found, name, shape)
    for value in values:
        _collect_below(found, name, value, 0)
    return [[path, example] for path, example in found.items()][:MOST]


def _known(found: dict[str, str], path: str, shape: ValueShape = ANY) -> None:
    found.setdefault(path, "")
    for name, inner in (shape.fields or {}).items():
        _known(found, f"{path}.{name}", inner)


def _collect_below(found: dict[str, str], path: str, value: Any, depth: int) -> None:
    """Collect the paths below a value; it fills in examples that earlier values lacked."""
    if not found.get(path):
        found[path] = "" if value is None else example_text(value)
    if isinstance(value, Mapping) and depth < DEPTH:
        for name, inner in list(value.items())[:MOST]:
            # keys with a dot cannot be part of a path
            if name and "." not in name:
                _collect_below(found, f"{path}.{name}", inner, depth + 1)


def example_text(value: Any) -> str:
    """Return a value as short text: JSON, or the size of an object or list."""
    if isinstance(value, Mapping):
        return "{" + f"{len(value)} fields" + "}"
    if isinstance(value, list):
        return f"[{len(value)} items]"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def types_of(history: SampledLog) -> dict[str, list[list[str]]]:
    """Return the link and entity types of the log and graph, with their event counts."""
    return {
        name: [[type_, f"{count:,} events"] for type_, count in history.types(family).items()]
        for name, family in (("links", "link"), ("entities", "entity"))
    }
