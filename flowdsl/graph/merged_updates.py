"""Updates that change only the fields that they have: whole documents are made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from flowdsl.values.json_extraction import Documents, query_documents
from flowdsl.values.json_texts import null_texts, only, quote_texts
from flowdsl.values.json_types import Index, Ints, Mask
from flowdsl.values.masks import as_mask
from flowdsl.values.orders import inverse, ranges, stable_order


def merge_data(
    data: pl.Series,
    set_: Index,
    merging: Mask,
    keys: Ints,
    deleted: Mask,
    before: Callable[[Index], pl.Series],
) -> pl.Series:
    """Return the data of entities that events set, whole where an update has only some fields.

    Each event has the key of its entity; `data` are those of the events at `set_`, the others deleted theirs.
    `before` gives for some events the JSON text of the entity before all of them.
    """
    touched = np.flatnonzero(np.isin(keys, keys[merging]))
    given, first = np.unique(keys[touched], return_index=True)
    place = np.zeros(len(keys), np.int64)
    place[set_] = np.arange(len(set_))
    texts = Documents(data).json()
    own = only(texts.gather(place[touched]), ~deleted[touched])
    kinds = np.where(deleted[touched], DELETED, np.where(merging[touched], UPDATED, SET))
    changes = EntityChanges(
        np.concatenate([given, keys[touched]]),
        np.concatenate([np.full(len(given), GIVEN), kinds]).astype(np.uint8),
        pl.concat([before(touched[first]).alias(""), own.alias("")]),
    )
    after = merge_update(changes).slice(len(given))
    kept = np.flatnonzero(merging[touched])
    return texts.scatter(place[touched[kept]], after.gather(kept))


# what an event did to its entity, and the entity as it was before all of them
GIVEN, DELETED, SET, UPDATED = range(4)
_EMPTY = "{}"


@dataclass(frozen=True)
class EntityChanges:
    """Changes of some entities, in order: the number of each entity, what it was, and JSON text, null
    where there is none.
    """

    entities: Ints
    kinds: npt.NDArray[np.uint8]
    texts: pl.Series


def merge_update(changes: EntityChanges) -> pl.Series:
    """Return the whole document after each change, as JSON text; null after a deletion.

    An update without data changes nothing; one whose data is not an object replaces what was there, and so
    does an update of what is not an object.
    """
    order = stable_order(changes.entities)
    kinds, texts = changes.kinds[order], changes.texts[order]
    heads = texts.str.strip_chars_start().str.slice(0, 1)
    objects = as_mask(heads.eq("{"))
    without = ~texts.is_not_null().to_numpy() | as_mask(heads.eq("n"))
    silent = (kinds == UPDATED) & without
    after = _fold(changes.entities[order], kinds, texts, objects, np.flatnonzero(~silent))
    # what says nothing leaves what was before it
    last = np.maximum.accumulate(np.where(silent, 0, np.arange(len(order))))
    after = after.gather(last)
    empty = pl.Series(silent) & after.is_null()
    filled = pl.select(pl.when(empty).then(pl.lit(_EMPTY)).otherwise(after)).to_series()
    return filled.gather(inverse(order))


def _fold(
    entities: Ints, kinds: npt.NDArray[np.uint8], texts: pl.Series, objects: Mask, rows: Index
) -> pl.Series:
    """Return the documents after these rows, which come entity by entity and say something; others are
    null.
    """
    kinds, objects = kinds[rows], objects[rows]
    follows = np.append(False, entities[rows][1:] == entities[rows][:-1])
    absent = (kinds == GIVEN) & texts[rows].is_null().to_numpy()
    there = np.append(False, (objects | (kinds == DELETED) | absent)[:-1])
    merges = (kinds == UPDATED) & objects & follows & there
    documents = texts[rows]
    if merges.any():
        run = np.cumsum(~merges)
        wanted = np.flatnonzero(objects & np.isin(run, run[merges]))
        whole = _merge_runs(documents.gather(wanted), wanted, run, merges)
        documents = documents.scatter(np.flatnonzero(merges), whole)
    out = null_texts(len(texts))
    return out.scatter(rows, documents)


def _merge_runs(texts: pl.Series, places: Ints, run: Ints, merges: Mask) -> pl.Series:
    """Return the documents of the rows that merge; `texts` are the objects at `places`, each of a run."""
    ends = np.searchsorted(run, run, side="right")
    found = query_documents(
        texts, "SELECT n, id, key, CAST(value AS VARCHAR) AS value FROM documents, json_each(d)"
    ).sort("n", "id")
    at = places[found["n"].to_numpy()]
    fields = pl.DataFrame({"at": at, "run": run[at], "key": found["key"], "number": np.arange(len(at))})
    of_key = ("run", "key")
    fields = fields.with_columns(
        first=pl.col("number").first().over(of_key),
        until=pl.col("at").shift(-1).over(of_key).fill_null(pl.Series(ends[at])),
    )
    counts = fields["until"].to_numpy() - at
    source = np.repeat(np.arange(len(at)), counts)
    pieces = pl.select(pl.concat_str([quote_texts(found["key"]), pl.lit(":"), found["value"]])).to_series()
    joined = (
        pl.DataFrame(
            {
                "row": ranges(at, counts),
                "first": fields["first"].gather(source),
                "piece": pieces.gather(source),
            }
        )
        .sort("row", "first")
        .group_by("row", maintain_order=True)
        .agg(pl.col("piece").str.join(","))
    )
    whole = pl.Series([_EMPTY], dtype=pl.String).new_from_index(0, len(run))
    whole = whole.scatter(joined["row"], "{" + joined["piece"] + "}")
    return whole.gather(np.flatnonzero(merges))
