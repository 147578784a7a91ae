"""Preferences of recipients, asked in columns: which deliveries the sinks of a step do not accept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
import polars as pl

from flowdsl.batches.payload import Payload
from flowdsl.flow.plan import CompiledStep
from flowdsl.kernels.outcome import Refused, StepOutcome, dropped_rows
from flowdsl.sinks.base import GENERIC
from flowdsl.values.columns import Column
from flowdsl.values.json_types import Mask, Tag


class RecipientFilter(Protocol):
    """A sink that may refuse deliveries because of what recipients want."""

    def accepts(self, recipients: pl.Series, types: pl.Series) -> Mask | None:
        """Return a mask of the deliveries it accepts, by recipient and notification type; None for all."""
        ...


def apply_preferences(
    gates: Mapping[str, RecipientFilter], step: CompiledStep, outcome: StepOutcome
) -> StepOutcome:
    """Return an outcome without the deliveries that sinks refuse.

    What no sink takes is dropped, unless it is still to be delivered elsewhere.
    """
    handed = outcome.delivered
    asked = {sink: gates[sink] for sink in step.sinks if sink in gates}
    if handed is None or not asked:
        return outcome
    refused = _find_refused(asked, handed.payload, handed.recipient)
    if not refused:
        return outcome
    handed = replace(handed, refused=refused)
    nobody = handed.reach_none(step.sinks)
    taken = np.flatnonzero(~nobody)
    outcome = replace(outcome, delivered=handed.take(taken) if len(taken) else None, refused=refused)
    if not step.last:
        return outcome
    dropped = dropped_rows(handed.contexts, np.flatnonzero(nobody), "preference")
    return replace(outcome, passed=outcome.passed.take(taken), dropped=dropped)


def _find_refused(gates: Mapping[str, RecipientFilter], payload: Payload, recipient: Column) -> Refused:
    """Return a mask of refused deliveries for each sink that refuses any."""
    recipients = recipient.to_series()[0]
    types = _types(payload)
    accepted = {sink: gate.accepts(recipients, types) for sink, gate in gates.items()}
    return {sink: ~mask for sink, mask in accepted.items() if mask is not None and not mask.all()}


def _types(payload: Payload) -> pl.Series:
    """Return the type of each notification, which recipients opt out of."""
    column = payload.column(("notification_type",))
    if column.all_(Tag.TEXT):
        return column.text_series()
    generic = pl.Series([GENERIC], dtype=pl.String).new_from_index(0, column.size)
    if column.all_(Tag.MISSING, Tag.NULL):
        return generic
    texts = column.text_series().zip_with(pl.Series(column.is_(Tag.TEXT)), column.to_json())
    return texts.zip_with(pl.Series(~column.is_(Tag.MISSING, Tag.NULL)), generic)
