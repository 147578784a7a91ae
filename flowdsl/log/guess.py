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

from flowdsl.arguments import is_text_in
from flowdsl.calls import answered
from flowdsl.errors import DataError, FlowError
from flowdsl.events import EVENT_COLUMNS, KINDS
from flowdsl.log.blocks import TableLike, first_rows
from flowdsl.log.columns import SCHEMA
from flowdsl.log.importer import read_events
from flowdsl.log.likely_columns import (
    IDS,
    SOURCES,
    TARGETS,
    TYPES,
    Paths,
    are_ids,
    is_constant,
    likeliest_path,
    listed_targets,
    other_id,
    repeats,
    subject_of,
    unique_id,
    word_of,
)
from flowdsl.log.likely_kinds import Happenings
from flowdsl.log.likely_times import are_all, clock_of, time_of
from flowdsl.log.origins import literal
from flowdsl.log.recognition import Rows, needs_no_shape, path_of_records, recognise_shape
from flowdsl.log.shape import RowShape, Shape
from flowdsl.log.shapes import SHAPES
from flowdsl.paths import path_of

if TYPE_CHECKING:
    import pandas as pd

    from flowdsl.log.memory import MemoryEventLog


_ROWS: Final = 1_000
_SHOWN: Final = 5
# different values in as many rows, from which on each row counts as about something new
_MANY: Final = 50
# digits that count nothing: 01234 is a postcode, and so may 10115 be
_NO_AMOUNT: Final = re.compile(
    r"(^|_)(id|no|nr|num|number|code|key|zip|postcode|plz|phone|tel|mobile|sku|isbn|version|date|day|year)$"
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
        frames = [pl.DataFrame(batch) for batch in self._log().read()]
        shown = [name for name in SCHEMA if name not in ("event_id", "link_id")]
        table = pl.concat(frames).select(shown) if frames else pl.DataFrame()
        return table.select(s for s in table if s.null_count() < s.len()).to_pandas()

    def _log(self) -> MemoryEventLog:
        """Return the first rows as the code reads them."""
        return read_events(self.rows[:_SHOWN], **{**self.options, "records": None})

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
    whole = _of_files(source)
    if whole is not None:
        return whole
    rows, around = first_rows(source, _ROWS)
    if not rows:
        raise DataError("the source has no rows", hint="guess looks at the first rows of a source")
    known = needs_no_shape(rows)
    if known is not None:
        note = f"the rows have the shape {known!r}, which needs no mapping"
        return Guess(_code(source, {}), {}, (note,), rows)
    found = _recognise(source, rows, around)
    if found is not None:
        return found
    path = path_of_records(rows)
    if path is None or _are_events(rows):
        return _guess(source, rows, {})
    inner, _ = first_rows(rows, _ROWS, RowShape(Shape(records=path)))
    options = {"records": path}
    return _recognise(source, inner, (), options) or _guess(source, inner, options)


def _are_events(rows: Rows) -> bool:
    """Return True for several rows that have times themselves, whatever lists are in them."""
    with suppress(DataError):
        return len(rows) > 1 and bool(time_of(_paths(rows), []))
    return False


def _of_files(source: TableLike) -> Guess | None:
    """Return the call that reads a folder or archive some of whose files are those of a known shape, or files
    that do not name the columns of one.
    """
    if not isinstance(source, (str, os.PathLike)):
        return None
    path = path_of(source)
    archive = path.suffix.lower() == ".zip"
    for name, shape in SHAPES.items():
        # each look at an archive unpacks its first file
        chosen = shape.files and (archive or path.is_dir())
        if not chosen and (archive or not shape.header):
            continue
        # what has no such files is of another shape
        with suppress(DataError):
            files = RowShape(Shape(files=shape.files, header=shape.header))
            rows, around = first_rows(source, _ROWS, files)
            found = _recognise(source, rows, around) if rows else None
            # the names of columns alone would fit any file with as many
            if found and found.options["shape"] == name and not found._log().problem_counts.get("broken"):
                return found
    return None


def _recognise(
    source: TableLike, rows: Rows, around: Rows, options: Mapping[str, Any] | None = None
) -> Guess | None:
    """Return the call that reads rows of a known shape; None if they have none."""
    name = recognise_shape(rows, around[0] if around else None)
    if name is None:
        return None
    proposed = {**(options or {}), "shape": name}
    # the names of file and folder, which the rows of the sample do not have
    shown = [{**beside, **row} for beside, row in zip(around, rows, strict=True)] if around else rows
    return Guess(_code(source, proposed), proposed, (SHAPES[name].summary,), shown)


def _guess(source: TableLike, rows: Rows, options: Mapping[str, Any]) -> Guess:
    paths = _paths(rows)
    notes: list[str] = []
    columns: dict[str, Any] = {}
    options = {**options, "columns": columns}
    day, reading = time_of(paths, notes)
    clock = clock_of(paths, day)
    columns["timestamp"] = day if clock is None else f"{{{day}}} {{{clock}}}"
    options |= reading
    rest = {path: values for path, values in paths.items() if path not in (day, clock)}
    if known := _of_event_table(rows, paths):
        columns |= known
    else:
        _event(source, rows, rest, options, notes)
        options |= _types(rest, columns)
    return Guess(_code(source, options), options, tuple(notes), rows)


def _event(source: TableLike, rows: Rows, rest: Paths, options: dict[str, Any], notes: list[str]) -> None:
    """Find what rows say of a link or of an entity; `rest` are the columns that hold no time."""
    columns = options["columns"]
    # the name of an event, or the text of a message, is no id
    event_id = likeliest_path(rest, IDS, bare=False) or unique_id(rest)
    happened = Happenings.of(rest)
    taken = {event_id, happened.column}
    # an id that many rows lack does not belong to the event
    left = {p: values for p, values in rest.items() if p not in taken and len(values) >= 0.9 * len(rows)}
    if event_id is not None:
        columns["event_id"] = event_id
    source_id, target_id = _ends(left, options, notes)
    new = _is_new_each_time(source, target_id, left)
    if None not in (source_id, target_id) and happened.subject != "entity" and not new:
        columns |= {"source_id": source_id, "target_id": target_id}
        _link(options, happened, notes)
    else:
        own_id = "id" if are_ids(rest.get("id", ())) else None
        likely = [own_id, event_id, target_id, source_id, other_id(left)]
        about_target = new or (happened.subject == "entity" and event_id is not None)
        own = _first_id([target_id, *likely] if about_target else likely, rest)
        _entity(source, options, happened, own, rest, notes)


def _types(paths: Paths, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the types of columns of text that hold amounts or truth values, and their decimal sign."""
    found = {path: _amount(path, paths[path]) for path in paths if path not in columns.values()}
    comma = "," in found.values() and "." not in found.values()
    kinds = {**_KINDS, ",": float} if comma else _KINDS
    types = {path: kinds[amount] for path, amount in found.items() if amount in kinds}
    decimal = {"decimal": ","} if comma else {}
    return {"types": types, **decimal} if types else {}


def _amount(path: str, values: Sequence[Any]) -> str | None:
    """Return the form of texts that count something; None where they do not."""
    if not values or _NO_AMOUNT.search(word_of(path)):
        return None
    return next((amount for amount, form in _AMOUNTS.items() if are_all(values, form)), None)


def _of_event_table(rows: Rows, paths: Paths) -> dict[str, str]:
    """Return the columns of rows that are an event table but for their times; none if they are not."""
    given = set().union(*rows)
    kinds, ids = paths.get("kind"), given & {"source_id", "entity_id"}
    if not kinds or not ids or not all(is_text_in(kind, KINDS) for kind in kinds):
        return {}
    return {name: name for name in EVENT_COLUMNS if name in given and name != "timestamp"}


def _ends(paths: Paths, options: dict[str, Any], notes: list[str]) -> tuple[str | None, str | None]:
    """Return the columns of the source and the target of links; the target may be a list."""
    source_id = likeliest_path(paths, SOURCES)
    others = {path: values for path, values in paths.items() if path != source_id}
    target_id = likeliest_path(others, TARGETS)
    if target_id is None and (listed := listed_targets(paths)) is not None:
        target_id = options["explode"] = listed
        notes.append(f"each item of {listed!r} is a link of its own")
    elif source_id is not None and (target_id is None or is_constant(others[target_id])):
        target_id = other_id(others) or target_id
    return source_id, target_id


def _link(options: dict[str, Any], happened: Happenings, notes: list[str]) -> None:
    tells = happened.verbs or happened.undone
    options["columns"] |= {
        "kind": happened.column if tells else literal("link.created"),
        "link_type": happened.column if happened.names else literal("acts_on"),
        "metadata": dict,
    }
    options |= happened.of_links()
    if happened.names:
        names = [name for name in happened.names if name not in happened.undone]
        notes.append(f"each value of {happened.column!r} is a link type: {_format_list(names)}")
    else:
        notes.append("link_type is a name of your choice for what the rows say")


def _first_id(likely: Sequence[str | None], paths: Paths) -> str:
    found = next(filter(None, likely), None)
    if found is None:
        raise DataError(
            "no column holds ids",
            allowed="a column such as user_id, id or order_id",
            hint=f"the columns are {', '.join(paths)}",
        )
    return found


def _entity(
    source: TableLike, options: dict[str, Any], happened: Happenings, own: str, paths: Paths, notes: list[str]
) -> None:
    columns = options["columns"]
    columns["entity_id"] = own
    if columns.get("event_id") == own:
        del columns["event_id"]
    of_type = happened.column if happened.names else likeliest_path(paths, TYPES, bare=False)
    columns["kind"] = happened.column if happened.verbs else literal("entity.created")
    if of_type is not None or len(happened.types) < 2:
        columns["entity_type"] = of_type or literal([*happened.types, _thing(source, own)][0])
    columns["data"] = dict
    options |= happened.of_entities(typed=of_type is not None)
    if not happened.verbs and repeats(paths[own]):
        notes.append(f"{own!r} repeats: the rows may be links of it, or updates (entity.updated)")
    if happened.names:
        notes.append(f"each value of {happened.column!r} is an entity type: {_format_list(happened.names)}")


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


def _format_list(values: Sequence[Any]) -> str:
    texts = sorted(set(map(str, values)))
    return ", ".join(texts[:6]) + (f" and {len(texts) - 6} more" if len(texts) > 6 else "")


def _is_new_each_time(source: TableLike, path: str | None, paths: Paths) -> bool:
    """Return True if each row is about something new, as a table of orders has a row for each order."""
    if path is None or repeats(paths[path]):
        return False
    return len(paths[path]) >= _MANY or _thing(source, path) == _thing(source, None)


def _thing(source: TableLike, own: str | None) -> str:
    """Return a name for what rows are about: order for order_id, or for the file orders.csv."""
    subject = subject_of(own or "")
    if not subject and isinstance(source, (str, os.PathLike)):
        subject = re.sub(r"\W+", "_", Path(source).name.partition(".")[0]).strip("_").removesuffix("s")
    return subject or "record"


def _code(source: TableLike, options: Mapping[str, Any]) -> str:
    shown = repr(os.fspath(source)) if isinstance(source, (str, os.PathLike)) else "source"
    shown = shown.replace("'", '"') if '"' not in shown else shown
    if not options:
        return f"log = fd.read_events({shown})"
    lines = ["log = fd.read_events(", f"    {shown},"]
    for name, value in options.items():
        if isinstance(value, Mapping):
            items = [f"        {_quote(key)}: {_spell(origin)}," for key, origin in value.items()]
            lines += [f"    {name}={{", *items, "    },"]
        else:
            lines.append(f"    {name}={_spell(value)},")
    return "\n".join([*lines, ")"])


def _spell(value: Any) -> str:
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_spell, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_quote(key)}: {_spell(inner)}' for key, inner in value.items())}}}"
    constant = getattr(value, "value", None)
    return f"fd.literal({_quote(constant)})" if isinstance(constant, str) else repr(value)


def _quote(text: Any) -> str:
    literal = repr(text)
    return (
        f'"{literal[1:-1]}"' if isinstance(text, str) and '"' not in text and "\\" not in literal else literal
    )
