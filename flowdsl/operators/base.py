"""What every operator declares about itself.

An operator is one file: a frozen dataclass with its options, `build` with the signature of its builder method,
`check` (what it needs, what variables it adds) and the kernel that runs it on columns. The builder methods, the
reading of YAML, its schema and the documentation are made from these declarations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from flowdsl.errors import BuildError, did_you_mean
from flowdsl.expressions.conditions.nodes import Reference
from flowdsl.expressions.var import Var, unwrap
from flowdsl.rules import Rules
from flowdsl.scope import Scope
from flowdsl.values.paths import Path, parse_path, path_text

if TYPE_CHECKING:
    from flowdsl.kernels.kernel import Kernel


class Kind(Enum):
    """Where a step may run: engines ask this, never the operator's name."""

    PER_EVENT = "each context by itself"
    PER_KEY = "all contexts of a key, in order"
    WHOLE = "all contexts, in order"
    SINK = "hands contexts to sinks, each by itself"


@dataclass(frozen=True)
class Option:
    """One option as users meet it: its name in YAML, a sentence, its JSON Schema, and whether production has it."""

    yaml: str
    doc: str
    schema: Mapping[str, Any]
    portable: bool = True
    required: bool = False


def option(
    yaml: str,
    doc: str,
    schema: Mapping[str, Any],
    *,
    portable: bool = True,
    required: bool = False,
    **field: Any,
) -> Any:
    """A dataclass field that is an option of an operator."""
    return dataclasses.field(metadata={"option": Option(yaml, doc, schema, portable, required)}, **field)


@dataclass(frozen=True)
class Operator:
    """One step of a flow: a value. Subclasses name themselves and say what they do."""

    name: ClassVar[str]
    method: ClassVar[str]
    summary: ClassVar[str]
    example: ClassVar[str]
    # what JSON Schema says of the options taken together
    option_rules: ClassVar[Mapping[str, Any]] = {}

    @property
    def kind(self) -> Kind:
        """Where this step may run."""
        raise NotImplementedError

    @property
    def paths(self) -> frozenset[Path] | None:
        """The paths it reads; None when it may read anything."""
        raise NotImplementedError

    @property
    def links(self) -> frozenset[tuple[str, str]]:
        """The link types and directions that it follows."""
        return frozenset()

    @property
    def branches(self) -> bool:
        """Whether one context can become many."""
        return False

    @property
    def times(self) -> bool:
        """Whether timers release contexts, at other moments than those of events."""
        return False

    @property
    def entity_variable(self) -> str | None:
        """The variable that it sets to an entity."""
        return None

    @property
    def key_paths(self) -> frozenset[Path]:
        """Those of the paths whose values are looked up or counted by: ids and keys."""
        return frozenset()

    @property
    def can_crash(self) -> bool:
        """Whether there are values at which production's engine crashes here, instead of failing."""
        return False

    def check(self, scope: Scope) -> Scope:
        """The variables after this step; a BuildError where it cannot stand here."""
        raise NotImplementedError

    def kernel(self, rules: Rules) -> Kernel:
        """A fresh kernel that runs this step by these rules."""
        raise NotImplementedError

    @property
    def text(self) -> str:
        """The step as it is written in Python, without the dot."""
        raise NotImplementedError

    @property
    def identity(self) -> str:
        """What tells it from any step that does something else: its state is found by that."""
        return self.text

    @property
    def caption(self) -> str:
        """What it does in a few words, for pictures: `target_id ←owns– owner`."""
        raise NotImplementedError

    def operands(self, lookup: Callable[[Path], Any]) -> list[tuple[str, Any]]:
        """What it reads in one context, each with its value, where `lookup` gives the value at a path."""
        return [(path_text(path), lookup(path)) for path in sorted(self.paths or ())]

    @classmethod
    def options(cls) -> dict[str, Option]:
        """The declared options by the name of their field."""
        return {f.name: f.metadata["option"] for f in dataclasses.fields(cls) if "option" in f.metadata}

    @classmethod
    def yaml_options(cls) -> dict[str, Option]:
        """The declared options by the name they have in YAML."""
        return {option.yaml: option for option in cls.options().values()}

    @classmethod
    def from_yaml(cls, options: Mapping[str, Any]) -> Operator:
        """The step that a mapping of YAML options says, strictly: unknown and missing options are refused."""
        declared = {o.yaml: (name, o) for name, o in cls.options().items()}
        for key in options:
            if key not in declared:
                raise BuildError(
                    f"{cls.name} has no option {key!r}",
                    allowed=", ".join(declared),
                    hint=did_you_mean(str(key), declared),
                )
        missing = [key for key, (_, o) in declared.items() if o.required and key not in options]
        if missing:
            raise BuildError(
                f"{cls.name} needs {' and '.join(map(repr, missing))}", allowed=", ".join(declared)
            )
        return cls.from_options({declared[key][0]: value for key, value in options.items()})

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Operator:
        """The step with these options by field name; operators whose builder method differs override it."""
        return cls.build(**options)  # type: ignore[attr-defined, no-any-return]

    def with_options(self, **changes: Any) -> Operator:
        """The same step with some options, by field name, given anew as its builder method takes them."""
        kept = {
            name: _as_given(getattr(self, name), declared)
            for name, declared in self.options().items()
            if name not in changes
        }
        return self.from_options({**kept, **changes})


