"""Marker of failures that crash production's engine, instead of failing only one event."""

from __future__ import annotations


class CrashReason(str):
    """Reason of a failure that makes production crash."""

    __slots__ = ()
