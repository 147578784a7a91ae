"""The path of an event to a recipient, in plain sentences."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

from flowdsl.engine.event_reading import FULL, PAUSED, StepTrace
from flowdsl.explanation.link_history import LinkInterval, link_intervals
from flowdsl.explanation.recipients import recipient_node, recipient_of, recipient_roots
from flowdsl.explanation.text import clip_line, format_time, format_value
from flowdsl.explanation.trace import GONE_ON, EventTrace, Parts, RecipientTrace, persons
from flowdsl.explanation.window_peers import takers, windows
from flowdsl.expressions.conditions.nodes import Reference
from flowdsl.expressions.templates import Template
from flowdsl.flow.spec import FlowSpec
from flowdsl.operators.batch import Batch
from flowdsl.operators.deduplicate import Deduplicate
from flowdsl.operators.deliver import Deliver
from flowdsl.operators.fan_out import FanOut
from flowdsl.operators.for_each import ForEach
from flowdsl.operators.rate_limit import RateLimit
from flowdsl.operators.where import Where
from flowdsl.pluralize import count_text

Story = list[str]
NAMED: Final = 3
"""Events listed one by one."""


class Narrator:
    """Writes sentences about the paths of one event through one flow, for one recipient."""

    def __init__(self, trail: EventTrace, flow: FlowSpec) -> None:
        self.flow, self.trail = flow, trail
        self.seq_no, self.recipient = trail.seq_no, trail.recipient
        self.whom = trail.called(trail.recipient)

    def story(self, way: Parts) -> Story:
        """Return the story of a path: its waits, its deliveries, and its end."""
        sentences: Story = []
        seeker = self.trail.seeker(self.seq_no)
        for part in way:
            for seen in part[:-1]:
                sentences += (
                    self._describe_kept_back(seen)
                    or self._describe_delivery(seen)
                    or self._describe_wait(seen)
                )
            sentences += self._end(seeker, part[-1])
            if part[-1].into is not None:
                seeker = self.trail.seeker(part[-1].into[0])
        return sentences

    def note_unaddressed(self, way: Parts) -> Story:
        """Return a remark if the branch of the recipient was delivered without a recipient."""
        end = way[-1][-1]
        if end.outcome != "delivered" or end.recipient_id is not None:
            return []
        remark = f"That is the branch of {self.whom}, but it names no recipient"
        return [f"{remark}: give the payload a recipient_id."]

    def others_of_theirs(self, count: int) -> Story:
        """Return a remark if the recipient has more branches."""
        return (
            [f"{count:,} more of its branches {'is' if count == 1 else 'are'} theirs, too."] if count else []
        )

    def unknown(self, way: Parts) -> Story:
        """Return a remark if the path ended before its recipient was known."""
        end = way[-1][-1]
        if end.outcome in GONE_ON:
            return []
        if isinstance(end.stage.operator, FanOut) and end.reason == "no links":
            start = _at_path(end)
            return [self._history(end.stage.operator, start)] if isinstance(start, str) else []
        return ["That was before it was known for whom it would be."]

    def for_others(self, ways: Sequence[Parts]) -> tuple[Parts, Story]:
        """Return a path that led to others, and the sentences about it."""
        fan = self._deciding_fan_out([way[0] for way in ways])
        if fan is not None:
            step, seen = fan
            trunk = [one for one in ways[0][0] if one.stage.number <= seen[0].stage.number]
            more = sum(self.trail.seeker(self.seq_no).steps.more.values())
            return [trunk], self._near_miss(step, seen, len(seen) + more)
        way, others = ways[0], sorted(set().union(*(persons(self.flow, way) for way in ways)))
        node = recipient_node(self.flow)
        source = (
            f", for {_text(node)} is {format_value(others[0])}"
            if isinstance(node, (Template, Reference)) and node.paths
            else ""
        )
        if len(others) > 1:
            return way, [
                f"It was for {_some([*map(self.trail.called, others)])}, and {self.whom} is not among them."
            ]
        if way[-1][-1].outcome == "delivered":
            sentence = f"It was delivered to {self.trail.called(others[0])}, not to {self.whom}{source}."
            return way, [*self.story(way[:-1]), sentence]
        return way, [
            *self.story(way),
            f"It would have been for {self.trail.called(others[0])}, not for {self.whom}{source}.",
        ]

    def _end(self, seeker: RecipientTrace, seen: StepTrace) -> Story:
        if seen.outcome == "delivered":
            return self._describe_delivery(seen)
        if isinstance(seen.stage.operator, Deliver) and seen.reason in ("preference", "capped"):
            return self._describe_kept_back(seen)
        if seen.outcome == "passed":
            return ["It went through all steps, and there the flow delivers nothing."]
        return [self._describe_stop(seeker, seen)]

    def _describe_kept_back(self, seen: StepTrace) -> Story:
        """Return a sentence if no sink of a deliver step took the delivery."""
        if not isinstance(seen.stage.operator, Deliver) or seen.outcome == "delivered":
            return []
        known = recipient_of(self.flow, seen)
        whom = "its recipient" if known is None else self.trail.called(known)
        what = f"The cap for {whom}" if seen.reason == "capped" else f"The preferences of {whom}"
        return [f"{what} kept it from {_join_names(seen.stage.operator.sinks)}."]

    def _recipient(self, seen: StepTrace) -> str:
        return self.trail.called(str(seen.recipient_id))

    def _describe_delivery(self, seen: StepTrace) -> Story:
        sentences = []
        if seen.sinks:
            whom = f" to {self.trail.called(seen.recipient_id)}" if seen.recipient_id else ""
            sentences.append(f"It was delivered{whom} through {_join_names(seen.sinks)}{_at(seen)}.")
        if refused := [sink for sink in seen.refused_by if sink not in seen.capped_by]:
            sentences.append(
                f"The preferences of {self._recipient(seen)} kept it from {_join_names(refused)}."
            )
        if seen.capped_by:
            sentences.append(
                f"The cap for {self._recipient(seen)} kept it from {_join_names(seen.capped_by)}."
            )
        return sentences

    def _describe_stop(self, seeker: RecipientTrace, seen: StepTrace) -> str:
        step, place = seen.stage.operator, f"step {seen.stage.number} ({seen.stage.operator.method})"
        if seen.outcome == "failed":
            read = _values(seen.operands)
            return f"It failed at {place}: {clip_line(seen.reason or '')}{f'; {read}' if read else ''}."
        if seen.outcome == "held":
            return f"It still waits at {place}: when the replay ended, {step.held_because}."
        if seen.outcome == "absorbed":
            return self._describe_absorption(seeker, seen, place)
        return f"It was dropped at {place}{self._drop_reason(seeker, seen)}."

    def _drop_reason(self, seeker: RecipientTrace, seen: StepTrace) -> str:
        step = seen.stage.operator
        if isinstance(step, Where):
            condition = step.condition.text
            read = _values([(text, value) for text, value in seen.operands if text != condition])
            return f": {clip_line(condition)} is false{f', for {read}' if read else ''}"
        if isinstance(step, FanOut):
            return f": there was no {step.via!r} link {_side(step)} {_start(seen)}"
        if isinstance(step, Deduplicate):
            return f" as a duplicate{self._duplicate(seeker, seen, step)}"
        if isinstance(step, RateLimit):
            return f": there was no token{self._tokens(seeker, seen, step)}"
        if isinstance(step, Batch):
            return f": {self._small(seeker, seen, step)}"
        if isinstance(step, ForEach) and seen.operands:
            return f": there is nothing in it, for {_values(seen.operands[:1])}"
        return f": {seen.reason}"

    def _describe_absorption(self, seeker: RecipientTrace, seen: StepTrace, place: str) -> str:
        assert isinstance(seen.stage.operator, Batch)
        assert seen.into is not None
        opened = self._window(seeker, seen)
        count = f" with {count_text(opened[1], 'context')}" if opened else ""
        first = f", which {self._event(opened[0])} opened" if opened else ""
        full = " since it was full" if (seen.reason or "").endswith(FULL) else ""
        quiet = " since no more came" if (seen.reason or "").endswith(PAUSED) else ""
        return (
            f"At {place} it went into the batch for {_keys(seen)}{first};"
            f" that closed{_at(seen)}{full}{quiet}{count} and went on as event {seen.into[0]}."
        )

    def _duplicate(self, seeker: RecipientTrace, seen: StepTrace, step: Deduplicate) -> str:
        beside = seeker.peers.beside(seen.stage, seen.branch)
        if beside is None:
            return ""
        seqs, moments, mine = beside.seqs, beside.moments, beside.own[0]
        first = windows(moments, step.window.microseconds)[mine]
        if first == mine:
            return f", of one before this replay's state: both have {_name_operands(seen.operands)}"
        ago = _lasting(moments[mine] - moments[first])
        which = f"event {seqs[first]}" if seqs[first] != self.seq_no else "an earlier branch of this event"
        both = f"both have {_name_operands(seen.operands)}, and {step.window.text} must lie between"
        return f" of {which}, {ago} before: {both}"

    def _tokens(self, seeker: RecipientTrace, seen: StepTrace, step: RateLimit) -> str:
        for_key = f" for {_name_operands(seen.operands)}" if step.key else ""
        limit = f"{count_text(step.max, 'token')}, refilled over {step.per.text}{for_key}"
        beside = seeker.peers.beside(seen.stage, seen.branch)
        if beside is None or step.max == 0:
            return f" ({limit})"
        seqs, moments, mine = beside.seqs, beside.moments, beside.own[0]
        queue = step.strategy == "queue" and self.flow.rules.timers
        took = [seqs[row] for row in takers(step, moments, mine, queue=queue)]
        if not took:
            return f" ({limit})"
        return f": of {limit}, the last {'was' if len(took) == 1 else 'were'} taken by {_events(took)}"

    def _small(self, seeker: RecipientTrace, seen: StepTrace, step: Batch) -> str:
        if seen.reason == "in no batch":
            return "it found its window over and too small, and went with it"
        opened = self._window(seeker, seen)
        least = f"of at least {step.min_count}"
        window = f"its window for {_keys(seen)}"
        if opened is None:
            return f"{window} had fewer contexts than {step.min_count}"
        return f"{window}, which {self._event(opened[0])} opened, had {opened[1]} {least} contexts"

    def _window(self, seeker: RecipientTrace, seen: StepTrace) -> tuple[int, int] | None:
        """Return the event that opened the window, and the number of its contexts."""
        beside = seeker.peers.beside(seen.stage, seen.branch)
        if beside is None or not beside.openers:
            return None
        opener = beside.openers[beside.own[0]]
        return beside.seqs[opener], beside.openers.count(opener)

    def _describe_wait(self, seen: StepTrace) -> Story:
        if not seen.stage.operator.times or seen.reason is None:
            return []
        place = f"step {seen.stage.number} ({seen.stage.operator.method})"
        batch = seen.variables.get("batch") or seen.variables.get("_batch")
        if isinstance(seen.stage.operator, Batch) and isinstance(batch, dict):
            count = count_text(batch.get("count", 1), "context")
            made = [(name, batch[name]) for name, _ in seen.stage.operator.collect if name in batch]
            having = f"; {_values(made)}" if made else ""
            return [f"At {place} it went on for a batch of {count}{_at(seen)}, {seen.reason}{having}."]
        return [f"At {place} it waited until{_at(seen).removeprefix(' at')}, {seen.reason}."]

    def _deciding_fan_out(self, ways: Sequence[list[StepTrace]]) -> tuple[FanOut, list[StepTrace]] | None:
        """Return the fan-out that decides the recipient, and the trace of its branches."""
        step = self._deciding_step(ways)
        branches = {one.branch: one for way in ways for one in way if one.stage.operator == step}
        return (step, list(branches.values())) if step is not None and branches else None

    def _deciding_step(self, ways: Sequence[list[StepTrace]]) -> FanOut | None:
        roots = recipient_roots(self.flow)
        steps = [step for step in self.flow.steps if isinstance(step, FanOut)]
        for step in reversed(steps):
            if not roots.isdisjoint((step.as_, f"{step.as_}_id")):
                return step
        named = any(seen.recipient_id is not None for way in ways for seen in way)
        if named or recipient_node(self.flow) is not None:
            return None
        # the payload names no recipient: a branch belongs to the id of its fan-out
        return next(reversed(steps), None)

    def _near_miss(self, step: FanOut, seen: Sequence[StepTrace], count: int) -> Story:
        """Return sentences about the recipient's absence from the branches, and when they were or will be
        linked.
        """
        number, start = seen[0].stage.number, _at_path(seen[0])
        place, links = f"Step {number} (fan_out)", f"by {step.via!r} links {_side(step)}"
        if len({format_value(_at_path(one)) for one in seen}) > 1:
            return [f"{place} found {count:,} {links} several ids; {self.whom} is not among them."]
        whose = self.trail.called(start) if isinstance(start, str) else start
        found = [one.variables.get(f"{step.as_}_id") for one in seen]
        names = [str(name) for name in found if name is not None]
        if count > NAMED or len(names) < count:
            sentence = f"{place} found {count:,} {links} {whose}; {self.whom} is not among them."
        elif count == 1:
            sentence = f"{place} found only {self.trail.called(names[0])} {links} {whose}."
        else:
            called = _join_names([*map(self.trail.called, names)])
            sentence = f"{place} found {called} {links} {whose}; {self.whom} is not among them."
        return [sentence, self._history(step, start)] if isinstance(start, str) else [sentence]

    def _history(self, step: FanOut, start: str) -> str:
        """Return a sentence about the intervals with a link between the two."""
        one, other = (start, self.recipient) if step.direction == "forward" else (self.recipient, start)
        times = link_intervals(self.trail.options, step.via, one, other)
        one, other = self.trail.called(one), self.trail.called(other)
        if not times:
            return f"Neither the graph nor the log ever has a {step.via!r} link from {one} to {other}."
        earlier = [time for time in times if time.until is not None and time.until <= self.seq_no]
        later = [time for time in times if time.since > self.seq_no]
        link = f"a {step.via!r} link"
        if len(earlier) + len(later) < len(times):
            return f"There is {link} from {one} to {other} at this event, but not at the moment of the step."
        if earlier:
            return f"{one} had {link} to {other} {_intervals(earlier, later)}."
        return f"{one} has {link} to {other} only since event {later[0].since}."

    def _event(self, seq_no: int) -> str:
        return "this event" if seq_no == self.seq_no else f"event {seq_no}"


def _keys(seen: StepTrace) -> str:
    """Return the key of a context at a step, as text."""
    step = seen.stage.operator
    assert isinstance(step, Batch)
    return _name_operands(seen.operands[: len(step.key)])


def _intervals(earlier: Sequence[LinkInterval], later: Sequence[LinkInterval]) -> str:
    last, often = earlier[-1], f"{len(earlier):,} times, last " if len(earlier) > 1 else ""
    since = "the start" if last.since == 0 else f"event {last.since}"
    again = f", and again since event {later[0].since}" if later else ""
    return f"{often}from {since} until event {last.until}{again}"


def _lasting(microseconds: int) -> str:
    """Return a duration, as `1h 2m` or `3s 5ms`."""
    rest, parts = microseconds // 1_000, []
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)):
        count, rest = divmod(rest, length)
        parts += [f"{count}{unit}"] if count else []
    return " ".join(parts[:2]) or "no time"


def _values(operands: Sequence[tuple[str, Any]]) -> str:
    return " and ".join(f"{name} is {format_value(value)}" for name, value in operands)


def _name_operands(operands: Sequence[tuple[str, Any]]) -> str:
    return " and ".join(f"{name} {format_value(value)}" for name, value in operands)


def _start(seen: StepTrace) -> str:
    return " and ".join(f"{format_value(value)} ({name})" for name, value in seen.operands) or "the id"


def _at_path(seen: StepTrace) -> Any:
    return seen.operands[0][1] if seen.operands else None


def _side(step: FanOut) -> str:
    return "from" if step.direction == "forward" else "to"


def _at(seen: StepTrace) -> str:
    return f" at {format_time(seen.at)} UTC" if isinstance(seen.at, dt.datetime) else ""


def _join_names(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _some(names: Sequence[str]) -> str:
    """Return some of the names, and the number of the others."""
    if len(names) <= NAMED + 1:
        return _join_names(names)
    return f"{', '.join(names[:NAMED])} and {len(names) - NAMED:,} others"


def _events(seqs: Sequence[int]) -> str:
    distinct = sorted(set(seqs))
    if len(distinct) > NAMED + 1:
        return f"{len(distinct):,} events, from {distinct[0]} to {distinct[-1]}"
    return f"{'event' if len(distinct) == 1 else 'events'} {_join_names([*map(str, distinct)])}"


def _text(node: Template | Reference) -> str:
    return clip_line(node.text if isinstance(node, Template) else str(node))
