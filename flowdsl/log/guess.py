"""Proposals of how to read a file or frame as events: columns, kinds and literals, as code to paste."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from flowdsl.arguments import is_number
from flowdsl.calls import answered
from flowdsl.errors import DataError, FlowError
from flowdsl.events import EVENT_COLUMNS, KINDS
from flowdsl.log.blocks import TableLike, first_rows
from flowdsl.log.columns import SCHEMA
from flowdsl.log.importer import read_events
from flowdsl.log.origins import literal
from flowdsl.log.recognition import Rows, needs_no_shape, path_of_records, recognised
from flowdsl.log.shape import RowShape, Shape
from flowdsl.log.shapes import SHAPES
from flowdsl.log.timestamps import unit_by_size
from flowdsl.paths import path_of

if TYPE_CHECKING:
    import pandas as pd


def _words(text: str, between: str = " ") -> tuple[str, ...]:
    return tuple(text.split(between))


_ROWS: Final = 1_000
_SHOWN: Final = 5
# different values in as many rows, from which on each row counts as about something new
_MANY: Final = 50
# names of columns, the likeliest first
_TIMES: Final = _words(
    "timestamp time ts event_time occurred_at event_timestamp created_at createdat originaltimestamp sent_at "
    "received_at at when date datetime updated_at order_date purchased_at logged_at start_time"
)
_IDS: Final = _words("event_id eventid uuid message_id messageid insert_id")
_ACTIONS: Final = _words(
    "event event_name event_type eventtype type kind action verb op operation activity name"
)
# who acts, and what is acted on
_SOURCES: Final = _words(
    "source_id source user_id userid user actor actor_id who customer_id customer author_id author "
    "follower_id follower from from_id sender_id sender member_id member visitor_id visitor subscriber_id "
    "account_id distinct_id anonymous_id person_id person profile_id"
)
_TARGETS: Final = _words(
    "target_id target object_id object post_id post item_id item product_id product movie_id movieid page_id "
    "page repo_id repo repository video_id video song_id order_id article_id group_id channel channel_id "
    "followee_id followed_id to to_id recipient_id recipient url"
)
_ACTED: Final = {
    **dict.fromkeys(_words("c create created insert inserted add added new i r"), "created"),
    **dict.fromkeys(_words("u update updated change changed modified edit edited"), "updated"),
    **dict.fromkeys(_words("d delete deleted remove removed destroyed"), "deleted"),
}
_FORMATS: Final = _words(
    "%d.%m.%Y %H:%M|%d.%m.%Y %H:%M:%S|%d.%m.%Y|%d/%m/%Y %H:%M|%d/%m/%Y %H:%M:%S|%d/%m/%Y|"
    "%m/%d/%Y %H:%M|%m/%d/%Y %H:%M:%S|%m/%d/%Y|%Y/%m/%d %H:%M:%S|%Y/%m/%d %H:%M|%Y/%m/%d|"
    "%Y%m%dT%H%M%S|%Y%m%d|%d %b %Y %H:%M:%S|%b %d, %Y|%a %b %d %H:%M:%S %z %Y",
    "|",
)
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?\s*([Zz]|[+-]\d\d(:?\d\d)?)?)?")
_ZONE: Final = re.compile(r":\d\d.*([Zz]|[+-]\d\d(:?\d\d)?)|[A-Z]{2,5}$|[+-]\d{4}\b")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_CLOCK: Final = re.compile(r"\d\d:\d\d(:\d\d(\.\d+)?)?")
# order_no is an id as order_id is
_NUMBERED: Final = re.compile(r"_(no|nr|num|number|code|key|uuid|guid)$")
_NUMBER: Final = re.compile(r"[0-9]{1,19}(\.[0-9]{1,9})?")
# digits that count nothing: 01234 is a postcode, and so may 10115 be
_NO_AMOUNT: Final = re.compile(
    r"(^|_)(id|no|nr|num|number|code|key|zip|postcode|plz|phone|tel|mobile|sku|isbn|version)$"
)
_WHOLE: Final = r"-?(0|[1-9][0-9]{0,8})"
_AMOUNTS: Final = {
    "whole": re.compile(_WHOLE),
    ".": re.compile(rf"{_WHOLE}(\.[0-9]{{1,9}})?"),
    ",": re.compile(rf"({_WHOLE}|-?[1-9][0-9]{{0,2}}(\.[0-9]{{3}})+)(,[0-9]{{1,9}})?"),
    "truth": re.compile(r"true|false", re.IGNORECASE),
}
_KINDS: Final = {"whole": int, ".": float, "truth": bool}


@dataclass(frozen=True)
class Guess:
    """A proposal of how to read a source as events, which `guess(source)` returns.

    Printed it is code to paste, with the first events that the code gives.

    Attributes
    ----------
    code : str
        The call of `read_events`, as Python.
    options : Mapping
        The arguments of that call after the source.
    notes : tuple of str
        What the data does not say, or needs a look.

    Examples
    --------
    >>> rows = [{"created_at": "2026-01-01T09:00:00Z", "user_id": "ann", "post_id": "p1"}]
    >>> print(guess(rows).code)
    log = fd.read_events(
        source,
        columns={
            "timestamp": "created_at",
            "source_id": "user_id",
            "target_id": "post_id",
            "kind": fd.literal("link.created"),
            "link_type": fd.literal("acts_on"),
            "metadata": dict,
        },
    )
    """

    code: str
    options: Mapping[str, Any]
    notes: tuple[str, ...]
    rows: Rows

    @property
    def events(self) -> pd.DataFrame:
        """The events of the first rows, as the code reads them."""
        log = read_events(self.rows[:_SHOWN], **{**self.options, "records": None})
        frames = [pl.DataFrame(batch) for batch in log.read()]
        shown = [name for name in SCHEMA if name not in ("event_id", "link_id")]
        table = pl.concat(frames).select(shown) if frames else pl.DataFrame()
        return table.select(s for s in table if s.null_count() < s.len()).to_pandas()

    def __str__(self) -> str:
        notes = "".join(f"\n# {note}" for note in self.notes)
        try:
            sample = self.events.to_string(index=False, max_colwidth=40, na_rep="")
        except FlowError as error:
            sample = f"# the first rows give no event: {error}"
        return f"{self.code}{notes}\n\n{sample}"

    def __repr__(self) -> str:
        return str(self)


@answered
def guess(source: TableLike) -> Guess:
    """Propose how to read a file or frame as events, from its first rows.

    Parameters
    ----------
    source
        What `read_events` takes: a path or glob of JSON lines, CSV or Parquet files, a frame, or a list of
        mappings.

    Returns
    -------
    Guess
        Code to paste, with the events that it gives for the first rows. Look at it before you trust it.

    Raises
    ------
    DataError
        If the source cannot be read, has no rows, or none of its columns holds times.

    Examples
    --------
    >>> rows = [{"day": "01.02.2026", "customer": "ann", "amount": 5}]
    >>> guess(rows).options["time_format"]
    '%d.%m.%Y'
    """
    whole = _of_many_files(source)
    if whole is not None:
        return whole
    rows, around = first_rows(source, _ROWS)
    if not rows:
        raise DataError("the source has no rows", hint="guess looks at the first rows of a source")
    known = needs_no_shape(rows)
    if known is not None:
        note = f"the rows have the shape {known!r}, which needs no mapping"
        return Guess(_code(source, {}), {}, (note,), rows)
    found = _recognised(source, rows, around)
    if found is not None:
        return found
    path = path_of_records(rows)
    if path is None:
        return _guessed(source, rows, {})
    inner, _ = first_rows(rows, _ROWS, RowShape(Shape(records=path)))
    options = {"records": path}
    return _recognised(source, inner, (), options) or _guessed(source, inner, options)


def _of_many_files(source: TableLike) -> Guess | None:
    """Return the call that reads a folder or archive some of whose files are those of a known shape."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    path = path_of(source)
    if not path.is_dir() and path.suffix.lower() != ".zip":
        return None
    for name, shape in SHAPES.items():
        if shape.files is None:
            continue
        # a folder without such files is one of another shape
        with suppress(DataError):
            rows, around = first_rows(source, _ROWS, RowShape(Shape(files=shape.files)))
            if rows and recognised(rows, around[0]) == name:
                return _recognised(source, rows, around)
    return None


