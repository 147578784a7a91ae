"""What recipients want, asked in columns: whom the sinks of a deliver step do not accept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import polars as pl

from flowdsl.batches.payload import Payload
from flowdsl.kernels.kernel import Refused
from flowdsl.sinks.base import GENERIC
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Mask, Tag


class RecipientFilter(Protocol):
    """A sink that may refuse deliveries because of what recipients want."""

    def accepts(self, recipients: pl.Series, types: pl.Series) -> Mask | None:
        """Whom it lets through, by recipient and notification type; None for everybody."""
        ...


def refusals(
    gates: Mapping[str, RecipientFilter], sinks: Iterable[str], payload: Payload, recipient: Column
) -> Refused:
    """By sink, which of these payloads it refuses; sinks that take all of them are not in it."""
    asked = {sink: gates[sink] for sink in sinks if sink in gates}
    if not asked:
        return {}
    recipients = recipient.to_series()[0]
    types = _types(payload)
    accepted = {sink: gate.accepts(recipients, types) for sink, gate in asked.items()}
    return {sink: ~mask for sink, mask in accepted.items() if mask is not None and not mask.all()}


def _types(payload: Payload) -> pl.Series:
    """The type of each notification, which recipients opt out of."""
    column = payload.column(("notification_type",))
    if column.all_(Tag.TEXT):
        return column.text_series()
    generic = pl.Series([GENERIC], dtype=pl.String).new_from_index(0, column.size)
    if column.all_(Tag.MISSING, Tag.NULL):
        return generic
    texts = column.text_series().zip_with(pl.Series(column.is_(Tag.TEXT)), column.to_json())
    return texts.zip_with(pl.Series(~column.is_(Tag.MISSING, Tag.NULL)), generic)
