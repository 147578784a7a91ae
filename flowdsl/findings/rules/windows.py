"""Rules about batches, deduplication and rate limits: what they lose, here and in production."""

from __future__ import annotations

from collections.abc import Iterator

from flowdsl.errors import BuildError
from flowdsl.expressions.durations import parse_duration
from flowdsl.findings.base import Violation, rule
from flowdsl.findings.views import UNCERTAIN, FlowView, StepView, is_text
from flowdsl.values.paths import path_text

# a limit this small looks like one for a person, not for a whole flow
_FEW = 10


def _is_zero(step: StepView, option: str) -> bool:
    try:
        return parse_duration(step.get(option)).microseconds == 0
    except BuildError:
        return False


@rule("batch-no-timer", "error", StepView, target=True, of=("batch",))
def batch_no_timer(step: StepView) -> Iterator[Violation]:
    """Report a batch: production closes a window only at the next event of its key, so the last one never
    comes out.
    """
    window = step.get("window")
    after = "after the end of its window" if window is None else f"after {window}"
    yield step.remark(
        f"production has no timer: a batch of {step.get('key')!r} waits for the next event of that key "
        f"{after}, and without one it never goes out",
        "use rate_limit or deduplicate where the first event may go out at once; a replay with "
        "target=this-rs shows what is lost",
    )


@rule("batch-loses-event", "error", StepView, target=True, of=("batch",))
def batch_loses_event(step: StepView) -> Iterator[Violation]:
    """Report a batch whose closing events production counts in no window."""
    yield step.remark(
        "production counts the event that closes a batch nowhere: it is in neither batch, and a count is "
        "one too low for each window",
        "do not show _batch.count as an exact number",
    )


@rule("batch-discards", "warning", StepView, of=("batch",))
def batch_discards(step: StepView) -> Iterator[Violation]:
    """Report `min_count`: windows with fewer members are dropped whole."""
    least = step.get("min_count")
    if isinstance(least, int) and least > 1:
        yield step.remark(
            f"a batch of fewer than {least} is dropped, and its events are never delivered",
            "with min_count 1 single events go out too; a template can tell one from many by batch.count",
            "min_count",
        )


@rule("batch-without-window", "warning", StepView, of=("batch",))
def batch_without_window(step: StepView) -> Iterator[Violation]:
    """Report a batch with a window of zero, which gathers nothing."""
    if _is_zero(step, "window"):
        yield step.remark(
            "a window of no length gathers nothing (and in production loses every second event)",
            "give it a length, or leave the step out",
            "window",
        )


@rule("deduplicate-without-window", "warning", StepView, of=("deduplicate",))
def deduplicate_without_window(step: StepView) -> Iterator[Violation]:
    """Report a deduplicate with a window of zero, which passes everything."""
    if _is_zero(step, "window"):
        yield step.remark("a window of no length lets everything pass", "give it a length", "window")


@rule("limit-zero", "error", StepView, of=("rate_limit",))
def limit_zero(step: StepView) -> Iterator[Violation]:
    """Report a rate_limit of 0, which drops everything."""
    if step.get("max") == 0 and not isinstance(step.get("max"), bool):
        yield step.remark(
            "a limit of 0 drops everything: no later step is ever reached",
            "give it a max of at least 1",
            "max",
        )


@rule("limit-without-time", "warning", StepView, of=("rate_limit",))
def limit_without_time(step: StepView) -> Iterator[Violation]:
    """Report a rate_limit per zero time, which never limits."""
    if _is_zero(step, "per") and step.get("max") != 0:
        yield step.remark("a limit per no time lets everything pass", "say per how long, as in 1m", "per")


@rule("queue-drops", "error", StepView, target=True, of=("rate_limit",))
def queue_drops(step: StepView) -> Iterator[Violation]:
    """Report a queue, which production lacks: it drops what flowdsl queues."""
    if step.get("strategy") == "queue":
        yield step.remark(
            "production drops what is over the limit, although the strategy is queue",
            "write strategy: drop, and a max that is high enough; a replay with target=this-rs shows what is "
            "lost",
            "strategy",
        )


