"""Two results beside each other: what is added, removed, readdressed, changed and moved, and why."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from oracle.matching import changes
from strategies import SLIPS_ARE_LIKELY, Case, cases
from this_rs_strategies import ProductionCase, production_cases

import flowdsl as fd
from flowdsl import on
from flowdsl.cli.main import main
from flowdsl.comparison.inputs import pairs_of
from flowdsl.findings.differences import unknown_codes

pytestmark = SLIPS_ARE_LIKELY

HEADER = ["change", "flow", "sink"]


def log(*events: tuple[str, str, str]) -> fd.MemoryEventLog:
    """Likes at these times of a morning, by whom, of what."""
    made = fd.MemoryEventLog()
    for time, who, what in events:
        made.append(fd.link_created("likes", who, what), timestamp=f"2026-01-01T{time}Z")
    return made


LIKES = log(
    ("09:00:00", "ann", "p"), ("09:00:30", "bob", "p"), ("09:05:00", "eve", "p"), ("09:06:00", "p", "p")
)
PLAIN = (
    on("link.created", name="liked")
    .map(recipient_id="{{ source_id }}", title="{{ target_id }}")
    .deliver("push")
)


def compared(before: Any, after: Any, events: Any = LIKES, **options: Any) -> fd.Comparison:
    return fd.compare(fd.replay(before, events, **options), fd.replay(after, events, **options))


def test_the_same_flow_gives_the_same():
    comparison = compared(PLAIN, PLAIN)
    assert comparison.same
    assert len(comparison) == 0
    assert comparison.rows.empty
    assert repr(comparison) == "4 deliveries before, 4 after: all the same"


def test_a_stricter_filter_removes_and_a_looser_one_adds():
    stricter = on("link.created", name="liked").where("source_id != target_id")
    stricter = stricter.map(recipient_id="{{ source_id }}", title="{{ target_id }}").deliver("push")
    removed = compared(PLAIN, stricter)
    assert removed["removed"][["seq_no_before", "recipient_id_before"]].values.tolist() == [[4, "p"]]
    assert removed["removed"]["seq_no_after"].isna().all()
    assert compared(stricter, PLAIN).totals() == {
        "before": 3,
        "after": 4,
        "same": 3,
        "added": 1,
        "removed": 0,
        "readdressed": 0,
        "changed": 0,
        "moved": 0,
    }


def test_a_cause_names_the_step_and_the_reason():
    stricter = (
        on("link.created", name="liked")
        .where("source_id != target_id")
        .deduplicate("target_id", window="2m")
        .map(recipient_id="{{ source_id }}", title="{{ target_id }}")
        .deliver("push")
    )
    causes = compared(PLAIN, stricter).causes
    assert causes[
        ["change", "count", "step", "operator", "outcome", "reason", "example"]
    ].values.tolist() == [
        ["removed", 1, 1, "deduplicate", "dropped", "duplicate", 2],
        ["removed", 1, 0, "where", "dropped", "filtered", 4],
    ]


def test_another_text_is_a_change_of_that_field():
    other = (
        on("link.created", name="liked").map(recipient_id="{{ source_id }}", title="!", n=1).deliver("push")
    )
    comparison = compared(PLAIN, other)
    assert comparison.totals()["changed"] == 4
    assert comparison.causes[["change", "count", "reason"]].values.tolist() == [
        ["changed", 4, "payload field n"],
        ["changed", 4, "payload field title"],
    ]


def test_another_recipient_of_the_same_event_is_readdressed():
    other = (
        on("link.created", name="liked")
        .map(recipient_id="{{ target_id }}", title="{{ target_id }}")
        .deliver("push")
    )
    comparison = compared(PLAIN, other)
    rows = comparison["readdressed"]
    assert rows[["recipient_id_before", "recipient_id_after"]].values.tolist() == [
        ["ann", "p"],
        ["bob", "p"],
        ["eve", "p"],
    ]
    assert comparison.totals()["same"] == 1


def test_a_queue_moves_deliveries_in_time():
    queued = on("link.created", name="liked").rate_limit(1, per="1m", strategy="queue")
    queued = queued.map(recipient_id="{{ source_id }}", title="{{ target_id }}").deliver("push")
    moved = compared(PLAIN, queued)["moved"]
    assert moved["seq_no_before"].tolist() == [2]
    assert str(moved["delivered_at_after"][0]) == "2026-01-01 09:01:00+00:00"


def test_windows_that_the_same_event_opened_belong_together():
    def digest(window: str) -> fd.Flow:
        return (
            on("link.created", name="liked")
            .batch("target_id", window=window)
            .map(recipient_id="{{ target_id }}", title="{{ batch.count }}")
            .deliver("push")
        )

    comparison = compared(digest("1m"), digest("5m30s"))
    assert comparison["changed"][["seq_no_before", "seq_no_after"]].values.tolist() == [[2, 3]]
    assert comparison["removed"]["seq_no_before"].tolist() == [3]
    causes = comparison.causes
    assert causes[["change", "operator", "outcome"]].values.tolist() == [
        ["removed", "batch", "passed"],
        ["moved", "batch", "moved"],
        ["changed", "map", "changed"],
    ]


def test_a_batch_put_in_is_compared_with_the_event_that_opened_it():
    digest = on("link.created", name="liked").batch("target_id", window="1m")
    digest = digest.map(recipient_id="{{ source_id }}", title="{{ target_id }}").deliver("push")
    comparison = compared(PLAIN, digest)
    assert comparison.totals()["after"] == 3
    # the window of ann's like goes on as bob's
    assert comparison["readdressed"]["recipient_id_after"].tolist() == ["bob"]


def test_steps_stand_beside_each_other_where_their_texts_or_operators_agree():
    before = on("link.created", name="f").where("source_id != 'x'").map(t="a").deliver("push")
    after = (
        on("link.created", name="f")
        .deduplicate("source_id", window="1h")
        .where("source_id != 'p'")
        .map(t="a")
        .deliver("push")
    )
    steps = compared(before, after).steps
    assert steps[["step_before", "step_after", "operator"]].fillna(-1).values.tolist() == [
        [-1, 0, "deduplicate"],
        [0, 1, "where"],
        [1, 2, "map"],
        [2, 3, "deliver"],
    ]
    assert steps[["dropped_before", "dropped_after"]].fillna(-1).values.tolist() == [
        [-1, 0],
        [0, 1],
        [0, 0],
        [0, 0],
    ]


def test_flows_that_are_only_on_one_side_are_added_and_removed():
    other = PLAIN.named("another").portable()
    comparison = compared([PLAIN], [PLAIN, other])
    assert comparison.counts[["flow", "before", "after"]].values.tolist() == [
        ["liked", 4, 4],
        ["another", 0, 4],
    ]
    assert comparison.causes[["flow", "change", "reason"]].values.tolist() == [
        ["another", "added", "the flow is not there"]
    ]


def test_a_renamed_flow_is_compared_with_itself():
    comparison = compared(PLAIN, PLAIN.named("liked well"))
    assert comparison.same
    assert comparison.counts["flow"].tolist() == ["liked → liked well"]


def test_results_that_were_read_back_are_compared_too(tmp_path: Path):
    fd.replay(PLAIN, LIKES, out=tmp_path / "before")
    fd.replay(PLAIN, LIKES, stop=4).to_parquet(tmp_path / "after")
    before, after = (fd.read_result(tmp_path / side) for side in ("before", "after"))
    comparison = fd.compare(before, after)
    assert comparison["removed"]["seq_no_before"].tolist() == [4]
    assert comparison.causes["outcome"].tolist() == ["absent"]


def test_what_is_no_result_or_no_change_is_refused():
    with pytest.raises(fd.ReplayError, match="a Flow is not a result"):
        fd.compare(PLAIN, fd.replay(PLAIN, LIKES))
    with pytest.raises(fd.ReplayError, match=r"there is no change 'gone'.*\n.*allowed: added, removed"):
        compared(PLAIN, PLAIN)["gone"]


# -- in general --------------------------------------------------------------------------------------------


@given(one=cases(), other=cases())
def test_every_delivery_is_paired_as_plain_loops_would(one: Case, other: Case) -> None:
    world = one.world
    graph = fd.EntityGraph(world.entities, world.links, merge=world.merge)
    before, after = (fd.replay(case.flows, world.events, graph) for case in (one, other))
    comparison = fd.compare(before, after)
    rows = comparison.polars()
    for pair in pairs_of(before, after):
        for sink in pair.sinks:
            sides = [
                [] if side is None else side.deliveries(sink).to_dicts() for side in (pair.before, pair.after)
            ]
            expected = [row for row in changes(*sides, timed=pair.timed) if row[0] != "same"]
            mine = rows.filter((pl.col("flow") == pair.name) & (pl.col("sink") == sink))
            found = mine.select("change", "seq_no_before", "seq_no_after").rows()
            assert sorted(found, key=repr) == expected
    totals = comparison.totals()
    both = sum(totals[name] for name in ("same", "readdressed", "changed", "moved"))
    assert totals["before"] == both + totals["removed"] == len(before)
    assert totals["after"] == both + totals["added"] == len(after)


@pytest.mark.filterwarnings("ignore::flowdsl.FlowWarning")
@given(case=production_cases())
def test_every_difference_under_the_target_has_a_cause(case: ProductionCase) -> None:
    graph = fd.EntityGraph(case.entities, case.links)
    try:
        meant = fd.load({"events": {"flows": case.flows}}, skip_invalid=True)
    except fd.LoadError:
        return
    made = fd.load({"events": {"flows": case.flows}}, target="this-rs")
    comparison = fd.compare(
        fd.replay(meant, case.events, graph), fd.replay(made, case.events, graph, target="this-rs")
    )
    counted: Counter[str] = Counter(comparison.rows["change"].tolist())
    causes = comparison.causes
    for change in ("added", "removed", "readdressed", "moved"):
        assert causes.loc[causes["change"] == change, "count"].sum() == counted[change]
    assert bool((causes["change"] == "changed").any()) == bool(counted["changed"])


# -- shown -------------------------------------------------------------------------------------------------


def test_the_picture_has_both_versions_in_one_chain():
    before = on("link.created", name="liked").where("source_id != 'ann'").map(title="a").deliver("push")
    after = on("link.created", name="liked").where("source_id != 'p'").deduplicate("target_id", window="1m")
    picture = compared(before, after.map(title="a").deliver("push", "in-app")).picture()
    lines = [" ".join(line.split()) for line in picture.text.splitlines() if line]
    assert lines[2:] == [
        "liked",
        "on link.created",
        '0 4 where source_id != "ann" → source_id != "p" changed',
        "⊘ 1 filtered",
        "1 3 deduplicate same target_id within 1m new",
        "⊘ 1 duplicate",
        "2 3 → 2 map title",
        "3 3 → 2 deliver push → push, in-app changed",
        "→ push 3 → 2",
        "→ in-app 2",
        "sinks",
        "push 3 → 2",
        "in-app 0 → 2",
    ]


def test_more_or_less_is_neither_good_nor_bad_but_failures_are():
    named = on("link.created", name="liked").map(recipient_id="{{ target_id }}", title="a").deliver("push")
    strict = on("link.created", name="liked").where("source_id != 'ann'").map(title="a").deliver("push")
    svg = compared(named, strict).picture().svg
    assert "k-changed" in svg
    assert not re.search(r'class="[^"]*[ks]-(better|worse)', svg)
    # nobody is in the graph: each of the events fails
    failing = on("link.created", name="liked").resolve("target_id", as_="x").map(title="a").deliver("push")
    fewer = on("link.created", name="liked").where("source_id != 'ann'").resolve("target_id", as_="x")
    fewer = fewer.map(title="a").deliver("push")
    for before, after, tone in ((failing, fewer, "better"), (fewer, failing, "worse")):
        assert set(re.findall(r'class="[^"]*[ks]-(better|worse)', compared(before, after).picture().svg)) == {
            tone
        }


def test_a_notebook_leaves_out_changes_that_there_are_none_of_and_says_why_in_words():
    before = on("link.created", name="liked").map(title="a").deliver("push")
    after = on("link.created", name="liked").where("source_id != 'ann'").map(title="a").deliver("push")
    comparison = compared(before, after)
    assert len(comparison.causes) > 0
    html = comparison._repr_mimebundle_()["text/html"]
    assert "readdressed" not in html.replace(comparison.picture().html, "")
    assert "where, step 0: filtered" in html
    assert ">finding<" not in html


def test_a_notebook_shows_counts_and_picture_and_text_is_text():
    hostile = "<script>alert('x')</script>"
    before, after = (PLAIN.named(hostile), PLAIN.named(hostile).with_step(0, template={"recipient_id": "x"}))
    shown = compared(before, after)._repr_mimebundle_()
    assert shown["text/plain"].startswith("4 deliveries before, 4 after")
    assert "<script>" not in shown["text/html"]
    assert "&lt;script&gt;" in shown["text/html"]
    assert '<img class="fd-image" alt="' in shown["text/html"]
    assert "<img" not in compared(before, before)._repr_mimebundle_()["text/html"]


# -- prediction --------------------------------------------------------------------------------------------


def test_a_replay_against_that_of_production_tells_who_gets_what_instead_and_the_finding_that_says_why():
    flow = on("link.created", name="liked").batch("target_id", window="1m")
    flow = flow.map(recipient_id="{{ source_id }}", title="{{ batch.count }}").deliver("push")
    meant, made = fd.replay(flow, LIKES), fd.replay(flow, LIKES, target="this-rs")
    comparison = fd.compare(meant, made)
    assert str(comparison) == (
        "3 deliveries as meant, 1 in production: 0 the same, 2 removed, 1 readdressed\n"
        "\n"
        "liked to push: 3 → 1   0 the same, 2 removed, 1 readdressed\n"
        "          1 removed      batch, step 0: goes on with another window  [batch-loses-event, batch-no-timer]  event 3\n"
        "          1 removed      batch, step 0: waits there at the end of the log  [batch-no-timer]  event 4\n"
        "          1 readdressed  map, step 1: to 'p' instead of 'bob'  [recipient-is-target]  event 3"
    )


def test_a_fault_within_a_template_is_told_with_its_field():
    flow = fd.load(
        """
        - name: f
          trigger: {kind: entity.created}
          pipeline:
            - filter: {condition: "data.n == 1"}
            - map: {template: {title: "{{ data.n }}"}}
            - deliver: {sink: s}
        """
    )
    events = fd.MemoryEventLog()
    events.append([fd.entity_created("post", "p", {"n": n}) for n in (1, "1", 1.0)])
    comparison = fd.compare(fd.replay(flow, events), fd.replay(flow, events, target="this-rs"))
    causes = comparison.causes[["change", "operator", "example", "finding"]].values.tolist()
    assert causes == [["removed", "where", 3, "compared-as-text"], ["added", "where", 2, "compared-as-text"]]


def test_the_codes_that_explain_differences_are_codes_of_findings():
    assert not unknown_codes()


# -- the commands ------------------------------------------------------------------------------------------

YAML = """
- name: liked
  trigger: {kind: link.created}
  pipeline:
    - batch: {key: target_id, window: 1m}
    - map: {template: {recipient_id: "{{ source_id }}", title: "{{ _batch.count }}"}}
    - deliver: {sink: push}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flows.yaml").write_text(YAML)
    (tmp_path / "new.yaml").write_text(YAML.replace("1m", "10m"))
    with fd.ParquetEventLog(tmp_path / "log") as made:
        made.append(LIKES)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(list(arguments))
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out


