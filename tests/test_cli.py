"""The command line: data to stdout, messages to stderr, exit codes that scripts can rely on."""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

import flowdsl as fd
from flowdsl.cli.main import main
from flowdsl.samples.datasets import Sample, write_sample
from tests.programs import printed

GOOD = """
- name: f
  description: it says hello
  trigger: {kind: link.created}
  pipeline:
    - map: {template: {title: "hello {{ target_id }}"}}
    - deliver: {sink: in-app}
"""
FAILING = GOOD.replace("    - map", "    - resolve: {from: source_id, as: who}\n    - map")
Captured = pytest.CaptureFixture[str]


# prints which libraries a command imports, which take longer to load than most commands to run
IMPORTS = """
import contextlib, io, sys
from flowdsl.cli.main import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    main(sys.argv[1:])
print(*sorted({"pandas", "polars", "pyarrow", "networkx"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_sample(tmp_path_factory.mktemp("sample"), events=2_000, seed=5)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "failing.yaml").write_text(FAILING)
    lines = [
        json.dumps(
            {"timestamp": f"2026-01-01T00:00:0{i}Z", "event": fd.link_created("follows", "ann", f"u{i}")}
        )
        for i in range(3)
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(capsys: Captured, *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def test_the_version_goes_to_stdout(capsys: Captured):
    assert run(capsys, "--version") == (0, f"flowdsl {fd.__version__}\n", "")


def test_help_imports_no_library_for_data():
    assert printed(IMPORTS, "replay", "--help").split() == []


def test_a_replay_imports_pandas_only_for_frames(sample: Sample, tmp_path: Path):
    where = ("--log", sample.log, "--graph", sample.graph)
    for command in (("replay", sample.flows, "--out", tmp_path), ("explain", sample.flows, 7)):
        assert printed(IMPORTS, *command, *where).split() == ["polars", "pyarrow"]


@pytest.mark.parametrize("command", ["demo", "replay", "show", "sample", "convert"])
def test_every_command_has_help(capsys: Captured, command: str):
    code, out, err = run(capsys, command, "--help")
    assert (code, err) == (0, "")
    assert f"usage: flowdsl {command}" in out
    assert command in run(capsys, "--help")[1]


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["nothing"], ["replay"], ["replay", "good.yaml"], ["replay", "none.yaml", "--log", "events.jsonl"],
        ["replay", "good.yaml", "--log", "none.parquet"], ["replay", "good.yaml", "--log", "events.jsonl", "--graph", "none"],
        ["replay", "good.yaml", "--log", "events.jsonl", "--rows", "-1"], ["sample", "--events", "0"],
        ["sample", "--events", "x"], ["sample", "--seed", "-1"], ["show", "none.yaml"], ["convert", "none.csv", "log"],
        ["convert", "events.jsonl", "log", "--column", "kind"], ["convert", "events.jsonl", "log", "--kind", "=x"],
    ],
)  # fmt: skip
def test_wrong_use_exits_with_2_and_says_why_on_stderr(capsys: Captured, files: Path, arguments: list[str]):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(("usage:", "flowdsl "))


def test_demo_makes_its_data_once_and_prints_the_tables(capsys: Captured, tmp_path: Path):
    code, out, err = run(capsys, "demo", tmp_path / "s", "--events", 600)
    assert code == 0
    assert "making 600 events" in err
    for part in ("600 events replayed", "notify-like", "in-app:", "feed:", "delivered_at"):
        assert part in out
    again = run(capsys, "demo", tmp_path / "s")
    assert again[1] == out
    assert "making" not in again[2]
    counts = json.loads(run(capsys, "demo", tmp_path / "s", "--json")[1])
    assert counts["events"] == 600


def test_replay_prints_what_was_delivered(capsys: Captured, files: Path):
    code, out, err = run(capsys, "replay", "good.yaml", "--log", "events.jsonl", "--rows", 2)
    assert code == 0
    assert "3 events replayed, 3 deliveries" in out
    assert "in-app: 3 deliveries" in out
    assert "hello u1" in out
    assert "hello u2" not in out
    assert "… 1 rows more" in out
    assert "3 events in" in err


def test_rule_35_commands_that_replay_leave_the_clock_where_the_next_events_say(
    capsys: Captured, files: Path
):
    flow = GOOD.replace("    - map", "    - deduplicate: {key: source_id, window: 30s}\n    - map")
    (files / "once.yaml").write_text(flow)
    seconds = [0, None, *range(1, 12)]
    times = ["2077-01-01T00:00:00Z" if s is None else f"2026-01-01T00:00:{s:02}Z" for s in seconds]
    with fd.ParquetEventLog(files / "log") as log:
        log.append([{"timestamp": t, "event": fd.link_created("follows", "ann", "bob")} for t in times])

    def counts(*more: str) -> int:
        said = run(capsys, "replay", "once.yaml", "--log", "log", "--json", *more)
        return sum(row["count"] for row in json.loads(said[1])["delivered"])

    assert (counts(), counts("--max-ahead-of-next", "1h")) == (2, 1)
    check = ("check", "once.yaml", "--log", "log", "--least", "warning")
    assert "[future-event]" in run(capsys, *check)[1]
    checked = run(capsys, *check, "--max-ahead-of-next", "1h")[1]
    assert "[future-event]" not in checked
    assert "1 delivery as meant, 1 in production" in checked
    assert (
        run(capsys, "compare", "once.yaml", "good.yaml", "--log", "log", "--max-ahead-of-next", "1h")[0] == 1
    )
    code, _, err = run(capsys, "replay", "once.yaml", "--log", "log", "--max-ahead-of-next", "soon")
    assert code == 2
    assert "argument --max-ahead-of-next: 'soon' is not a duration" in err


def test_replay_over_a_sample_with_its_graph(capsys: Captured, sample: Sample, tmp_path: Path):
    out_folder = tmp_path / "out"
    code, out, err = run(
        capsys,
        "replay",
        sample.flows,
        "--log",
        sample.log,
        "--graph",
        sample.graph,
        "--stop",
        1000,
        "--out",
        out_folder,
    )
    failed = len(fd.read_result(out_folder).errors)
    assert code == (1 if failed else 0)
    assert f"written to {out_folder}" in err
    assert "999 events replayed" in out
    counts = json.loads(
        run(capsys, "replay", sample.flows, "--log", sample.log, "--graph", sample.graph, "--json")[1]
    )
    assert counts["events"] == 2000
    assert sum(d["count"] for d in counts["delivered"]) > 500


def test_contexts_that_fail_make_the_exit_code_1(capsys: Captured, files: Path):
    code, out, err = run(capsys, "replay", "failing.yaml", "--log", "events.jsonl")
    assert code == 1
    assert "3 failed" in out
    assert "3 contexts failed: no entity has the id in 'source_id' (3)" in err


def test_start_and_stop_are_numbers_or_timestamps(capsys: Captured, files: Path):
    def delivered(*options: object) -> int:
        out = run(capsys, "replay", "good.yaml", "--log", "events.jsonl", "--json", *options)[1]
        return sum(d["count"] for d in json.loads(out)["delivered"])

    assert delivered("--start", 2) == 2
    assert delivered("--stop", 2) == 1
    assert delivered("--start", "2026-01-01T00:00:01Z", "--stop", "2026-01-01T00:00:02Z") == 1
    code, _, err = run(capsys, "replay", "good.yaml", "--log", "events.jsonl", "--start", "soon")
    assert code == 1
    assert "--start 'soon' is no place in a log" in err


def test_flows_that_are_refused_exit_with_1_and_their_places(capsys: Captured, files: Path):
    (files / "bad.yaml").write_text(GOOD.replace("link.created", "link.creatd").replace("deliver", "delivr"))
    for command in (["show", "bad.yaml"], ["replay", "bad.yaml", "--log", "events.jsonl"]):
        code, out, err = run(capsys, *command)
        assert (code, out) == (1, "")
        assert "bad.yaml:4:19" in err
        assert "bad.yaml:7:7" in err
        assert "did you mean 'deliver'?" in err


def test_show_prints_a_picture(capsys: Captured, files: Path):
    code, out, err = run(capsys, "show", "good.yaml", "--format", "svg")
    assert (code, err) == (0, "")
    assert ET.fromstring(out).get("role") == "img"
    assert run(capsys, "show", "good.yaml", "--format", "mermaid")[1].startswith("flowchart TD\n")
    assert run(capsys, "show", "good.yaml", "--format", "text") == run(capsys, "show", "good.yaml")
    assert run(capsys, "show", "good.yaml", "--format", "png")[0] == 2
    assert run(capsys, "show", "good.yaml", "--format", "svg", "--json")[0] == 2


def test_show_prints_the_steps(capsys: Captured, files: Path):
    assert (
        run(capsys, "show", "good.yaml")[1]
        == """\
