"""What the designer knows and does, without anything drawn: the draft and its history, the trial on a sample, the preview."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from flowdsl.diagrams.flows import flow_diagram
from flowdsl.diagrams.picture import Picture
from flowdsl.errors import FlowError
from flowdsl.explanation.explain import Explanation, explain
from flowdsl.findings import check_flow
from flowdsl.notebook.completions import paths_of
from flowdsl.notebook.drafts import Draft, DraftResult, built, draft_of
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
    from flowdsl.notebook.outcome_observer import Seqs, StepOutcome
    from flowdsl.operators.base import Operator
    from flowdsl.scope import ValueShape

REMEMBERED: Final = 200
# typing into the same field is one change
_TYPED: Final = ("set_trigger", "set_option", "set_row")


class DesignModel:
    """A draft that is changed, undone and redone; what it does on a sample of a history, and on one event of it.

    `change` and `undo` are quick and only say what is wrong with the flow; `rehearse` replays it over the sample.
    """

    def __init__(
        self, history: SampledLog, flow: FlowSpec | None = None, target: Target | None = None
    ) -> None:
        self.history = history
        self.target = target
        self.draft = Draft(kind=_usual_kind(history)) if flow is None else draft_of(flow)
        self.built = built(self.draft)
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

    # -- changing --------------------------------------------------------------------------------------

    def change(self, edit: str, **how: Any) -> bool:
        """Make one of the `EDITS`; whether it changed anything. Raises `BuildError` for what is no edit of this draft."""
        draft = EDITS[edit](self.draft, **how)
        if draft == self.draft:
            return False
        # which field is typed into, if any
        field = (edit, how.get("key"), how.get("row"), how.get("name")) if edit in _TYPED else None
        if field is None or field != self._last:
            self._past = [*self._past, self.draft][-REMEMBERED:]
        self._last, self._future = field, []
        self._take(draft)
        return True

    def undo(self) -> bool:
        """Go back by one change; whether there was one."""
        return self._step(self._past, self._future)

    def redo(self) -> bool:
        """Take back the last `undo`; whether there was one."""
        return self._step(self._future, self._past)

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to go back by."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether there is an `undo` to take back."""
        return bool(self._future)

    @property
    def flow(self) -> FlowSpec:
        """The flow as it is designed. Raises `FlowError` with what is wrong where it cannot stand yet."""
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

    # -- trying ----------------------------------------------------------------------------------------

    @property
    def sample(self) -> EventSample:
        """The events that the flow is tried on."""
        return self.history.sample(self.draft.kind, self.draft.type)

    def rehearse(self) -> None:
        """Replay what can stand of the flow over the sample, and look for findings."""
        now, rehearsal, findings = self.built, None, []
        if now.runnable is not None and now.runnable.steps:
            rehearsal = rehearse(now.runnable, self.sample.source, self.history.graph)
        if now.flow is not None and now.flow.steps:
            findings = check_flow(now.flow, self.target)
        # another thread may have changed the draft meanwhile
        if self.built is now:
            self.rehearsal, self.total, self.findings = rehearsal, None, findings

    def count_all(self, cancelled: Cancelled, told: Callable[[int, int | None], None]) -> None:
        """Replay what can stand of the flow over all of the log, if that is more than the sample; `told` hears how far it is.

        Raises `CancelledError` when cancelled.
        """
        now = self.built
        if now.runnable is not None and now.runnable.steps and not self.sample.whole:
            total = count_all(now.runnable, self.history.source, self.history.graph, cancelled, told)
            if self.built is now:
                self.total = total

    def paths(self) -> dict[str, list[list[str]]]:
        """Of each variable that the draft ever has, the paths that can be read, with examples from the sample and the trial."""
        examples = {**self.sample.examples, **(self.rehearsal.examples if self.rehearsal is not None else {})}
        shapes = {name: shape for scope in self.built.scopes for name, shape in scope.variables.items()}
        for name, shape in shapes.items():
            values = examples.get(name, [])
            if not name.startswith("_") and (
                name not in self._paths or self._paths[name][:2] != (shape, values)
            ):
                self._paths[name] = (shape, values, paths_of(name, shape, values))
        return {name: self._paths[name][2] for name in shapes if not name.startswith("_")}

    def code(self) -> dict[str, dict[str, str]]:
        """The flow as `python` and as `yaml`: the `text`, or the `error` that says why there is none."""
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
        """The flow drawn, as a piece of HTML, with the counts of its last trial; as it was drawn before while it is tried."""
        counted, runnable = self.total or self.rehearsal, self.built.runnable
        if counted is not None and counted.flow == runnable:
            self._picture = counted.picture.html
        elif runnable is not None and (not runnable.steps or not self._picture):
            self._picture = Picture(flow_diagram([runnable])).html
        return self._picture

    # -- one event -------------------------------------------------------------------------------------

    @property
    def preview_seq_no(self) -> int | None:
        """The event that is shown: the chosen one, else one that gets as far as any; None where no event fits."""
        taken = self.sample.taken
        if self.seq_no is not None and self.seq_no in taken:
            return self.seq_no
        endings = {} if self.rehearsal is None else self.rehearsal.endings
        best = max(
            endings, key=lambda e: (e.outcome == "delivered", e.step, e.outcome == "failed"), default=None
        )
        through = _without(taken, list(endings.values()))
        if best is not None and (best.outcome == "delivered" or not len(through)):
            return int(endings[best][0])
        return int(through[0]) if len(through) else None

    def preview(self) -> Explanation | None:
        """What happens to the shown event in what can stand of the flow."""
        seq_no, rehearsal = self.preview_seq_no, self.rehearsal
        self._previewed = self.built
        if seq_no is None or rehearsal is None or rehearsal.options is None:
            return None
        key = (seq_no, rehearsal.flow.steps)
        if self._explained is None or self._explained[0] != key:
            self._explained = (key, explain(rehearsal.options, seq_no, progress=False))
        return self._explained[1]

    def variables_at(self, place: int) -> Mapping[str, Any] | None:
        """The variables of the shown event before a step, as far as steps before it are as they were when it was shown.

        None where they are not known, or the event did not come so far.
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
        """The last `preview`, where up to a step the flow and the event are as they were then.

        While a change is being tried, what was known before stays, so that nothing flickers.
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

    def choose(self, forward: bool = True, ending: StepOutcome | None = None) -> None:
        """Show another event: the next or last one that the trigger takes, or with an ending the next with that, around the end."""
        seqs = self.sample.taken
        if ending is not None and self.rehearsal is not None:
            seqs = self.rehearsal.endings.get(ending, seqs)
        if len(seqs):
            at = int(np.searchsorted(seqs, self.preview_seq_no or 0, "right" if forward else "left"))
            self.seq_no = int(seqs[(at if forward else at - 1) % len(seqs)])

    # -- inside ----------------------------------------------------------------------------------------

    def _step(self, from_: list[Draft], to: list[Draft]) -> bool:
        if not from_:
            return False
        to.append(self.draft)
        self._last = None
        self._take(from_.pop())
        # fields show what is in the draft again, also the one that is typed into
        self.version += 1
        return True

    def _take(self, draft: Draft) -> None:
        if (draft.kind, draft.type) != (self.draft.kind, self.draft.type):
            self.seq_no = None
        self.draft, self.built = draft, built(draft)


def _usual_kind(history: SampledLog) -> str:
    """The commonest kind of event."""
    counts: dict[str, int] = {}
    for (kind, _), count in history.kinds.items():
        counts[kind] = counts.get(kind, 0) + count
    return max(counts, key=lambda kind: counts[kind], default="link.created")


def _without(seqs: Seqs, others: list[Seqs]) -> Seqs:
    return np.setdiff1d(seqs, np.concatenate(others)) if others else seqs
