"""Words in a JSON Schema that only editors read: those of yaml-language-server and of VS Code.

Validators leave them alone. An editor shows `markdownDescription` and inserts `defaultSnippets`; of
`examples` it offers each as a value, which only texts and numbers can be.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flowdsl.production.emitter import block_lines, inline
from flowdsl.values.python_values import with_leaves

# null is allowed, but editors do not suggest it: an option without a value is better left out
_QUIET_NULL: Final = {"not": {"not": {"type": "null"}}}
_SHOWN: Final = ("title", "description", "markdownDescription", "examples", "default", "defaultSnippets")


def for_editors(schema: Any) -> Any:
    """Return the schema with keywords for editors; validators accept the same values as before."""
    if isinstance(schema, list):
        return [for_editors(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    # a property can have the name of a keyword
    inner = {
        name: {key: for_editors(part) for key, part in value.items()}
        if name in ("properties", "$defs", "patternProperties")
        else value
        if name in ("examples", "default", "enum", "const", "defaultSnippets")
        else for_editors(value)
        for name, value in schema.items()
    }
    return _with_quiet_null(_with_shown_examples(inner))


def with_examples(text: str, examples: Sequence[Any]) -> str:
    """Return Markdown followed by examples in YAML."""
    shown = [f"Example:\n\n```yaml\n{_yaml(example)}```" for example in examples]
    return "\n\n".join([text, *shown])


def fields_of(example: Any) -> Any:
    """Return an example as the body of a snippet, with fields to fill in one after the other."""
    numbers = itertools.count(1)

    def field(value: Any) -> str:
        # escape the characters that end a field or begin another
        text = inline(value).replace("$", r"\$").replace("}", r"\}")
        return f"${{{next(numbers)}:{text}}}"

    return with_leaves(example, field)


def _yaml(example: Any) -> str:
    return "".join(f"{line}\n" for line in block_lines(example))


def _with_shown_examples(schema: dict[str, Any]) -> dict[str, Any]:
    """Show examples that are mappings or lists in the description; offer one of free form as a snippet."""
    examples = schema.get("examples", [])
    structured = [one for one in examples if isinstance(one, (dict, list))]
    if not structured:
        return schema
    documented = with_examples(schema.get("description", ""), structured)
    shown = {**schema, "markdownDescription": documented}
    shown["examples"] = [one for one in examples if one not in structured]
    if not shown["examples"]:
        del shown["examples"]
    first = structured[0]
    if first and isinstance(first, dict) and "properties" not in schema:
        shown.setdefault("defaultSnippets", [{"label": "example", "body": fields_of(first)}])
    return shown


def _with_quiet_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Allow null without offering it, where a schema is of one value that may be null."""
    allowed = {name: _without_null(schema[name]) for name in ("type", "enum") if name in schema}
    if all(allowed[name] == schema[name] for name in allowed) or _is_collection(schema):
        return schema
    shown = {name: value for name, value in schema.items() if name in _SHOWN}
    rest = {name: value for name, value in schema.items() if name not in _SHOWN}
    # titled, as editors cannot tell alternatives without a title apart
    return {**shown, "anyOf": [{"title": schema.get("title", ""), **rest, **allowed}, _QUIET_NULL]}


def _without_null(allowed: Any) -> Any:
    """Return one type or several, or values, without null."""
    if isinstance(allowed, str):
        return allowed
    return [one for one in allowed if one not in (None, "null")]


def _is_collection(schema: Mapping[str, Any]) -> bool:
    types = schema.get("type", ())
    return "properties" in schema or (bool(types) and set(types) <= {"object", "array", "null"})
