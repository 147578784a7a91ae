"""The steps that an event went through, as data: all of them, or those towards one recipient."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowdsl.flow.spec import FlowSpec
from flowdsl.graph.names import EntityNames
from flowdsl.values.json_types import MISSING


@dataclass(frozen=True)
class ExplainedStep:
    """The outcome of an event, or of one branch of it, at one step.

    Attributes
    ----------
    flow : str
        The name of the flow.
    step : int or None
        The number of the step; None for the trigger.
    operator, text : str
        The operator, and the step as it was written.
    branch : str or None
        The branch of the event.
    outcome : str
        `matched` or `not matched` for the trigger, otherwise `passed`, `delivered`, `dropped`, `failed`,
        `absorbed` or `held`.
    reason : str or None
        The reason of the outcome.
    at : datetime or None
        The log clock (UTC).
    operands : tuple of (str, value)
        The values that the step read.
    variables : Mapping
        The variables after the step.
    payload : value
        The payload after the step.
    sinks : tuple of str
        The sinks that got a delivery.
    recipient_id : str or None
        The recipient of the delivery.
    recipient : str or None
        The recipient by name and type, as far as the graph has them: `Ann (user u1)`.
    """

    flow: str
    step: int | None
    operator: str
    text: str
    branch: str | None
    outcome: str
    reason: str | None
    at: dt.datetime | None = None
    operands: tuple[tuple[str, Any], ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    payload: Any = MISSING
    sinks: tuple[str, ...] = ()
    recipient_id: str | None = None
    recipient: str | None = None


@dataclass(frozen=True, repr=False)
class EventSteps:
    """The steps of one event in flows.

    Attributes
    ----------
    event : Mapping
        The event.
    steps : tuple of ExplainedStep
        Every step of every branch, flow by flow.
    more : Mapping
        The number of branches that were too many to follow, by flow.
    flows : tuple of Flow
        The flows.
    """

    event: Mapping[str, Any]
    steps: tuple[ExplainedStep, ...]
    more: Mapping[str, int]
    flows: tuple[FlowSpec, ...] = ()
    names: EntityNames = field(default_factory=EntityNames)
    """Names of the entities of the event, and of recipients, as far as the graph has them."""


@dataclass(frozen=True)
class FlowPath:
    """The path of an event through one flow towards a recipient, and its end.

    Attributes
    ----------
    flow : str
        The name of the flow.
    reached : bool
        Whether the recipient got a delivery.
    outcome : str
        `delivered`, `dropped`, `failed`, `absorbed`, `held`, `not matched`, `not theirs` (it went to others)
        or `nobody` (nothing was delivered).
    step : int or None
        The step at which the path ended.
    sentences : tuple of str
        The story of the path.
    variables : Mapping
        The variables at its end.
    steps : tuple of ExplainedStep
        The path step by step. If a batch absorbed the event, the steps of the event that it went on as
        follow.
    """

    flow: str
    reached: bool
    outcome: str
    step: int | None
    sentences: tuple[str, ...]
    variables: Mapping[str, Any]
    steps: tuple[ExplainedStep, ...]


@dataclass(frozen=True, repr=False)
class RecipientPaths:
    """The paths of one event towards a recipient, one for each flow."""

    event: Mapping[str, Any]
    recipient: str
    ways: tuple[FlowPath, ...]
    flows: tuple[FlowSpec, ...]
    whom: str
    """The recipient by name and type, as far as the graph has them."""
    names: EntityNames = field(default_factory=EntityNames)
    """Names of the entities of the event, and of recipients, as far as the graph has them."""

    @property
    def reached(self) -> bool:
        """True if a flow delivered the event to the recipient."""
        return any(way.reached for way in self.ways)
