"""Declarations of how rows become events: what `read_events` takes, and the shapes that have a name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, TypeAlias

from flowdsl.arguments import is_text_in, mapping_of
from flowdsl.calls import answering
from flowdsl.errors import DataError, did_you_mean
from flowdsl.events import EVENT_COLUMNS, JSON_COLUMNS
from flowdsl.log.origins import (
    Origin,
    PartOrigin,
    Row,
    Split,
    check_kind,
    check_origin,
    parts_of,
    sees_whole_rows,
    texts_of,
)
from flowdsl.log.timestamps import PER_SECOND, TimeUnit
from flowdsl.text import short_repr
from flowdsl.values.zones import zone_names

Columns: TypeAlias = "Mapping[str, Origin]"
Types: TypeAlias = "Mapping[str, type[int] | type[float] | type[bool]]"
Kinds: TypeAlias = "Mapping[Any, str | None] | Callable[[Row], str | None]"
TYPES: Final = (int, float, bool)
"""What texts can be read as."""
# the kind that stands for all that `kinds` and `split` do not name
OTHERS: Final = "*"
# what options may be
_COLUMNS: Final = "a mapping from fields of an event to their origins"
_SPLIT: Final = "a mapping from kinds to lists of kinds"
_KINDS: Final = "a mapping from kinds, or a function"


@answering
@dataclass(frozen=True)
class Shape:
    """Declaration of a shape of rows, and of the events that they become: what `read_events(shape=…)` takes.

    flowdsl has shapes of common exports under their names (`shape="segment"`); a shape of your own is made
    here, or registered by a package in `flowdsl.shapes`. Options given with a shape go before its own.

    Parameters
    ----------
    columns
        The origin of each field of an event.
    kinds
        What the values of `kind` mean; `"*"` stands for all others, None leaves a row out.
    split
        Kinds that become several events, each with columns of its own.
    explode
        The path of a list: each of its items makes a row.
    records
        The path of the list of rows in each JSON document.
    header
        The names of the columns of a CSV file whose first line does not name them.
    types, decimal
        The columns whose text is a number or true or false, and the decimal sign.
    time_unit, time_format, time_zone
        How timestamps are read.
    marks
        Paths that all rows of this shape have, by which it is recognised.
    files
        The glob of the files that belong to it, in a folder or an archive: `"*/*.json"`.
    summary
        A sentence about what it reads.

    Examples
    --------
    >>> stars = Shape(
    ...     columns={
    ...         "timestamp": "starred_at",
    ...         "kind": "action",
    ...         "link_type": "{action}",
    ...         "source_id": "user.login",
    ...         "target_id": "repo",
    ...     },
    ...     kinds={"star": "link.created", "*": None},
    ... )
    >>> from flowdsl import read_events
    >>> row = {"starred_at": "2026-01-01T09:00:00Z", "user": {"login": "ann"}, "repo": "t", "action": "star"}
    >>> read_events([row], shape=stars).last_seq_no()
    1
    """

    columns: Columns = field(default_factory=dict)
    kinds: Kinds = field(default_factory=dict)
    split: Split = field(default_factory=dict)
    explode: str | None = None
    records: str | None = None
    header: Sequence[str] | None = None
    types: Types = field(default_factory=dict)
    decimal: str = "."
    time_unit: TimeUnit | None = None
    time_format: str | Sequence[str] | None = None
    time_zone: str | None = None
    marks: tuple[str | Sequence[str], ...] = ()
    files: str | None = None
    summary: str = ""

    def __post_init__(self) -> None:
        mapping_of(self.columns, "columns", _COLUMNS)
        for name, origin in self.columns.items():
            check_origin("columns=", name, origin)
        mapping_of(self.split, "split", _SPLIT)
        if not callable(self.kinds):
            mapping_of(self.kinds, "kinds", _KINDS)
            for kind in self.kinds.values():
                if kind is not None and not is_text_in(kind, self.split):
                    check_kind(kind)
        _check_types(self.types, self.decimal)
        _check_times(self)
        for name in ("explode", "records"):
            path = getattr(self, name)
            if path is not None and (not isinstance(path, str) or not path):
                raise DataError(f"{name}={short_repr(path, 40)}", allowed="a column or a dotted path")
        _check_names(self.header)
        parts_of(self.split)


class RowShape:
    """Shape prepared for reading rows: which fields are needed, and what each kind means."""

    def __init__(self, shape: Shape) -> None:
        self.columns = shape.columns
        self.kinds = shape.kinds
        self.parts: Mapping[str, tuple[PartOrigin, ...]] = parts_of(shape.split)
        self.explode = shape.explode
        self.records = shape.records
        self.files = shape.files
        self.header = shape.header
        self.types = shape.types
        # a row may become several events, which cannot share its number
        self.makes_several = bool(shape.split or shape.explode or shape.records)
        self.needs_whole_rows = callable(shape.kinds) or any(
            sees_whole_rows(origin) for _, origin in self.origins()
        )

    def origins(self) -> Iterator[tuple[str, Origin | None]]:
        """Yield each field that is needed with its origin; None stands for the column of the same name."""
        for name in EVENT_COLUMNS:
            yield name, self.columns.get(name)
        for parts in self.parts.values():
            for part in parts:
                yield from part.columns.items()

    @cached_property
    def kind_names(self) -> Mapping[str | None, str | None]:
        """The meanings of the values of `kind`, as they are spelled in text columns."""
        if callable(self.kinds):
            return {}
        return {key if key is None else kind_text(key): kind for key, kind in self.kinds.items()}

    @cached_property
    def names(self) -> frozenset[str] | None:
        """Columns that may be needed, and the first parts of paths; None if functions see whole rows."""
        if self.needs_whole_rows:
            return None
        asked = [*EVENT_COLUMNS, *(text for _, origin in self.origins() for text in texts_of(origin))]
        asked += [path for path in (self.explode, self.records, *self.types) if path is not None]
        return frozenset(name for path in asked for name in (path, path.partition(".")[0]))

    @cached_property
    def json_names(self) -> frozenset[str]:
        """The columns that give `data` or `metadata`."""
        given = [origin or name for name, origin in self.origins() if name in JSON_COLUMNS]
        return frozenset(origin for origin in given if isinstance(origin, str))


def _check_names(header: object) -> None:
    names = [*header] if isinstance(header, (list, tuple)) else None
    if header is not None and (
        not names or not all(isinstance(name, str) and name for name in names) or len({*names}) < len(names)
    ):
        raise DataError(
            f"header={short_repr(header, 60)}",
            allowed="a list of the names of all columns, each once",
            hint='header=["at", "who", "what"]',
        )


def with_options(shape: Shape, **given: Any) -> Shape:
    """Return a shape with options of a call, which go before its own; those that are None say nothing.

    >>> with_options(Shape(time_unit="s"), time_unit="ms", explode=None).time_unit
    'ms'
    """
    given = {name: value for name, value in given.items() if value is not None}
    columns = mapping_of(given.get("columns", {}), "columns", _COLUMNS)
    split = mapping_of(given.get("split", {}), "split", _SPLIT)
    own = {value: [_drop_columns(part, columns) for part in parts] for value, parts in shape.split.items()}
    kinds = given.get("kinds", {})
    if not callable(kinds) and not callable(shape.kinds):
        given["kinds"] = {**shape.kinds, **mapping_of(kinds, "kinds", _KINDS)}
    given |= {"columns": {**shape.columns, **columns}, "split": {**own, **split}}
    return replace(shape, **given)


def formats_of(shape: Shape) -> tuple[str, ...]:
    """Return the formats of timestamps, the first to be tried first."""
    formats: Any = shape.time_format
    return tuple(formats) if isinstance(formats, (list, tuple)) else () if formats is None else (formats,)


def kind_text(value: object) -> str:
    """Return a value of a column of kinds as text, as frames have it.

    >>> kind_text(True), kind_text(3)
    ('true', '3')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def _drop_columns(part: Any, columns: Mapping[str, Any]) -> Any:
    """Return a part of a split without the columns that a call gives itself."""
    if not isinstance(part, Mapping):
        return part
    return {name: origin for name, origin in part.items() if name == "kind" or name not in columns}


