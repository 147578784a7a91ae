"""`Flow` and `on`: flows as people build, check, draw and save them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Never

from flowdsl.api.steps import Steps
from flowdsl.errors import BuildError
from flowdsl.events import EventKind
from flowdsl.flow.spec import FlowSpec
from flowdsl.operators.base import Operator, refuse_unknown
from flowdsl.rules import FLOWDSL, Target

if TYPE_CHECKING:
    import datetime as dt
    import os

    import networkx as nx

    from flowdsl.api.design import Designer
    from flowdsl.diagrams.picture import Picture
    from flowdsl.findings import Finding
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.notebook.explorer import Explorer
    from flowdsl.progress import Progress


class Flow(FlowSpec, Steps):
    """What is to happen on events of a kind: a value, equal to every flow with the same parts.

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
        """Return the flow that a specification describes."""
        if isinstance(spec, cls):
            return spec
        return cls(spec.trigger, spec.steps, spec.given_name, spec.description, spec.rules)

    def graph(self) -> nx.DiGraph:
        """The operator graph: a node for the trigger, each step and each sink, with `operator`, `options`, `text`."""
        from flowdsl.flow.plan import operator_graph

        return operator_graph(self)

    def picture(self) -> Picture:
        """The flow drawn, from its trigger down to its sinks; it is what a notebook shows of a flow.

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
        log: Any = None,
        graph: EntityGraph | None = None,
        max_ahead_of_next: str | dt.timedelta | None = None,
        progress: Progress = None,
    ) -> list[Finding]:
        """What is worth knowing of the flow before it is shipped: mistakes and traps.

        With `target="this-rs"` also what that runtime refuses, loses or does otherwise. Each finding has a `code`, with
        an entry in docs/findings.md, a severity, the step, a message and a hint. With a `log` (and a `graph`), as `replay`
        takes them, the flow is replayed, and what its events show is found too: ids, keys and values that production takes
        otherwise, fan-outs that are too large; `max_ahead_of_next` and `progress` are as there.

        >>> flow = on("entity.created", entity_type="post").map(to="{{ entity_id }}")
        >>> print(flow.check()[0])
        on('entity.created', entity_type='post'): warning: nothing is delivered: the flow has no deliver [no-deliver]
          hint: add a map and a deliver
        """
        from flowdsl.findings import check_flow

        return check_flow(self, target, log, graph, max_ahead_of_next, progress)

    def explore(self, log: Any, graph: EntityGraph | None = None, *, progress: Progress = None) -> Explorer:
        """A widget that steps through what happens to each event of a log: pick one, and see every step, variable and payload.

        The flow is replayed once over the log; `progress` is as in `replay`. Raises `FlowError` where ipywidgets is not installed.
        """
        from flowdsl.notebook.explorer import Explorer

        return Explorer(self, log, graph, progress=progress)

    def design(
        self,
        log: Any,
        graph: EntityGraph | None = None,
        *,
        target: Target | None = None,
        progress: Progress = None,
    ) -> Designer:
        """A widget to change the flow with forms, tried on a log meanwhile: `fd.design` with this flow opened in it."""
        from flowdsl.api.design import design

        return design(log, graph, self, target=target, progress=progress)

    def portable(self) -> Flow:
        """The flow as production can say it, with the same meaning.

        A conjunction becomes several filters, `not (a == b)` becomes `a != b`, `7d` becomes `168h`. Raises
        `ExportError` where that is not possible; its `problems` has every construct, the reason and what comes
        nearest.

        >>> on("link.created").where("not (source_id == target_id)").deduplicate("source_id", window="7d").portable()
        <Flow 'link.created': on('link.created').where('source_id != target_id').deduplicate('source_id', window='168h')>
        """
        from flowdsl.production.portable import portable

        return Flow.of(portable(self))

    def to_dict(self) -> dict[str, Any]:
        """Production's form, as `to_yaml` writes it, in Python's own types. Raises `ExportError` as `portable` does.

        >>> on("link.created", name="f").map(title="hello").deliver("in-app").to_dict()["events"]["flows"][0]["pipeline"]
        [{'map': {'template': {'title': 'hello'}}}, {'deliver': {'sink': 'in-app'}}]
        """
        from flowdsl.production.export import flow_to_dict

        return flow_to_dict(self)

    def to_yaml(self) -> str:
        """This flow as a part of a file for production; `load` of it equals `portable()`.

        Production wants `entities` and `links` in the same file; `save` writes them too. Equal flows give the same bytes. Text is quoted wherever a reader of YAML 1.1 or 1.2 could misread it. The
        first line names the schema for editors, `flowdsl.schema.json` beside the file. Raises `ExportError` as
        `portable` does.

        >>> print(on("link.created", link_type="likes", name="notify").map(title="on").deliver("in-app").to_yaml())
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
        """Write the flow to a file that production loads, as UTF-8; on a refusal the file stays as it was.

        In a file of flows it takes the place of the one of its name, or comes at the end, and the rest is kept. Any other
        file is refused, unless `overwrite` says that it may go. Raises `ExportError`.
        """
        from flowdsl.production.project_spec import ProjectSpec
        from flowdsl.production.save import save

        save(ProjectSpec((self,)), path, overwrite=overwrite)

    def to_python(self) -> str:
        """Python that builds an equal flow, as the variable `flow`.

        It need not be portable; a condition that is a Python function is refused with an `ExportError`.

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
        from flowdsl.diagrams.picture import shown

        return shown(self.picture(), str(self))


def on(
    kind: EventKind,
    *,
    link_type: str | None = None,
    entity_type: str | None = None,
    name: str | None = None,
    description: str | None = None,
    **unknown: Never,
) -> Flow:
    """Begin a flow for events of a kind, of any link or entity type or of a given one.

    `kind` is one of `link.created`, `link.deleted`, `entity.created`, `entity.updated`, `entity.deleted`. Raises
    `BuildError` for another one, and for a filter of the other family.

    >>> on("entity.updated", entity_type="post")
    <Flow 'entity.updated post': on('entity.updated', entity_type='post')>
    """
    refuse_unknown("on", unknown, ("link_type", "entity_type", "name", "description"))
    return Flow.begin(kind, link_type, entity_type, name, description)
