"""Difference between what flows mean and what production makes of them, over a log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from flowdsl.comparison.comparison import Comparison, compare
from flowdsl.errors import FlowError, LoadError, without_warnings
from flowdsl.log.source import LogLike
from flowdsl.production.project_spec import ProjectSpec
from flowdsl.production.yaml import load_bytes, merge_documents
from flowdsl.results.run import replay_with
from flowdsl.rules import FLOWDSL, Rules, Target, rules_of
from flowdsl.sinks.registry import is_implemented

if TYPE_CHECKING:
    from flowdsl.graph.snapshot import EntityGraph


@dataclass(frozen=True, repr=False)
class Prediction:
    """A replay by flowdsl's rules compared with one by production's; `comparison` has the differences and
    their causes.

    `refused_here` are the flows that only production runs, `refused_there` those that it leaves out;
    `unserved` has, for each sink that production lacks, its name, the number of lost deliveries, and the code
    of the finding that reports the sink.
    """

    comparison: Comparison
    refused_here: tuple[str, ...]
    refused_there: tuple[str, ...]
    unserved: tuple[tuple[str, int, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as plain values."""
        return {
            **self.comparison.to_dict(),
            "refused_here": list(self.refused_here),
            "refused_there": list(self.refused_there),
            "unserved": [dict(zip(("sink", "count", "finding"), row, strict=True)) for row in self.unserved],
        }

    def __repr__(self) -> str:
        lines = [repr(self.comparison)]
        lines += [
            f"  {name}: flowdsl refuses it, so what it means is not known" for name in self.refused_here
        ]
        lines += [f"  {name}: production leaves it out" for name in self.refused_there]
        lines += [
            f"  {sink}: production makes none of these {count:,} deliveries [{finding}]"
            for sink, count, finding in self.unserved
        ]
        return "\n".join(lines)


def predict_sources(
    sources: Sequence[tuple[bytes, str]],
    target: Target,
    log: LogLike,
    graph: EntityGraph | None = None,
    *,
    start: int | dt.datetime | str | None = None,
    stop: int | dt.datetime | str | None = None,
) -> Prediction:
    """Predict what a runtime makes of several YAML texts, taken as one project, over a log.

    Raises `LoadError` if the runtime, or flowdsl, cannot run any of their flows.
    """

    def read(rules: Rules) -> ProjectSpec:
        return merge_documents([partial(load_bytes, *one, rules=rules, skip_invalid=True) for one in sources])

    with without_warnings():
        # findings report why flows are left out
        here, there = read(FLOWDSL), read(rules_of(target))
        for project, whose in ((here, "flowdsl"), (there, "production")):
            if not project.flows:
                raise LoadError(
                    list(project.skipped) or [FlowError(f"{whose} finds no flow in it", place=sources[0][1])]
                )
        meant = replay_with(here, log, graph, start=start, stop=stop)
        made = replay_with(there, log, graph, start=start, stop=stop, target=target)
    compared = compare(meant, made)
    names, others = ({flow.name for flow in project.flows} for project in (here, there))
    return Prediction(
        compared,
        tuple(sorted(others - names)),
        tuple(sorted(names - others)),
        tuple(_find_unserved(there, compared)),
    )


def _find_unserved(there: ProjectSpec, compared: Comparison) -> list[tuple[str, int, str]]:
    """Return the sinks, with count and finding, that are not defined or of a type that production lacks."""
    if not there.sinks:
        return []
    types = {sink.name: sink.type for sink in there.sinks}
    counts: dict[str, int] = {}
    for row in compared.to_dict()["counts"]:
        counts[row["sink"]] = counts.get(row["sink"], 0) + row["after"]
    found = []
    for sink, count in counts.items():
        if sink not in types:
            found.append((sink, count, "sink-undefined"))
        elif not is_implemented(types[sink]):
            found.append((sink, count, "sink-not-implemented"))
    return [row for row in found if row[1]]
