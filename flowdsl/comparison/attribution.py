"""Causes of differing deliveries: the step at which they ended in the other run, or the payload field that
the other run rendered differently.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import polars as pl

from flowdsl.comparison.counterparts import Counterparts
from flowdsl.comparison.inputs import FlowPair, FlowResult
from flowdsl.comparison.outcomes import SCHEMA as ENDINGS
from flowdsl.comparison.outcomes import ending_of, endings
from flowdsl.engine.crashes import STOPPED, Stopped
from flowdsl.results.manifest_schema import StepRow
from flowdsl.results.result_data import ResultData
from flowdsl.values.json_extraction import Documents
from flowdsl.values.sql import query

SCHEMA: Final[dict[str, Any]] = {
    "flow": pl.String,
    "change": pl.String,
    "count": pl.Int64,
    "step": pl.Int64,
    "operator": pl.String,
    "outcome": pl.String,
    "reason": pl.String,
    "example": pl.Int64,
}
_BY: Final = ("change", "step", "operator", "outcome", "reason")


def causes_of(pairs: list[FlowPair], rows: pl.DataFrame, logs: Counterparts | None = None) -> pl.DataFrame:
    """Return a row for each flow, kind of change and cause: its count, the step, and one event as example.

    `rows` are the differences of all flows; their column `pair` is the index in `pairs`. Added deliveries are
    searched in the run before, removed ones in the run after; `step` is the number of a step of that run.
    """
    removed = _find_endings(
        [pair.after for pair in pairs], rows.filter(pl.col("change") == "removed"), "before", logs
    )
    added = _find_endings(
        [pair.before for pair in pairs], rows.filter(pl.col("change") == "added"), "after", logs
    )
    parts = [pl.DataFrame(schema=SCHEMA)]
    for number, pair in enumerate(pairs):
        mine = rows.filter(pl.col("pair") == number)
        listed = [
            *(frame.filter(pl.col("pair") == number).drop("pair") for frame in (removed, added)),
            *_both_delivered(pair, mine),
        ]
        for frame in listed:
            counted = frame.group_by(*_BY, maintain_order=True).agg(
                pl.len().cast(pl.Int64).alias("count"), pl.col("example").first()
            )
            parts.append(counted.with_columns(pl.lit(pair.name).alias("flow")).select(list(SCHEMA)))
    joined = pl.concat(parts)
    order = {pair.name: number for number, pair in enumerate(pairs)}
    ranks = [order[name] for name in joined["flow"]]
    return (
        joined.with_columns(pl.Series("rank", ranks, dtype=pl.Int64))
        .sort("rank", "count", descending=[False, True], maintain_order=True)
        .drop("rank")
    )


def _find_endings(
    sides: list[FlowResult | None], rows: pl.DataFrame, name: str, logs: Counterparts | None
) -> pl.DataFrame:
    """Find how the contexts of these deliveries ended in the flows of the other run, which lacks them."""
    wanted = rows.select(
        "pair", pl.col(f"seq_no_{name}").alias("seq_no"), pl.col(f"branch_{name}").alias("branch"), "change"
    ).with_row_index("row")
    seqs = wanted["seq_no"]
    if logs is not None:
        wanted = wanted.with_columns(logs.other(0 if name == "before" else 1, seqs))
    runs = _endings_by_pair(sides, wanted)
    parts = []
    for number, side in enumerate(sides):
        mine = wanted.filter(pl.col("pair") == number)
        ended = ending_of(mine, runs.get(number, pl.DataFrame(schema=ENDINGS)))
        absent = "the flow is not there" if side is None else "it has no such context"
        mine = mine.with_columns(seqs.gather(mine["row"]).alias("example"))
        joined = mine.join(ended, on="row", how="left", maintain_order="left")
        parts.append(
            _after_stop(joined, None if side is None else side.result.stopped).with_columns(
                pl.col("change").cast(pl.String),
                pl.col("outcome").cast(pl.String).fill_null("absent"),
                pl.when(pl.col("outcome").is_null()).then(pl.lit(absent)).otherwise("reason").alias("reason"),
            )
        )
    if not parts:
        return pl.DataFrame(schema={"pair": pl.Int64, **SCHEMA})
    return pl.concat(parts).select("pair", "example", *_BY)


def _after_stop(rows: pl.DataFrame, stopped: Stopped | None) -> pl.DataFrame:
    """Set the outcome of rows that were lost because the run stopped before them; keep the others."""
    rows = rows.with_columns(pl.col("outcome").cast(pl.String))
    if stopped is None:
        return rows
    lost = (pl.col("seq_no") > stopped.seq_no) | (
        (pl.col("seq_no") == stopped.seq_no) & (pl.col("outcome").is_null() | (pl.col("reason") == STOPPED))
    )
    nothing = {"step": pl.Int64, "operator": pl.String}
    return rows.with_columns(
        pl.when(lost).then(pl.lit(STOPPED)).otherwise("outcome").alias("outcome"),
        pl.when(lost).then(pl.lit(str(stopped))).otherwise("reason").alias("reason"),
        *(
            pl.when(lost).then(pl.lit(None, kind)).otherwise(name).alias(name)
            for name, kind in nothing.items()
        ),
    )


def _endings_by_pair(sides: list[FlowResult | None], wanted: pl.DataFrame) -> dict[int, pl.DataFrame]:
    """Return the endings by pair number, for the pairs in `wanted`; one traced run covers all flows."""
    asked = wanted["pair"].unique().to_list()
    there = {number: side for number, side in enumerate(sides) if side is not None and number in asked}
    if not there:
        return {}
    result: ResultData = next(iter(there.values())).result
    if result.options is None:
        return {}
    flows = {number: side.number for number, side in there.items()}
    seqs = wanted.filter(pl.col("pair").is_in(list(there)) & (pl.col("seq_no") >= 0))["seq_no"].to_numpy()
    if not len(seqs):
        return {}
    found = endings(result.options, list(flows.values()), seqs)
    return {number: found.filter(pl.col("flow") == flow) for number, flow in flows.items()}


def _both_delivered(pair: FlowPair, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    side = pair.after
    if side is None or pair.before is None:
        return
    example = pl.coalesce("seq_no_after", "seq_no_before").alias("example")
    rows = rows.with_columns(example)
    moved = rows.filter(pl.col("change") == "moved")
    if moved.height:
        yield _redone_rows(moved, _timed_step(side), "moved", None)
    readdressed = rows.filter(pl.col("change") == "readdressed")
    if readdressed.height:
        yield _redone_rows(readdressed, _step(side, "map"), "readdressed", None)
    changed = rows.filter(pl.col("change") == "changed")
    for field, where in _differing(changed):
        yield _redone_rows(
            changed.filter(where),
            _step(side, "map"),
            "changed",
            f"payload field {field}" if field else "payload",
        )


def _redone_rows(rows: pl.DataFrame, step: StepRow | None, outcome: str, reason: str | None) -> pl.DataFrame:
    return rows.select(
        "example",
        pl.col("change").cast(pl.String),
        pl.lit(step and step["step"], pl.Int64).alias("step"),
        pl.lit(step and step["operator"], pl.String).alias("operator"),
        pl.lit(outcome).alias("outcome"),
        pl.lit(reason, pl.String).alias("reason"),
    )


def _step(side: FlowResult, operator: str) -> StepRow | None:
    """Return the last step with an operator, or None."""
    return next((step for step in reversed(side.steps) if step["operator"] == operator), None)


def _timed_step(side: FlowResult) -> StepRow | None:
    """Return the first step that makes contexts wait, or None."""
    return next((step for step in side.steps if step["operator"] in ("batch", "rate_limit", "wait")), None)


def _differing(rows: pl.DataFrame) -> Iterator[tuple[str | None, pl.Series]]:
    """Yield each payload field that differs in any row, with a mask of these rows; None stands for the whole
    payload if none is an object.
    """
    before, after = (rows[f"payload_{side}"] for side in ("before", "after"))
    names = _field_names(pl.concat([before, after]))
    if not names:
        if rows.height:
            yield None, before.ne_missing(after)
        return
    one, other = (Documents(texts, hints=[(name,) for name in names]) for texts in (before, after))
    for name in names:
        differs = one.column((name,)).to_json().ne_missing(other.column((name,)).to_json())
        if differs.any():
            yield name, differs


def _field_names(payloads: pl.Series) -> list[str]:
    names: list[str] = query(
        "SELECT DISTINCT unnest(json_keys(payload)) AS name FROM payloads"
        " WHERE json_type(payload) = 'OBJECT' ORDER BY name",
        payloads=pl.DataFrame({"payload": payloads}),
    )["name"].to_list()
    return names