def _check_types(types: object, decimal: object) -> None:
    """Refuse types that no text can be read as."""
    for name, wanted in mapping_of(types, "types", "a mapping from columns to int, float or bool").items():
        if not isinstance(name, str) or not any(wanted is one for one in TYPES):
            raise DataError(
                f"types has {short_repr(name, 40)}: {short_repr(wanted, 40)}",
                allowed="columns or dotted paths, each with int, float or bool",
                hint="types={'total': float}; what is not named stays as it is",
            )
    if not is_text_in(decimal, (".", ",")):
        raise DataError(f"decimal={short_repr(decimal, 20)}", allowed="'.' or ','")


def _check_times(shape: Shape) -> None:
    unit, zone = shape.time_unit, shape.time_zone
    if unit is not None and not is_text_in(unit, PER_SECOND):
        raise DataError(f"time_unit={short_repr(unit)}", allowed="'s', 'ms', 'us' or 'ns'")
    if zone is not None and not is_text_in(zone, zone_names()):
        raise DataError(
            f"time_zone={short_repr(zone, 60)}",
            allowed="names of the IANA time zone database, such as 'Europe/Berlin' or 'UTC'",
            hint=did_you_mean(zone, zone_names()),
        )
    for spelling in formats_of(shape):
        if not isinstance(spelling, str) or not spelling.isprintable():
            raise DataError(
                f"time_format has {short_repr(spelling, 80)}",
                allowed="strptime formats, such as '%d.%m.%Y %H:%M'",
            )
