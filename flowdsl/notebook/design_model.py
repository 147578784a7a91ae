"""State of the designer without its view: the draft and its history, its run on a sample, the preview."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from flowdsl.diagrams.flows import flow_diagram
from flowdsl.diagrams.picture import Picture
from flowdsl.errors import FlowError
from flowdsl.explanation.explain import Explanation, explain
from flowdsl.findings import check_flow
from flowdsl.findings.base import SEVERITIES
from flowdsl.notebook.completions import paths_of
from flowdsl.notebook.drafts import Draft, DraftResult, build_draft, draft_of
from flowdsl.notebook.edits import EDITS
from flowdsl.notebook.preview_run import PreviewResult, count_all, rehearse
from flowdsl.production.export import flow_to_yaml
from flowdsl.production.python_source import python_source
from flowdsl.rules import Target

if TYPE_CHECKING:
    from flowdsl.findings import Finding
    from flowdsl.flow.spec import FlowSpec
    from flowdsl.notebook.latest_task import Cancelled
    from flowdsl.notebook.log_sample import EventSample, SampledLog
    from flowdsl.notebook.outcome_kinds import OutcomeKind, Seqs
    from flowdsl.operators.base import Operator
    from flowdsl.operators.scope import ValueShape

REMEMBERED: Final = 200
# consecutive edits of one field are one change
_TYPED: Final = ("set_trigger", "set_option", "set_row")


class DesignModel:
    """Draft with undo and redo, its counts on a sample of the log, and the preview of one event.

    `change` and `undo` are quick and only update the problems; `rehearse` replays the flow over the sample.
    """

    def __init__(
        self, history: SampledLog, flow: FlowSpec | None = None, target: Target | None = None
    ) -> None:
        self.history = history
        self.target: Target | None = target
        self.draft = Draft(kind=_usual_kind(history)) if flow is None else draft_of(flow)
        self.built = build_draft(self.draft)
        self.rehearsal: PreviewResult | None = None
        self.total: PreviewResult | None = None
        self.findings: list[Finding] = []
        self.seq_no: int | None = None
        self.version = 0
        self._paths: dict[str, tuple[ValueShape, list[Any], list[list[str]]]] = {}
        self._code: tuple[DraftResult, dict[str, dict[str, str]]] | None = None
        self._previewed: DraftResult | None = None
        self._picture = ""
        self._past: list[Draft] = []
        self._future: list[Draft] = []
        self._last: tuple[Any, ...] | None = None
        self._explained: tuple[tuple[int | None, tuple[Operator, ...]], Explanation] | None = None

    def change(self, edit: str, **how: Any) -> bool:
        """Apply one of the `EDITS`; return True if it changed anything. Raises `BuildError` if it does not
        fit this draft.
        """
        draft = EDITS[edit](self.draft, **how)
        if draft == self.draft:
            return False
        # the edited field, if any
        field = (edit, how.get("key"), how.get("row"), how.get("name")) if edit in _TYPED else None
        if field is None or field != self._last:
            self._past = [*self._past, self.draft][-REMEMBERED:]
        self._last, self._future = field, []
        self._take(draft)
        return True

    def undo(self) -> bool:
        """Undo the last change; return False if there is none."""
        return self._step(self._past, self._future)

    def redo(self) -> bool:
        """Redo the last undone change; return False if there is none."""
        return self._step(self._future, self._past)

    @property
    def can_undo(self) -> bool:
        """True if there is a change to undo."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """True if there is a change to redo."""
        return bool(self._future)

    @property
    def flow(self) -> FlowSpec:
        """Flow as designed. Raises `FlowError` with the first problem if it is not valid yet."""
        if self.built.flow is not None:
            return self.built.flow
        problem = self.built.problems[0]
        place = (
            None if problem.step is None else f"{problem.step} ({self.draft.steps[problem.step].operator})"
        )
        raise FlowError(
            f"the flow is not finished: {problem.what}",
            step=place,
            allowed=problem.allowed,
            hint=problem.hint,
        )

    @property
    def sample(self) -> EventSample:
        """Events that the flow is tried on."""
        return self.history.sample(self.draft.kind, self.draft.type)

    def rehearse(self) -> None:
        """Replay the valid steps of the flow over the sample, and run the findings."""
        now, rehearsal, findings = self.built, None, []
        if now.runnable is not None and now.runnable.steps:
            rehearsal = rehearse(now.runnable, self.sample.source, self.history.graph)
        if now.flow is not None and now.flow.steps:
            findings = sorted(check_flow(now.flow, self.target), key=_weight)
        # another thread may have changed the draft
        if self.built is now:
            self.rehearsal, self.total, self.findings = rehearsal, None, findings

    def count_all(self, cancelled: Cancelled, on_progress: Callable[[int, int | None], None]) -> None:
        """Replay the valid steps over the whole log, if it exceeds the sample, reporting progress.

        Raises `CancelledError` when cancelled.
        """
        now = self.built
        if now.runnable is not None and now.runnable.steps and not self.sample.whole:
            total = count_all(now.runnable, self.history.source, self.history.graph, cancelled, on_progress)
            if self.built is now:
                self.total = total

    @property
    def counted(self) -> PreviewResult | None:
        """The last run that counts are of: over all events, or else over the sample."""
        return self.total or self.rehearsal

    def paths(self) -> dict[str, list[list[str]]]:
        """Return the readable paths of each variable in the draft, with examples from the sample and the last
        run.
        """
        examples = dict(self.sample.examples)
        if self.rehearsal is not None:
            examples |= self.rehearsal.examples
        shapes: dict[str, ValueShape] = {}
        for scope in self.built.scopes:
            shapes |= scope.variables
        paths = {}
        for name, shape in shapes.items():
            if name.startswith("_"):
                continue
            values = examples.get(name, [])
            if name not in self._paths or self._paths[name][:2] != (shape, values):
                self._paths[name] = (shape, values, paths_of(name, shape, values))
            paths[name] = self._paths[name][2]
        return paths

    def code(self) -> dict[str, dict[str, str]]:
        """Return the flow as `python` and `yaml`: the `text`, or the `error` that prevents it."""
        if self._code is None or self._code[0] is not self.built:
            code = {}
            for name, write in (("python", python_source), ("yaml", flow_to_yaml)):
                try:
                    code[name] = {"text": write(self.flow)}
                except FlowError as error:
                    code[name] = {"error": str(error)}
            self._code = (self.built, code)
        return self._code[1]

    def picture(self) -> str:
        """Return a drawing of the flow as HTML with the counts of its last run, or the previous drawing while
        a run is in progress.
        """
        counted, runnable = self.counted, self.built.runnable
        if counted is not None and counted.flow == runnable:
            self._picture = counted.picture.html
        elif runnable is not None and (not runnable.steps or not self._picture):
            self._picture = Picture(flow_diagram([runnable])).html
        return self._picture

    @property
    def preview_seq_no(self) -> int | None:
        """Event in the preview: the chosen one, or else one that gets furthest; None if no event matches."""
        taken = self.sample.taken
        if self.seq_no is not None and self.seq_no in taken:
            return self.seq_no
        endings = {} if self.rehearsal is None else self.rehearsal.endings
        best = max(
            endings, key=lambda e: (e.outcome == "delivered", e.step, e.outcome == "failed"), default=None
        )
        through = _subtract(taken, list(endings.values()))
        if best is not None and (best.outcome == "delivered" or not len(through)):
            return int(endings[best][0])
        return int(through[0]) if len(through) else None

    def preview(self) -> Explanation | None:
        """Explain the previewed event in the valid steps of the flow."""
        seq_no, rehearsal = self.preview_seq_no, self.rehearsal
        self._previewed = self.built
        if seq_no is None or rehearsal is None or rehearsal.options is None:
            return None
        key = (seq_no, rehearsal.flow.steps)
        if self._explained is None or self._explained[0] != key:
            self._explained = (key, explain(rehearsal.options, seq_no, progress=False))
        return self._explained[1]

    def variables_at(self, place: int) -> Mapping[str, Any] | None:
        """Return the previewed event's variables before a step, if the steps before it are unchanged since
        the preview.

        None if they are unknown, or the event did not get that far.
        """
        if place == 0:
            known = self._explained is not None and self._explained[0][0] == self.preview_seq_no
            return self._explained[1].steps[0].variables if known and self._explained is not None else None
        explanation = self.preview_if_known(place - 1)
        if explanation is None:
            return None
        through = [
            s for s in explanation.steps if s.step == place - 1 and s.outcome in ("passed", "delivered")
        ]
        return through[0].variables if through else None

    def preview_if_known(self, place: int) -> Explanation | None:
        """Return the last `preview` if the flow up to a step and the event are unchanged.

        While a change is being replayed, the previous preview stays, to avoid flicker.
        """
        if self._explained is None or self.built.runnable is None:
            return None
        (seq_no, steps), explanation = self._explained
        now = self.built.runnable.steps
        if place >= len(now) or place >= len(steps):
            return None
        same = seq_no == self.preview_seq_no and steps[: place + 1] == now[: place + 1]
        waiting = self._previewed is not self.built and type(steps[place]) is type(now[place])
        return explanation if same or waiting else None

    def choose(self, forward: bool = True, ending: OutcomeKind | None = None) -> None:
        """Preview another event: the next or previous one of the trigger, or of an ending; wraps around."""
        seqs = self.sample.taken
        if ending is not None and self.rehearsal is not None:
            seqs = self.rehearsal.endings.get(ending, seqs)
        if len(seqs):
            at = int(np.searchsorted(seqs, self.preview_seq_no or 0, "right" if forward else "left"))
            self.seq_no = int(seqs[(at if forward else at - 1) % len(seqs)])

    def _step(self, from_: list[Draft], to: list[Draft]) -> bool:
        if not from_:
            return False
        to.append(self.draft)
        self._last = None
        self._take(from_.pop())
        # refresh every field of the form, also the one being edited
        self.version += 1
        return True

    def _take(self, draft: Draft) -> None:
        if (draft.kind, draft.type) != (self.draft.kind, self.draft.type):
            self.seq_no = None
        self.draft, self.built = draft, build_draft(draft)


def _usual_kind(history: SampledLog) -> str:
    """Return the most common kind of event."""
    counts: dict[str, int] = {}
    for (kind, _), count in history.kinds.items():
        counts[kind] = counts.get(kind, 0) + count
    return max(counts, key=lambda kind: counts[kind], default="link.created")


def _subtract(seqs: Seqs, others: list[Seqs]) -> Seqs:
    return np.setdiff1d(seqs, np.concatenate(others)) if others else seqs


def _weight(finding: Finding) -> tuple[int, int]:
    """Return the sort key of a finding: by severity, the worst first, and then by step."""
    return SEVERITIES.index(finding.severity), -1 if finding.step is None else finding.step
