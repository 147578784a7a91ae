"""Types of sinks by the name that they have in YAML: flowdsl's own, and those that other packages add
(`flowdsl.sinks`).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Final

from flowdsl.registry import Registry, subclass_problem
from flowdsl.sinks.base import Sink

# where the class of each type is; everything else about it is declared there
_CLASSES: Final = {
    "push": "push.Push",
    "in_app": "in_app.InApp",
    "feed": "feed.Feed",
    "web_socket": "websocket.WebSocket",
    "webhook": "webhook.Webhook",
    "counter": "counter.Counter",
    "custom": "custom.Custom",
    "frame": "frame.Frame",
}


class _OwnSinks(Mapping[str, type[Sink]]):
    """The classes of flowdsl's own types, each imported when it is first asked for."""

    def __getitem__(self, name: str) -> type[Sink]:
        module, _, called = _CLASSES[name].partition(".")
        found: type[Sink] = getattr(importlib.import_module(f"flowdsl.sinks.{module}"), called)
        return found

    def __contains__(self, name: object) -> bool:
        return name in _CLASSES

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


SINKS: Final[Registry[type[Sink]]] = Registry("flowdsl.sinks", _OwnSinks(), subclass_problem(Sink, "type"))
"""The classes of sinks by type."""


def production_types() -> tuple[str, ...]:
    """Return the types that production accepts in a file.

    >>> production_types()
    ('push', 'in_app', 'feed', 'web_socket', 'webhook', 'counter', 'custom')
    """
    return tuple(name for name, sink in SINKS.own.items() if sink.portable)


def is_portable(name: str) -> bool:
    """Return True if production accepts sinks of a type."""
    return name in SINKS and SINKS[name].portable


def is_implemented(name: str) -> bool:
    """Return False for a type that production accepts, and to which it delivers nothing."""
    return name not in SINKS or SINKS[name].implemented
