"""Explorer: events and their path through a flow, in a notebook."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowdsl.errors import FlowError, text_of_error
from flowdsl.log.source import LogLike
from flowdsl.notebook.explore_model import FILTERS, EventFilter, ExploreModel
from flowdsl.notebook.latest_task import Cancelled, LatestOnlyExecutor
from flowdsl.notebook.messages import EXPLORE, parse_message
from flowdsl.notebook.outcome_index import OutcomeIndex
from flowdsl.notebook.widget import Panel, require_widgets, static_html
from flowdsl.text import short_repr

if TYPE_CHECKING:
    from flowdsl.flow.spec import FlowSpec
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.progress import Progress


class Explorer:
    """Viewer of how a flow processed the events of a log; displayed as a widget in a notebook.

    `seq_no` is the number of the open event, `explanation` tells what happened to it; `str()` has both.
    """

    def __init__(
        self, flow: FlowSpec, log: LogLike, graph: EntityGraph | None = None, *, progress: Progress = None
    ) -> None:
        require_widgets()
        self.model = ExploreModel(OutcomeIndex(flow, log, graph, progress))
        self._lock = threading.RLock()
        self._latest = LatestOnlyExecutor(self._show_error)
        self._wanted = self.model.filter
        self._fallen_back: int | None = None
        self._panel = Panel("explore", self.do)
        self._draw()

    @property
    def seq_no(self) -> int | None:
        """Sequence number of the open event; None for an empty log."""
        return self.model.seq_no

    @property
    def explanation(self) -> Any:
        """Explanation of the open event, as from `result.explain(seq_no)`"""
        return self.model.explanation

    def open(self, seq_no: int) -> None:
        """Open an event. Raises `ReplayError` if the log has no such event."""
        self.model.journal.explain(seq_no)
        self.do({"do": "open", "seq_no": seq_no})

    def settle(self, timeout: float | None = 60) -> bool:
        """Wait until a search is over; return False after `timeout` seconds."""
        return self._latest.settle(timeout)

    def do(self, message: Mapping[str, Any]) -> None:
        """Handle a message of the page: `do` names the action, the other fields are its arguments."""
        try:
            what, how = parse_message(message, EXPLORE)
            if what == "filter":
                self._filter(how["name"], how["value"])
                return
            with self._lock:
                self._move(what, how)
                self._draw()
        except FlowError as error:
            self._show_error(error)

    def _move(self, what: str, how: Mapping[str, Any]) -> None:
        model = self.model
        match what:
            case "open":
                # reject unknown events before changing anything
                model.journal.explain(how["seq_no"])
                model.open(how["seq_no"])
            case "seek":
                found = model.neighbour(how["forward"], how.get("ending"))
                if found is not None:
                    model.open(found)
            case "turn":
                model.turn(how["pages"])
            case "go":
                model.go(how["where"])
            case "follow":
                model.follow(how["value"])

    def __repr__(self) -> str:
        return str(self.model)

    def _ipython_display_(self) -> None:
        self._panel.display()

    def _display_(self) -> Any:
        # marimo calls this, and shows the widget without IPython
        return self._panel.widget

    def _filter(self, name: str, value: str) -> None:
        if name not in FILTERS:
            raise FlowError(f"events are not filtered by {short_repr(name)}", allowed=", ".join(FILTERS))
        chosen: str | int | None = value or None
        if name == "ending" and value.startswith("#"):
            digits = value[1:]
            chosen = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else -1
        changes: dict[str, Any] = {name: value if name == "text" else chosen}
        if name == "kind":
            changes["type"] = None
        self._wanted = replace(self._wanted, **changes)
        wanted = self._wanted
        self._latest.submit(lambda cancelled: self._find(wanted, cancelled))

    def _find(self, wanted: EventFilter, cancelled: Cancelled) -> None:
        self._panel.draw({**self._panel.view, "busy": "searching…"})
        seqs = self.model.find(wanted, cancelled)
        with self._lock:
            if seqs is not None and not cancelled():
                self.model.put(wanted, seqs)
                self._draw()

    def _show_error(self, error: Exception) -> None:
        self._panel.draw({**self._panel.view, "busy": None, "error": text_of_error(error)})

    def _draw(self) -> None:
        self._panel.draw(self.model.view())
        if self._fallen_back == self.model.seq_no and self._panel.has_fallback:
            return
        self._fallen_back = self.model.seq_no
        text = str(self.model)
        self._panel.fall_back(static_html(f"flow.explore: {self.model.journal.flow.name}", text), text)
