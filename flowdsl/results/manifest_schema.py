"""Types of the manifest of a result, as it is in `result.json`."""

from __future__ import annotations

from typing import Any, TypedDict


class StepRow(TypedDict):
    """Outcomes of the contexts at one step of one flow, whose number is `number`."""

    number: int
    flow: str
    step: int
    operator: str
    text: str
    caption: str
    sinks: list[str]
    held_before: int
    entered: int
    extra_branches: int
    passed: int
    dropped: int
    failed: int
    absorbed: int
    held: int
    seconds: float
    reasons: dict[str, int]
    refused: dict[str, int]
    capped: dict[str, int]


class DeliverRow(TypedDict):
    """A deliver step: the table of its deliveries, the numbers of its flows, its sinks and the kinds of its
    fields.
    """

    table: str
    flows: list[int]
    sinks: list[str]
    timed: bool
    fields: dict[str, Any]


class FanOutRow(TypedDict):
    """The branches that a fan-out made: pairs of a number of branches and the count of contexts with it."""

    number: int
    step: int
    sizes: list[list[int]]
    largest: int
    seq_no: int


class DeliveredRow(TypedDict):
    """The number of deliveries of a flow to a sink."""

    flow: str
    sink: str
    count: int


class StoppedRow(TypedDict):
    """The place where production stops for good, as `flowdsl.engine.crashes.Stopped` has it."""

    seq_no: int
    flow: str
    step: int
    operator: str
    branch: str | None
    reason: str


class Manifest(TypedDict):
    """Facts of a run. `span` is the log clock (µs) at its first and last event, `log` the
    identity of the log; of one without an identity a folder has `beginning`, digests of its first events.
    `tzdata` is the version of the zone data.
    """

    flows: list[str]
    text: list[str]
    triggers: list[str]
    captions: list[str]
    descriptions: list[str | None]
    events: int
    span: list[int] | None
    position: int
    late: int
    ahead: int
    unmatched: int
    trace: bool
    steps: list[StepRow]
    delivers: list[DeliverRow]
    fan_outs: list[FanOutRow]
    delivered: list[DeliveredRow]
    undelivered: int
    stopped: StoppedRow | None
    log: str | None
    beginning: list[str]
    tzdata: str
