"""Positions in a log from which consumers read."""

from __future__ import annotations

from enum import StrEnum

from flowdsl.arguments import is_integer, is_text_in
from flowdsl.errors import DataError, did_you_mean
from flowdsl.events import id_text
from flowdsl.text import short_repr


class Position(StrEnum):
    """Named positions in a log; a sequence number is a position too.

    Attributes
    ----------
    BEGINNING
        The first event.
    LATEST
        The next event to come.
    LAST_ACKNOWLEDGED
        The event after the last one that the consumer has acknowledged.

    Examples
    --------
    >>> Position.BEGINNING == "beginning"
    True
    """

    BEGINNING = "beginning"
    LATEST = "latest"
    LAST_ACKNOWLEDGED = "last_acknowledged"


def first_after(position: Position | str | int, acknowledged: int, last: int) -> int:
    """Return the `seq_no` after which a consumer at `position` reads on; a number itself is included.

    >>> first_after("latest", acknowledged=3, last=9), first_after(5, acknowledged=3, last=9)
    (9, 4)
    """
    if is_integer(position):
        if position < 0:
            raise DataError(
                f"position {short_repr(position)} is negative", hint='"beginning" is before the first event'
            )
        return max(position - 1, 0)
    ends = {Position.BEGINNING: 0, Position.LATEST: last, Position.LAST_ACKNOWLEDGED: acknowledged}
    if not is_text_in(position, ends):
        names = ", ".join(repr(str(name)) for name in Position)
        raise DataError(
            f"unknown position {short_repr(position, 200)}",
            allowed=f"{names}, or a sequence number",
            hint=did_you_mean(position, map(str, Position)),
        )
    return ends[Position(position)]


def consumer_name(consumer: str) -> str:
    """Return the name of a consumer. Raises `DataError` if it is not text, or empty."""
    if not isinstance(consumer, str) or not consumer:
        raise DataError(
            f"a consumer is named by text, not {short_repr(consumer, 200)}", hint="like 'flow-runtime'"
        )
    return id_text(consumer, "consumer") or consumer
