"""Messages about names that the package, a flow or a result does not have."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Final

from flowdsl.errors import did_you_mean
from flowdsl.operators import missing_method

_PICTURE: Final = "flow.picture() draws it"
_OF_FLOWS: Final = {
    **dict.fromkeys(("run", "replay"), "fd.replay(flow, log) runs it"),
    **{name: f"fd.{name}(flow, …) takes a flow" for name in ("sweep", "tune", "design")},
    **dict.fromkeys(("plot", "show", "draw", "display", "visualize", "render", "graph"), _PICTURE),
    **dict.fromkeys(("export", "dump", "to_json", "to_dict", "yaml"), "flow.to_yaml() exports it"),
    **dict.fromkeys(("validate", "lint", "verify"), "flow.check() looks for mistakes"),
}
# classes with methods that people look for as functions of the package
_FACADES: Final = ("flow", "result", "project")


def missing_in_package(name: str, known: Iterable[str]) -> str:
    """Return the error message for a name that the package does not have, with a hint.

    >>> missing_in_package("explain", ["replay"])
    "module 'flowdsl' has no attribute 'explain'; result.explain(…) is a method"
    """
    message = f"module 'flowdsl' has no attribute {name!r}"
    if name.startswith("_"):
        return message
    for owner in _FACADES:
        if hasattr(getattr(importlib.import_module(f"flowdsl.api.{owner}"), owner.title()), name):
            return f"{message}; {owner}.{name}(…) is a method"
    return _with_hint(message, did_you_mean(name, known))


def missing_in_flow(owner: str, name: str) -> str:
    """Return the error message for an attribute that a flow or trigger does not have, with a hint."""
    if name in _OF_FLOWS:
        return f"{owner!r} object has no attribute {name!r}; {_OF_FLOWS[name]}"
    return missing_method(owner, name)


def missing_in_result(name: str, sinks: Iterable[str], known: Iterable[str]) -> str:
    """Return the error message for an attribute that a result does not have, with a hint.

    >>> missing_in_result("in_app", ["in-app"], [])
    "'Result' object has no attribute 'in_app'; result['in-app'] is the table of that sink"
    """
    message = f"'Result' object has no attribute {name!r}"
    if name.startswith("_"):
        return message
    named = {sink.replace("-", "_"): sink for sink in sinks}
    if name in named:
        return f"{message}; result[{named[name]!r}] is the table of that sink"
    hint = did_you_mean(name, known)
    if hint is None and hasattr(importlib.import_module("pandas").DataFrame, name):
        hint = f"tables have it: result.deliveries.{name}"
    return _with_hint(message, hint)


def _with_hint(message: str, hint: str | None) -> str:
    return message if hint is None else f"{message}; {hint}"
