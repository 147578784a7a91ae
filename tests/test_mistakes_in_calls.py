"""Mistakes in calls, of Python and of the command line: each is answered with where it is, what is wrong, and what to do."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flowdsl as fd
from flowdsl import fn, on, var
from flowdsl.cli.main import main

LIKED = on("link.created", name="told")
FLOW = LIKED.map(recipient_id="{{ target_id }}", title="hello").deliver("in-app")
EVENT = {"timestamp": "2026-01-01T00:00:00Z", "event": fd.link_created("follows", "ann", "bob")}
NAMES: dict[str, Any] = {
    "fd": fd,
    "fn": fn,
    "on": on,
    "var": var,
    "flow": LIKED,
    "full": FLOW,
    "log": [EVENT],
}
NAMES["result"] = fd.replay(FLOW, [EVENT])

# the call; where the mistake is; what is said of it; what was allowed, or what to do
CALLS = """
on("link.crated") |  | 'link.crated' is not a kind of event | did you mean 'link.created'?
on("link.created", entity_type="post") |  | takes no entity_type | link_type
flow.filter("a == 1") | Flow | has no attribute 'filter' | that is 'where' here
flow.delay("1h") | Flow | has no attribute 'delay' | that is 'wait' here
flow.fanout("source_id") | Flow | has no attribute 'fanout' | that is 'fan_out' here
flow.throttle(3) | Flow | has no attribute 'throttle' | that is 'rate_limit' here
flow.run(log) | Flow | has no attribute 'run' | fd.replay(flow, log) runs it
flow.plot() | Flow | has no attribute 'plot' | flow.picture() draws it
flow.export() | Flow | has no attribute 'export' | flow.to_yaml() exports it
flow.lint() | Flow | has no attribute 'lint' | flow.check() looks for mistakes
fd.replya(flow, log) |  | has no attribute 'replya' | did you mean 'replay'?
fd.explain(result, 1) |  | has no attribute 'explain' | result.explain(…) is a method
fd.to_yaml(flow) |  | has no attribute 'to_yaml' | flow.to_yaml(…) is a method
result.in_app |  | has no attribute 'in_app' | result['in-app'] is the table of that sink
result.delivery |  | has no attribute 'delivery' | did you mean 'deliveries'?
result.to_csv("out.csv") |  | has no attribute 'to_csv' | result.deliveries.to_csv
flow.send("in-app") | Flow | has no attribute 'send' | that is 'deliver' here
flow.where("source_id = 'a'") | flow 'told', step 0 (where) | unexpected '=' at character 11 | equality is ==
flow.where("source_id ==") | flow 'told', step 0 (where) | the condition ends too early at character 13 | a path, a number
flow.where("owner.id == 1") | flow 'told', step 0 (where) | there is no variable 'owner' at this step | source_id, target_id
flow.where(3) | flow 'told', step 0 (where) | a condition cannot be 3 | text, an expression built with var
flow.resolve("targetid", as_="owner") | flow 'told', step 0 (resolve) | no variable 'targetid' | did you mean 'target_id'?
flow.resolve("target_id", as_="a.b") | flow 'told', step 0 (resolve) | as_ 'a.b' cannot name a variable | a letter or underscore
flow.resolve("target_id", as_="o", via="owns", direction="revrse") | flow 'told', step 0 (resolve) | direction 'revrse' is not known | did you mean 'reverse'?
flow.for_each("metadata", as_="true") | flow 'told', step 0 (for_each) | as_ 'true' cannot name a variable | letters, digits and underscores
flow.deduplicate("source_id", window="5 minutes") | flow 'told', step 0 (deduplicate) | '5 minutes' is not a duration | did you mean '5m'?
flow.deduplicate([], window="1h") | flow 'told', step 0 (deduplicate) | key is an empty list | one path or more
flow.batch("source_id") | flow 'told', step 0 (batch) | batch needs what closes its windows | window='5m'
flow.batch("source_id", window=300) | flow 'told', step 0 (batch) | a duration is text or a timedelta, not 300 | '300s' is seconds
flow.batch("source_id", every="wek") | flow 'told', step 0 (batch) | every 'wek' is not known | did you mean 'week'?
flow.rate_limit(0, per="1m", strategy="queue") | flow 'told', step 0 (rate_limit) | never lets anything out | strategy='drop'
flow.rate_limit(1, per="1m", strategy="wait") | flow 'told', step 0 (rate_limit) | strategy 'wait' is not known | 'drop' or 'queue'
flow.cap(3, per="hour") | flow 'told', step 0 (cap) | 'hour' is not a duration | write '1h'
flow.cap(3, per="day", tz="Europe/Berln") | flow 'told', step 0 (cap) | is not a time zone | did you mean 'Europe/Berlin'?
flow.wait() | flow 'told', step 0 (wait) | wait has nothing to wait for | a duration, until= and hours=
flow.wait(until="9 am") | flow 'told', step 0 (wait) | until '9 am' is not a time of day | such as '09:00'
flow.wait(hours="8-22") | flow 'told', step 0 (wait) | hours '8-22' is not a stretch of hours | did you mean '08:0
flow.map(title="{{ owner.name }}") | flow 'told', step 0 (map) | there is no variable 'owner' at this step | source_id, target_id
flow.map(title="{{ source_id") | flow 'told', step 0 (map): title | the template ends too early, at 1:13 | an operator
flow.map(title="{{ source_id | upcase }}") | flow 'told', step 0 (map): title | unknown filter `upcase`, at 1:16 | capitalize
flow.deliver("in-app") | flow 'told', step 0 (deliver) | deliver has no payload | put a map(…) before it
flow.map(a=1).deliver() | flow 'told', step 1 (deliver) | deliver needs at least one sink | deliver('in-app')
full.with_step(9, window="1h") | flow 'told' | there is no step 9 | 0 to 1
fd.replay(full, "nowhere.parquet") | nowhere.parquet | there is no such file or folder | read_events(…)
fd.replay(full, 3) |  | int is not an event log | a frame, an Arrow stream, a list of events
fd.replay([], log) |  | there is no flow to run | pass a flow
fd.replay("flows.yaml", log) |  | str is not a flow | load(path) reads YAML
fd.replay(full, log, start="soon") |  | start='soon' is no place in a log | 2026-01-31T12:00:00Z
fd.replay(full, log, open_windows="close") |  | open_windows='close' is not known | 'flush' or 'keep'
fd.replay(full, log, target="this") |  | target='this' is not known | did you mean 'this-rs'?
fd.replay(full, log, graph={"user": {}}) |  | graph is a dict | an EntityGraph, or None
fd.replay(full, log, dispatch=True) |  | dispatch=True without sinks | sinks={'in-app'
result["in-ap"] |  | no flow delivers to 'in-ap' | did you mean 'in-app'?
result.to_polars("in-app", ["titel"]) |  | 'in-app' has no column 'titel' | did you mean 'title'?
result.to_polars(table="errrors") |  | a result has no table 'errrors' | did you mean 'errors'?
result.explain(7) |  | the log has no event 7 | seq_no counts from 1
result.why(1, 3) |  | recipient is 3 | the id of a recipient, as text
fd.load("flows: [") | text:2:1 | this is not YAML | did not find expected node content
fd.read_events("nowhere.csv") | nowhere.csv | there is no such file or folder | there is nothing in
fd.read_events([], {"kind": 3}) |  | columns= has kind=3 | literal(3) is that value
fd.read_events([], time_unit="seconds") |  | time_unit='seconds' | 's', 'ms', 'us' or 'ns'
fd.read_graph("nowhere") |  | there is no folder 'nowhere' | a graph is a folder with entities/
fd.read_result("nowhere") |  | 'nowhere' holds no result | result.to_parquet(folder) writes one
fd.EntityGraph({"user": 3}) | entities 'user' | are an int | a frame with an 'id' column
fd.EntityGraph(links=[{"link_type": "owns"}]) | links | row 0 has no source_id | every link needs one
fd.link_created("follows", "a", None) |  | link.created without target_id | link_type, source_id and target_id
fd.sweep(full, log, windw=["1m"]) | flow 'told' | has an option 'windw' | template
fd.tune(full, log, vary={"9.window": ["1m"]}, subject_to=["delay.p90 <= 1h"]) | flow 'told' | there is no step 9 | 0 to 1
fd.MemoryEventLog().append({"kind": "link"}) |  | unknown kind 'link' | "action": "created"
var.owner.id == fn.nothing(3) |  | there is no function 'nothing' | coalesce
fn.avg(var.data.n) |  | there is no function 'avg' | sum(…) and count(…), and divide
fn.coun(var.data.n) |  | there is no function 'coun' | did you mean 'count'?
fd.Cap(0, per="day") |  | max is 0, and nothing would ever reach the sink | leave the sink out of deliver
fd.literal(object()) |  | literal(<object object | a value of JSON
fd.Runtime(full, "log") |  | there is no log 'log' | ParquetEventLog(folder) is a log that is still to be written
full.save("flows.yaml", overwrite="no") |  | overwrite is 'no' | True or False
full.resolve("target_id", as_="o", required=[1]) | step 2 (resolve) | required must be True or False | [1]
full.check(target="production") |  | target='production' is not known | 'this-rs'
"""

# the call; what is said of it; what to do
REFUSED = """
fd.compare(full, full, log) | compare takes 2 arguments without a name, and here are 3 | compare(replay(before, log), replay(after, log))
fd.compare(full, full, log=log) | compare has no option 'log' | compare(replay(before, log), replay(after, log))
fd.replay(full, log, None, 5) | replay takes 3 arguments without a name, and here are 4 | replay(…, start=5)
fd.replay(full) | replay needs 'log' | allowed: flows, log, graph
fd.replay(full, log, grph=None) | replay has no option 'grph' | did you mean 'graph'?
fd.replay(full, log, flows=full) | replay is given 'flows' twice | allowed: flows, log
fd.sweep(full, log, None, ["1m"]) | sweep takes 3 arguments without a name | sweep(…, window=['1m'])
fd.tune(full, log, None, {"window": ["1m"]}) | tune takes 3 arguments without a name | tune(…, vary={'window': ['1m']})
fd.tune(full, log) | tune needs 'vary' | subject_to, best
fd.read_events(log, {}, {}, {}, "s") | read_events takes 4 arguments without a name | read_events(…, shape='s')
fd.convert(log) | convert needs 'log' | allowed: source, log
fd.guess(log, columns={}) | guess has no option 'columns' | read_events and convert take the columns
fd.read_graph("folder", "latest") | read_graph takes one argument without a name | read_graph(…, merge='latest')
fd.load("text", None, True) | load takes 2 arguments without a name | load(…, skip_invalid=True)
fd.design(log, None, full, "this-rs") | design takes 3 arguments without a name | design(…, target='this-rs')
fd.EntityGraph({}, [], "latest") | EntityGraph takes 2 arguments without a name | EntityGraph(…, merge='latest')
fd.MemoryEventLog().append(log, None, "drop") | append takes 2 arguments without a name | append(…, duplicates='drop')
fd.ParquetEventLog("folder", "sync", 3) | ParquetEventLog takes 2 arguments without a name | ParquetEventLog(…, seal_rows=3)
fd.Runtime(full, log, None, {}, "c", {}) | Runtime takes 5 arguments without a name | Runtime(…, caps={})
fd.link_created("follows", "ann") | link_created needs 'target_id' | link_type, source_id
on("link.created", "likes") | on takes one argument without a name | on(…, link_type='likes')
full.check("this-rs", log) | check takes one argument without a name | check(…, log=…)
full.check(log) | is not known | log= and graph= are given by name
full.save("flows.yaml", True) | save takes one argument without a name | save(…, overwrite=True)
full.with_step(0, "1m") | with_step takes one argument without a name | with_step(…, window='1m')
full.to_yaml("flows.yaml") | to_yaml takes no argument without a name, and here is 1 | save(path) writes a file
full.picture("flow.svg") | picture takes no argument without a name | picture().save(path) writes a file
result.explain() | explain needs 'seq_no' | seq_no, flow
result.why(1) | why needs 'recipient' | seq_no, recipient
result.to_parquet("folder", True) | to_parquet takes one argument without a name | to_parquet(…, overwrite=True)
result.to_polars("in-app", [], "errors") | to_polars takes 2 arguments without a name | to_polars(…, table='errors')
fd.testing.FlowTest("name") | FlowTest takes no argument without a name | FlowTest(…, name='name')
"""

# the arguments; the exit code; what is said of it; what was allowed, or what to do
COMMANDS = """
 | 2 | the following arguments are required | COMMAND
replya flows.yaml | 2 | invalid choice: 'replya' | replay
replay flows.yaml | 2 | the following arguments are required | --log
replay none.yaml --log events.jsonl | 2 | none.yaml | --help
replay flows.yaml --log none.parquet | 2 | none.parquet | --help
replay flows.yaml --log events.jsonl --graph none | 2 | none | --help
replay flows.yaml --log events.jsonl --rows -1 | 2 | argument --rows | -1
replay flows.yaml --log events.jsonl --target this | 2 | argument --target: invalid choice: 'this' | this-rs
replay flows.yaml --log events.jsonl --start soon | 1 | --start 'soon' is no place in a log | 2026-01-31T12:00:00Z
replay flows.yaml --log events.jsonl --open-windows close | 2 | argument --open-windows: invalid choice: 'close' | flush
replay broken/flows.yaml --log events.jsonl | 1 | broken/flows.yaml:4:7 | did you mean 'filter'?
explain flows.yaml 7 --log events.jsonl | 1 | the log has no event 7 | seq_no counts from 1
explain flows.yaml one --log events.jsonl | 2 | argument SEQ_NO | one
why flows.yaml 1 --log events.jsonl | 2 | the following arguments are required | RECIPIENT
convert none.csv log | 2 | none.csv | --help
convert events.jsonl log --column kind | 2 | kind | --help
sample --events x | 2 | argument --events | x
completion fish | 2 | invalid choice: 'fish' | bash
"""


def rows(table: str) -> list[list[str]]:
    return [[part.strip() for part in line.rsplit(" | ", 3)] for line in table.strip("\n").splitlines()]


def test_there_are_more_than_forty():
    assert len(rows(CALLS)) > 40
    assert len(rows(COMMANDS)) > 10


@pytest.mark.parametrize(("call", "place", "what", "way_out"), rows(CALLS), ids=lambda text: text[:60])
def test_a_mistake_in_a_call_is_answered(
    call: str, place: str, what: str, way_out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((fd.FlowError, AttributeError)) as caught:
        eval(call, dict(NAMES))
    said = str(caught.value)
    assert place in said.partition(what)[0]
    assert what in said
    assert way_out in said.replace("\n", " ")
    assert (
        isinstance(caught.value, fd.FlowError)
        or " has no attribute " in said
        or "there is no function" in said
    )


@pytest.mark.parametrize(("call", "what", "way_out"), rows(REFUSED), ids=lambda text: text[:60])
def test_a_call_that_python_refuses_is_answered_as_others(call: str, what: str, way_out: str):
    with pytest.raises(fd.FlowError) as caught:
        eval(call, dict(NAMES))
    assert what in caught.value.what
    assert way_out in str(caught.value)


def test_every_public_callable_answers_an_argument_that_it_has_not():
    # sweep takes the options of steps
    for name in {*fd.__all__} - {"sweep"}:
        public = getattr(fd, name)
        if inspect.isfunction(public) or name in ("Runtime", "EntityGraph", "Cap", "Shape", "Spark"):
            with pytest.raises(fd.CallError, match=f"{name} has no option 'nonsense'"):
                public(*[None] * _needed(public), nonsense=1)


def test_the_mistakes_of_a_function_itself_stay_as_they_are():
    def events() -> Iterator[Any]:
        raise TypeError("it is not for the call")
        yield

    with pytest.raises(TypeError, match="it is not for the call") as caught:
        fd.MemoryEventLog().append(events())
    assert not isinstance(caught.value, fd.FlowError)


def _needed(public: Any) -> int:
    """How many arguments without a name a call must have."""
    several = inspect.signature(public).parameters.values()
    return len([one for one in several if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD])


@pytest.mark.parametrize(("arguments", "code", "what", "way_out"), rows(COMMANDS), ids=lambda text: text[:60])
def test_a_mistake_on_the_command_line_is_answered_in_its_words(
    arguments: str, code: str, what: str, way_out: str, folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(arguments.split()) == int(code)
    said = capsys.readouterr().err
    assert what in said
    assert way_out in said
    assert "Traceback" not in said


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "flows.yaml").write_text(FLOW.to_yaml(), "utf-8")
    (tmp_path / "broken" / "flows.yaml").write_text(
        "- name: f\n  trigger: {kind: link.created}\n  pipeline:\n    - when: {condition: 'a == 1'}\n",
        "utf-8",
    )
    (tmp_path / "events.jsonl").write_text(json.dumps(EVENT) + "\n", "utf-8")
    return tmp_path


FAILING = LIKED.resolve("target_id", as_="owner").map(title="{{ owner.name }}").deliver("in-app")


@pytest.mark.parametrize(("more", "code"), [([], 1), (["--allow-failures"], 0)])
def test_failed_contexts_make_a_replay_fail_unless_they_may(
    more: list[str], code: int, folder: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "failing.yaml").write_text(FAILING.to_yaml(), "utf-8")
    assert main(["replay", "failing.yaml", "--log", "events.jsonl", *more]) == code
    assert "1 contexts failed: no entity has the id" in capsys.readouterr().err


def test_places_of_findings_have_the_whole_path(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", "broken/flows.yaml"]) == 1
    assert "broken/flows.yaml:4:7: error: there is no operator 'when'" in capsys.readouterr().out
