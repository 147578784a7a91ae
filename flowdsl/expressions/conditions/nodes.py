"""Syntax tree of conditions: immutable nodes, independent of how they were written or are evaluated.

Constructors refuse what would fail at every event (`"a" + 1`, `lower(3)`), so conditions from text and from
`var` get the same errors, on the line that makes the mistake.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Final, Self

from flowdsl.errors import ConditionError, did_you_mean
from flowdsl.expressions.conditions.declaration import PATH, Function
from flowdsl.expressions.conditions.expression import MAX_DEPTH as MAX_DEPTH
from flowdsl.expressions.conditions.expression import Expression as Expression
from flowdsl.expressions.conditions.functions import FUNCTIONS, guess_function
from flowdsl.expressions.conditions.semantics import kind
from flowdsl.expressions.conditions.typecheck import Scalar, check_text, clip_text, constant, require
from flowdsl.values.paths import Path

NAME: Final = re.compile(r"[^\W\d]\w*")
RESERVED: Final = frozenset(("and", "or", "not", "in", "true", "false", "null", "True", "False", "None"))


@dataclass(frozen=True, eq=False)
class ConditionLiteral(Expression):
    """Constant: null, boolean, number or text. Equal only to the same value of the same type."""

    value: Scalar
    depth: int = field(init=False, default=1, compare=False, repr=False)
    kind: str = field(  # pyright: ignore[reportIncompatibleVariableOverride]
        init=False, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        value = constant(self.value)
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "kind", kind(value))

    def _key(self) -> tuple[str, str]:
        return type(self.value).__name__, repr(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConditionLiteral) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __str__(self) -> str:
        if isinstance(self.value, float):
            return repr(self.value)
        return json.dumps(self.value, ensure_ascii=False)


@dataclass(frozen=True)
class ListOf(Expression):
    """List of constants, as on the right of `in`."""

    items: tuple[ConditionLiteral, ...]
    depth: int = field(init=False, default=1, compare=False, repr=False)
    kind = "array"

    @property
    def values(self) -> list[Scalar]:
        """The constants as Python values."""
        return [item.value for item in self.items]

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.items))}]"


@dataclass(frozen=True)
class Reference(Expression):
    """Value at a path."""

    path: Path
    depth: int = field(init=False, default=1, compare=False, repr=False)

    def __post_init__(self) -> None:
        for part in self.path:
            check_text(part)

    @cached_property
    def paths(self) -> frozenset[Path]:
        return frozenset((self.path,))

    @cached_property
    def leaves(self) -> frozenset[Path | Expression]:
        return frozenset((self.path,))

    @property
    def locates(self) -> bool:
        return True

    def __str__(self) -> str:
        first, rest = self.path[0], self.path[1:]
        plain = NAME.fullmatch(first) and first not in RESERVED
        # a root that is not a plain name has no dot before it: `$` is all variables
        text = first if plain else f"$[{json.dumps(first, ensure_ascii=False)}]"
        return text + parts_text(rest)


def parts_text(parts: Path) -> str:
    """Return the steps of a path as text to append, such as `.a["b c"]`."""
    return "".join(
        f".{part}" if NAME.fullmatch(part) else f"[{json.dumps(part, ensure_ascii=False)}]" for part in parts
    )


@dataclass(frozen=True)
class FunctionCall(Expression):
    """Call of one of the language's functions."""

    function: str
    arguments: tuple[Expression, ...]
    depth: int = field(init=False, compare=False, repr=False)
    kind: str | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        known = _function(self.function)
        left_out = list(known.arguments)[len(self.arguments) :]
        if all(name in known.defaults for name in left_out):
            defaults = (ConditionLiteral(known.defaults[name]) for name in left_out)
            object.__setattr__(self, "arguments", (*self.arguments, *defaults))
        count = len(self.arguments)
        if count < len(known.arguments) or (count > len(known.arguments) and not known.several):
            raise _miscounted(known, count)
        for argument, kinds in zip(self.arguments, known.types(count), strict=True):
            self._check_argument(known, argument, kinds)
        self._check_constants(known)
        self._measure()
        object.__setattr__(self, "kind", None if known.result == "any" else known.result)

    def _check_argument(self, known: Function, argument: Expression, kinds: tuple[str, ...]) -> None:
        if kinds == PATH and not argument.locates:
            raise ConditionError(
                f"{self.function} takes a path, not {clip_text(argument)}", allowed=known.usage
            )
        if kinds and kinds != PATH:
            require(self.function, kinds, argument, allowed=known.usage)
        if known.with_before:
            _check_field(known, argument)

    def _check_constants(self, known: Function) -> None:
        for name, argument in zip(known.arguments, self.arguments, strict=False):
            if isinstance(argument, ConditionLiteral) and name in known.constants:
                problem = known.constants[name](argument.value)
                if problem is not None:
                    raise ConditionError(problem, allowed=known.usage)

    @classmethod
    def of(cls, function: str, arguments: Sequence[Expression], named: Mapping[str, Expression]) -> Self:
        """Build a call whose last arguments may be given by name."""
        if not named:
            return cls(function, tuple(arguments))
        known = _function(function)
        places = {name: place for place, name in enumerate(known.arguments)}
        given = dict(enumerate(arguments))
        for name, argument in named.items():
            if name not in known.defaults:
                raise ConditionError(
                    f"{function} has no argument {name!r} that is given by name",
                    allowed=known.usage,
                    hint=did_you_mean(name, known.defaults) or _by_name(known),
                )
            if places[name] in given:
                raise ConditionError(f"{function} has the argument {name!r} twice", allowed=known.usage)
            given[places[name]] = argument
        if len(arguments) < len(places) - len(known.defaults):
            raise _miscounted(known, len(arguments))
        for name, default in known.defaults.items():
            given.setdefault(places[name], ConditionLiteral(default))
        return cls(function, tuple(argument for _, argument in sorted(given.items())))

    @cached_property
    def children(self) -> tuple[Expression, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Arguments; for a function that compares with `before`, also the same path in `before`."""
        if not _function(self.function).with_before:
            return self.arguments
        (argument,) = self.arguments
        assert isinstance(argument, Reference)
        return argument, Reference(("before", *argument.path[1:]))

    @property
    def written(self) -> list[tuple[str | None, Expression]]:
        """Arguments as they are written: those with a default by name, and only if they differ from it."""
        known = FUNCTIONS[self.function]
        if known.several:
            return [(None, argument) for argument in self.arguments]
        named = zip(known.arguments, self.arguments, strict=True)
        return [
            (name if name in known.defaults else None, argument)
            for name, argument in named
            if name not in known.defaults or argument != ConditionLiteral(known.defaults[name])
        ]

    def __str__(self) -> str:
        arguments = (f"{name}={node}" if name else str(node) for name, node in self.written)
        return f"{self.function}({', '.join(arguments)})"


def _check_field(known: Function, argument: Expression) -> None:
    if isinstance(argument, Reference) and argument.path[0] == "data" and len(argument.path) > 1:
        return
    path = argument.path if isinstance(argument, Reference) else ()
    rest = path[1:] if path[:1] in (("data",), ("before",)) else path
    hint = f"write {known.name}({Reference(('data', *rest))})" if rest else None
    if path[:1] == ("metadata",):
        hint = "of a link nothing is known as it was before; events of entities have data"
    raise ConditionError(
        f"{known.name} takes a field of the event's data, not {clip_text(argument)}",
        allowed=known.usage,
        hint=hint,
    )


def _by_name(known: Function) -> str:
    return f"by name it takes {' and '.join(known.defaults)}" if known.defaults else "equality is =="


def _miscounted(known: Function, given: int) -> ConditionError:
    count = len(known.arguments) - len(known.defaults)
    wanted = {1: "one argument", 2: "two arguments"}.get(count, f"{count} arguments")
    wanted += " or more" * known.several
    return ConditionError(f"{known.name} takes {wanted}, not {given}", allowed=known.usage)


def _function(name: str) -> Function:
    known = FUNCTIONS.get(name)
    if known is None:
        raise ConditionError(
            f"there is no function {name!r}",
            allowed=", ".join(FUNCTIONS),
            hint=guess_function(name),
        )
    return known


@dataclass(frozen=True)
class _OfOne(Expression):
    """Operator before one operand."""

    operand: Expression
    depth: int = field(init=False, compare=False, repr=False)

    @property
    def children(self) -> tuple[Expression, ...]:
        return (self.operand,)


@dataclass(frozen=True)
class _OfTwo(Expression):
    """Operator between two operands."""

    operator: str
    left: Expression
    right: Expression
    depth: int = field(init=False, compare=False, repr=False)

    @property
    def children(self) -> tuple[Expression, ...]:
        return (self.left, self.right)


@dataclass(frozen=True)
class Negative(_OfOne):
    """Negated number; `negative` builds one and folds constants."""

    kind = "number"

    def __post_init__(self) -> None:
        self._measure()
        require("'-'", ("number",), self.operand)

    def _binding(self) -> int:
        return 8

    def __str__(self) -> str:
        return f"-{self.operand._within(8)}"


@dataclass(frozen=True)
class Arithmetic(_OfTwo):
    """Sum, difference, product, quotient or remainder."""

    kind = "number"

    def __post_init__(self) -> None:
        self._measure()
        for operand in self.children:
            require(f"'{self.operator}'", ("number",), operand)

    def _binding(self) -> int:
        return 6 if self.operator in "+-" else 7

    def __str__(self) -> str:
        binding = self._binding()
        return f"{self.left._within(binding)} {self.operator} {self.right._within(binding + 1)}"


@dataclass(frozen=True)
class Compare(_OfTwo):
    """Comparison or membership test; its value is never missing."""

    kind = "boolean"

    def __post_init__(self) -> None:
        self._measure()
        if self.operator == "in":
            require("'in'", ("array", "text"), self.right, allowed=f"a list: in [{clip_text(self.right)}]")

    def _binding(self) -> int:
        return 5

    def __str__(self) -> str:
        return self._with(self.operator)

    def _with(self, operator: str) -> str:
        return f"{self.left._within(6)} {operator} {self.right._within(6)}"


@dataclass(frozen=True)
class Not(_OfOne):
    """Negated boolean."""

    kind = "boolean"

    def __post_init__(self) -> None:
        self._measure()
        require("'not'", ("boolean",), self.operand)

    def _binding(self) -> int:
        return 5 if self._negates_in() else 4

    def _negates_in(self) -> bool:
        return isinstance(self.operand, Compare) and self.operand.operator == "in"

    def __str__(self) -> str:
        if isinstance(self.operand, Compare) and self._negates_in():
            return self.operand._with("not in")
        return f"not {self.operand._within(4)}"


@dataclass(frozen=True)
class _Several(Expression):
    """Booleans joined by one operator; nested joins by the same operator are flattened."""

    operands: tuple[Expression, ...]
    depth: int = field(init=False, compare=False, repr=False)
    kind = "boolean"
    word: ClassVar[str]

    def __post_init__(self) -> None:
        flat: list[Expression] = []
        for operand in self.operands:
            flat += operand.operands if isinstance(operand, type(self)) else (operand,)
            require(f"'{self.word}'", ("boolean",), operand)
        object.__setattr__(self, "operands", tuple(flat))
        self._measure()

    @property
    def children(self) -> tuple[Expression, ...]:
        return self.operands

    def __str__(self) -> str:
        binding = self._binding()
        return f" {self.word} ".join(operand._within(binding + 1) for operand in self.operands)


@dataclass(frozen=True)
class And(_Several):
    """Conjunction."""

    word = "and"

    def _binding(self) -> int:
        return 3


@dataclass(frozen=True)
class Or(_Several):
    """Disjunction."""

    word = "or"

    def _binding(self) -> int:
        return 2


def negative(operand: Expression) -> Expression:
    """Negate an operand; constants are folded."""
    if isinstance(operand, ConditionLiteral) and operand.kind == "number":
        assert isinstance(operand.value, (int, float))
        return ConditionLiteral(-operand.value)
    return Negative(operand)
