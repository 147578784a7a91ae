"""Marker that separates a crash of production's engine from the failure of one event."""

from __future__ import annotations


class CrashReason(str):
    """Reason of a failure at which production does not only fail but crashes."""

    __slots__ = ()
