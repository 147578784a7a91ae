"""`Flow` and `on`: build, check, draw and save flows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowdsl.api.steps import Steps
from flowdsl.calls import answered, answering
from flowdsl.errors import BuildError, FlowError
from flowdsl.events import EventKind
from flowdsl.flow.spec import FlowSpec
from flowdsl.operators.base import Operator
from flowdsl.rules import FLOWDSL, Target

if TYPE_CHECKING:
    import datetime as dt
    import os

    import networkx as nx

    from flowdsl.api.design import Designer
    from flowdsl.diagrams.picture import Picture
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.log.source import LogLike
    from flowdsl.notebook.explorer import Explorer
    from flowdsl.progress import Progress
    from flowdsl.reports.finding_table import FindingTable


@answering
class Flow(FlowSpec, Steps):
    """Trigger and steps: what to do on events of a kind. A flow is a value, equal to every flow with the same
    parts.

    Flows are started by `on`; each method returns a new flow.

    Parameters
    ----------
    trigger
        The kind of events, and the type of link or entity.
    steps
        The steps, in order.
    given_name
        The name that was given; without one, the name describes trigger and sinks.
    description
        Text for readers.

    Examples
    --------
    >>> flow = on("link.created", link_type="likes").map(title="liked").deliver("in-app")
    >>> print(flow)
    on('link.created', link_type='likes')
        .map(title='liked')
        .deliver('in-app')
    >>> flow.name
    'link.created likes to in-app'
    """

    @classmethod
    def of(cls, spec: FlowSpec) -> Flow:
        """Return the flow that a specification describes.

        Parameters
        ----------
        spec
            The specification.

        Returns
        -------
        Flow
            The flow, equal to the specification.

        Examples
        --------
        >>> Flow.of(on("link.created")) == on("link.created")
        True
        """
        if isinstance(spec, cls):
            return spec
        return cls(spec.trigger, spec.steps, spec.given_name, spec.description, spec.rules)

    def graph(self) -> nx.DiGraph:
        """Return the operator graph.

        Returns
        -------
        networkx.DiGraph
            A node for the trigger, each step and each sink, with the attributes `operator`, `options` and
            `text`.

        Examples
        --------
        >>> on("link.created").map(title="hello").deliver("in-app").graph().number_of_nodes()
        4
        """
        from flowdsl.flow.plan import operator_graph

        return operator_graph(self)

    def picture(self) -> Picture:
        """Draw the flow, as a notebook shows it.

        Returns
        -------
        Picture
            The drawing: `.svg`, `.mermaid`, text, and `save`.

        Examples
        --------
        >>> on("link.created", name="hello").map(title="hello").deliver("in-app").picture().svg[:4]
        '<svg'
        """
        from flowdsl.diagrams.flows import flow_diagram
        from flowdsl.diagrams.picture import Picture

        return Picture(flow_diagram([self]))

    def check(
        self,
        target: Target | None = None,
        *,
        log: LogLike | None = None,
        graph: EntityGraph | None = None,
        max_ahead_of_next: str | dt.timedelta | None = None,
        progress: Progress = None,
    ) -> FindingTable:
        """Find mistakes and traps in the flow.

        Parameters
        ----------
        target
            A production runtime, `"this-rs"`: also find what it rejects, loses or does differently.
        log
            A log, as in `replay`. The flow is replayed over it, and problems of its events are found too.
        graph
            The entities and links before the first event.
        max_ahead_of_next, progress
            As in `replay`.

        Returns
        -------
        FindingTable
            A list of findings, which notebooks show as a table. Each has a code (see
            docs/findings.md), a severity, the step, a message and a hint.

        Raises
        ------
        FlowError
            If the target is unknown, or the log cannot be read.

        Examples
        --------
        >>> flow = on("link.created").map(to="{{ target_id }}")
        >>> print(flow.check()[0])
        on('link.created'): warning: nothing is delivered: the flow has no deliver [no-deliver]
          hint: add a map and a deliver
        """
        from flowdsl.findings import check_flow
        from flowdsl.reports.finding_table import FindingTable

        return FindingTable(check_flow(self, target, log, graph, max_ahead_of_next, progress))

    def explore(
        self, log: LogLike, graph: EntityGraph | None = None, *, progress: Progress = None
    ) -> Explorer:
        """Open a widget that shows, step by step, what happens to each event of a log.

        Parameters
        ----------
        log
            A log, as in `replay`; the flow is replayed over it once.
        graph
            The entities and links before the first event.
        progress
            As in `replay`.

        Returns
        -------
        Explorer
            The widget.

        Raises
        ------
        FlowError
            If ipywidgets is not installed.

        Examples
        --------
        >>> flow = on("link.created").map(title="hello").deliver("in-app")
        >>> flow.explore([])  # doctest: +SKIP
        """
        from flowdsl.notebook.explorer import Explorer

        return Explorer(self, log, graph, progress=progress)

    def design(
        self,
        log: LogLike,
        graph: EntityGraph | None = None,
        *,
        target: Target | None = None,
        progress: Progress = None,
    ) -> Designer:
        """Open a widget that edits the flow with forms and tries it on a log; see `design`.

        Parameters
        ----------
        log
            A log, as in `replay`.
        graph
            The entities and links before the first event.
        target
            A production runtime, `"this-rs"`: also show what it rejects or does differently.
        progress
            As in `replay`.

        Returns
        -------
        Designer
            The widget; `.flow` is the edited flow.

        Raises
        ------
        FlowError
            If ipywidgets is not installed.

        Examples
        --------
        >>> flow = on("link.created").map(title="hello").deliver("in-app")
        >>> flow.design([])  # doctest: +SKIP
        """
        from flowdsl.api.design import design

        return design(log, graph, self, target=target, progress=progress)

    def portable(self) -> Flow:
        """Return the flow in the form that production supports, with the same meaning.

        A conjunction becomes several filters, `not (a == b)` becomes `a != b`, `7d` becomes `168h`.

        Returns
        -------
        Flow
            The lowered flow.

        Raises
        ------
        ExportError
            If a part has no such form; `problems` lists each with the reason and the nearest form.

        Examples
        --------
        >>> on("link.created").where("not (source_id == target_id)").portable()
        <Flow 'link.created': on('link.created').where('source_id != target_id')>
        """
        from flowdsl.production.portable import portable

        return Flow.of(portable(self))

    def to_dict(self) -> dict[str, Any]:
        """Return the document that `to_yaml` writes, as plain Python objects.

        Returns
        -------
        dict
            The document.

        Raises
        ------
        ExportError
            As of `portable`.

        Examples
        --------
        >>> document = on("link.created", name="f").map(title="hello").deliver("in-app").to_dict()
        >>> document["events"]["flows"][0]["pipeline"]
        [{'map': {'template': {'title': 'hello'}}}, {'deliver': {'sink': 'in-app'}}]
        """
        from flowdsl.production.export import flow_to_dict

        return flow_to_dict(self)

    def to_yaml(self) -> str:
        """Return the flow as part of a YAML file for production; loading it gives `portable()`.

        Production also requires `entities` and `links` in the file, which `save` writes. Equal flows give
        equal bytes. Text is quoted wherever a reader of YAML 1.1 or 1.2 could misread it.

        Returns
        -------
        str
            The text. Its first line names the schema for editors, `flowdsl.schema.json` in the same folder.

        Raises
        ------
        ExportError
            As of `portable`.

        Examples
        --------
        >>> print(
        ...     on("link.created", link_type="likes", name="notify")
        ...     .map(title="on")
        ...     .deliver("in-app")
        ...     .to_yaml()
        ... )
        # yaml-language-server: $schema=flowdsl.schema.json
        # a part of a file: production wants `entities` and `links` beside `events`, as save(path) writes them
        events:
          flows:
            - name: notify
              trigger:
                kind: link.created
                link_type: likes
              pipeline:
                - map:
                    template:
                      title: "on"
                - deliver:
                    sink: in-app
        <BLANKLINE>
        """
        from flowdsl.production.export import flow_to_yaml

        return flow_to_yaml(self)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the flow to a file that production loads.

        In a file of flows it replaces the flow with its name, or is appended; the rest of the file is kept.
        If anything fails, the file is unchanged.

        Parameters
        ----------
        path
            The file.
        overwrite
            Replace a file that is not a file of flows.

        Raises
        ------
        ExportError
            As of `portable`, and if the file is not a file of flows.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "flows.yaml"
        ...     on("link.created", name="f").map(title="hello").deliver("in-app").save(path)
        ...     path.read_text().count("in-app")
        1
        """
        from flowdsl.production.project_spec import ProjectSpec
        from flowdsl.production.save import save

        save(ProjectSpec((self,)), path, overwrite=overwrite)

    def to_python(self) -> str:
        """Return Python source that builds an equal flow as the variable `flow`.

        Returns
        -------
        str
            The source.

        Raises
        ------
        ExportError
            If a condition is a Python function.

        Examples
        --------
        >>> print(on("link.created", name="f").where("source_id != target_id").to_python())
        from flowdsl import on, var
        <BLANKLINE>
        flow = (
            on("link.created", name="f")
            .where(var.source_id != var.target_id)
        )
        <BLANKLINE>
        """
        from flowdsl.production.python_source import python_source

        return python_source(self)

    @contextmanager
    def _reading(self, method: str) -> Iterator[None]:
        try:
            yield
        except FlowError as error:
            error.located(flow=self.name, step=f"{len(self.steps)} ({method})")
            raise

    def _then(self, step: Operator) -> Flow:
        if self.rules != FLOWDSL:
            raise BuildError(
                f"a flow read by the rules of {self.rules.name} takes no further steps",
                hint="load it without target=, or write the step into its YAML",
            )
        grown = replace(self, steps=(*self.steps, step))
        grown.scopes()
        return grown

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from flowdsl.diagrams.picture import mime_bundle

        return mime_bundle(self.picture(), str(self))


@answered
def on(
    kind: EventKind,
    *,
    link_type: str | None = None,
    entity_type: str | None = None,
    name: str | None = None,
    description: str | None = None,
) -> Flow:
    """Start a flow for events of a kind.

    Parameters
    ----------
    kind
        `"link.created"`, `"link.deleted"`, `"entity.created"`, `"entity.updated"` or `"entity.deleted"`.
    link_type
        Only links of this type.
    entity_type
        Only entities of this type.
    name
        The name of the flow; by default it describes trigger and sinks.
    description
        Text for readers.

    Returns
    -------
    Flow
        A flow without steps.

    Raises
    ------
    BuildError
        If the kind is unknown, or a type does not belong to it.

    Examples
    --------
    >>> on("entity.updated", entity_type="post")
    <Flow 'entity.updated post': on('entity.updated', entity_type='post')>
    """
    return Flow.begin(kind, link_type, entity_type, name, description)
