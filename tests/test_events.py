"""What an event may look like, and what is said of one that is none."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowdsl.errors import DataError, FlowWarning
from flowdsl.events import (
    KINDS,
    entity_created,
    entity_deleted,
    entity_updated,
    event_mapping,
    event_row,
    link_created,
    link_deleted,
    timestamp_us,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def test_the_constructors_write_productions_form() -> None:
    assert link_created("likes", "a", "b", link_id="l", metadata={"w": 1}) == {
        "kind": "link", "action": "created", "link_type": "likes", "link_id": "l", "source_id": "a", "target_id": "b",
        "metadata": {"w": 1},
    }  # fmt: skip
    made = (link_deleted("likes", "a", "b"), entity_updated("user", "a", {}), entity_deleted("user", "a"))
    assert [event_row(event).kind for event in made] == ["link.deleted", "entity.updated", "entity.deleted"]


def test_an_envelope_its_inner_event_and_a_row_of_an_event_table_say_the_same() -> None:
    inner = entity_created("user", "ann", {"n": 1})
    envelope = {"id": "e1", "timestamp": "2024-01-01T00:00:00Z", "event": inner, "seq_no": 9}
    flat = {"event_id": "e1", "timestamp": "2024-01-01T00:00:00Z", "kind": "entity.created", "entity_type": "user",
            "entity_id": "ann", "data": '{"n":1}'}  # fmt: skip
    assert event_row(envelope) == event_row(flat)
    assert event_row(inner) == event_row(envelope)._replace(event_id=None, timestamp=None)


@given(IDS, st.integers())
def test_ids_are_kept_letter_for_letter_and_integers_are_their_decimal_text(text: str, number: int) -> None:
    row = event_row(link_created("likes", text, number))
    assert (row.source_id, row.target_id) == (text, str(number))


@given(JSON, st.datetimes(timezones=st.just(UTC)))
def test_a_row_and_its_envelope_are_one_and_the_same(data: object, at: datetime) -> None:
    row = event_row({"id": "e", "timestamp": at, "event": entity_created("user", "ann", data)})
    assert event_row(json.loads(json.dumps(event_mapping(row, 1)))) == row


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"kind": "link", "action": "made"}, "unknown kind 'link.made'"),
        ({"kind": "Link.created"}, "unknown kind 'Link.created'"),
        ({}, "an event without kind"),
        ({"kind": "link", "action": "created", "link_type": "likes", "source_id": "a"}, "without target_id"),
        ({"kind": "link.created", "link_type": "l", "source_id": "", "target_id": "b"}, "source_id is empty"),
        ({"kind": "entity.deleted", "entity_type": "user", "entity_id": 1.5}, "entity_id is float"),
        ({"kind": "entity.deleted", "entity_type": "user", "entity_id": True}, "entity_id is bool"),
        ({"kind": "entity.created", "entity_type": "u", "entity_id": "a", "data": "{"}, "data is text that is not JSON"),
        ({"kind": "entity.created", "action": "x"}, "unknown kind"),
        ({"kind": "entity", "action": "created", "entity_type": "u", "entity_id": "a", "data": {1, 2}}, "not a JSON"),
        ({"kind": "entity", "action": "deleted", "entity_type": "u", "entity_id": "\ud800"}, "surrogate"),
        ({"kind": "entity.deleted", "entity_type": "u", "entity_id": "a", "timestamp": 17}, "timestamp is int 17"),
        ({"kind": "entity.deleted", "entity_type": "u", "entity_id": "a", "timestamp": "monday"}, "not RFC 3339"),
        ("link.created", "an event is a mapping, not str"),
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused_with_its_place_and_a_hint(event: object, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        event_row(event, place="events.jsonl:3")  # type: ignore[arg-type]
    assert caught.value.place == "events.jsonl:3"
    assert caught.value.hint


def test_a_deletion_may_carry_the_link_id_only() -> None:
    assert event_row(link_deleted(link_id="l1")).link_id == "l1"
    with pytest.raises(DataError, match="link_type"):
        link_deleted(source_id="a")


@pytest.mark.filterwarnings("ignore:timestamps without a zone")
@pytest.mark.parametrize(
    "moment",
    [
        np.datetime64("2026-01-01"), np.datetime64("2026-01-01T00:00:00.000000999"), np.datetime64("2026-01", "M"),
        np.str_("2026-01-01T00:00:00Z"), date(2026, 1, 1), pd.Timestamp("2026-01-01"),
    ],
)  # fmt: skip
def test_moments_of_numpy_and_pandas_and_days_are_timestamps(moment: Any) -> None:
    assert timestamp_us(moment) == timestamp_us("2026-01-01T00:00:00Z")


@pytest.mark.parametrize("moment", [np.datetime64("NaT"), np.datetime64("12000-01-01"), pd.NaT, b"2026"])
def test_what_is_no_moment_has_no_hint_about_counts(moment: Any) -> None:
    with pytest.raises(DataError, match="not a datetime or RFC 3339 text") as caught:
        timestamp_us(moment)
    assert caught.value.hint == "like 2024-05-01T12:00:00Z"


def test_timestamps_are_cut_to_microseconds_and_need_no_z() -> None:
    assert timestamp_us("1970-01-01T00:00:00.0000019Z") == 1
    assert timestamp_us("1969-12-31 23:59:59.999999+00:00") == -1
    assert timestamp_us(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == 0
    with pytest.warns(FlowWarning, match="taken as UTC"):
        assert timestamp_us("1970-01-01T00:00:01") == 1_000_000


def test_the_five_kinds_are_the_five_kinds() -> None:
    assert sorted(KINDS) == [
        "entity.created",
        "entity.deleted",
        "entity.updated",
        "link.created",
        "link.deleted",
    ]


def test_importing_events_loads_nothing_heavy() -> None:
    code = (
        "import sys; import flowdsl.events; "
        "print([m for m in ('polars', 'pandas', 'pyarrow', 'duckdb', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
