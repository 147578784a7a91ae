"""Preview runs of a flow on a sample: outcomes at each step, and sample values of variables."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from flowdsl.diagrams.picture import Picture
from flowdsl.diagrams.results import result_diagram
from flowdsl.engine.trace import Trace
from flowdsl.errors import without_warnings
from flowdsl.notebook.log_sample import LOOKED_AT
from flowdsl.notebook.outcome_kinds import OutcomeKind, Seqs, endings_of, keeps_endings
from flowdsl.results.error_counts import cause_counts
from flowdsl.results.options import Options, whole_log
from flowdsl.results.run import run
from flowdsl.results.store import MemoryStore, NoStore
from flowdsl.values.json_types import MISSING

if TYPE_CHECKING:
    from flowdsl.batches.context_batch import ContextBatch
    from flowdsl.flow.plan import CompiledStep
    from flowdsl.flow.spec import FlowSpec
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.kernels.outcome import StepOutcome
    from flowdsl.log import EventSource
    from flowdsl.notebook.latest_task import Cancelled
    from flowdsl.results.result_data import ResultData

# values shown for each operand of a condition
SHOWN: Final = 6


@dataclass(frozen=True)
class PreviewResult:
    """Replay of a flow over a sample, or over the whole log.

    `steps` has the counts of each step (as in `result.steps`, with `reasons` of drops and `causes` of
    failures). A replay over a sample also has `examples`, values of each variable that steps set; `operands`,
    for each step with a condition the most common values that it reads; and `endings`, events by outcome.
    """

    flow: FlowSpec
    events: int
    steps: tuple[Mapping[str, Any], ...]
    picture: Picture
    examples: Mapping[str, list[Any]] = dataclasses.field(default_factory=dict)
    operands: Mapping[int, list[tuple[str, list[tuple[Any, int]]]]] = dataclasses.field(default_factory=dict)
    endings: Mapping[OutcomeKind, Seqs] = dataclasses.field(default_factory=dict)
    options: Options | None = None


class CancelledError(Exception):
    """Raised when a preview run was cancelled."""


def rehearse(flow: FlowSpec, source: EventSource, graph: EntityGraph | None) -> PreviewResult:
    """Replay the flow over a sample, and collect sample values of its variables."""
    samples = _SampleReading()
    trace = Trace(keeps_endings, readings=[samples])
    options = whole_log(flow, source, graph)
    with without_warnings():
        result = run(options, MemoryStore(), progress=False, outcomes=trace)
    return PreviewResult(
        flow,
        result.manifest["events"],
        *_steps_and_picture(result),
        samples.examples,
        samples.operands(),
        endings_of(trace),
        options,
    )


def count_all(
    flow: FlowSpec,
    source: EventSource,
    graph: EntityGraph | None,
    cancelled: Cancelled,
    on_progress: Callable[[int, int | None], None],
) -> PreviewResult:
    """Replay the flow over the whole log and count outcomes, reporting progress. Raises `CancelledError`"""

    def progress(done: int, total: int | None) -> None:
        if cancelled():
            raise CancelledError
        on_progress(done, total)

    with without_warnings():
        result = run(whole_log(flow, source, graph), NoStore(), progress=progress)
    return PreviewResult(flow, result.manifest["events"], *_steps_and_picture(result))


class _SampleReading:
    """Trace reader that collects sample values of variables."""

    def __init__(self) -> None:
        self.examples: dict[str, list[Any]] = {}
        self._read: dict[int, dict[str, Counter[Any]]] = {}

    def __call__(self, stage: CompiledStep, entered: ContextBatch, outcome: StepOutcome) -> None:
        """Collect some values of new variables, and all values of a condition's operands."""
        passed = outcome.passed
        if stage.operator.name == "filter" and stage.operator.paths and len(entered):
            read = self._read.setdefault(stage.number, {})
            for path in sorted(stage.operator.paths):
                texts = entered.column(path).to_json()
                read.setdefault(".".join(path), Counter()).update(dict(texts.value_counts().iter_rows()))
        if len(passed):
            new = [n for n in passed.names() if n not in self.examples and not n.startswith("_")]
            if new:
                some = np.linspace(0, len(passed) - 1, min(LOOKED_AT, len(passed))).astype(np.int64)
                taken = passed.take(some)
                for name in new:
                    values = taken.column((name,)).values()
                    self.examples[name] = [value for value in values if value is not MISSING]

    def operands(self) -> dict[int, list[tuple[str, list[tuple[Any, int]]]]]:
        """Return the operands of each condition with their most common values (JSON text; None: missing)"""
        return {
            step: [(path, _commonest(counts)) for path, counts in read.items()]
            for step, read in self._read.items()
        }


def _commonest(counts: Counter[Any]) -> list[tuple[Any, int]]:
    """Return the most common values, in a deterministic order."""
    return sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:SHOWN]


def _steps_and_picture(result: ResultData) -> tuple[tuple[Mapping[str, Any], ...], Picture]:
    causes = cause_counts(result.store, result.recorder)
    steps = tuple(
        {**step, "causes": causes.get((0, step["step"]), Counter()).most_common(3)}
        for step in result.manifest["steps"]
    )
    return steps, Picture(result_diagram(result.manifest, causes))