@rule("strategy-unknown", "warning", StepView, target=True, of=("rate_limit",))
def strategy_unknown(step: StepView) -> Iterator[Violation]:
    """Report an unknown strategy, which production takes for `drop`"""
    strategy = step.get("strategy")
    if strategy not in (None, "drop", "queue"):
        yield step.remark(
            f"production does not know the strategy {strategy!r}, and drops",
            "write strategy: drop",
            "strategy",
        )


@rule("one-bucket", "note", StepView, of=("rate_limit",))
def one_bucket(step: StepView) -> Iterator[Violation]:
    """Report one limit for all recipients, where one for each seems meant."""
    most = step.get("max")
    if step.get("key") is not None or not isinstance(most, int) or most == 0:
        return
    before = step.flow.steps[: step.number]
    fanned = any(s.name == "fan_out" for s in before)
    if fanned or most <= _FEW:
        yield step.remark(
            f"{most} per {step.get('per')} is one limit for all recipients together",
            "key= gives each its own, but production has no such option: there, deduplicate by the recipient "
            "comes nearest",
        )


@rule("fan-out-unlimited", "note", StepView, of=("fan_out",))
def fan_out_unlimited(step: StepView) -> Iterator[Violation]:
    """Report a fan-out that no later step limits."""
    holding = ("rate_limit", "deduplicate", "batch")
    if not any(s.name in holding for s in step.later):
        yield step.remark(
            f"one event becomes as many deliveries as there are {step.get('via')!r} links",
            "a rate_limit, deduplicate or batch after it bounds them",
        )


@rule("dedupe-before-failure", "warning", StepView, of=("deduplicate",))
def dedupe_before_failure(step: StepView) -> Iterator[Violation]:
    """Report a deduplicate whose window an event may use up that then fails."""
    for later in step.later:
        if later.name == "resolve" and later.get("required") is not False:
            what = f"the resolve into {later.get('as')!r} can fail"
        elif later.name == "map" and (unsure := _unsure(later)):
            what = f"the map fails where there is no {unsure}"
        else:
            continue
        yield step.remark(
            f"{what} after the window is spent: nothing goes out, and the next event within "
            f"{step.get('window')} is a duplicate",
            f"put the deduplicate after step {later.number}",
        )
        return


def _unsure(step: StepView) -> str | None:
    paths = sorted(path for leaf in step.leaves for path in leaf.sure_paths)
    return next((path_text(path) for path in paths if step.known.get(path[0]) in UNCERTAIN), None)


@rule("dedupe-before-filter", "note", StepView, of=("deduplicate",))
def dedupe_before_filter(step: StepView) -> Iterator[Violation]:
    """Report a deduplicate whose window an event may use up that a later filter drops."""
    # what a batch or a branch is asked cannot be asked of the event before
    ends = ("filter", "batch", "fan_out", "for_each")
    later = next((s for s in step.later if s.name in ends), None)
    if later is not None and later.name == "filter":
        yield step.remark(
            f"an event that the filter of step {later.number} drops has spent the window: one that would "
            "pass it is a duplicate then",
            "filter first, then deduplicate",
        )


@rule("key-as-text", "note", StepView, target=True, of=("deduplicate", "batch"))
def key_as_text(step: StepView) -> Iterator[Violation]:
    """Report keys that production compares as text: `1` and `"1"` are one key, `1` and `1.0` two."""
    for option, path in step.read:
        if path[0] in step.scope and not is_text(step.scope, path) and not path[-1].endswith("id"):
            yield step.remark(
                f'production compares the values of {path_text(path)!r} as text: 1 and "1" are the same key '
                "there, 1 "
                "and 1.0 are not",
                "harmless where the values are all text",
                option,
            )


@rule("processing-time", "note", FlowView, target=True)
def processing_time(flow: FlowView) -> Iterator[Violation]:
    """Report windows that production measures in processing time, not event time."""
    timed = flow.named("deduplicate", "batch", "rate_limit")
    if timed:
        yield timed[0].remark(
            "production counts time from when it processes an event, not from the event's timestamp: after "
            "a pause it works off old events within one window"
        )
