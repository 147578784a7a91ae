"""Rules about flows together, and about their sinks, consumers and backend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from flowdsl.errors import did_you_mean
from flowdsl.findings.base import Violation, rule
from flowdsl.findings.views import ProjectView, StepView
from flowdsl.sinks.registry import is_implemented

_RUNTIME = "flow-runtime"


def used_sinks(step: StepView) -> list[str]:
    """Return the distinct sinks that a deliver step names."""
    given = step.get("sinks")
    names = [step.get("sink"), *(given if isinstance(given, list) else [])]
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))


@rule("duplicate-flow", "warning", ProjectView)
def duplicate_flow(project: ProjectView) -> Iterator[Violation]:
    """Report two flows of one name."""
    seen: set[str] = set()
    for flow in project.flows:
        if flow.name and flow.name in seen:
            yield flow.remark(
                f"there is a flow {flow.name!r} before this one: both run, and results cannot tell them "
                "apart",
                "give one of them another name",
            )
        seen.add(flow.name)


@rule("sink-undefined", "error", ProjectView)
def sink_undefined(project: ProjectView) -> Iterator[Violation]:
    """Report a flow that delivers to an undefined sink."""
    names = [sink.name for sink, _ in project.sinks]
    for flow in project.flows if project.has_sinks else ():
        for step in flow.named("deliver"):
            for name in used_sinks(step):
                if name not in names:
                    yield step.remark(
                        f"{flow.name!r} delivers to {name!r}, and no such sink is defined: nothing arrives",
                        did_you_mean(name, names)
                        or f"defined are {', '.join(names)}; other files can be checked along with this one",
                        "sinks" if "sinks" in step.places else "sink",
                    )


@rule("no-sinks", "note", ProjectView, target=True)
def no_sinks(project: ProjectView) -> Iterator[Violation]:
    """Report flows that deliver while no sink is defined."""
    if not project.has_sinks:
        step = next((s for flow in project.flows for s in flow.named("deliver")), None)
        if step is not None:
            yield step.remark(
                "no sink is defined here: production logs an error for each delivery, unless another file "
                "has them",
                "add sinks: [{name, type}], or check the file that has them along with this one",
            )


@rule("sink-unused", "note", ProjectView)
def sink_unused(project: ProjectView) -> Iterator[Violation]:
    """Report a sink that no flow delivers to."""
    used = {name for flow in project.flows for step in flow.named("deliver") for name in used_sinks(step)}
    for sink, place in project.sinks:
        if sink.name not in used:
            yield Violation(
                place, f"no flow delivers to the sink {sink.name!r}", did_you_mean(sink.name, used)
            )


@rule("duplicate-sink", "warning", ProjectView)
def duplicate_sink(project: ProjectView) -> Iterator[Violation]:
    """Report two sinks of one name, of which the last one counts."""
    counts = Counter(sink.name for sink, _ in project.sinks)
    for sink, place in project.sinks:
        if counts[sink.name] > 1:
            counts[sink.name] -= 1
            yield Violation(
                place,
                f"another sink {sink.name!r} follows, and the last one counts",
                "give them two names, or leave one out",
            )


@rule("sink-not-implemented", "error", ProjectView, target=True)
def sink_not_implemented(project: ProjectView) -> Iterator[Violation]:
    """Report a sink of type `feed`, which production does not implement."""
    for sink, place in project.sinks:
        if not is_implemented(sink.type):
            yield Violation(
                place,
                f"production knows the type {sink.type}, and does not implement it: what goes to "
                f"{sink.name!r} is lost",
                "use in_app, a webhook, or a custom sink",
            )


@rule("sink-needs-code", "note", ProjectView, target=True)
def sink_needs_code(project: ProjectView) -> Iterator[Violation]:
    """Report a custom sink, which exists only if the program registers it."""
    for sink, place in project.sinks:
        if sink.type == "custom":
            yield Violation(
                place,
                f"production has the custom sink {sink.name!r} only if the program registers one of that "
                "name",
            )


@rule("webhook-without-url", "error", ProjectView)
def webhook_without_url(project: ProjectView) -> Iterator[Violation]:
    """Report a webhook without a URL."""
    for sink, place in project.sinks:
        if sink.type == "webhook" and not sink.config.get("url"):
            yield Violation(place, f"the webhook {sink.name!r} has no url", "config: {url: https://…}")


@rule("backend-not-implemented", "error", ProjectView, target=True)
def backend_not_implemented(project: ProjectView) -> Iterator[Violation]:
    """Report a backend other than memory, which production does not implement."""
    backend, place = project.backend
    if backend.type != "memory":
        yield Violation(
            place,
            f"production names the backend {backend.type} and does not have it: events are kept in memory, "
            "and are gone when it stops",
            "write type: memory, so that nobody relies on the other",
        )


@rule("backend-config-ignored", "note", ProjectView, target=True)
def backend_config_ignored(project: ProjectView) -> Iterator[Violation]:
    """Report a backend's configuration, which production reads and ignores."""
    backend, place = project.backend
    if backend.config:
        yield Violation(place, f"production passes over the backend's {', '.join(backend.config)}")


@rule("consumer-ignored", "note", ProjectView, target=True)
def consumer_ignored(project: ProjectView) -> Iterator[Violation]:
    """Report consumers, which production ignores: flows read the log as `flow-runtime`"""
    for consumer, place in project.consumers:
        if consumer.name != _RUNTIME:
            yield Violation(
                place,
                f"production's flows read the log as {_RUNTIME!r}: the position of {consumer.name!r} is not "
                "theirs",
                f"name it {_RUNTIME}, if it is meant for the flows",
            )