def test_two_versions_are_compared_over_a_log(files: Path, capsys: pytest.CaptureFixture[str]):
    code, out = run(capsys, "compare", "flows.yaml", "new.yaml", "--log", "log")
    assert code == 1
    assert out.startswith("3 deliveries before, 1 after: 0 the same, 2 removed, 1 readdressed\n")
    assert run(capsys, "compare", "flows.yaml", "flows.yaml", "--log", "log") == (
        0,
        "3 deliveries before, 3 after: all the same\n",
    )
    code, out = run(capsys, "compare", "flows.yaml", "new.yaml", "--log", "log", "--json", "--causes")
    said = json.loads(out)
    assert said["totals"]["removed"] == 2
    assert said["causes"][0]["operator"] == "batch"


def test_folders_of_results_are_compared(files: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("flows", "new"):
        assert run(capsys, "replay", f"{name}.yaml", "--log", "log", "--out", name)[0] == 0
    assert run(capsys, "compare", "flows", "new", "--rows", "0")[0] == 1
    assert run(capsys, "compare", "flows", "flows")[0] == 0


def test_flows_without_a_log_cannot_be_compared(files: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["compare", "flows.yaml", "new.yaml"]) == 2
    assert "--log says over which events" in capsys.readouterr().err


def test_check_with_a_log_predicts_what_production_makes(files: Path, capsys: pytest.CaptureFixture[str]):
    code, out = run(capsys, "check", "flows.yaml", "--log", "log", "--least", "error")
    assert code == 1
    assert "the log: error: production cannot read 4 events, whose ids are not UUIDs" in out
    assert "3 deliveries as meant, 1 in production" in out
    assert "[recipient-is-target]  event 3" in out
    code, out = run(capsys, "check", "flows.yaml", "--log", "log", "--json")
    said = json.loads(out)
    assert said["prediction"]["totals"]["readdressed"] == 1
    assert {finding["code"] for finding in said["findings"]} >= {"ids-not-uuid", "batch-no-timer"}


def test_check_with_a_log_tells_what_only_one_of_the_two_runs(
    files: Path, capsys: pytest.CaptureFixture[str]
):
    refused = (
        YAML.replace("name: liked", "name: strict")
        .replace(
            "    - batch: {key: target_id, window: 1m}",
            "    - filter: {condition: \"startswith(source_id, 'a')\"}",
        )
        .replace("{{ _batch.count }}", "liked")
    )
    odd = YAML.replace("name: liked", "name: odd").replace(
        '    - map: {template: {recipient_id: "{{ source_id }}", title: "{{ _batch.count }}"}}\n', ""
    )
    (files / "three.yaml").write_text(YAML + refused.lstrip("\n") + odd.lstrip("\n"))
    _, out = run(capsys, "check", "three.yaml", "--log", "log", "--least", "error")
    assert "strict: production leaves it out" in out
    assert "odd: flowdsl refuses it, so what it means is not known" in out


def test_a_replay_by_the_rules_of_production_is_an_option_of_the_command(
    files: Path, capsys: pytest.CaptureFixture[str]
):
    _, out = run(capsys, "replay", "flows.yaml", "--log", "log", "--target", "this-rs", "--json")
    assert [row["count"] for row in json.loads(out)["delivered"]] == [1]


# -- two logs (rule 31) ------------------------------------------------------------------------------------


def row(id: str | None, minute: int, who: str) -> dict[str, Any]:
    at = f"2026-01-01T{9 + minute // 60:02}:{minute % 60:02}:00Z"
    return {
        "event_id": id,
        "kind": "link.created",
        "timestamp": at,
        "link_type": "l",
        "source_id": who,
        "target_id": "p",
    }


NAMED = on("link.created", name="n").map(recipient_id="bob", title="{{ source_id }}").deliver("s")
HOURLY = (
    on("link.created", name="n")
    .batch("target_id", window="1h")
    .map(recipient_id="bob", title="{{ batch.count }}")
    .deliver("s")
)


def over(flow: Any, rows: list[dict[str, Any]]) -> fd.Result:
    return fd.replay(flow, fd.read_events(rows))


@pytest.mark.parametrize("ids", [True, False])
def test_rule_31_events_of_two_logs_belong_together_by_what_they_are_not_by_their_place(ids: bool):
    rows = [row(f"e{n}" if ids else None, 60 + n // 2, f"u{n % 5}") for n in range(50)]
    more = [row("early" if ids else None, 0, "found-later"), *rows[:20], *rows[21:]]
    comparison = fd.compare(over(NAMED, rows), over(NAMED, more))
    totals = comparison.totals()
    assert (totals["same"], totals["added"], totals["removed"], totals["changed"]) == (49, 1, 1, 0)
    causes = comparison.causes
    assert sorted(zip(causes["change"], causes["example"], strict=True)) == [("added", 1), ("removed", 21)]
    assert (causes["outcome"] == "absent").all()


def test_rule_31_an_event_with_an_id_is_the_same_though_it_says_something_else():
    rows = [row(f"e{n}", n, "ann") for n in range(4)]
    corrected = [{**r, "source_id": "eve"} if n == 2 else r for n, r in enumerate(rows)]
    assert fd.compare(over(NAMED, rows), over(NAMED, corrected)).totals()["changed"] == 1


def test_rule_31_what_has_ids_in_one_log_only_is_known_by_what_it_says():
    rows = [row(f"e{n}", n, f"u{n}") for n in range(4)]
    bare = [{**r, "event_id": None} for r in rows]
    totals = fd.compare(over(NAMED, rows[1:]), over(NAMED, bare)).totals()
    assert (totals["same"], totals["added"]) == (3, 1)


def test_rule_31_a_digest_that_another_event_opened_is_the_same_digest_changed():
    rows = [row(f"e{n}", minute, f"u{n}") for n, minute in enumerate((30, 40, 50, 300))]
    totals = fd.compare(over(HOURLY, rows), over(HOURLY, [row("early", 20, "x"), *rows])).totals()
    assert (totals["before"], totals["after"], totals["same"], totals["changed"]) == (2, 2, 1, 1)


def test_rule_31_a_digest_with_another_first_and_another_last_member_is_known_by_the_members_between():
    rows = [row(f"e{n}", minute, f"u{n}") for n, minute in enumerate((30, 40, 50, 300, 310))]
    more = [row("early", 20, "x"), rows[1], *(row(f"late{n}", 55 + n, "y") for n in range(2)), *rows[3:]]
    totals = fd.compare(over(HOURLY, rows), over(HOURLY, more)).totals()
    assert (totals["before"], totals["after"], totals["same"], totals["changed"]) == (2, 2, 1, 1)


def test_rule_31_a_digest_belongs_to_the_one_it_has_most_members_in_common_with():
    # one window of six events becomes two, of one and of three of them, with others before and behind
    rows = [row(f"e{n}", 2 * n, f"u{n}") for n in range(6)]
    more = [
        row("a", 0, "x"),
        {**rows[1], "timestamp": "2026-01-01T09:01:00Z"},
        row("b", 2, "x"),
        row("c", 300, "x"),
        *({**r, "timestamp": f"2026-01-01T14:0{n}:00Z"} for n, r in enumerate(rows[2:5], 1)),
        row("d", 306, "x"),
    ]
    comparison = fd.compare(over(HOURLY, rows), over(HOURLY, more))
    totals = comparison.totals()
    assert (totals["changed"], totals["added"], totals["removed"]) == (1, 1, 0)
    assert comparison["changed"]["payload_after"].tolist() == ['{"recipient_id":"bob","title":"5"}']


def test_rule_31_members_tell_a_digest_through_a_fan_out_behind_the_window():
    followers = [
        {"link_type": "follows", "link_id": str(n), "source_id": who, "target_id": "p"}
        for n, who in enumerate(("ann", "bob"))
    ]
    graph = fd.EntityGraph(links=followers)
    flow = (
        on("link.created", name="n")
        .batch("target_id", window="1h")
        .fan_out("target_id", via="follows", direction="reverse", as_="one")
        .map(recipient_id="{{ one_id }}", title="{{ batch.count }}")
        .deliver("s")
    )
    rows = [row(f"e{n}", minute, f"u{n}") for n, minute in enumerate((30, 40, 45, 50))]
    more = [row("early", 20, "u0"), *rows[1:3], row("late", 55, "new"), row("last", 56, "last")]
    comparison = fd.compare(*(fd.replay(flow, fd.read_events(events), graph) for events in (rows, more)))
    assert comparison["changed"]["recipient_id_after"].tolist() == ["ann", "bob"]
    assert len(comparison) == 2


def test_rule_31_members_are_looked_for_only_where_windows_are_left_over(monkeypatch: pytest.MonkeyPatch):
    rows = [row(f"e{n}", minute, f"u{n}") for n, minute in enumerate((30, 40, 50, 300))]
    monkeypatch.setattr("flowdsl.comparison.comparison.members_of", None)
    assert (
        fd.compare(over(HOURLY, rows), over(HOURLY, [row("early", 20, "x"), *rows])).totals()["changed"] == 1
    )


def test_rule_31_folders_of_two_logs_are_not_matched_by_number(tmp_path: Path):
    for name in ("before", "after"):
        fd.replay(PLAIN, log(("09:00:00", "ann", "p")), out=tmp_path / name)
    results = [fd.read_result(tmp_path / name) for name in ("before", "after")]
    with pytest.raises(fd.ReplayError, match=r"two logs.*\n.*hint: replay both"):
        fd.compare(*results)
    assert fd.compare(results[0], results[0]).same


def test_rule_31_folders_of_files_that_differ_are_compared_with_a_warning(tmp_path: Path):
    rows = [row(f"e{n}", n, f"u{n}") for n in range(4)]
    for name, some in (("before", rows), ("again", rows), ("after", [*rows, row("x", 9, "x")])):
        over(NAMED, some).to_parquet(tmp_path / name)
    before, again, after = (fd.read_result(tmp_path / name) for name in ("before", "again", "after"))
    assert fd.compare(before, again).same
    with pytest.warns(fd.FlowWarning, match="does not say which events it is of"):
        fd.compare(before, after)


@pytest.mark.parametrize(
    ("other", "flow"),
    [
        # the first events say something else
        ([row(None, n, f"x{n}") for n in range(4)], NAMED),
        # the events say the same, and have other ids
        ([row(f"x{n}", n, f"u{n}") for n in range(4)], NAMED),
    ],
)
def test_rule_31_folders_of_files_of_one_size_and_span_are_not_matched_by_number(
    tmp_path: Path, other: list[dict[str, Any]], flow: fd.Flow
):
    rows = [row(f"e{n}" if other[0]["event_id"] else None, n, f"u{n}") for n in range(4)]
    for name, some in (("before", rows), ("after", other)):
        over(flow, some).to_parquet(tmp_path / name)
    with pytest.raises(fd.ReplayError, match="two logs"):
        fd.compare(*(fd.read_result(tmp_path / name) for name in ("before", "after")))


def test_rule_31_folders_of_files_that_begin_alike_are_told_apart_by_what_was_delivered(tmp_path: Path):
    rows = [row(f"e{n}", n, f"u{n}") for n in range(100)]
    other = [*rows[:80], *({**r, "event_id": f"x{n}"} for n, r in enumerate(rows[80:]))]
    for name, some in (("before", rows), ("after", other)):
        over(NAMED, some).to_parquet(tmp_path / name)
    with pytest.raises(fd.ReplayError, match="two logs"):
        fd.compare(*(fd.read_result(tmp_path / name) for name in ("before", "after")))


def test_rule_31_a_digest_whose_first_and_last_member_differ_is_the_same_digest_in_one_log():
    def digest(least: int, most: int) -> fd.Flow:
        chosen = on("link.created", name="n").where(f"metadata.n >= {least} and metadata.n <= {most}")
        return (
            chosen.batch("target_id", window="1h").map(recipient_id="u", n="{{ batch.count }}").deliver("s")
        )

    rows = [{**row(f"e{n}", n, f"u{n}"), "metadata": {"n": n}} for n in range(9)]
    log = fd.read_events(rows)
    results = [fd.replay(digest(least, most), log) for least, most in ((0, 7), (1, 6))]
    totals = fd.compare(*results).totals()
    assert (totals["changed"], totals["added"], totals["removed"]) == (1, 0, 0)


def test_rule_31_logs_with_the_same_events_are_told_to_be_the_same_without_looking_for_them(
    monkeypatch: pytest.MonkeyPatch,
):
    rows = [row(f"e{n}", n, f"u{n}") for n in range(4)]
    monkeypatch.setattr("flowdsl.comparison.counterparts.Events.of", None)
    assert fd.compare(over(NAMED, rows), over(NAMED, rows)).same
