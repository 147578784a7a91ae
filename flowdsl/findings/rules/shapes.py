"""Rules about the shape of a flow: steps without effect, payloads that are never delivered."""

from __future__ import annotations

from collections.abc import Iterator

from flowdsl.findings.base import Violation, rule
from flowdsl.findings.views import FlowView, StepView


@rule("no-deliver", "warning", FlowView)
def no_deliver(flow: FlowView) -> Iterator[Violation]:
    """Report a flow that delivers nothing."""
    if not flow.named("deliver"):
        yield flow.remark("nothing is delivered: the flow has no deliver", "add a map and a deliver")


@rule("step-without-effect", "warning", FlowView)
def step_without_effect(flow: FlowView) -> Iterator[Violation]:
    """Report steps after the last deliver, which change nothing."""
    delivers = flow.named("deliver")
    for step in delivers[-1].later if delivers else ():
        yield step.remark(
            f"nothing is delivered after this {step.name}, so it has no effect", "put it before the deliver"
        )


@rule("payload-replaced", "warning", StepView, of=("map",))
def payload_replaced(step: StepView) -> Iterator[Violation]:
    """Report a payload that the next map replaces before it is delivered or read."""
    for later in step.later:
        if later.name == "deliver" or any(path[0] == "_payload" for path in later.paths):
            return
        if later.name == "map":
            yield step.remark(
                f"step {later.number} makes another payload before this one is delivered",
                "leave one of them out, or read the first as _payload",
            )
            return


@rule("deliver-without-payload", "error", StepView, target=True, of=("deliver",))
def deliver_without_payload(step: StepView) -> Iterator[Violation]:
    """Report a deliver with no map before it, which fails at every event in production."""
    if not any(s.name == "map" for s in step.flow.steps[: step.number]):
        yield step.remark(
            "there is no payload: in production this fails at every event", "put a map before it"
        )


@rule("every-type", "note", FlowView)
def all_events(flow: FlowView) -> Iterator[Violation]:
    """Report a flow without a type filter, which runs for events of every type."""
    if flow.kind and not (flow.link_type if flow.on_link else flow.entity_type):
        what = "link_type" if flow.on_link else "entity_type"
        yield flow.remark(f"it runs for {flow.kind} events of every type", f"say which with {what}", "kind")
