"""State of the explorer without its view: the listed events, the open event and its step."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from flowdsl.explanation.text import format_time, format_value
from flowdsl.notebook.outcome_kinds import holds
from flowdsl.text import clip
from flowdsl.values.json_types import MISSING
from flowdsl.values.orders import distinct

if TYPE_CHECKING:
    from flowdsl.explanation.explain import Explanation
    from flowdsl.explanation.paths import ExplainedStep
    from flowdsl.notebook.outcome_index import OutcomeIndex
    from flowdsl.notebook.outcome_kinds import Seqs

LISTED: Final = 10
# longest value shown: enough to read, small enough to send
LONGEST: Final = 4_000
_ENDS: Final = ("entity_id", "source_id", "target_id")
OUTCOMES: Final = ("delivered", "dropped", "failed", "absorbed", "not matched")


@dataclass(frozen=True)
class EventFilter:
    """Filter of the listed events; `ending` is one of `OUTCOMES`, or the position of an ending in the
    index.
    """

    text: str = ""
    kind: str | None = None
    type: str | None = None
    ending: str | int | None = None


FILTERS: Final = tuple(field.name for field in fields(EventFilter))


class ExploreModel:
    """Events that match a filter, the open event, its branch and step.

    `matches` has the listed sequence numbers, `seq_no` is the open event or None, `step` the index of its
    step, 0 for the trigger.
    """

    def __init__(self, journal: OutcomeIndex) -> None:
        self.journal = journal
        self.filter = EventFilter()
        self._ended: dict[str | int, Seqs] = {}
        self.matches: Seqs = journal.seqs
        self.seq_no: int | None = None
        self.branch: str | None = None
        self.step = 0
        delivered = self._ending_seqs("delivered")
        first = next((s for s in (delivered, journal.entered, journal.seqs) if len(s)), None)
        if first is not None:
            self.open(int(first[0]))

    def find(self, wanted: EventFilter, cancelled: Callable[[], bool] = lambda: False) -> Seqs | None:
        """Return the events that match a filter, ascending, without changing anything; None if cancelled."""
        seqs = self.journal.of_kind(wanted.kind, wanted.type)
        if wanted.ending is not None:
            seqs = np.intersect1d(seqs, self._ending_seqs(wanted.ending), assume_unique=True)
        text = wanted.text.strip()
        if text:
            found = self.journal.search(text, seqs, cancelled)
            if text.isascii() and text.isdigit() and len(text) < 19:
                found = np.union1d(found, seqs[seqs == int(text)])
            seqs = found
        return None if cancelled() else seqs

    def put(self, wanted: EventFilter, seqs: Seqs) -> None:
        """List the events that `find` returned for a filter; open the nearest one if the open one is not
        listed.
        """
        self.filter, self.matches = wanted, seqs
        if len(seqs) and (self.seq_no is None or self.seq_no not in seqs):
            text = wanted.text.strip()
            if text.isdigit() and int(text) in seqs:
                self.open(int(text))
            else:
                self.open(int(seqs[min(self._place(seqs), len(seqs) - 1)]))

    def choose(self, **changes: Any) -> None:
        """Change the filter, and list the events that match it."""
        wanted = replace(self.filter, **changes)
        seqs = self.find(wanted)
        assert seqs is not None
        self.put(wanted, seqs)

    def neighbour(self, forward: bool, ending: str | int | None = None) -> int | None:
        """Return the next or previous listed event, optionally of an ending; None at the end."""
        seqs = self.matches
        if ending is not None:
            seqs = np.intersect1d(seqs, self._ending_seqs(ending), assume_unique=True)
        at = self._place(seqs, "right") if forward else self._place(seqs) - 1
        return int(seqs[at]) if 0 <= at < len(seqs) else None

    def turn(self, pages: int) -> None:
        """Move by some pages in the list, and open the event there."""
        if len(self.matches):
            at = self._place(self.matches) + pages
            self.open(int(self.matches[min(max(at, 0), len(self.matches) - 1)]))

    def _place(self, seqs: Seqs, side: Literal["left", "right"] = "left") -> int:
        return int(np.searchsorted(seqs, self.seq_no or 0, side))

    def open(self, seq_no: int) -> None:
        """Open an event at the step where it ended."""
        self.seq_no = seq_no
        self.branch = self.branches[0] if self.branches else None
        self.step = len(self.path) - 1

    @property
    def explanation(self) -> Explanation | None:
        """Explanation of the open event."""
        return None if self.seq_no is None else self.journal.explain(self.seq_no)

    @property
    def branches(self) -> list[str]:
        """Branches of the open event, those that got furthest first."""
        steps = [] if self.explanation is None else self.explanation.steps
        ends: dict[str, int] = {}
        for step in steps:
            if step.branch is not None:
                ends[step.branch] = step.step or 0
        above = {branch.rpartition(".")[0] for branch in ends}
        leaves = [branch for branch in ends if branch not in above]
        return sorted(leaves, key=lambda b: (-ends[b], [*map(int, b.split("."))]))

    @property
    def path(self) -> list[ExplainedStep]:
        """Steps of the open event along the chosen branch."""
        if self.explanation is None:
            return []
        if self.branch is None:
            return list(self.explanation.steps)
        parts = self.branch.split(".")
        around = {".".join(parts[: i + 1]) for i in range(len(parts))}
        return [s for s in self.explanation.steps if s.branch is None or s.branch in around]

    def go(self, where: str | int) -> None:
        """Go to a step of the path: `first`, `back`, `next`, `last`, or its index."""
        last = len(self.path) - 1
        places = {"first": 0, "back": self.step - 1, "next": self.step + 1, "last": last}
        self.step = min(max(places.get(str(where), where if isinstance(where, int) else 0), 0), last)

    def follow(self, branch: str) -> None:
        """Switch to another branch, at the same step if it has one."""
        if branch in self.branches:
            self.branch = branch
            self.go(self.step)

    def view(self) -> dict[str, Any]:
        """Return the whole view as plain JSON."""
        return {
            "flow": self.journal.flow.name,
            "filter": {
                "text": self.filter.text,
                "kind": self.filter.kind,
                "type": self.filter.type,
                "ending": self.filter.ending,
            },
            "kinds": sorted({kind for kind, _ in self.journal.kinds}),
            "types": sorted(
                {t for k, t in self.journal.kinds if t is not None and self.filter.kind in (None, k)}
            ),
            "outcomes": self._outcomes(),
            "endings": [
                {"label": str(ending), "outcome": ending.outcome, "count": len(seqs)}
                for ending, seqs in self.journal.endings.items()
            ],
            "events": len(self.journal.seqs),
            "matches": len(self.matches),
            "rows": self._rows(),
            "event": self._event(),
            "branches": self._ends(),
            "branch": self.branch,
            "path": [step_view(step) for step in self.path],
            "step": self.step,
            "detail": self._detail(),
        }

    def __str__(self) -> str:
        counts = ", ".join(f"{row['count']:,} {row['name']}" for row in self._outcomes() if row["count"])
        lines = [f"{self.journal.flow.name}: {len(self.journal.seqs):,} events, {counts}"]
        if self.explanation is not None:
            lines += ["", repr(self.explanation)]
        return "\n".join(lines)

    def _outcomes(self) -> list[dict[str, Any]]:
        return [{"name": name, "count": len(self._ending_seqs(name))} for name in OUTCOMES]

    def _ending_seqs(self, ending: str | int) -> Seqs:
        if ending not in self._ended:
            self._ended[ending] = self._find_ended(ending)
        return self._ended[ending]

    def _find_ended(self, ending: str | int) -> Seqs:
        journal = self.journal
        if isinstance(ending, int):
            found = list(journal.endings.values())
            return found[ending] if 0 <= ending < len(found) else journal.seqs[:0]
        if ending == "not matched":
            return np.setdiff1d(journal.seqs, journal.entered, assume_unique=True)
        found = [seqs for key, seqs in journal.endings.items() if key.outcome == ending]
        return distinct(np.concatenate(found)) if found else journal.seqs[:0]

    def _rows(self) -> list[dict[str, Any]]:
        at = self._place(self.matches)
        start = max(min(at - LISTED // 2, len(self.matches) - LISTED), 0)
        events = self.journal.events(self.matches[start : start + LISTED])
        ends = [[row[end] for end in _ENDS if row[end] is not None] for row in events]
        names = self.journal.names([one for of_row in ends for one in of_row])
        return [
            {
                "seq_no": row["seq_no"],
                "time": format_time(row["timestamp"].replace(microsecond=0)),
                "kind": row["kind"],
                "type": row["link_type"] or row["entity_type"] or "",
                "ends": [{"id": clip(one, 100), "name": clip(names.name(one), 100)} for one in of_row],
                "outcomes": self._outcomes_of(row["seq_no"]),
                "open": row["seq_no"] == self.seq_no,
            }
            for row, of_row in zip(events, ends, strict=True)
        ]

    def _outcomes_of(self, seq_no: int) -> list[str]:
        endings = self.journal.endings_of(seq_no)
        if endings:
            return list(dict.fromkeys(ending.outcome for ending in reversed(endings)))
        return ["passed" if holds(self.journal.entered, seq_no) else "not matched"]

    def _event(self) -> dict[str, Any] | None:
        if self.explanation is None:
            return None
        event = self.explanation.event
        of = event.get("link_type") or event.get("entity_type")
        fields = {
            name: str(value) if name in ("data", "metadata") else value
            for name, value in event.items()
            if name not in ("seq_no", "kind", "timestamp", "link_type", "entity_type")
        }
        return {
            "seq_no": event["seq_no"],
            "title": " ".join(part for part in (event["kind"], of) if part),
            "time": f"{format_time(event['timestamp'])} UTC",
            "fields": [[name, clip(str(value), LONGEST)] for name, value in fields.items()],
        }

    def _ends(self) -> list[dict[str, str]]:
        """Return the branches with their outcomes."""
        steps = [] if self.explanation is None else self.explanation.steps
        ends = {s.branch: s.reason if s.outcome == "dropped" and s.reason else s.outcome for s in steps}
        return [{"name": branch, "end": ends[branch]} for branch in self.branches]

    def _detail(self) -> dict[str, Any] | None:
        if not self.path:
            return None
        step = self.path[self.step]
        before: Mapping[str, Any] = self.path[self.step - 1].variables if self.step else {}
        variables = [
            {
                "name": name,
                "value": value_text(value),
                "new": self.step > 0 and (name not in before or before[name] != value),
            }
            for name, value in step.variables.items()
            if name not in ("_payload", "_batch", "_delivered_to")
        ]
        return {
            "operands": [[name, value_text(value)] for name, value in step.operands],
            "variables": sorted(variables, key=lambda variable: not variable["new"]),
            "payload": None if step.payload is MISSING else value_text(step.payload),
            "sinks": list(step.sinks),
            "recipient": step.recipient,
            "goes_on": _goes_on(step, self.seq_no),
            "at": None if step.at is None else f"{format_time(step.at)} UTC",
        }


def step_view(step: ExplainedStep) -> dict[str, Any]:
    """Return a step of an event's path as plain JSON."""
    return {
        "number": step.step,
        "text": clip(step.text, 300),
        "operator": step.operator,
        "outcome": step.outcome,
        "reason": step.reason,
        "branch": step.branch,
    }


def _goes_on(step: ExplainedStep, own: int | None) -> int | None:
    """Return the event that continues in place of an absorbed one."""
    found = re.search(r"goes on as event ([0-9]+)", step.reason or "") if step.outcome == "absorbed" else None
    return int(found[1]) if found and int(found[1]) != own else None


def value_text(value: Any) -> str:
    """Return a value as indented JSON, truncated if long; else `missing`, or the reason why there is none."""
    if value is MISSING or isinstance(value, Exception):
        return format_value(value)
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) > 80:
        text = json.dumps(value, ensure_ascii=False, default=str, indent=1)
    return clip(text, LONGEST)