f
  it says hello
      on('link.created')
   0  map(title='hello {{ target_id }}')
   1  deliver('in-app')
  to  in-app
"""
    )
    shown = json.loads(run(capsys, "show", "good.yaml", "--json")[1])
    assert shown["flows"][0]["steps"][1] == {"operator": "deliver", "text": "deliver('in-app')"}


def test_flows_come_from_stdin(capsys: Captured, files: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
    assert "it says hello" in run(capsys, "show", "-")[1]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe")))
    code, _, err = run(capsys, "show", "-")
    assert code == 1
    assert "stdin:1:1: this is not UTF-8 text" in err


def test_sample_prints_where_the_files_are(capsys: Captured, tmp_path: Path):
    code, out, _ = run(capsys, "sample", tmp_path / "s", "--events", 50, "--seed", 9, "--json")
    assert code == 0
    assert all(Path(path).exists() for path in json.loads(out).values())
    (tmp_path / "file").touch()
    code, _, err = run(capsys, "sample", tmp_path / "file" / "s")
    assert code == 1
    assert "Not a directory" in err


CSV = """\
at,what,who,url
1767225600,add,ann,a
1767225601,change,bob,a
1767225602,look,bob,a
nonsense,add,bob,b
1767225603,remove,cat,a
"""
MAPPING = (
    "--column", "timestamp=at", "--time-unit", "s", "--column", "kind=what", "--column", "source_id=who",
    "--column", "target_id=url", "--column", "link_id=url", "--literal", "link_type=lists", "--kind", "add=link.created",
    "--kind", "remove=link.deleted", "--split", "change=link.deleted,link.created",
)  # fmt: skip


def test_convert_appends_a_file_of_another_shape_to_a_log(capsys: Captured, files: Path):
    (files / "links.csv").write_text(CSV)
    code, out, err = run(capsys, "convert", "links.csv", "log", *MAPPING, "--kind", "look=")
    assert code == 1
    assert out == "4 events appended to log, 1 row left out; the last is event 4\n"
    assert "links.csv:5: timestamp 'nonsense' cannot be read" in err
    kinds = [row["kind"] for batch in fd.ParquetEventLog("log").read() for row in batch.to_pylist()]
    assert kinds == ["link.created", "link.deleted", "link.created", "link.deleted"]
    assert run(capsys, "replay", "good.yaml", "--log", "log")[0] == 0
    code, out, _ = run(capsys, "convert", "links.csv", "log", *MAPPING, "--kind", "*=", "--json")
    assert json.loads(out)["last_seq_no"] == 8
    assert json.loads(out)["left_out"] == 1


def test_convert_splits_a_change_with_columns_of_its_own_for_each_part(capsys: Captured, files: Path):
    (files / "changes.csv").write_text("at,op,old,new,post\n1,u,ann,bob,p\n")
    mapping = (
        "--column", "timestamp=at", "--time-unit", "s", "--column", "kind=op", "--column", "target_id=post",
        "--literal", "link_type=owns",
    )  # fmt: skip
    split = "u=link.deleted(source_id=old,link_id={old}:{post}),link.created(source_id=new)"
    assert run(capsys, "convert", "changes.csv", "log", *mapping, "--split", split)[0] == 0
    names = ["kind", "source_id", "link_id"]
    found = [
        tuple(row.values()) for b in fd.ParquetEventLog("log").read() for row in b.select(names).to_pylist()
    ]
    assert found == [("link.deleted", "ann", "ann:p"), ("link.created", "bob", None)]
    code, _, err = run(
        capsys, "convert", "changes.csv", "log", *mapping, "--split", "u=link.deleted(source_id=old"
    )
    assert code == 2
    assert "like link.deleted(source_id=old)" in err.replace("link.deleted, or ", "")


def test_convert_reads_json_lines_from_stdin_and_joins_values(
    capsys: Captured, files: Path, monkeypatch: pytest.MonkeyPatch
):
    row = {"type": "Watch", "at": "2026-01-01T00:00:00Z", "actor": "ann", "repo": {"owner": "o", "name": "n"}}
    other = {"type": "Fork", "at": "2026-01-01T00:00:01Z", "actor": "bob", "repo": None}
    text = "\n".join(map(json.dumps, (row, other)))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    code, out, _ = run(
        capsys, "convert", "-", "log", "--column", "kind=type", "--kind", "Watch=link.created", "--kind", "*=",
        "--column", "timestamp=at", "--column", "source_id=actor", "--column", "target_id={repo.owner}/{repo.name}",
        "--literal", "link_type=stars",
    )  # fmt: skip
    assert code == 0
    assert out.startswith("1 event appended")
    (batch,) = fd.ParquetEventLog("log").read()
    assert batch.to_pylist()[0]["target_id"] == "o/n"


SHARED = Path(__file__).parents[2] / "shared" / "data"
STARS = (
    "--column", "kind=type", "--kind", "WatchEvent=link.created", "--kind", "*=", "--literal", "link_type=stars",
    "--column", "source_id=actor", "--column", "target_id={repository.owner}/{repository.name}",
    "--column", "timestamp=created_at", "--time-format", "%Y/%m/%d %H:%M:%S %z", "--time-format", "%Y-%m-%dT%H:%M:%S%z",
)  # fmt: skip


@pytest.mark.skipif(not SHARED.exists(), reason="the real histories are not here")
def test_two_hours_of_stars_are_converted_and_replayed(capsys: Captured, files: Path):
    source = SHARED / "slim_2012_two_hours.jsonl.gz"
    code, out, err = run(capsys, "convert", source, "stars", *STARS)
    assert code == 0, err
    with gzip.open(source, "rt") as file:
        stars = [row for row in map(json.loads, file) if row["type"] == "WatchEvent"]
    assert len(stars) == 938
    assert out.startswith("938 events appended to stars, 10,087 rows left out")
    counts = json.loads(run(capsys, "replay", "good.yaml", "--log", "stars", "--json")[1])
    assert counts["delivered"] == [{"flow": "f", "sink": "in-app", "count": 938}]


def test_problems_of_files_are_no_tracebacks(capsys: Captured, files: Path):
    (files / "empty").mkdir()
    (files / "bad.parquet").write_text("no parquet")
    (files / "bad.jsonl").write_text("{\n")
    assert run(capsys, "replay", "good.yaml", "--log", "empty")[0] == 1
    assert run(capsys, "replay", "good.yaml", "--log", "bad.parquet")[0] == 1
    code, _, err = run(capsys, "replay", "good.yaml", "--log", "bad.jsonl")
    assert (code, "the only row is not an event" in err) == (1, True)
    assert run(capsys, "replay", "good.yaml", "--log", "events.jsonl", "--out", ".")[0] == 1


def test_it_runs_as_a_program_and_survives_a_closed_pipe(sample: Sample):
    command = [sys.executable, "-m", "flowdsl", "show", str(sample.flows)]
    assert b"notify-like" in subprocess.run(command, capture_output=True, check=True).stdout
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


# -- nonsense ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["replay", "good.yaml", "--log", "events.jsonl", "--start", "1" * 5_000], "more than 18 digits"),
        (["replay", "good.yaml", "--log", "events.jsonl", "--rows", "9" * 30], "of 18 digits at most"),
        (["replay", "good.yaml", "--log", "events.jsonl", "--graph", ""], "graph is empty"),
        (["replay", "good.yaml", "--log", ""], "log is empty"),
        (["replay", "good.yaml", "--log", "events.jsonl", "--out", "a\0b"], "out has a NUL character"),
        (["replay", "good.yaml", "--log", "events.jsonl", "--report", "events.jsonl"], "would write over"),
        # argparse says so itself from 3.13 on
        (["show", "good.yaml", "--format=--"], "--format"),
        (["replay", "good.yaml", "--log=--"], "--log needs a value, which -- is not"),
        (["check", "good.yaml", ""], "flows is empty"),
        (["sample", "new", "--events", "9" * 12], "between 1 and 1,000,000,000"),
        (["sample", "new", "--seed", "-1"], "no whole number of at least 0"),
    ],
)
def test_nonsense_in_arguments_is_wrong_use_and_costs_nothing(
    given: list[str], said: str, files: Path, capsys: Captured
):
    before = {path: path.read_bytes() for path in files.iterdir()}
    code, out, err = run(capsys, *given)
    assert (code, out) == (2, "")
    assert said in err
    assert {path: path.read_bytes() for path in files.iterdir()} == before


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, "\ud800", "not-utf-8-\udcff"])
@pytest.mark.parametrize(
    "use",
    [
        fd.load,
        fd.ParquetEventLog,
        fd.read_events,
        fd.read_graph,
        fd.read_result,
        fd.sinks.InApp,
        fd.sinks.Feed,
        lambda path: fd.replay(fd.load(GOOD), [], out=path),
        lambda path: fd.replay(fd.load(GOOD), path),
        lambda path: fd.load(GOOD).save(path),
    ],
)
def test_a_path_that_no_file_can_have_is_a_typed_error(use: Any, path: str):
    with pytest.raises(fd.FlowError, match=r"NUL|half a surrogate|255 bytes"):
        use(path)


def test_a_consumer_whose_name_is_not_unicode_is_a_typed_error(tmp_path: Path):
    with (
        fd.ParquetEventLog(tmp_path / "log") as log,
        pytest.raises(fd.LiveError, match="half a surrogate pair"),
    ):
        fd.Runtime(fd.load(GOOD), log, consumer_name="\udcff")


def test_explain_prints_what_happened_to_one_event(sample: Sample, capsys: Captured):
    flows, history = str(sample.flows), ["--log", str(sample.log), "--graph", str(sample.graph)]
    assert main(["explain", flows, "1", *history, "--flow", "notify-like"]) == 0
    text = capsys.readouterr().out
    project, graph = fd.load(sample.flows), fd.read_graph(sample.graph)
    assert text == f"{fd.replay(project, str(sample.log), graph).explain(1, 'notify-like')}\n"
    assert main(["explain", flows, "1", *history, "--format", "svg"]) == 0
    ET.fromstring(capsys.readouterr().out)
    assert main(["explain", flows, "999999", *history]) == 1
    assert "the log has no event 999999" in capsys.readouterr().err


def test_why_answers_for_one_recipient_with_its_exit_code(sample: Sample, capsys: Captured):
    flows, history = str(sample.flows), ["--log", str(sample.log), "--graph", str(sample.graph)]
    delivered = fd.replay(fd.load(sample.flows), str(sample.log), fd.read_graph(sample.graph)).deliveries
    seq_no, recipient = delivered[["seq_no", "recipient_id"]].iloc[0].tolist()
    assert main(["why", flows, str(seq_no), recipient, *history]) == 0
    assert re.search(rf"Yes: event {seq_no} reached .+ \(user {recipient}\), by ", capsys.readouterr().out)
    assert main(["why", flows, str(seq_no), "nobody", *history]) == 1
    assert f"No: event {seq_no} did not reach nobody" in capsys.readouterr().out


def test_a_shell_completes_commands_and_options_by_the_script(tmp_path: Path):
    script = subprocess.run(
        [sys.executable, "-m", "flowdsl", "completion", "bash"], capture_output=True, text=True, check=True
    ).stdout
    (tmp_path / "completion.bash").write_text(script)
    asked = """
    source completion.bash
    COMP_WORDS=(flowdsl re); COMP_CWORD=1; _shtab_flowdsl; echo "${COMPREPLY[@]}"
    COMP_WORDS=(flowdsl replay --op); COMP_CWORD=2; _shtab_flowdsl; echo "${COMPREPLY[@]}"
    COMP_WORDS=(flowdsl replay --target th); COMP_CWORD=3; _shtab_flowdsl; echo "${COMPREPLY[@]}"
    """
    answer = subprocess.run(["bash", "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["replay", "--open-windows", "this-rs"]
