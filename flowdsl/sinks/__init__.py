"""Sinks: where deliveries go. `flowdsl.sinks.InApp`, `Push`, `Webhook` … are loaded when they are first used.

A sink gets batches of `Delivery` and answers for each with None or a `Failure`. Modules here deliver; they
know nothing of flows, plans or engines.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowdsl.sinks.base import Delivery, DurableSink, Failure, Sink, delivery_key
    from flowdsl.sinks.counter import Counter
    from flowdsl.sinks.custom import Custom
    from flowdsl.sinks.feed import Feed, FeedItem, FeedPage
    from flowdsl.sinks.frame import Frame
    from flowdsl.sinks.in_app import InApp, Notification
    from flowdsl.sinks.push import Push
    from flowdsl.sinks.recipients import Preferences, Recipients
    from flowdsl.sinks.webhook import Webhook
    from flowdsl.sinks.websocket import WebSocket

_HOME = {
    "Counter": "counter",
    "Custom": "custom",
    "Delivery": "base",
    "DurableSink": "base",
    "Failure": "base",
    "Feed": "feed",
    "FeedItem": "feed",
    "FeedPage": "feed",
    "Frame": "frame",
    "InApp": "in_app",
    "Notification": "in_app",
    "Preferences": "recipients",
    "Push": "push",
    "Recipients": "recipients",
    "Sink": "base",
    "WebSocket": "websocket",
    "Webhook": "webhook",
    "delivery_key": "base",
}

__all__ = [
    "Counter",
    "Custom",
    "Delivery",
    "DurableSink",
    "Failure",
    "Feed",
    "FeedItem",
    "FeedPage",
    "Frame",
    "InApp",
    "Notification",
    "Preferences",
    "Push",
    "Recipients",
    "Sink",
    "WebSocket",
    "Webhook",
    "delivery_key",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'flowdsl.sinks' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"flowdsl.sinks.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
