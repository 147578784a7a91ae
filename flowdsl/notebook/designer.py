"""Designer: build and change a flow with forms in a notebook, while it runs over a log."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flowdsl.errors import FlowError, text_of_error
from flowdsl.log.source import LogLike
from flowdsl.notebook.design_model import DesignModel
from flowdsl.notebook.design_view import design_view
from flowdsl.notebook.edits import EDITS
from flowdsl.notebook.latest_task import Cancelled, LatestOnlyExecutor
from flowdsl.notebook.log_sample import SampledLog
from flowdsl.notebook.messages import DESIGN, file_beside, parse_message
from flowdsl.notebook.preview_run import CancelledError
from flowdsl.notebook.widget import Panel, require_widgets, static_html
from flowdsl.production.export import flow_to_yaml
from flowdsl.production.project_spec import ProjectSpec
from flowdsl.production.python_source import python_source
from flowdsl.production.save import save
from flowdsl.rules import Target

if TYPE_CHECKING:
    from flowdsl.flow.spec import FlowSpec
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.progress import Progress

# seconds without input after which the whole log is counted
PAUSE: Final = 0.4


class FlowDesigner:
    """Flow in the designer; displayed as a widget in a notebook.

    `flow` is the flow as designed, `python` and `yaml` its text, `findings` the findings about it.
    """

    def __init__(
        self,
        log: LogLike,
        graph: EntityGraph | None = None,
        flow: FlowSpec | None = None,
        *,
        target: Target | None = None,
        progress: Progress = None,
    ) -> None:
        require_widgets()
        self.model = DesignModel(SampledLog(log, graph, progress), flow, target)
        self._lock = threading.RLock()
        self._latest = LatestOnlyExecutor(self._show_error)
        self._status: dict[str, Any] = {}
        self._written: set[Path] = set()
        self._panel = Panel("design", self.do)
        self.model.rehearse()
        self._draw()
        self._latest.submit(self._preview_and_count)

    @property
    def flow(self) -> FlowSpec:
        """Flow as designed. Raises `FlowError` with the first problem if it is not finished."""
        return self.model.flow

    @property
    def python(self) -> str:
        """Python code that builds the flow."""
        return python_source(self.flow)

    @property
    def yaml(self) -> str:
        """YAML for production. Raises `ExportError` if production cannot express the flow."""
        return flow_to_yaml(self.flow)

    @property
    def findings(self) -> list[Any]:
        """Findings about the flow, as from `flow.check()`"""
        return list(self.model.findings)

    def undo(self) -> None:
        """Undo the last change."""
        self.do({"do": "undo"})

    def redo(self) -> None:
        """Redo the last undone change."""
        self.do({"do": "redo"})

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the flow to a file: Python for names that end in `.py`, else YAML.

        Existing files are kept unless this designer wrote them, or with `overwrite=True`. Raises `FlowError`
        if the file exists, or the flow is not finished.
        """
        target = Path(path)
        if not overwrite and target.exists() and target.resolve() not in self._written:
            raise FlowError(
                f"there is a file {str(path)!r} already",
                hint="choose another name, or designer.save(path, overwrite=True)",
            )
        if target.suffix == ".py":
            target.write_text(self.python, "utf-8")
        else:
            save(ProjectSpec((self.flow,)), target, overwrite=False)
        self._written.add(target.resolve())

    def settle(self, timeout: float | None = 60) -> bool:
        """Wait until the flow has been run and counted; return False after `timeout` seconds."""
        return self._latest.settle(timeout)

    def do(self, message: Mapping[str, Any]) -> None:
        """Handle a message of the page: `do` names the action, the other fields are its arguments."""
        with self._lock:
            try:
                what, how = parse_message(message, DESIGN)
            except FlowError as error:
                self._status = {"error": str(error)}
                self._draw()
                return
            self._status = {}
            if what == "save":
                self._save(str(how["value"]))
            elif what == "choose":
                self._choose(how)
            elif what in EDITS:
                self._edit(what, how)
            elif what in ("undo", "redo") and getattr(self.model, what)():
                self._on_change()

    def __repr__(self) -> str:
        return designed_text(self.model)

    def _ipython_display_(self) -> None:
        self._panel.display()

    def _display_(self) -> Any:
        # marimo calls this, and shows the widget without IPython
        return self._panel.widget

    def _edit(self, what: str, how: dict[str, Any]) -> None:
        try:
            changed = self.model.change(what, **how)
        except (FlowError, StopIteration, IndexError, ValueError):
            # the message refers to a step or row that no longer exists
            changed = False
        if changed:
            self._on_change()

    def _on_change(self) -> None:
        self._draw()
        self._latest.submit(self._try)

    def _choose(self, how: Mapping[str, Any]) -> None:
        endings = {} if self.model.rehearsal is None else self.model.rehearsal.endings
        ending = next(
            (
                e
                for e in endings
                if [e.step, e.outcome, e.reason] == [how.get(n) for n in ("step", "outcome", "reason")]
            ),
            None,
        )
        self.model.choose(how.get("forward", True), ending)
        self._draw()
        self._latest.submit(self._preview_and_count)

    def _save(self, path: str) -> None:
        try:
            self.save(file_beside(path))
            self._status = {"saved": f"saved {path}"}
        except (FlowError, OSError) as error:
            self._status = {"error": str(error)}
        self._draw()

    def _try(self, cancelled: Cancelled) -> None:
        self.model.rehearse()
        if not cancelled():
            self._draw()
            self._preview_and_count(cancelled)

    def _preview_and_count(self, cancelled: Cancelled) -> None:
        self.model.preview()
        if cancelled():
            return
        self._draw(settled=True)
        if self.model.total is None and not self.model.sample.whole:
            deadline = time.monotonic() + PAUSE
            while time.monotonic() < deadline and not cancelled():
                time.sleep(0.02)
            self._count(cancelled)

    def _count(self, cancelled: Cancelled) -> None:
        def on_progress(done: int, total: int | None) -> None:
            self._status = {"counting": done / total} if total else {}
            if not cancelled():
                self._panel.draw({**self._panel.view, **self._status})

        try:
            if not cancelled():
                self.model.count_all(cancelled, on_progress)
        except CancelledError:
            return
        self._status = {}
        if not cancelled():
            self._draw(settled=True)

    def _show_error(self, error: Exception) -> None:
        self._status = {"error": text_of_error(error)}
        self._panel.draw({**self._panel.view, **self._status})

    def _draw(self, *, settled: bool = False) -> None:
        with self._lock:
            self._panel.draw({**design_view(self.model), **self._status})
            if settled or not self._panel.has_fallback:
                title, _, body = designed_code(self.model).partition("\n")
                html = static_html(title, body.strip("\n")) + self.model.picture()
                self._panel.fall_back(html, designed_text(self.model))


def designed_text(model: DesignModel) -> str:
    """Return the designed flow, and its picture as text with the counts of its last run."""
    counted = model.counted
    drawn = counted is not None and counted.flow == model.built.runnable
    return (
        f"{designed_code(model)}\n\n{counted.picture.text}".rstrip()
        if counted and drawn
        else designed_code(model)
    )


def designed_code(model: DesignModel) -> str:
    """Return the designed flow as Python, with its problems and the relevant findings."""
    built = model.built
    lines = ["fd.design"]
    if built.runnable is not None:
        lines = [f"fd.design: {built.runnable.name}", "", str(built.runnable)]
    for problem in built.problems:
        step = (
            ""
            if problem.step is None
            else f"step {problem.step} ({model.draft.steps[problem.step].operator}): "
        )
        lines.append(f"{step}{problem.what}")
    lines += [str(finding) for finding in model.findings if finding.severity != "note"]
    return "\n".join(lines)