def _recognised(
    source: TableLike, rows: Rows, around: Rows, options: Mapping[str, Any] | None = None
) -> Guess | None:
    """Return the call that reads rows of a known shape; None if they have none."""
    name = recognised(rows, around[0] if around else None)
    if name is None:
        return None
    proposed = {**(options or {}), "shape": name}
    # the names of file and folder, which the rows of the sample do not have
    shown = [{**beside, **row} for beside, row in zip(around, rows, strict=True)] if around else rows
    return Guess(_code(source, proposed), proposed, (SHAPES[name].summary,), shown)


def _guessed(source: TableLike, rows: Rows, options: Mapping[str, Any]) -> Guess:
    paths = _paths(rows)
    notes: list[str] = []
    columns: dict[str, Any] = {}
    options = {**options, "columns": columns}
    day, reading = _time(paths, notes)
    clock = _clock(paths, day)
    columns["timestamp"] = day if clock is None else f"{{{day}}} {{{clock}}}"
    options |= reading
    rest = {path: values for path, values in paths.items() if path not in (day, clock)}
    if known := _of_event_table(rows, paths):
        columns |= known
    else:
        _event(source, rows, rest, options, notes)
        options |= _types(rest, columns)
    return Guess(_code(source, options), options, tuple(notes), rows)


