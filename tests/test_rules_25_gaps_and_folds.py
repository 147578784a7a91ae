"""Rule 25 in every step that knows local time, where clocks skip and repeat: against a table worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from designs import told

from flowdsl import Flow, link_created, on

# Berlin: 2026-03-29 at 01:00 UTC from 02:00 to 03:00; 2026-10-25 at 01:00 UTC from 03:00 back to 02:00.
# New York: 2026-03-08 at 07:00 UTC from 02:00 to 03:00; 2026-11-01 at 06:00 UTC from 02:00 back to 01:00.
# Lord Howe: 2026-10-03 at 15:30 UTC from 02:00 to 02:30; 2026-04-04 at 15:00 UTC from 02:00 back to 01:30.
# Apia: at 2011-12-30 at 10:00 UTC the 29th was over and the 31st began.
# São Paulo: 2018-11-04 at 03:00 UTC from 00:00 to 01:00; 2018-02-18 at 02:00 UTC from 00:00 back to 23:00 of the 17th.
# zone, when it came (UTC), what a clock shows there, when it goes on: to 02:15, in the hours from 01:45 to 02:45,
# with the digest of each day at 02:15
TABLE = """
Pacific/Apia        | 2011-12-30 09:50 | 29 23:50 | 12-30 10:00 | 12-30 10:00 | 12-30 10:00
Pacific/Apia        | 2011-12-30 10:01 | 31 00:01 | 12-30 12:15 | 12-30 11:45 | 12-30 12:15
Pacific/Apia        | 2011-12-30 12:00 | 31 02:00 | 12-30 12:15 | 12-30 12:00 | 12-30 12:15
America/Sao_Paulo   | 2018-02-18 01:50 | 17 23:50 | 02-18 05:15 | 02-18 04:45 | 02-18 05:15
America/Sao_Paulo   | 2018-02-18 02:50 | 17 23:50 | 02-18 05:15 | 02-18 04:45 | 02-18 05:15
America/Sao_Paulo   | 2018-02-18 03:00 | 18 00:00 | 02-18 05:15 | 02-18 04:45 | 02-18 05:15
America/Sao_Paulo   | 2018-11-04 02:50 | 03 23:50 | 11-04 04:15 | 11-04 03:45 | 11-04 04:15
America/Sao_Paulo   | 2018-11-04 03:00 | 04 01:00 | 11-04 04:15 | 11-04 03:45 | 11-04 04:15
America/New_York    | 2026-03-08 06:50 | 08 01:50 | 03-08 07:00 | 03-08 06:50 | 03-08 07:00
America/New_York    | 2026-03-08 07:00 | 08 03:00 | 03-08 07:00 | 03-09 05:45 | 03-09 06:15
Europe/Berlin       | 2026-03-29 00:50 | 29 01:50 | 03-29 01:00 | 03-29 00:50 | 03-29 01:00
Europe/Berlin       | 2026-03-29 01:00 | 29 03:00 | 03-29 01:00 | 03-29 23:45 | 03-30 00:15
Australia/Lord_Howe | 2026-04-04 14:50 | 05 01:50 | 04-04 15:45 | 04-04 14:50 | 04-04 15:45
Australia/Lord_Howe | 2026-04-04 15:20 | 05 01:50 | 04-04 15:45 | 04-04 15:20 | 04-04 15:45
Australia/Lord_Howe | 2026-10-03 15:20 | 04 01:50 | 10-03 15:30 | 10-03 15:20 | 10-03 15:30
Australia/Lord_Howe | 2026-10-03 15:30 | 04 02:30 | 10-03 15:30 | 10-03 15:30 | 10-04 15:15
Europe/Berlin       | 2026-10-25 00:10 | 25 02:10 | 10-25 00:15 | 10-25 00:10 | 10-25 00:15
Europe/Berlin       | 2026-10-25 00:16 | 25 02:16 | 10-26 01:15 | 10-25 00:16 | 10-26 01:15
Europe/Berlin       | 2026-10-25 01:16 | 25 02:16 | 10-26 01:15 | 10-25 01:16 | 10-26 01:15
Europe/Berlin       | 2026-10-25 01:50 | 25 02:50 | 10-26 01:15 | 10-26 00:45 | 10-26 01:15
America/New_York    | 2026-11-01 05:50 | 01 01:50 | 11-01 07:15 | 11-01 05:50 | 11-01 07:15
America/New_York    | 2026-11-01 06:50 | 01 01:50 | 11-01 07:15 | 11-01 06:50 | 11-01 07:15
America/New_York    | 2026-11-01 07:14 | 01 02:14 | 11-01 07:15 | 11-01 07:14 | 11-01 07:15
America/New_York    | 2026-11-01 07:15 | 01 02:15 | 11-01 07:15 | 11-01 07:15 | 11-02 07:15
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]
# the moments of all zones in one log, each with its zone
HISTORY = [
    (came, link_created("knocks", f"row {n}", "door", metadata={"tz": zone}))
    for n, (zone, came, *_) in enumerate(ROWS)
]
KNOCKED = on("link.created", name="knocked")


def goes_on(flow: Flow, **template: Any) -> dict[str, Any]:
    """What is told of each row, and when."""
    mapped = flow.map(title="{{ source_id }}", **template).deliver("push")
    return {title: at for at, _, _, title in told(mapped, HISTORY, year="")}


@pytest.mark.parametrize(
    ("flow", "column"),
    [
        (KNOCKED.wait(until="02:15", tz="metadata.tz"), 3),
        (KNOCKED.wait(hours="01:45-02:45", tz="metadata.tz"), 4),
        (KNOCKED.batch("source_id", every="day", at="02:15", tz="metadata.tz"), 5),
    ],
    ids=["until", "hours", "every day"],
)
def test_rule_25_steps_go_on_where_clocks_skip_and_repeat(flow: Flow, column: int) -> None:
    assert goes_on(flow) == {f"row {n}": row[column] for n, row in enumerate(ROWS)}


def test_rule_25_functions_show_what_a_clock_shows_there() -> None:
    for n, row in enumerate(ROWS):
        day, time = row[2].split()
        hour, minute = map(int, time.split(":"))
        shown = (
            f"source_id == 'row {n}' and endswith(date(event.timestamp, metadata.tz), '-{day}')"
            f" and hour(event.timestamp, metadata.tz) == {hour} and minute(event.timestamp, metadata.tz) == {minute}"
        )
        assert [*goes_on(KNOCKED.where(shown))] == [f"row {n}"]


def test_rule_26_one_a_local_day_is_the_first_of_each_date_that_a_clock_shows() -> None:
    # both days of Apia, the 17th and 18th, the 3rd and 4th of São Paulo, and one day of each other zone and change
    first = [0, 1, 3, 5, 6, 7, 8, 10, 12, 14, 16, 20]
    capped = KNOCKED.cap(1, per="day", key="metadata.tz", tz="metadata.tz")
    assert {*goes_on(capped)} == {f"row {n}" for n in first}
