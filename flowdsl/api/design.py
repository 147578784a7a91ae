"""`Designer` and `design`: flows built with forms in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowdsl.api.flow import Flow
from flowdsl.calls import answered
from flowdsl.log.source import LogLike
from flowdsl.notebook.designer import FlowDesigner
from flowdsl.rules import Target

if TYPE_CHECKING:
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.progress import Progress


class Designer(FlowDesigner):
    """Flow in the designer; displayed as a widget in a notebook.

    `flow` is the flow as designed so far, `python` and `yaml` its text, `findings` the findings about it.
    """

    @property
    def flow(self) -> Flow:
        """Flow as designed. Raises `FlowError` with the first problem if it is not finished."""
        return Flow.of(super().flow)


@answered
def design(
    log: LogLike,
    graph: EntityGraph | None = None,
    flow: Flow | None = None,
    *,
    target: Target | None = None,
    progress: Progress = None,
) -> Designer:
    """Open a widget that builds a flow with forms, with counts, findings and a preview.

    The flow is tried on the beginning of the log whenever something changes, and on all of it when nothing
    changes for a while.

    Parameters
    ----------
    log
        A log, as in `replay`.
    graph
        The entities and links before the first event.
    flow
        A flow to start from.
    target
        A production runtime, `"this-rs"`: also show what it rejects or does differently.
    progress
        As in `replay`, for the first reading of the log.

    Returns
    -------
    Designer
        The widget; `.flow`, `.python` and `.yaml` return the flow.

    Raises
    ------
    FlowError
        If ipywidgets is not installed.

    Examples
    --------
    >>> design([])  # doctest: +SKIP
    """
    return Designer(log, graph, flow, target=target, progress=progress)