def _event(
    source: TableLike, rows: Rows, rest: dict[str, list[Any]], options: dict[str, Any], notes: list[str]
) -> None:
    """Find what rows say of a link or of an entity; `rest` are the columns that hold no time."""
    columns = options["columns"]
    event_id = _named(rest, _IDS) or _unique(rest)
    action = _action(rest)
    taken = {event_id, action}
    # an id that many rows lack is none of the event
    left = {p: values for p, values in rest.items() if p not in taken and len(values) >= 0.9 * len(rows)}
    if event_id is not None:
        columns["event_id"] = event_id
    source_id, target_id = _ends(left, options, notes)
    new = target_id is not None and _is_new_each_time(source, target_id, left[target_id])
    if source_id is None or target_id is None or new:
        own = target_id if new else "id" if "id" in rest else event_id or source_id or target_id
        _entity(source, columns, options, action, own, rest, notes)
    else:
        _link(columns, source_id, target_id, action, rest, notes)


def _types(paths: Mapping[str, list[Any]], columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the types of columns of text that hold amounts or truth values, and their decimal sign."""
    found = {path: _amount(path, paths[path]) for path in paths if path not in columns.values()}
    comma = "," in found.values() and "." not in found.values()
    kinds = {**_KINDS, ",": float} if comma else _KINDS
    types = {path: kinds[amount] for path, amount in found.items() if amount in kinds}
    decimal = {"decimal": ","} if comma else {}
    return {"types": types, **decimal} if types else {}


def _amount(path: str, values: Sequence[Any]) -> str | None:
    """Return the form of texts that count something; None where they do not."""
    if not values or _NO_AMOUNT.search(_word(path)):
        return None
    return next((amount for amount, form in _AMOUNTS.items() if _are(values, form)), None)


def _of_event_table(rows: Rows, paths: Mapping[str, list[Any]]) -> dict[str, str]:
    """Return the columns of rows that are an event table but for their times; none if they are not."""
    if not paths.get("kind") or not set(paths["kind"]) <= set(KINDS):
        return {}
    given = {name for row in rows for name in row}
    return {name: name for name in EVENT_COLUMNS if name in given and name != "timestamp"}


def _ends(
    paths: Mapping[str, list[Any]], options: dict[str, Any], notes: list[str]
) -> tuple[str | None, str | None]:
    """Return the columns of who acts and of what is acted on, which may be a list."""
    source_id = _named(paths, _SOURCES)
    target_id = _named({path: values for path, values in paths.items() if path != source_id}, _TARGETS)
    if target_id is None and (listed := _listed_targets(paths)) is not None:
        target_id = options["explode"] = listed
        notes.append(f"each item of {listed!r} is a link of its own")
    return source_id, target_id


def _link(
    columns: dict[str, Any],
    source_id: str,
    target_id: str,
    action: str | None,
    paths: Mapping[str, list[Any]],
    notes: list[str],
) -> None:
    columns |= {"source_id": source_id, "target_id": target_id, "kind": literal("link.created")}
    if action is None:
        columns["link_type"] = literal("acts_on")
        notes.append("link_type is a name of your choice for what the rows say")
    else:
        columns["link_type"] = action
        notes.append(f"each value of {action!r} is a link type: {_listed(paths[action])}")
    columns["metadata"] = dict


def _entity(
    source: TableLike,
    columns: dict[str, Any],
    options: dict[str, Any],
    action: str | None,
    own: str | None,
    paths: Mapping[str, list[Any]],
    notes: list[str],
) -> None:
    if own is None:
        raise DataError(
            "no column holds ids",
            allowed="a column such as user_id, id or order_id",
            hint=f"the columns are {', '.join(paths)}",
        )
    columns["entity_id"] = own
    if columns.get("event_id") == own:
        del columns["event_id"]
    if action is not None and {str(value).lower() for value in paths[action]} <= _ACTED.keys():
        columns["kind"] = action
        columns["entity_type"] = literal(_thing(source, own))
        options["kinds"] = {
            value: f"entity.{_ACTED[str(value).lower()]}" for value in sorted(set(paths[action]), key=str)
        }
    else:
        columns["kind"] = literal("entity.created")
        if _repeats(paths[own]):
            notes.append(f"{own!r} repeats: the rows may be links of it, or updates (entity.updated)")
        columns["entity_type"] = action if action is not None else literal(_thing(source, own))
        if action is not None:
            notes.append(f"each value of {action!r} is an entity type: {_listed(paths[action])}")
    columns["data"] = dict


def _paths(rows: Rows) -> dict[str, list[Any]]:
    """Return the values below each dotted path that is not an object, nulls left out."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        for path, value in _leaves(row, ""):
            found.setdefault(path, [])
            if value is not None and value != "":
                found[path].append(value)
    return found


def _leaves(value: Mapping[str, Any], above: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        path = f"{above}.{name}" if above else str(name)
        if isinstance(inner, Mapping) and depth < 3:
            yield from _leaves(inner, path, depth + 1)
        else:
            yield path, inner


def _word(path: str) -> str:
    """Return the last name of a path in small letters with underscores: userId is user_id."""
    last = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", path.rpartition(".")[2])
    return re.sub(r"[^a-z0-9]+", "_", last.lower()).strip("_")


def _named(paths: Mapping[str, list[Any]], likely: Sequence[str]) -> str | None:
    """Return the path with the likeliest name; of those with the same name the shallowest."""
    order = {name: place for place, name in enumerate(likely)}
    scored = []
    for path, values in paths.items():
        whole, last = re.sub(r"[^a-z0-9]+", "_", path.lower()), _word(path)
        # actor.id is named by what it is the id of
        above = _word(path.rpartition(".")[0]) if last == "id" and "." in path else None
        # song_no and song are named as song_id is
        names = (whole, last, above, _NUMBERED.sub("_id", last), f"{last}_id")
        place = min((order[name] for name in names if name in order), default=None)
        if place is not None and values and all(isinstance(value, (str, int)) for value in values):
            scored.append((place, path.count("."), path))
    return min(scored)[2] if scored else None


def _listed_targets(paths: Mapping[str, list[Any]]) -> str | None:
    """Return the path with the likeliest name among those that hold lists of ids."""
    lists = {
        path: [item for value in values for item in value]
        for path, values in paths.items()
        if values and all(isinstance(value, (list, tuple)) for value in values)
    }
    return _named(lists, (*_TARGETS, *(f"{name}s" for name in _TARGETS), "mentions", "followers", "members"))


def _unique(paths: Mapping[str, list[Any]]) -> str | None:
    values = paths.get("id")
    return "id" if values and not _repeats(values) else None


def _repeats(values: Sequence[Any]) -> bool:
    return len({str(value) for value in values}) < len(values)


def _action(paths: Mapping[str, list[Any]]) -> str | None:
    """Return the column that says what happened: few different texts."""
    for name in _ACTIONS:
        for path, values in paths.items():
            texts = {value for value in values if isinstance(value, str)}
            if _word(path) == name and "." not in path and texts and len(texts) <= max(20, len(values) // 10):
                return path
    return None


def _time(paths: Mapping[str, list[Any]], notes: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the column of times, and how to read it."""
    order = {name: place for place, name in enumerate(_TIMES)}
    read = {path: how for path, values in paths.items() if (how := _reading(values)) is not None}
    if not read:
        raise DataError(
            "no column holds times",
            allowed="times such as 2026-01-02T03:04:05Z or 02.01.2026 03:04, "
            "or numbers of seconds since 1970",
            hint=f"the columns are {', '.join(paths)}",
        )
    path = min(read, key=lambda path: (order.get(_word(path), len(order)), path.count("."), path))
    if len(read) > 1:
        others = ", ".join(repr(other) for other in read if other != path)
        notes.append(f"other columns with times: {others}")
    how = read[path]
    if "time_unit" not in how and any(_is_local(value) for value in paths[path]):
        how = {**how, "time_zone": "UTC"}
        notes.append(f"the times in {path!r} have no zone, and UTC is only a guess")
    if how.get("time_format", "").startswith(("%d/%m", "%m/%d")):
        notes.append(f"look whether days or months come first in {path!r}")
    return path, how


def _clock(paths: Mapping[str, list[Any]], day: str) -> str | None:
    """Return the column with the time of day, where the column of times has only days."""
    if not _are(paths[day], _DAY):
        return None
    return next((p for p, v in paths.items() if len(v) == len(paths[day]) and _are(v, _CLOCK)), None)


def _are(values: Sequence[Any], form: re.Pattern[str]) -> bool:
    return all(isinstance(value, str) and form.fullmatch(value) for value in values)


def _is_local(value: Any) -> bool:
    """Return True for a time without a zone."""
    if not isinstance(value, str):
        return getattr(value, "tzinfo", None) is None
    return _ZONE.search(value) is None


def _reading(values: Sequence[Any]) -> dict[str, Any] | None:
    """Return how values are read as times; None if they are none."""
    if not values:
        return None
    if all(hasattr(value, "isoformat") and hasattr(value, "year") for value in values):
        return {}
    if all(is_number(value) for value in values):
        unit = unit_by_size(pl.Series(values, strict=False))
        return None if unit is None else {"time_unit": unit}
    return _reading_of_texts(values) if all(isinstance(value, str) for value in values) else None


def _reading_of_texts(values: Sequence[str]) -> dict[str, Any] | None:
    if all(_RFC3339.fullmatch(value.strip()) for value in values):
        return {}
    if all(_NUMBER.fullmatch(value) for value in values):
        epoch = _reading([float(value) for value in values])
        if epoch is not None:
            return epoch
    texts = pl.Series(values)
    for form in _FORMATS:
        if texts.str.strptime(pl.Datetime, form, strict=False).null_count() == 0:
            return {"time_format": form}
    return None


def _listed(values: Sequence[Any]) -> str:
    texts = sorted({str(value) for value in values})
    return ", ".join(texts[:6]) + (f" and {len(texts) - 6} more" if len(texts) > 6 else "")


def _is_new_each_time(source: TableLike, path: str, values: Sequence[Any]) -> bool:
    """Return True if each row is about something new, as a table of orders has a row for each order."""
    if _repeats(values):
        return False
    return len(values) >= _MANY or _thing(source, path) == _thing(source, None)


def _thing(source: TableLike, own: str | None) -> str:
    """Return a name for what rows are about: order for order_id, or for the file orders.csv."""
    path = own or ""
    word = _word(path)
    if word == "id" and "." in path:
        word = _word(path.rpartition(".")[0])
    named = _NUMBERED.sub("", word).removesuffix("id").strip("_")
    if not named and isinstance(source, (str, os.PathLike)):
        named = re.sub(r"\W+", "_", Path(source).name.partition(".")[0]).strip("_").removesuffix("s")
    return named or "record"


def _code(source: TableLike, options: Mapping[str, Any]) -> str:
    shown = repr(os.fspath(source)) if isinstance(source, (str, os.PathLike)) else "source"
    shown = shown.replace("'", '"') if '"' not in shown else shown
    if not options:
        return f"log = fd.read_events({shown})"
    lines = ["log = fd.read_events(", f"    {shown},"]
    for name, value in options.items():
        if isinstance(value, Mapping):
            items = [f"        {_quoted(key)}: {_spelled(origin)}," for key, origin in value.items()]
            lines += [f"    {name}={{", *items, "    },"]
        else:
            lines.append(f"    {name}={_spelled(value)},")
    return "\n".join([*lines, ")"])


def _spelled(value: Any) -> str:
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, str):
        return _quoted(value)
    constant = getattr(value, "value", None)
    return f"fd.literal({_quoted(constant)})" if isinstance(constant, str) else repr(value)


def _quoted(text: Any) -> str:
    literal = repr(text)
    return (
        f'"{literal[1:-1]}"' if isinstance(text, str) and '"' not in text and "\\" not in literal else literal
    )
