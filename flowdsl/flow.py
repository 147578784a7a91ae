"""Flows as values: a trigger, then steps. `on(...)` begins one, every method gives a new one."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Never

from flowdsl.builder import Steps
from flowdsl.errors import BuildError, did_you_mean
from flowdsl.events import KINDS
from flowdsl.operators.base import Operator, check_text, refuse_unknown
from flowdsl.operators.deliver import Deliver
from flowdsl.rules import FLOWDSL, Rules
from flowdsl.scope import Scope

if TYPE_CHECKING:
    import os

    import networkx as nx

    from flowdsl.diagrams.picture import Picture
    from flowdsl.findings import Finding
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.notebook.designer import Designer
    from flowdsl.notebook.explorer import Explorer
    from flowdsl.progress import Progress
    from flowdsl.scope import ValueShape


@dataclass(frozen=True)
class Trigger:
    """Which events a flow is for: their kind, and the link type or entity type they must have."""

    kind: str
    link_type: str | None = None
    entity_type: str | None = None

    @property
    def filter(self) -> tuple[str, str] | None:
        """The column of the event table that must have a value, and the value; None where there is no such filter.

        A filter of the other family, which only production's YAML can have, does nothing.
        """
        name = f"{self.kind.split('.')[0]}_type"
        wanted = self.link_type if name == "link_type" else self.entity_type
        return None if wanted is None else (name, wanted)

    @property
    def text(self) -> str:
        """The trigger as it is written in Python."""
        parts = [repr(self.kind)]
        parts += [
            f"{n}={v!r}" for n, v in (("link_type", self.link_type), ("entity_type", self.entity_type)) if v
        ]
        return f"on({', '.join(parts)})"

    @property
    def caption(self) -> str:
        """The trigger in a few words, for pictures: `link.created likes`."""
        return " ".join(part for part in (self.kind, self.link_type, self.entity_type) if part)


MAX_STEPS: Final = 128
"""Steps that a flow may have: an event goes through all of them before the next one is looked at."""


def too_many_steps(count: int) -> str | None:
    """Why so many steps are too many, if they are."""
    return f"a flow has {count:,} steps" if count > MAX_STEPS else None


@dataclass(frozen=True, repr=False)
class Flow(Steps):
    """What is to happen on events of a kind: a value, equal to every flow with the same parts.

    >>> flow = on("link.created", link_type="likes").map(title="liked").deliver("in-app")
    >>> print(flow)
    on('link.created', link_type='likes')
        .map(title='liked')
        .deliver('in-app')
    >>> flow.name
    'link.created likes to in-app'
    """

    trigger: Trigger
    steps: tuple[Operator, ...] = ()
    given_name: str | None = None
    description: str | None = None
    rules: Rules = FLOWDSL

    def __post_init__(self) -> None:
        many = too_many_steps(len(self.steps))
        if many is not None:
            raise BuildError(many, flow=self.name, allowed=f"at most {MAX_STEPS}")

    @cached_property
    def name(self) -> str:
        """The name given, or one made from the trigger and the sinks."""
        if self.given_name is not None:
            return self.given_name
        of = self.trigger.link_type or self.trigger.entity_type
        sinks = ", ".join(self.sinks)
        return f"{self.trigger.kind}{f' {of}' if of else ''}{f' to {sinks}' if sinks else ''}"

    @cached_property
    def sinks(self) -> tuple[str, ...]:
        """The sinks it delivers to, each once, in their order."""
        return tuple(dict.fromkeys(sink for s in self.steps if isinstance(s, Deliver) for sink in s.sinks))

    def named(self, name: str) -> Flow:
        """The same flow under another name."""
        return replace(self, given_name=check_text(name, "the name of a flow"))

    def with_step(self, number: int, **options: Any) -> Flow:
        """The same flow with some options of a step, counted from 0, given anew as its builder method takes them.

        >>> on("link.created").batch("target_id", window="1h").with_step(0, window="2h")
        <Flow 'link.created': on('link.created').batch('target_id', window='2h')>
        """
        if not 0 <= number < len(self.steps):
            raise BuildError(
                f"there is no step {number}", flow=self.name, allowed=f"0 to {len(self.steps) - 1}"
            )
        step = self.steps[number]
        refuse_unknown(
            step.method, {name: None for name in options if name not in step.options()}, list(step.options())
        )
        try:
            changed = step.with_options(**options)
        except BuildError as error:
            error.located(flow=self.name, step=f"{number} ({step.method})")
            raise
        flow = replace(self, steps=(*self.steps[:number], changed, *self.steps[number + 1 :]))
        flow.scopes()
        return flow

    def scopes(self) -> list[Scope]:
        """The variables before each step, and after the last; a BuildError where a step cannot stand."""
        scope = Scope.of_trigger(self.trigger.kind, self.rules)
        scopes = [scope]
        for number, step in enumerate(self.steps):
            try:
                scope = step.check(scope)
            except BuildError as error:
                error.located(flow=self.name, step=f"{number} ({step.method})")
                raise
            scopes.append(scope)
        return scopes

    @property
    def variables(self) -> dict[str, ValueShape]:
        """The variables that a context holds at the end."""
        return dict(self.scopes()[-1].variables)

    def graph(self) -> nx.DiGraph:
        """The operator graph: a node for the trigger, each step and each sink, with `operator`, `options`, `text`."""
        from flowdsl.plan import operator_graph

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
        target: str | None = None,
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
        target: str | None = None,
        progress: Progress = None,
    ) -> Designer:
        """A widget to change the flow with forms, tried on a log meanwhile: `fd.design` with this flow opened in it."""
        from flowdsl.notebook.designer import design

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

        return portable(self)

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
        from flowdsl.production.project import Project
        from flowdsl.production.save import save

        save(Project((self,)), path, overwrite=overwrite)

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

    def __str__(self) -> str:
        lines = [self.trigger.text, *(f"    .{step.text}" for step in self.steps)]
        if self.given_name is not None:
            lines.append(f"    .named({self.given_name!r})")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Flow {self.name!r}: {self.trigger.text}{''.join(f'.{step.text}' for step in self.steps)}>"


def on(
    kind: str,
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
    if kind not in KINDS:
        raise BuildError(
            f"{kind!r} is no kind of event", allowed=", ".join(KINDS), hint=did_you_mean(str(kind), KINDS)
        )
    wrong, right = ("entity_type", "link_type") if kind.startswith("link") else ("link_type", "entity_type")
    given: dict[str, Any] = {"link_type": link_type, "entity_type": entity_type}
    if given[wrong] is not None:
        raise BuildError(f"on({kind!r}) takes no {wrong}: such events have none", allowed=right)
    for option, value in given.items():
        if value is not None:
            check_text(value, f"on: {option}")
    if name is not None:
        check_text(name, "on: name")
    if description is not None:
        check_text(description, "on: description")
    return Flow(Trigger(kind, link_type, entity_type), (), name, description)
