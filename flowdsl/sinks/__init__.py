"""Where deliveries go: `flowdsl.sinks.InApp`, `Push`, `Webhook` … Each is one file.

A registry is a mapping from the names that flows use to sinks: `{"in-app": InApp("notifications.sqlite")}`.
"""

from __future__ import annotations

from flowdsl.sinks.base import Delivery, DurableSink, Failure, Sink, delivery_key

__all__ = ["Delivery", "DurableSink", "Failure", "Sink", "delivery_key"]
