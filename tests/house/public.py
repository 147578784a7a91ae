"""What the docstrings of public callables have and lack.

Public are the functions and classes of `flowdsl`, `flowdsl.log`, `flowdsl.sinks` and `flowdsl.testing`, and the methods of
these classes that flowdsl defines and whose name has no underscore in front. Exceptions are left out: nobody calls them.

A callable needs `Parameters` if it has any, `Returns` (or `Yields`) if its annotation is not `None`, `Raises` if its body
raises, and an example (`>>>`). A class may list `Attributes` in place of `Parameters`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

MODULES = ("flowdsl", "flowdsl.log", "flowdsl.sinks", "flowdsl.testing")


def public_callables() -> dict[str, Callable[..., Any]]:
    """Return the public callables by their full names; one that several modules offer only once."""
    found: dict[str, Callable[..., Any]] = {}
    seen: set[int] = set()
    for module in MODULES:
        home = importlib.import_module(module)
        for name in home.__all__:
            for full, value in _with_methods(f"{module}.{name}", getattr(home, name)):
                if id(value) not in seen:
                    seen.add(id(value))
                    found[full] = value
    return found


def _with_methods(name: str, value: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    if inspect.isfunction(value):
        yield name, value
    elif inspect.isclass(value) and not issubclass(value, BaseException):
        yield name, value
        for attribute in dir(value):
            method = inspect.getattr_static(value, attribute)
            function = method.__func__ if isinstance(method, (classmethod, staticmethod)) else method
            if not attribute.startswith("_") and inspect.isfunction(function) and _is_ours(function):
                yield f"{name}.{attribute}", function


def _is_ours(function: Callable[..., Any]) -> bool:
    return function.__module__.partition(".")[0] == "flowdsl"


def incomplete_callables() -> list[str]:
    """Return the public callables whose docstrings lack something, each with what it lacks."""
    found = ((name, lacking(value)) for name, value in public_callables().items())
    return [f"{name}: {', '.join(lacks)}" for name, lacks in found if lacks]


def lacking(value: Callable[..., Any]) -> list[str]:
    """Return the sections that a callable's docstring should have and has not."""
    # a method that says nothing has the docstring of the one that it overrides
    text = inspect.getdoc(value) or ""
    needed = {
        "Parameters": ("Parameters", "Attributes") if _takes_arguments(value) else (),
        "Returns": ("Returns", "Yields") if _gives_something(value) else (),
        "Raises": ("Raises",) if _raises(value) else (),
    }
    missing = [
        section
        for section, headings in needed.items()
        if headings and not any(f"{heading}\n{'-' * len(heading)}" in text for heading in headings)
    ]
    return missing if ">>> " in text else [*missing, "example"]


def _takes_arguments(value: Callable[..., Any]) -> bool:
    if getattr(value, "_is_protocol", False):
        return False
    try:
        parameters = list(inspect.signature(value).parameters)
    except ValueError:
        return False
    return bool([name for name in parameters if name not in ("self", "cls")])


def _gives_something(value: Callable[..., Any]) -> bool:
    return not inspect.isclass(value) and value.__annotations__.get("return", "None") not in ("None", None)


def _raises(value: Callable[..., Any]) -> bool:
    if inspect.isclass(value):
        value = value.__init__  # type: ignore[misc]
        if (
            not inspect.isfunction(value)
            or not _is_ours(value)
            or value.__qualname__.endswith("__create_fn__")
        ):
            return False
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    except (OSError, TypeError, SyntaxError):
        return False
    return any(isinstance(node, ast.Raise) for node in ast.walk(tree))
