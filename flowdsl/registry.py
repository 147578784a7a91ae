"""Registries: declarations by name, from flowdsl itself and from the entry points of other packages.

A package adds an operator, a sink, a filter, a function, a finding or a format of rows by an entry point
whose name is the name of the thing, in one of the groups `flowdsl.operators`, `flowdsl.sinks`, … It is
imported when it is first asked for.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint
from typing import Any, Generic, TypeVar

from flowdsl.errors import PluginError
from flowdsl.text import type_text

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Mapping from names to declarations: flowdsl's own first, then plug-ins by name.

    Parameters
    ----------
    group
        the group of the entry points, such as `flowdsl.sinks`
    own
        what flowdsl declares itself
    problem
        returns what is wrong with a thing that a package registered under a name, None where nothing is

    >>> numbers = Registry("flowdsl.numbers", {"one": 1}, lambda name, thing: None)
    >>> numbers["one"], list(numbers), "two" in numbers
    (1, ['one'], False)
    """

    def __init__(
        self, group: str, own: Mapping[str, T], problem: Callable[[str, object], str | None]
    ) -> None:
        self._group = group
        self._own = own
        self._problem = problem
        self._loaded: dict[tuple[str, ...], dict[str, T]] = {}

    @property
    def own(self) -> Mapping[str, T]:
        """Declarations of flowdsl itself."""
        return self._own

    def __getitem__(self, name: str) -> T:
        if name in self._own:
            return self._own[name]
        return self._load(self._plugins()[name])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._own or name in self._plugins())

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from self._plugins()

    def __len__(self) -> int:
        return len(self._own) + len(self._plugins())

    def _plugins(self) -> Mapping[str, EntryPoint]:
        found = _entry_points(self._group, tuple(sys.path))
        for name, points in found.items():
            owners = ["flowdsl"] * (name in self._own) + [_distribution(point) for point in points]
            if len(owners) > 1:
                raise PluginError(
                    f"{' and '.join(owners)} both declare {name!r} in {self._group}",
                    hint=f"rename one of them, or uninstall {owners[-1]}",
                )
        return {name: points[0] for name, points in found.items()}

    def _load(self, point: EntryPoint) -> T:
        # what was loaded for another sys.path may be another package of the same name
        known = self._loaded.setdefault(tuple(sys.path), {})
        if point.name in known:
            return known[point.name]
        where = f"{_distribution(point)}: {point.value}"
        try:
            loaded: T = point.load()
        # importing a plug-in may raise anything
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"the plug-in {point.name!r} cannot be loaded: {type(error).__name__}: {error}",
                place=where,
                hint=f"repair or uninstall {_distribution(point)}",
            ) from error
        problem = self._problem(point.name, loaded)
        if problem is not None:
            raise PluginError(f"the plug-in {point.name!r} {problem}", place=where)
        known[point.name] = loaded
        return loaded


def lazy_function(module: str, name: str) -> Callable[..., Any]:
    """Return a function of a module that is imported when it is first called: declarations need no NumPy.

    >>> lazy_function("math", "sqrt")(16)
    4.0
    """

    def call(*args: Any) -> Any:
        return _import_name(module, name)(*args)

    return call


@functools.cache
def _import_name(module: str, name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def instance_problem(base: type, named: str = "name") -> Callable[[str, object], str | None]:
    """Return a check that a plug-in is an instance of `base` that has the name of its entry point."""

    def problem(name: str, thing: object) -> str | None:
        if not isinstance(thing, base):
            return f"is {_name_of(thing)}, and no {base.__name__}"
        return _name_problem(name, getattr(thing, named, None))

    return problem


def subclass_problem(base: type, named: str = "name") -> Callable[[str, object], str | None]:
    """Return a check that a plug-in is a class below `base` that has the name of its entry point."""

    def problem(name: str, thing: object) -> str | None:
        if not (isinstance(thing, type) and issubclass(thing, base)):
            return f"is {_name_of(thing)}, and no class below {base.__name__}"
        return _name_problem(name, getattr(thing, named, None))

    return problem


def _name_problem(name: str, own: object) -> str | None:
    return None if own == name else f"calls itself {own!r}: the name of the entry point must be the same"


def _name_of(thing: object) -> str:
    return f"the class {thing.__name__}" if isinstance(thing, type) else f"{type_text(thing)}"


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "a package without a name"


@functools.lru_cache(maxsize=64)
def _entry_points(group: str, path: tuple[str, ...]) -> Mapping[str, list[EntryPoint]]:
    """Return the entry points of a group by name, for what `sys.path` is now."""
    found: dict[str, list[EntryPoint]] = {}
    for point in sorted(importlib.metadata.entry_points(group=group), key=lambda point: point.name):
        found.setdefault(point.name, []).append(point)
    return found
