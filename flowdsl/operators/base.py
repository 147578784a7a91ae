"""Declarations that every operator makes about itself.

An operator is one file: a frozen dataclass with its options, `build` with the signature of its builder
method, `check` (what it needs, what variables it adds) and the kernel that runs it on columns. The builder
methods, the reading of YAML, its schema and the documentation are made from these declarations.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from flowdsl.calls import refusal
from flowdsl.errors import BuildError, did_you_mean
from flowdsl.expressions.conditions.graph_calls import GraphCall
from flowdsl.expressions.conditions.scalar import look_up
from flowdsl.operators.options import Option
from flowdsl.operators.scope import Scope
from flowdsl.rules import Rules
from flowdsl.text import short_repr
from flowdsl.values.paths import Path, path_text

if TYPE_CHECKING:
    from flowdsl.kernels.kernel import Kernel


class Kind(Enum):
    """Kind of place where a step may run; engines decide by this, never by the operator's name."""

    PER_EVENT = "each context by itself"
    PER_KEY = "all contexts of a key, in order"
    WHOLE = "all contexts, in order"
    HELD = "each context by itself, held until a moment that is known when it comes"
    SINK = "hands contexts to sinks, each by itself"


@dataclass(frozen=True)
class Operator:
    """One step of a flow: a value. Subclasses name themselves and say what they do."""

    name: ClassVar[str]
    method: ClassVar[str]
    summary: ClassVar[str]
    example: ClassVar[str]
    # names of it in other tools, for the hint at an unknown method or operator
    synonyms: ClassVar[tuple[str, ...]] = ()
    # keywords of JSON Schema for the options taken together
    option_rules: ClassVar[Mapping[str, Any]] = {}
    # options that most steps have, besides the required ones
    shown: ClassVar[tuple[str, ...]] = ()
    # options that come first in Python text, if not in the order of the fields
    text_order: ClassVar[tuple[str, ...]] = ()
    # True if production has this operator; if not, `nearest` says what to do instead
    portable: ClassVar[bool] = False
    nearest: ClassVar[str] = "leave the step out, or run the flow with flowdsl"
    # of options that production lacks, by field: how a step without it differs
    without: ClassVar[Mapping[str, str]] = {}
    # for an operator that makes contexts wait: why one is held, and when it goes on
    held_because: ClassVar[str] = "it waits"
    released_when: ClassVar[str] = "when its turn came"

    @property
    def kind(self) -> Kind:
        """Return where this step may run."""
        raise NotImplementedError

    @functools.cached_property
    def paths(self) -> frozenset[Path] | None:
        """Return the paths that the step reads; None if it may read anything."""
        return self._paths_of(lambda option: True)

    @functools.cached_property
    def graph_calls(self) -> frozenset[GraphCall]:
        """Return the calls in its options that query the graph."""
        found: frozenset[GraphCall] = frozenset()
        for name, declared in self.options().items():
            value = getattr(self, name)
            if declared.type is not None and value is not None:
                found |= declared.type.asks(value)
        return found

    @property
    def links(self) -> frozenset[tuple[str, str]]:
        """The link types that it reads, each with a direction in which it follows them, or another use of
        `flowdsl.graph.links.USES`.
        """
        return frozenset(link for call in self.graph_calls for link in call.links)

    @property
    def link_path(self) -> Path | None:
        """The path of the id whose links it reads; None if it reads no links, or those of several ids."""
        return None

    @property
    def entity_types(self) -> frozenset[str]:
        """The entity types to which its look-ups are limited."""
        kind = getattr(self, "type", None)
        return frozenset((kind,)) if isinstance(kind, str) else frozenset()

    @property
    def branches(self) -> bool:
        """Return True if one context can become many."""
        return self.branch_variable is not None

    @property
    def times(self) -> bool:
        """Return True if timers release its contexts, at moments between events."""
        return False

    @property
    def entity_variable(self) -> str | None:
        """The variable that it sets to an entity."""
        return None

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that it sets under names given by its options."""
        return () if self.entity_variable is None else (self.entity_variable,)

    @property
    def branch_variable(self) -> str | None:
        """The variable that holds a different id in each of its branches."""
        return None

    @functools.cached_property
    def key_paths(self) -> frozenset[Path]:
        """Those of the paths whose values are looked up or counted by: ids and keys."""
        return self._paths_of(lambda option: option.key) or frozenset()

    def _paths_of(self, wanted: Callable[[Option], bool]) -> frozenset[Path] | None:
        found: frozenset[Path] = frozenset()
        for name, declared in self.options().items():
            value = getattr(self, name)
            if declared.type is not None and wanted(declared) and value is not None:
                paths = declared.type.paths(value)
                if paths is None:
                    return None
                found |= paths
        return found

    @property
    def can_crash(self) -> bool:
        """Return True if some values crash production's engine here instead of failing."""
        return False

    def check(self, scope: Scope) -> Scope:
        """Return the variables after this step; raises BuildError if it is not allowed here."""
        scope.check(self.paths or (), self.method)
        return scope

    def scope_after(self, scope: Scope) -> Scope:
        """Return the variables after this step as `check` does, even if it is not allowed here."""
        lenient = dataclasses.replace(scope, rules=dataclasses.replace(scope.rules, early_checks=False))
        return dataclasses.replace(self.check(lenient), rules=scope.rules)

    def kernel(self, rules: Rules) -> Kernel:
        """Return a new kernel that runs this step by these rules."""
        raise NotImplementedError

    @functools.cached_property
    def text(self) -> str:
        """The step as it is written in Python, without the dot."""
        given = self.given
        first, *rest = dict.fromkeys((*self.text_order, *self.options())) or [None]
        start = [repr(given[first])] if first in given else []
        named = [f"{name}={given[name]!r}" for name in rest if name in given]
        return f"{self.method}({', '.join([*start, *named])})"

    @property
    def identity(self) -> str:
        """Return a text that differs for steps that do something else; saved state is found by it."""
        return self.text

    @property
    def caption(self) -> str:
        """Return what it does in a few words, for pictures: `target_id ←owns– owner`."""
        return ", ".join(f"{name} {value}" for name, value in self.given.items())

    def nearest_form(self, option: str) -> str:
        """Return what comes nearest in production to a step with an option that production lacks, and how it
        differs.
        """
        then = f": then {self.without[option]}" if option in self.without else ""
        return f"without it: {self.with_portable_options().text}{then}"

    def with_portable_options(self) -> Self:
        """Return the same step with the options that production lacks at their defaults."""
        lacking = [name for name, option in self.options().items() if not option.portable]
        return dataclasses.replace(self, **{name: self.defaults()[name] for name in lacking})

    @classmethod
    @functools.cache
    def defaults(cls) -> dict[str, Any]:
        """Return the defaults of the options by the name of their field."""
        return {field.name: field.default for field in dataclasses.fields(cls)}

    @property
    def changed(self) -> dict[str, Any]:
        """Return the options that are not at their defaults, by field name."""
        values = {name: getattr(self, name) for name in self.options()}
        return {name: value for name, value in values.items() if value != self.defaults()[name]}

    def operands(self, lookup: Callable[[Any], Any]) -> list[tuple[str, Any]]:
        """Return what it reads in one context, each with its value, where `lookup` gives the value at a
        path, or of a call that asks the graph.
        """
        read: list[tuple[str, Any]] = [(path_text(path), path) for path in sorted(self.paths or ())]
        read += [(str(call), call) for call in sorted(self.graph_calls, key=str)]
        return [(text, look_up(lookup, leaf)) for text, leaf in read]

    @classmethod
    @functools.cache
    def options(cls) -> dict[str, Option]:
        """Return the declared options by the name of their field."""
        return {
            field.name: dataclasses.replace(field.metadata["option"], yaml=field.name.rstrip("_"))
            for field in dataclasses.fields(cls)
            if "option" in field.metadata
        }

    @property
    def given(self) -> dict[str, Any]:
        """Return the options that are not at their defaults, by field name, as text in Python has them."""
        return {name: self.options()[name].kind.plain(value) for name, value in self.changed.items()}

    @classmethod
    def yaml_options(cls) -> dict[str, Option]:
        """Return the declared options by their name in YAML."""
        return {option.yaml: option for option in cls.options().values()}

    @classmethod
    def from_yaml(cls, options: Mapping[str, Any]) -> Operator:
        """Return the step that a mapping of YAML options says; those that are required have to be in it."""
        names = {option.yaml: name for name, option in cls.options().items()}
        missing = [o.yaml for o in cls.options().values() if o.required and o.yaml not in options]
        if missing:
            raise BuildError(f"{cls.name} needs {' and '.join(map(repr, missing))}", allowed=", ".join(names))
        return cls.from_options({names[key]: value for key, value in options.items()})

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Operator:
        """Return the step with these options by field name; operators whose builder method differs
        override it.
        """
        return cls.build(**options)

    @classmethod
    def build(cls, *args: Any, **options: Any) -> Operator:
        """Return the step with these options by field name, as its builder method takes them.

        Raises
        ------
        BuildError
            if an option is unknown, missing, or not of its type
        """
        known = cls.options()
        first = dict(zip(known, args, strict=False))
        cls.refuse_options([name for name in options if name not in known], tuple(known))
        missing = [
            name for name, declared in known.items() if declared.required and name not in {**first, **options}
        ]
        if missing:
            raise BuildError(
                f"{cls.method} needs {' and '.join(map(repr, missing))}", allowed=", ".join(known)
            )
        return cls.read(**first, **options)

    @classmethod
    def read(cls, **options: Any) -> Self:
        """Return the step with these options, each read by its type; one that is None is at its default.

        Raises
        ------
        BuildError
            if an option is not of its type, or the options do not fit together
        """
        read: dict[str, Any] = {}
        for name, declared in cls.options().items():
            default = cls.defaults()[name]
            value = options.get(name, default)
            left_out = value is None or (isinstance(value, tuple) and not value)
            if left_out and default in (None, ()):
                read[name] = default
            elif value is not dataclasses.MISSING:
                read[name] = declared.kind.read(value, f"{cls.method}: {name}")
        step = cls(**read)
        step.check_options()
        return step

    def check_options(self) -> None:
        """Refuse options that do not fit together with a `BuildError`; each by itself is of its type."""

    @classmethod
    def guess_option(cls, word: str, known: Mapping[str, str]) -> str | None:
        """Return a hint at the option that is meant by a word; `known` has what options are called, by the
        name that they have in YAML.
        """
        for option in cls.options().values():
            if word in (option.yaml, *option.synonyms) and option.yaml in known:
                return f"did you mean {known[option.yaml]!r}?"
        near = did_you_mean(word, known.values())
        if near is not None:
            return near
        for name in known.values():
            if name.startswith(f"{word}_") or name.endswith(f"_{word}"):
                return f"did you mean {name!r}?"
        return None

    @classmethod
    def refuse_options(cls, options: Iterable[str], known: Sequence[str]) -> None:
        """Raise an error for options that the builder method does not have."""
        for name in options:
            named = {option.yaml: field for field, option in cls.options().items() if field in known}
            raise BuildError(
                f"{cls.method} has no option {name!r}",
                allowed=", ".join(known) or "no options by name",
                hint=cls.guess_option(name, named),
            )

    @classmethod
    def refuse_call(
        cls, given: Sequence[object], options: Collection[str], signature: inspect.Signature
    ) -> NoReturn:
        """Refuse a call of the builder method that Python refused."""
        known = [name for name in signature.parameters if name not in ("self", "unknown")]
        cls.refuse_options([name for name in options if name not in known], known)
        raise refusal(cls.method, signature, given, options, BuildError, f"such as {cls.example}")

    def with_options(self, **changes: Any) -> Operator:
        """Return the same step with some options, by field name, given anew as its builder method takes
        them.
        """
        kept = {
            name: declared.kind.plain(value)
            for name, declared in self.options().items()
            if name not in changes and (value := getattr(self, name)) is not None
        }
        return self.from_options({**kept, **changes})


def link_caption(start: Path, via: str | None, direction: str, end: str) -> str:
    """Return a look-up as an arrow in the direction of the link: `target_id ←owns– owner`."""
    if via is None:
        return f"{path_text(start)} → {end}"
    arrow = f"–{via}→" if direction == "forward" else f"←{via}–"
    return f"{path_text(start)} {arrow} {end}"


def as_step(step: object) -> Operator:
    """Return a step whose options are read by their types.

    Raises
    ------
    BuildError
        if it is not a step, or an option is not of its type
    """
    if not isinstance(step, Operator):
        shown = step.__name__ if isinstance(step, type) else short_repr(step)
        raise BuildError(
            f"then takes a step, not {shown:.60}", allowed="an operator with its options: Sample(0.1)"
        )
    return step.read(**{name: getattr(step, name) for name in step.options()})
