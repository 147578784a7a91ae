"""A package that adds one of each kind (`tests/plugin`), installed, and driven through everything that shows or runs it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import flowdsl as fd
from flowdsl.notebook.completions import control, operator_list
from flowdsl.notebook.drafts import Draft
from flowdsl.notebook.edits import add, set_option
from flowdsl.operators import OPERATORS
from tests.plugins import install

PACKAGE = Path(__file__).parent / "plugin"
YAML = """
events:
  flows:
    - name: welcome
      trigger: {kind: link.created}
      pipeline:
        - filter: {condition: "domain(source_id) == 'example.org'"}
        - sample: {fraction: 0.5, key: source_id}
        - map: {template: {title: "{{ metadata.name | initials }}"}}
        - deliver: {sink: post}
sinks:
  - {name: post, type: mail, config: {sender: us@example.org}}
"""
NAMES = [f"{letter}nn@example.org" for letter in "abcdefgh"] + ["zoe@elsewhere.org"]


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text("utf-8"))["project"]
    points = {
        f"{group}:{name}": found.partition(":")[2]
        for group, entries in project["entry-points"].items()
        for name, found in entries.items()
    }
    source = (PACKAGE / "acme_flows.py").read_text("utf-8")
    assert len(source.splitlines()) <= 60
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", monkeypatch, project["name"], source, points)


@pytest.fixture
def log(tmp_path: Path) -> Any:
    """Events in the plug-in's own format of files."""
    lines = [
        f"kind=link.created link_type=likes source_id={name} target_id=p link_id=l{number} "
        f'timestamp=2026-01-01T00:00:0{number}Z metadata={{"name":"Ann"}}'
        for number, name in enumerate(NAMES)
    ]
    (tmp_path / "events.pairs").write_text("\n".join(lines), "utf-8")
    return fd.read_events(tmp_path / "events.pairs")


def flow() -> fd.Flow:
    return (
        fd.on("link.created", name="welcome")
        .where(fd.fn.domain(fd.var.source_id) == "example.org")
        .then(OPERATORS["sample"](0.5, "source_id"))
        .map(title="{{ metadata.name | initials }}")
        .deliver("post")
    )


def test_yaml_and_python_make_the_same_flow_and_python_text_makes_it_again() -> None:
    (loaded,) = fd.load(YAML).flows
    assert loaded == flow()
    scope: dict[str, Any] = {}
    exec(flow().to_python(), scope)
    assert scope["flow"] == flow()


def test_it_replays_delivers_explains_and_is_drawn(log: Any) -> None:
    assert log.problems is None or not len(log.problems)
    project = fd.load(YAML)
    sinks = project.build_sinks()
    result = fd.replay(project, log, sinks=sinks, dispatch=True)
    sampled = len(result["post"])
    assert 0 < sampled < 8
    assert sinks["post"].sent == [("us@example.org", "A")] * sampled
    assert result.steps.set_index("operator")["dropped"].loc[["where", "sample"]].tolist() == [
        1,
        8 - sampled,
    ]
    dropped = next(n for n in range(1, 9) if "not sampled" in str(result.explain(n)))
    assert "sample(0.5, key='source_id')" in str(result.explain(dropped))
    for picture in (flow().picture(), result.picture(), project.picture()):
        assert "sample" in str(picture)
        assert "sample" in picture.svg
    assert "domain(source_id)" in str(flow().picture())


def test_the_schema_and_the_designer_offer_it() -> None:
    definitions = fd.schema()["$defs"]
    assert set(definitions["sample"]["properties"]) == {"fraction", "key"}
    required = [part["required"] for part in definitions["sample"]["allOf"] if "required" in part]
    assert required == [["fraction", "key"]]
    assert set(definitions["mail_config"]["properties"]) == {"sender"}
    assert "sample" in [offered["name"] for offered in operator_list()]
    draft = add(Draft(), "sample")
    key = draft.steps[0].key
    for name, typed in (("fraction", "0.5"), ("key", "source_id")):
        draft = set_option(draft, key, name, typed)
    assert draft.steps[0].build() == flow().steps[1]
    options = OPERATORS["sample"].yaml_options()
    assert [control(options[name]) for name in ("fraction", "key")] == ["number", "path"]


def test_findings_know_it_and_say_that_production_does_not() -> None:
    plain = fd.on("link.created").map(a="b").deliver("s")
    assert "no-sample" in [found.code for found in plain.check()]
    assert "no-sample" not in [found.code for found in flow().check()]
    found = fd.load(YAML).check(target="this-rs")
    assert [one.step for one in found if one.code == "not-portable"] == [1, 2]
    assert "sink-type-unknown" in [one.code for one in found]
    with pytest.raises(fd.ExportError) as refused:
        flow().to_yaml()
    assert [problem.step for problem in refused.value.problems] == ["0 (where)", "1 (sample)", "2 (map)"]


def test_it_runs_live_and_goes_on_after_a_stop(log: Any, tmp_path: Path) -> None:
    project = fd.load(YAML)
    wanted = len(fd.replay(project, log)["post"])
    live = fd.ParquetEventLog(tmp_path / "log")
    events = [event for chunk in log.read() for event in pl.from_arrow(chunk).to_dicts()]
    sent: list[Any] = []
    for part in (events[:4], events[4:]):
        live.append(part)
        sinks = project.build_sinks()
        fd.Runtime(project, live, sinks=sinks).run_until_idle()
        sent += sinks["post"].sent
    assert sent == [("us@example.org", "A")] * wanted


def test_reports_comparisons_and_why_take_it(log: Any, tmp_path: Path) -> None:
    project = fd.load(YAML)
    result = fd.replay(project, log)
    everybody = fd.replay(flow().with_step(1, fraction=1), log)
    assert "sample" in result.report(tmp_path / "report.html").html
    compared = fd.compare(result, everybody)
    assert sum(row["after"] - row["before"] for row in compared.to_dict()["counts"]) == 8 - len(
        result["post"]
    )
    dropped = next(n for n in range(1, 9) if "not sampled" in str(result.explain(n)))
    assert "not sampled" in str(result.why(dropped, "p"))
