"""Flows as data: trigger, steps and rules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

from flowdsl.arguments import MOST, is_text_in, whole_number
from flowdsl.errors import BuildError
from flowdsl.events import KINDS
from flowdsl.operators.base import Operator
from flowdsl.operators.deliver import Deliver
from flowdsl.operators.options import check_text
from flowdsl.operators.scope import Scope
from flowdsl.rules import FLOWDSL, Rules
from flowdsl.text import short_repr

if TYPE_CHECKING:
    from flowdsl.operators.scope import ValueShape


@dataclass(frozen=True)
class Trigger:
    """Trigger of a flow: the kind of events, and optionally their link or entity type."""

    kind: str
    link_type: str | None = None
    entity_type: str | None = None

    @property
    def filter(self) -> tuple[str, str] | None:
        """Column of the event table and the value that it must have; None without a type.

        A filter of the other family, which only production's YAML can have, does nothing.
        """
        name = f"{self.kind.split('.')[0]}_type"
        wanted = self.link_type if name == "link_type" else self.entity_type
        return None if wanted is None else (name, wanted)

    @property
    def options(self) -> dict[str, str]:
        """The fields that are given, by name."""
        given = {"kind": self.kind, "link_type": self.link_type, "entity_type": self.entity_type}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def text(self) -> str:
        """Trigger as written in Python."""
        parts = [repr(self.kind)]
        parts += [
            f"{n}={v!r}" for n, v in (("link_type", self.link_type), ("entity_type", self.entity_type)) if v
        ]
        return f"on({', '.join(parts)})"

    @property
    def caption(self) -> str:
        """Short form for pictures, such as `link.created likes`"""
        return " ".join(part for part in (self.kind, self.link_type, self.entity_type) if part)


MAX_STEPS: Final = 128
"""Steps that a flow may have: an event goes through all of them before the next one is looked at."""


def too_many_steps(count: int) -> str | None:
    """Return an error message if a number of steps exceeds the limit, else None."""
    return f"a flow has {count:,} steps" if count > MAX_STEPS else None


@dataclass(frozen=True, repr=False, eq=False)
class FlowSpec:
    """Flow as data: trigger, steps, and the rules that they run by.

    Two of them are equal if they have the same parts. What a person holds is `flowdsl.Flow`, which adds the
    builder methods.
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

    @classmethod
    def begin(
        cls,
        kind: str,
        link_type: str | None = None,
        entity_type: str | None = None,
        name: str | None = None,
        description: str | None = None,
    ) -> Self:
        """Return a flow without steps; `on` with the same arguments.

        Parameters
        ----------
        kind
            The kind of events.
        link_type, entity_type
            Only links, or entities, of this type.
        name
            The name of the flow.
        description
            Text for readers.

        Returns
        -------
        Flow
            The flow.

        Raises
        ------
        BuildError
            If the kind is unknown, or a type does not belong to it.

        Examples
        --------
        >>> from flowdsl import Flow
        >>> Flow.begin("link.created").steps
        ()
        """
        if not is_text_in(kind, KINDS):
            raise BuildError.unknown(f"{short_repr(kind, 200)} is not a kind of event", kind, KINDS)
        wrong, right = (
            ("entity_type", "link_type") if kind.startswith("link") else ("link_type", "entity_type")
        )
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
        return cls(Trigger(kind, link_type, entity_type), (), name, description)

    @cached_property
    def name(self) -> str:
        """Given name, or one made from the trigger and the sinks."""
        if self.given_name is not None:
            return self.given_name
        of = self.trigger.link_type or self.trigger.entity_type
        sinks = ", ".join(self.sinks)
        return f"{self.trigger.kind}{f' {of}' if of else ''}{f' to {sinks}' if sinks else ''}"

    @cached_property
    def sinks(self) -> tuple[str, ...]:
        """Distinct sinks that it delivers to, in order."""
        return tuple(dict.fromkeys(sink for s in self.steps if isinstance(s, Deliver) for sink in s.sinks))

    @cached_property
    def reads_before(self) -> bool:
        """Whether a step may read the entity as it was before the event; only then contexts have it."""
        read = (step.paths for step in self.steps)
        has = self.rules.event_variable and self.trigger.kind.startswith("entity.")
        return has and any(paths is None or any(path[0] == "before" for path in paths) for paths in read)

    def named(self, name: str) -> Self:
        """Return the same flow under another name.

        Parameters
        ----------
        name
            Text that is not empty.

        Returns
        -------
        Flow
            The flow with that name.

        Raises
        ------
        BuildError
            If the name is empty or no text.

        Examples
        --------
        >>> from flowdsl import on
        >>> on("link.created").named("notify").name
        'notify'
        """
        return replace(self, given_name=check_text(name, "the name of a flow"))

    def with_step(self, number: int, **options: Any) -> Self:
        """Return the same flow with some options of a step replaced.

        Parameters
        ----------
        number
            The step, counted from 0.
        **options
            The options, as the step's builder method takes them.

        Returns
        -------
        Flow
            The changed flow.

        Raises
        ------
        BuildError
            If there is no such step or option, or the flow is invalid with it.

        Examples
        --------
        >>> from flowdsl import on
        >>> on("link.created").batch("target_id", window="1h").with_step(0, window="2h")
        <Flow 'link.created': on('link.created').batch('target_id', window='2h')>
        """
        if whole_number(number, "number", -MOST, error=BuildError) not in range(len(self.steps)):
            raise BuildError(
                f"there is no step {number}", flow=self.name, allowed=f"0 to {len(self.steps) - 1}"
            )
        step = self.steps[number]
        try:
            step.refuse_options([name for name in options if name not in step.options()], [*step.options()])
            changed = step.with_options(**options)
        except BuildError as error:
            error.located(flow=self.name, step=f"{number} ({step.method})")
            raise
        flow = replace(self, steps=(*self.steps[:number], changed, *self.steps[number + 1 :]))
        flow.scopes()
        return flow

    def scopes(self) -> list[Scope]:
        """Return the variables before each step and after the last one.

        Returns
        -------
        list of Scope
            One more than there are steps.

        Raises
        ------
        BuildError
            If a step is not valid at its place.

        Examples
        --------
        >>> from flowdsl import on
        >>> len(on("link.created").map(title="hello").scopes())
        2
        """
        return [*self._scopes]

    @cached_property
    def _scopes(self) -> tuple[Scope, ...]:
        scope = Scope.of_trigger(self.trigger.kind, self.rules)
        scopes = [scope]
        for number, step in enumerate(self.steps):
            try:
                scope = step.check(scope)
            except BuildError as error:
                error.located(flow=self.name, step=f"{number} ({step.method})")
                raise
            scopes.append(scope)
        return tuple(scopes)

    @property
    def variables(self) -> dict[str, ValueShape]:
        """Variables of a context after the last step."""
        return dict(self.scopes()[-1].variables)

    def __eq__(self, other: object) -> bool:
        return self._parts == other._parts if isinstance(other, FlowSpec) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._parts)

    @property
    def _parts(self) -> tuple[Any, ...]:
        return self.trigger, self.steps, self.given_name, self.description, self.rules

    def __str__(self) -> str:
        lines = [self.trigger.text, *(f"    .{step.text}" for step in self.steps)]
        if self.given_name is not None:
            lines.append(f"    .named({self.given_name!r})")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Flow {self.name!r}: {self.trigger.text}{''.join(f'.{step.text}' for step in self.steps)}>"
