"""Options of operators and sinks: what a declaration says of one, and the types that options of operators
have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from flowdsl.arguments import is_integer, is_text_in
from flowdsl.errors import BuildError, did_you_mean
from flowdsl.expressions.conditions import Condition, Expression, parse_expression
from flowdsl.expressions.conditions.graph_calls import GraphCall, graph_calls
from flowdsl.expressions.conditions.graph_query import DIRECTIONS as DIRECTIONS
from flowdsl.expressions.conditions.graph_query import Direction as Direction
from flowdsl.expressions.conditions.nodes import Reference
from flowdsl.expressions.durations import parse_duration
from flowdsl.expressions.var import Var, unwrap
from flowdsl.operators.scope import check_name
from flowdsl.text import short_repr
from flowdsl.values.paths import Path, parse_path, path_text

Control = Literal[
    "path",
    "paths",
    "name",
    "duration",
    "count",
    "number",
    "flag",
    "choice",
    "text",
    "list",
    "template",
    "expressions",
]


@dataclass(frozen=True, eq=False)
class OptionType:
    """Type of an option of an operator: everything that follows from it is derived.

    Parameters
    ----------
    control
        the field that the designer shows
    schema
        the JSON Schema of the value in YAML, with examples
    read
        the function from a value as it is given, and what to call it, to the value that a step holds;
        it takes the latter too, and raises `BuildError`
    plain
        the function from the value of a step to what YAML and Python text have
    paths
        the paths that a step reads for a value; None if it may read anything
    offers
        the list that completes the field in the designer: `paths`, `links`, `entities` or `examples`
    asks
        the calls for a value that ask the graph
    """

    control: Control
    schema: Mapping[str, Any]
    read: Callable[[Any, str], Any]
    plain: Callable[[Any], Any] = lambda value: value
    paths: Callable[[Any], frozenset[Path] | None] = lambda value: frozenset()
    offers: str | None = None
    asks: Callable[[Any], frozenset[GraphCall]] = lambda value: frozenset()


@dataclass(frozen=True)
class Option:
    """One option as users meet it: its name in YAML, a sentence, its JSON Schema, and whether production has
    it.

    Options of operators also have a type, which reads and writes them, say whether they are keys: values that
    are looked up or counted by, and what else they are called.
    """

    yaml: str
    doc: str
    schema: Mapping[str, Any]
    portable: bool = True
    required: bool = False
    type: OptionType | None = field(default=None, compare=False)
    key: bool = False
    synonyms: tuple[str, ...] = ()

    @property
    def kind(self) -> OptionType:
        """Return the type of an option of an operator."""
        assert self.type is not None, f"the option {self.yaml!r} has no type"
        return self.type


def option(
    type: OptionType,
    doc: str,
    *,
    examples: Sequence[Any] = (),
    portable: bool = True,
    key: bool = False,
    default: Any = dataclasses.MISSING,
    required: bool | None = None,
    synonyms: tuple[str, ...] = (),
) -> Any:
    """Declare a field of a dataclass as an option of an operator.

    Its name in YAML is that of the field, without a trailing underscore. Without a `default` it is required.

    Parameters
    ----------
    type
        the type of its values
    doc
        what it is, in a few words
    examples
        values that the schema, the designer and the documentation show, instead of those of the type
    portable
        False if production has no such option
    key
        True if its paths hold what is looked up or counted by
    default
        the value where it is not given
    required
        False where a step can do without, though there is no default
    synonyms
        words for it that mean it where it is given by mistake
    """
    schema = dict(type.schema)
    if default is not dataclasses.MISSING and default not in (None, ()):
        schema["default"] = default
    if examples:
        schema["examples"] = list(examples)
    needed = default is dataclasses.MISSING if required is None else required
    declared = Option("", doc, schema, portable, needed, type, key, synonyms)
    return dataclasses.field(metadata={"option": declared}, default=default)


def mapping_schema(name: str, **schema: Any) -> dict[str, Any]:
    """Return the schema of mappings in which a key has a value of a schema, anything but null by default.

    The key is in a pattern: editors would offer one of `properties` once more.
    """
    return {"required": [name], **holding(name, **schema)}


def holding(name: str, **schema: Any) -> dict[str, Any]:
    """Return the schema of mappings in which a key has a value of a schema, or is not there."""
    return {"patternProperties": {f"^{name}$": schema or {"not": {"type": "null"}}}}


def text_schema(*examples: str, pattern: str = r"\S", says: str = "text that is not empty") -> dict[str, Any]:
    """Return the schema of text; `says` tells people in an editor what the pattern wants, in words."""
    such = f", such as {', '.join(examples)}" if examples else ""
    return {
        "type": "string",
        "pattern": pattern,
        "errorMessage": f"Expected {says}{such}.",
        "examples": list(examples),
    }


def count_schema(default: int) -> dict[str, Any]:
    """Return the schema of a whole number from 1 up that has a default."""
    return {"type": "integer", "minimum": 1, "default": default, "examples": [default]}


# names joined by dots, of which one is not blank
_PATH_PATTERN = r"^(?=[\s\S]*\S)[^.]+(\.[^.]+)*$"
# as `str.isidentifier`, but for letters beyond ASCII, which are all taken; `$` alone would let a line break
# follow
_NAME_PATTERN = (
    r"^(?!(true|false|null)$)[^\x00-\x40\x5b-\x5e\x60\x7b-\x7f]"
    r"[^\x00-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]*$(?!\n)"
)
# each unit at most once, from large to small
DURATION_PATTERN = (
    r"^\s*(?=[0-9])"
    + "".join(rf"([0-9]{{1,20}}{unit})?" for unit in ("w", "d", "h", "m(?!s)", "s", "ms"))
    + r"\s*$"
)
DURATION_SAYS: Final = "a duration: numbers with w, d, h, m, s or ms, from large to small, without spaces"
PATH_SAYS: Final = "a path: names with dots between them"
PATH_SCHEMA: dict[str, Any] = text_schema("target_id", "owner.id", pattern=_PATH_PATTERN, says=PATH_SAYS)
PATHS_SCHEMA: dict[str, Any] = {
    **PATH_SCHEMA,
    "type": ["string", "array"],
    "errorMessage": "Expected a path, such as target_id, or a list of them: [source_id, target_id].",
    "minItems": 1,
    "items": PATH_SCHEMA,
    "examples": ["target_id", ["source_id", "target_id"]],
}
NAME_SCHEMA: dict[str, Any] = text_schema(
    "owner", pattern=_NAME_PATTERN, says="a name of letters, digits and _ that does not begin with a digit"
)
DURATION_SCHEMA: dict[str, Any] = text_schema("30s", "5m", "1h", pattern=DURATION_PATTERN, says=DURATION_SAYS)


def check_text(value: object, what: str) -> str:
    """Return text that is not empty; raises `BuildError` for anything else."""
    if not isinstance(value, str) or not value.strip():
        raise BuildError(f"{what} must be text that is not empty, not {short_repr(value, 200)}")
    return value


def check_flag(value: object, what: str) -> bool:
    """Return True or False; raises `BuildError` for anything else."""
    if not isinstance(value, bool):
        raise BuildError(f"{what} must be True or False, not {short_repr(value)}")
    return value


def check_count(value: object, what: str, least: int) -> int:
    """Return a whole number of at least `least`, in 64 bits; raises `BuildError` for anything else."""
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise BuildError(
            f"{what} is beyond 64 bits", allowed=f"a whole number from {least} to {(1 << 63) - 1:,}"
        )
    if not is_integer(value) or value < least:
        raise BuildError(
            f"{what} must be a whole number of at least {least}, not {short_repr(value)}",
            hint=_guess_count(value, least),
        )
    return value


def _guess_count(value: object, least: int) -> str | None:
    number = value.strip() if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else ""
    if not (number.isascii() and number.isdigit() and len(number) < 20):
        return None
    return f"write {int(number)}" if int(number) >= least else None


def as_path(value: object) -> Path:
    """Return a path given as text, as `var.x.y`, or as a path."""
    if isinstance(value, tuple) and value and all(isinstance(part, str) for part in value):
        return value
    if isinstance(value, Var):
        expression = unwrap(value)
        if isinstance(expression, Reference):
            return expression.path
        raise BuildError(
            f"{expression} is an expression, and a path is wanted here", allowed="'owner.id' or var.owner.id"
        )
    return parse_path(value)


def as_paths(value: object, what: str) -> tuple[Path, ...]:
    """Return the paths of one path or a list of them."""
    if isinstance(value, (list, tuple)) and not (
        value and isinstance(value, tuple) and isinstance(value[0], str)
    ):
        if not value:
            raise BuildError(f"{what} is an empty list", allowed="one path or more")
        return tuple(map(as_path, value))
    return (as_path(value),)


def as_expression(value: object, what: str) -> Expression:
    """Return an expression given as text, built with `var`, or as an expression."""
    if isinstance(value, Expression):
        return value
    if isinstance(value, Var):
        return unwrap(value)
    return parse_expression(check_text(value, what))


def _plain_paths(paths: tuple[Path, ...]) -> Any:
    return None if not paths else path_text(paths[0]) if len(paths) == 1 else [path_text(p) for p in paths]


PATH: Final = OptionType(
    "path",
    PATH_SCHEMA,
    lambda value, what: as_path(value),
    path_text,
    lambda path: frozenset({path}),
    "paths",
)
PATHS: Final = OptionType("paths", PATHS_SCHEMA, as_paths, _plain_paths, frozenset, "paths")
NAME: Final = OptionType("name", NAME_SCHEMA, check_name)
DURATION: Final = OptionType(
    "duration",
    DURATION_SCHEMA,
    lambda value, what: parse_duration(value),
    lambda duration: duration.text,
    offers="examples",
)
TEXT: Final = OptionType("text", text_schema("text"), check_text)
FLAG: Final = OptionType("flag", {"type": "boolean", "examples": [False]}, check_flag)
LINK_TYPE: Final = OptionType("text", text_schema("follows"), check_text, offers="links")
ENTITY_TYPE: Final = OptionType("text", text_schema("user"), check_text, offers="entities")
CONDITION: Final = OptionType(
    "text",
    text_schema("source_id != owner.id", "data.status == 'open' and data.amount > 10"),
    lambda value, what: Condition.of(value),
    paths=lambda condition: condition.paths,
    offers="paths",
    asks=lambda condition: condition.graph_calls,
)
EXPRESSION: Final = OptionType(
    "text",
    text_schema("data.mentions", "added(data.mentions)"),
    as_expression,
    str,
    paths=lambda expression: expression.paths,
    offers="paths",
    asks=graph_calls,
)


def count(least: int, *examples: int) -> OptionType:
    """Return the type of whole numbers of at least `least`."""
    schema = {"type": "integer", "minimum": least, "examples": list(examples or (max(least, 1),))}
    return OptionType("count", schema, lambda value, what: check_count(value, what, least))


def number(least: float, most: float, *examples: float) -> OptionType:
    """Return the type of numbers from `least` to `most`."""

    def read(value: Any, what: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise BuildError(f"{what} must be a number from {least} to {most}, not {short_repr(value)}")
        return float(value)

    schema = {"type": "number", "minimum": least, "maximum": most, "examples": list(examples or (most,))}
    return OptionType("number", schema, read)


def choice(*values: str, example: str, meanings: str | None = None) -> OptionType:
    """Return the type of one of some words; `meanings` says in a message what they are."""

    def read(value: Any, what: str) -> str:
        if not is_text_in(value, values):
            raise BuildError(
                f"{what} {short_repr(value, 200)} is not known",
                allowed=meanings or " or ".join(map(repr, values)),
                hint=did_you_mean(value, values),
            )
        return value

    return OptionType("choice", {"enum": list(values), "examples": [example]}, read)


DIRECTION: Final = choice(
    *DIRECTIONS, example="reverse", meanings="'forward' (from the source to the target) or 'reverse'"
)
Strategy = Literal["drop", "queue"]
STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)
STRATEGY: Final = choice(*STRATEGIES, example="queue")
