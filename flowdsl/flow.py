"""Flows as values: a trigger, then steps. `on(...)` begins one, every method gives a new one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Never

from flowdsl.builder import Steps
from flowdsl.errors import BuildError, did_you_mean
from flowdsl.events import KINDS
from flowdsl.operators.base import Operator, check_text, refuse_unknown
from flowdsl.operators.deliver import Deliver
from flowdsl.rules import FLOWDSL, Rules
from flowdsl.scope import Scope

if TYPE_CHECKING:
    import networkx as nx

    from flowdsl.scope import Shape


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

    @property
    def name(self) -> str:
        """The name given, or one made from the trigger and the sinks."""
        if self.given_name is not None:
            return self.given_name
        of = self.trigger.link_type or self.trigger.entity_type
        sinks = ", ".join(self.sinks)
        return f"{self.trigger.kind}{f' {of}' if of else ''}{f' to {sinks}' if sinks else ''}"

    @property
    def sinks(self) -> tuple[str, ...]:
        """The sinks it delivers to, each once, in their order."""
        return tuple(dict.fromkeys(sink for s in self.steps if isinstance(s, Deliver) for sink in s.sinks))

    def named(self, name: str) -> Flow:
        """The same flow under another name."""
        return replace(self, given_name=check_text(name, "the name of a flow"))

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
    def variables(self) -> dict[str, Shape]:
        """The variables that a context holds at the end."""
        return dict(self.scopes()[-1].variables)

    def graph(self) -> nx.DiGraph:
        """The operator graph: a node for the trigger, each step and each sink, with `operator`, `options`, `text`."""
        from flowdsl.plan import operator_graph

        return operator_graph(self)

    def _then(self, step: Operator) -> Flow:
        if self.rules is not FLOWDSL:
            raise BuildError(
                f"a flow read by the rules of {self.rules.name} takes no further steps",
                hint="load it without target=, or write the step into its YAML",
            )
        grown = replace(self, steps=(*self.steps, step))
        grown.scopes()
        return grown

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
