"""`Designer` and `design`: flows built with forms in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowdsl.api.flow import Flow
from flowdsl.notebook.designer import FlowDesigner
from flowdsl.rules import Target

if TYPE_CHECKING:
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.progress import Progress


class Designer(FlowDesigner):
    """A flow that is being designed; a notebook shows it as a widget.

    `flow` is the flow as it stands, `python` and `yaml` the text that says it, `findings` what is worth knowing of it.
    """

    @property
    def flow(self) -> Flow:
        """The flow as it is designed. Raises `FlowError` with what is wrong where it is not finished."""
        return Flow.of(super().flow)


def design(
    log: Any,
    graph: EntityGraph | None = None,
    flow: Flow | None = None,
    *,
    target: Target | None = None,
    progress: Progress = None,
) -> Designer:
    """A widget to build a flow with forms, or to change one: choose operators and fields, and see counts, findings and a preview.

    The flow is tried on the beginning of `log` (what `replay` takes) whenever something changes, and on all of it when
    nothing does for a while. `flow` is opened in it. With `target="this-rs"` it also shows what is worth knowing before the
    flow is shipped to that runtime. `.flow`, `.python` and `.yaml` take the flow away. `progress`, of the first
    look at the log, is as in `replay`. Raises `FlowError` where ipywidgets is not installed.
    """
    return Designer(log, graph, flow, target=target, progress=progress)