def _as_given(value: Any, declared: Option) -> Any:
    """The value of an option as a builder method takes it: a path as text."""
    if not isinstance(value, tuple):
        return value
    if declared.schema.get("type") == "array":
        return list(value)
    if value and isinstance(value[0], tuple):
        return [path_text(path) for path in value]
    return path_text(value) if value else None


def link_caption(start: Path, via: str | None, direction: str, end: str) -> str:
    """A look-up as an arrow that points as the link does: `target_id ←owns– owner`."""
    if via is None:
        return f"{path_text(start)} → {end}"
    arrow = f"–{via}→" if direction == "forward" else f"←{via}–"
    return f"{path_text(start)} {arrow} {end}"


def call_text(name: str, *positional: str, **options: object) -> str:
    """`name(a, b=…)` with the options that are not None."""
    parts = [*positional, *(f"{k}={v!r}" for k, v in options.items() if v is not None)]
    return f"{name}({', '.join(parts)})"


def text_schema(*examples: str) -> dict[str, Any]:
    """The schema of text that is not empty."""
    return {"type": "string", "minLength": 1, "pattern": r"\S", "examples": list(examples)}


# names joined by dots, of which one is not blank
_PATH_PATTERN = r"^(?=[\s\S]*\S)[^.]+(\.[^.]+)*$"
# as `str.isidentifier`, but for letters beyond ASCII, which are all taken; `$` alone would let a line break follow
_NAME_PATTERN = r"^(?!(true|false|null)$)[^\x00-\x40\x5b-\x5e\x60\x7b-\x7f][^\x00-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]*$(?!\n)"
# each unit at most once, from large to small
DURATION_PATTERN = (
    r"^\s*(?=[0-9])"
    + "".join(rf"([0-9]{{1,20}}{unit})?" for unit in ("w", "d", "h", "m(?!s)", "s", "ms"))
    + r"\s*$"
)
PATH_SCHEMA: dict[str, Any] = {
    "type": "string", "minLength": 1, "pattern": _PATH_PATTERN, "examples": ["target_id", "owner.id"],
}  # fmt: skip
PATHS_SCHEMA: dict[str, Any] = {
    "type": ["string", "array"],
    "minLength": 1,
    "pattern": _PATH_PATTERN,
    "minItems": 1,
    "items": PATH_SCHEMA,
    "examples": ["target_id", ["source_id", "target_id"]],
}
NAME_SCHEMA: dict[str, Any] = {
    "type": "string", "minLength": 1, "pattern": _NAME_PATTERN, "examples": ["owner"],
}  # fmt: skip
DURATION_SCHEMA: dict[str, Any] = {
    "type": "string", "pattern": DURATION_PATTERN, "examples": ["30s", "5m", "1h"],
}  # fmt: skip
Direction = Literal["forward", "reverse"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
Strategy = Literal["drop", "queue"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
DIRECTION_SCHEMA: dict[str, Any] = {
    "enum": list(DIRECTIONS), "default": "forward", "examples": ["reverse"],
}  # fmt: skip


def check_direction(direction: object) -> str:
    """`forward` or `reverse`."""
    if direction not in DIRECTIONS:
        raise BuildError(
            f"direction {direction!r} is not known",
            allowed="'forward' (from the source to the target) or 'reverse'",
            hint=did_you_mean(str(direction), DIRECTIONS),
        )
    return str(direction)


def check_text(value: object, what: str) -> str:
    """Text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise BuildError(f"{what} must be text that is not empty, not {value!r}")
    return value


def check_flag(value: object, what: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise BuildError(f"{what} must be True or False, not {value!r}")
    return value


def check_count(value: object, what: str, least: int) -> int:
    """A whole number of at least `least`, in 64 bits."""
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise BuildError(
            f"{what} is beyond 64 bits", allowed=f"a whole number from {least} to {(1 << 63) - 1:,}"
        )
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BuildError(f"{what} must be a whole number of at least {least}, not {value!r:.60}")
    return value


def refuse_unknown(method: str, unknown: Mapping[str, object], known: Sequence[str]) -> None:
    """Refuse options that a builder method does not have."""
    for name in unknown:
        raise BuildError(
            f"{method} has no option {name!r}",
            allowed=", ".join(known) or "no options by name",
            hint=did_you_mean(name, known),
        )


def as_path(value: object) -> Path:
    """A path given as text or as `var.x.y`."""
    if isinstance(value, Var):
        expression = unwrap(value)
        if isinstance(expression, Reference):
            return expression.path
        raise BuildError(
            f"{expression} is an expression, and a path is wanted here", allowed="'owner.id' or var.owner.id"
        )
    return parse_path(value)


def as_paths(value: object, what: str) -> tuple[Path, ...]:
    """One path or a list of them."""
    if isinstance(value, (list, tuple)):
        if not value:
            raise BuildError(f"{what} is an empty list", allowed="one path or more")
        return tuple(as_path(v) for v in value)
    return (as_path(value),)
