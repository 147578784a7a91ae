"""Shapes of rows that other packages add, beside CloudEvents and production's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import flowdsl as fd
from tests.plugins import install

SOURCE = """
from flowdsl.extend import RowFormat


def fields(row):
    return {
        "kind": "link.created", "timestamp": row["acme_at"], "link_type": "likes", "link_id": row["n"],
        "source_id": row["who"].lower(), "target_id": "p",
    }


ACME = RowFormat("acme", lambda row: "acme_at" in row, fields)
"""


def row(number: int, **fields: Any) -> dict[str, Any]:
    return {"acme_at": f"2026-01-01T00:00:0{number}Z", "n": str(number), **fields}


@pytest.fixture(autouse=True)
def _acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "acme-rows", SOURCE, {"flowdsl.rows:acme": "ACME"})


def test_rows_of_a_package_are_recognised_and_those_it_cannot_read_are_reported() -> None:
    log = fd.read_events([row(1, who="Ann"), row(2), row(3, who=7), row(4, who="Bob")])
    with pytest.warns(fd.FlowWarning, match="2 rows of the log are not events"):
        result = fd.replay(fd.on("link.created").map(who="{{ source_id }}").deliver("s"), log)
    assert result["s"]["who"].tolist() == ["ann", "bob"]
    assert log.problem_counts == {"broken": 2}
