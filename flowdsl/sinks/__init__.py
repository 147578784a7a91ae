"""Where deliveries go: `flowdsl.sinks.InApp`, `Push`, `Webhook` … Each is one file.

A registry is a mapping from the names that flows use to sinks: `{"in-app": InApp("notifications.sqlite")}`.
"""

from __future__ import annotations

from flowdsl.sinks.base import Delivery, DurableSink, Failure, Sink, delivery_key
from flowdsl.sinks.counter import Counter
from flowdsl.sinks.custom import Custom
from flowdsl.sinks.feed import Feed, FeedItem, FeedPage
from flowdsl.sinks.frame import Frame
from flowdsl.sinks.in_app import InApp, Notification
from flowdsl.sinks.recipients import Preferences, Recipients

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
    "Recipients",
    "Sink",
    "delivery_key",
]
