"""Posts that mention people, for workload F: each names five, in its JSON text."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from tests.benchmarks.data.ids import constant, skewed, timestamps, utc, uuids

NAMED = 5


def mentions(posts: int, *, seed: int = 31, days: float = 14.0) -> tuple[pa.Table, pl.Series]:
    """Make posts that mention five of 100,000 people each, and give the people mentioned, post after post."""
    rng = np.random.default_rng(seed)
    people = pl.Series(uuids(100_000, rng)).cast(pl.String)
    named = people[skewed(len(people), posts * NAMED, 1.4, rng)]
    quoted = ('"' + named + '"').to_frame("id").with_columns(post=np.repeat(np.arange(posts), NAMED))
    lists = quoted.group_by("post", maintain_order=True).agg(pl.col("id").str.join(", "))
    texts = lists.select(
        data=pl.concat_str(
            pl.lit('{"title": "Note '), "post", pl.lit('", "words": 120, "mentions": ['), "id", pl.lit("]}")
        )
    )
    table = pa.table(
        {
            "seq_no": pa.array(np.arange(1, posts + 1)),
            "timestamp": utc(timestamps(posts, days * 86_400.0, rng)),
            "kind": constant("entity.created", posts),
            "entity_type": constant("post", posts),
            "entity_id": uuids(posts, rng),
            "data": texts["data"].to_arrow().cast(pa.large_string()),
        }
    )
    return table, named
