"""What tells a crash of production's engine from a failure of one event."""

from __future__ import annotations


class CrashReason(str):
    """Why a row failed, where what runs it in production does not only fail there but crashes."""

    __slots__ = ()
