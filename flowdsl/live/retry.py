"""Retry of dead letters: deliveries unchanged, contexts by running their events again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flowdsl.engine.local import LocalExecutor
from flowdsl.engine.range import ReplayRange
from flowdsl.flow.plan import Plan
from flowdsl.flow.spec import FlowSpec
from flowdsl.graph.snapshot import EntityGraph
from flowdsl.live.collector import LiveRecorder
from flowdsl.live.consumer_store import ConsumerStore
from flowdsl.live.dead_letters import DeadLetter, delivery_of
from flowdsl.log.base import EventLog
from flowdsl.log.numbered_events import read_events_at
from flowdsl.progress import ProgressReporter
from flowdsl.results.delivery_keys import DeliveryKeys
from flowdsl.sinks.base import Delivery, Sink, check_outcomes
from flowdsl.values.orders import distinct


@dataclass(frozen=True)
class Retry:
    """Surroundings in which letters are retried: flows, log, graph and sinks as they are now."""

    flows: tuple[FlowSpec, ...]
    log: EventLog
    graph: EntityGraph | None
    sinks: dict[str, Sink]


def retry_letters(
    job: Retry,
    consumer: ConsumerStore,
    labels: list[str],
    letters: Sequence[DeadLetter],
    follower: ProgressReporter,
) -> list[DeadLetter]:
    """Retry letters; return those that failed again and settle the others. `follower` counts the events
    that are run.
    """
    wanted: dict[str, list[Delivery]] = {}
    errors: dict[str, str] = {}
    again: list[DeadLetter] = []
    for letter in letters:
        if letter.sink is not None:
            wanted[letter.key] = [delivery_of(letter)]
        elif letter.flow in labels:
            again.append(letter)
        else:
            errors[letter.key] = f"there is no flow {letter.flow!r} any more"
    if again:
        found, failed = _rerun(job, labels, again, follower)
        errors |= failed
        wanted |= {key: deliveries for key, deliveries in found.items() if key not in failed}
    errors |= _deliver(job.sinks, wanted)
    return _settle(job, consumer, letters, errors)


def _settle(
    job: Retry, consumer: ConsumerStore, letters: Sequence[DeadLetter], errors: dict[str, str]
) -> list[DeadLetter]:
    """Store what failed again and settle the other letters; return those that failed."""
    consumer.tried_again(list(errors.items()))
    consumer.settle([letter.key for letter in letters if letter.key not in errors], job.log.last_seq_no())
    kept = {letter.key: letter for letter in consumer.letters()}
    return [kept[key] for key in errors if key in kept]


def _deliver(sinks: dict[str, Sink], wanted: dict[str, list[Delivery]]) -> dict[str, str]:
    """Hand deliveries to their sinks; return the errors by letter."""
    errors: dict[str, str] = {}
    by_sink: dict[str, list[tuple[str, Delivery]]] = defaultdict(list)
    for key, deliveries in wanted.items():
        for delivery in deliveries:
            by_sink[delivery.sink].append((key, delivery))
    for name, rows in by_sink.items():
        if name not in sinks:
            errors |= {key: f"there is no sink {name!r} any more" for key, _ in rows}
            continue
        for (key, _), outcome in zip(rows, _outcomes(sinks[name], [d for _, d in rows]), strict=True):
            if isinstance(outcome, str):
                errors[key] = outcome
    return errors


def _outcomes(sink: Sink, deliveries: list[Delivery]) -> list[str | None]:
    """Return the error of each delivery; its key keeps durable sinks from making it twice."""
    try:
        outcomes = check_outcomes(sink.deliver(deliveries), sink, len(deliveries))
        return [None if outcome is None else outcome.error for outcome in outcomes]
    except Exception as error:  # a sink may raise anything
        return [f"{type(error).__name__}: {error}"] * len(deliveries)


def _rerun(
    job: Retry, labels: list[str], letters: Sequence[DeadLetter], follower: ProgressReporter
) -> tuple[dict[str, list[Delivery]], dict[str, str]]:
    """Run the events of letters again; return by letter what comes out after the failed step, and what fails
    again.
    """
    plan = Plan.of(job.flows)
    keys = DeliveryKeys(job.flows, job.log)
    recorder = LiveRecorder(keys)
    graph = (job.graph or EntityGraph()).start(plan.needs, plan.rules)
    local = LocalExecutor(plan, graph, recorder, gates=job.sinks, spares=True)
    seqs = distinct([letter.seq_no for letter in letters])
    follower.total = int(seqs[-1])
    local.run(keys.names.source, ReplayRange(stop=int(seqs[-1]) + 1, only=seqs), progress=follower)
    local.flush()
    recorder.keep_failures()
    errors: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in recorder.take_failures().table(local.empty_chunk(), labels).rows(named=True):
        errors[row["flow"], row["seq_no"]].append(row)
    deliveries: dict[tuple[str, int | None], list[Delivery]] = defaultdict(list)
    for rows in recorder.take_deliveries().values():
        for _, delivery in rows:
            deliveries[delivery.flow, delivery.seq_no].append(delivery)
    found = {
        letter.key: [
            d for d in deliveries[letter.flow, letter.seq_no] if _comes_from(letter, d.branch, d.step)
        ]
        for letter in letters
    }
    failed = {
        letter.key: row["error"]
        for letter in letters
        for row in errors[letter.flow, letter.seq_no]
        if _comes_from(letter, row["branch"], row["step"] + 1)
    }
    seen = {*read_events_at(job.log, seqs, ())["seq_no"]}
    failed |= {letter.key: "the log has its event no more" for letter in letters if letter.seq_no not in seen}
    return found, failed


def _comes_from(letter: DeadLetter, branch: str | None, step: int) -> bool:
    """Return True if an outcome belongs to the failed context, or a branch of it, at a later step."""
    return step > letter.step and (
        letter.branch is None or branch == letter.branch or (branch or "").startswith(f"{letter.branch}.")
    )
