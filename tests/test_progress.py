"""Whatever takes long says how far it is: to a function, on a terminal, and in a notebook that keeps nothing of it."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import polars as pl
import pytest
from nbclient import NotebookClient

import flowdsl as fd
from flowdsl import on, progress
from flowdsl.engine import local
from flowdsl.log import convert
from flowdsl.samples.datasets import write_sample

SIZE = 300_000
Heard = list[tuple[int, int | None]]


def follows(size: int = SIZE) -> pl.DataFrame:
    number = pl.int_range(size, eager=True)
    return pl.DataFrame(
        {
            "timestamp": (number * 1_000_000).cast(pl.Datetime("us", "UTC")),
            "kind": "link.created",
            "link_type": "follows",
            "source_id": "u" + (number % 7919).cast(pl.String),
            "target_id": "u" + (number % 6007).cast(pl.String),
        }
    )


FLOW = on("link.created", name="followed").map(recipient_id="{{ target_id }}", title="{{ source_id }}")
DELIVERED = FLOW.deliver("push")
REMEMBERING = on("link.created", name="once").deduplicate("source_id", window="1h").map(a=1).deliver("push")


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    return follows()


@pytest.fixture(scope="module")
def result(events: pl.DataFrame) -> fd.Result:
    return fd.replay(DELIVERED, events, progress=False)


@pytest.fixture(scope="module")
def few(events: pl.DataFrame) -> pl.DataFrame:
    """Enough for a bar that comes at once."""
    return events[:20_000]


@pytest.fixture(scope="module")
def result_of_few(few: pl.DataFrame) -> fd.Result:
    return fd.replay(DELIVERED, few, progress=False)


@pytest.fixture(scope="module")
def log(events: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    with fd.ParquetEventLog(folder) as opened:
        opened.append(events, progress=False)
    return folder


def users(size: int) -> pl.DataFrame:
    return pl.DataFrame({"id": pl.int_range(size, eager=True).cast(pl.String), "name": ["Ada"] * size})


def links(size: int) -> pl.DataFrame:
    ends = pl.int_range(size, eager=True).cast(pl.String)
    return pl.DataFrame({"link_type": ["follows"] * size, "source_id": ends, "target_id": ends.reverse()})


def told(work: Callable[[Any], Any]) -> Heard:
    """What a function is told while something works; more and more, and all of it in the end."""
    heard: Heard = []
    work(lambda done, total: heard.append((done, total)))
    done = [one for one, _ in heard]
    assert done == sorted(set(done))
    assert all(total is None or one <= total for one, total in heard)
    assert heard[-1][0] == heard[-1][1]
    return heard


# -- to a function -----------------------------------------------------------------------------------------


def test_a_replay_tells_of_every_chunk(events: pl.DataFrame):
    heard = told(lambda tell: fd.replay(DELIVERED, events, progress=tell))
    assert heard == [(131_072, SIZE), (SIZE, SIZE)]


def test_a_replay_of_a_part_of_the_log_ends_with_all_of_it(events: pl.DataFrame):
    heard = told(lambda tell: fd.replay(DELIVERED, events, stop=1_000, progress=tell))
    assert heard == [(999, SIZE), (SIZE, SIZE)]


def test_a_replay_that_goes_on_tells_of_what_is_left(events: pl.DataFrame):
    first = fd.replay(DELIVERED, events, stop=200_001, progress=False)
    heard = told(lambda tell: fd.replay(DELIVERED, events, state=first.state, progress=tell))
    assert heard[-1] == (100_000, 100_000)


def test_gathering_the_final_graph_is_a_part_of_the_replay(events: pl.DataFrame):
    heard = told(lambda tell: fd.replay(DELIVERED, events, as_of="end", progress=tell))
    assert len(heard) == 5
    assert heard[2][0] == int(0.3 * SIZE)


def test_a_comparison_moves_within_one_sink(result: fd.Result, events: pl.DataFrame):
    other = fd.replay(DELIVERED, events.with_columns(target_id="source_id"), progress=False)
    heard = told(lambda tell: fd.compare(result, other, progress=tell))
    assert len(heard) >= 10
    assert heard[-1] == (2 * SIZE, 2 * SIZE)


def test_a_comparison_with_nothing_tells_as_well(result: fd.Result, events: pl.DataFrame):
    nothing = fd.replay(FLOW.deliver("feed"), events[:10], progress=False)
    assert told(lambda tell: fd.compare(result, nothing, progress=tell))[-1] == (SIZE + 10, SIZE + 10)


def test_a_graph_of_one_large_frame_of_each_tells_several_times():
    heard = told(lambda tell: fd.EntityGraph({"user": users(3_000)}, links(5_000), progress=tell))
    assert len(heard) >= 5
    assert heard[-1] == (8_000, 8_000)


def test_a_graph_of_mappings_tells_while_it_reads_them():
    people = {str(number): {"n": number} for number in range(40_000)}
    pairs = [{"link_type": "x", "source_id": i, "target_id": i + 1} for i in range(40_000)]
    heard = told(lambda tell: fd.EntityGraph({"user": people}, pairs, progress=tell))
    assert len(heard) >= 8
    assert heard[0] == (6_553, 80_000)


def test_a_graph_of_what_cannot_be_counted_beforehand_ends_all_the_same():
    heard: Heard = []
    pairs = ({"link_type": "x", "source_id": i, "target_id": i + 1} for i in range(1_000))
    fd.EntityGraph(links=pairs, progress=lambda done, total: heard.append((done, total)))
    assert {total for _, total in heard} == {None}
    assert heard[-1][0] == 1_000


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_reading_a_graph_tells_of_files_and_of_ids(suffix: str, tmp_path: Path):
    (tmp_path / "entities").mkdir()
    write = f"write_{suffix}"
    getattr(users(2_000), write)(tmp_path / "entities" / f"user.{suffix}")
    getattr(links(4_000), write)(tmp_path / f"links.{suffix}")
    heard = told(lambda tell: fd.read_graph(tmp_path, progress=tell))
    assert len(heard) >= 5
    assert heard[0][1] == (6_000 if suffix == "parquet" else None)
    assert heard[-1] == (6_000, 6_000)


def test_reading_events_tells_of_every_block(events: pl.DataFrame):
    heard = told(lambda tell: fd.read_events(events, progress=tell))
    assert len(heard) == 6
    assert heard[0] == (int(0.7 * 65_536), SIZE)


def test_how_many_events_a_text_file_has_is_known_when_it_was_read(tmp_path: Path):
    follows(70_000).with_columns(pl.col("timestamp").cast(pl.String)).write_ndjson(tmp_path / "e.jsonl")
    heard = told(lambda tell: fd.read_events(tmp_path / "e.jsonl", progress=tell))
    assert heard[0][1] is None
    assert heard[-1] == (70_000, 70_000)


def test_converting_tells_of_reading_and_of_writing(events: pl.DataFrame, tmp_path: Path):
    with fd.ParquetEventLog(tmp_path / "log") as log:
        heard = told(lambda tell: convert(events, log, progress=tell))
    assert len(heard) >= 7
    assert heard[-1] == (SIZE, SIZE)


def test_appending_a_frame_tells_of_every_piece(events: pl.DataFrame, tmp_path: Path):
    with fd.ParquetEventLog(tmp_path / "log") as log:
        assert told(lambda tell: log.append(events, progress=tell))[0] == (131_072, SIZE)
        assert told(lambda tell: fd.MemoryEventLog().append(log, progress=tell))[-1] == (SIZE, SIZE)


def test_appending_a_list_tells_while_it_is_looked_at(tmp_path: Path):
    many = [fd.link_created("likes", "ann", f"p{number}") for number in range(50_000)]
    with fd.ParquetEventLog(tmp_path / "log") as log:
        heard = told(lambda tell: log.append(many, progress=tell))
        assert len(heard) >= 4
        assert told(lambda tell: fd.MemoryEventLog().append(many, progress=tell))[-1] == (50_000, 50_000)


def test_the_upkeep_of_a_log_tells(events: pl.DataFrame, tmp_path: Path):
    with fd.ParquetEventLog(tmp_path / "log") as log:
        for part in events.iter_slices(50_000):
            log.append(part, progress=False)
        assert len(told(lambda tell: log.verify(progress=tell))) == 6
        assert len(told(lambda tell: log.compact(progress=tell))) >= 5
        assert told(lambda tell: log.verify(repair=True, progress=tell)) == [(SIZE, SIZE)]


@pytest.mark.parametrize("what", ["explain", "why", "as_test"])
def test_understanding_one_event_tells_of_the_replay_up_to_it(
    what: str, events: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(local, "LARGE_CHUNK", SIZE // 2)
    result = fd.replay(REMEMBERING, events, progress=False)
    more = ("u5",) if what == "why" else ()
    heard = told(lambda tell: getattr(result, what)(200_000, *more, progress=tell))
    assert len(heard) >= 2
    assert heard[-1] == (SIZE, SIZE)


def test_writing_a_result_and_its_report_tell(result: fd.Result, tmp_path: Path):
    assert told(lambda tell: result.to_parquet(tmp_path / "out", progress=tell))[-1] == (SIZE, SIZE)
    again = fd.read_result(tmp_path / "out")
    heard = told(lambda tell: again.report(tmp_path / "report.html", progress=tell))
    assert heard[-1] == (SIZE, SIZE)
    assert len(heard) >= 2


@pytest.mark.parametrize("target", [None, "this-rs"])
def test_findings_of_a_log_tell(target: str | None, events: pl.DataFrame):
    heard = told(lambda tell: DELIVERED.check(target, log=events, progress=tell))
    assert len(heard) >= 2
    project = fd.Project((DELIVERED,))
    assert told(lambda tell: project.check(target, log=events, progress=tell)) == heard


def test_a_live_run_tells_of_what_it_catches_up_with(log: Path, events: pl.DataFrame):
    memory = fd.MemoryEventLog()
    memory.append(events[:50_000])
    with_ = {"sinks": {"push": fd.sinks.Custom(lambda _: None)}}
    runtime = fd.Runtime(DELIVERED, memory, **with_)
    heard = told(lambda tell: runtime.run_until_idle(progress=tell))
    assert heard[0] == (1 << 14, 50_000)
    assert heard[-1] == (50_000, 50_000)
    newcomer = fd.Runtime(DELIVERED, log, consumer_name="newcomer", **with_)
    heard = told(lambda tell: newcomer.start(progress=tell))
    newcomer.stop()
    assert heard[-1] == (SIZE, SIZE)
    assert len(heard) >= 3


def test_trying_dead_letters_again_tells(events: pl.DataFrame):
    memory = fd.MemoryEventLog()
    memory.append(events[:1_000])
    broken = on("link.created", name="f").resolve("target_id", as_="whom").map(a=1).deliver("push")
    runtime = fd.Runtime(broken, memory, sinks={"push": fd.sinks.Frame()}).run_until_idle(progress=False)
    assert len(runtime.dead_letters)
    heard: Heard = []
    runtime.retry(progress=lambda done, total: heard.append((done, total)))
    assert heard == [(1_000, 1_000)]


def test_a_sample_tells(tmp_path: Path):
    heard = told(lambda tell: write_sample(tmp_path, 250_000, progress=tell))
    assert heard == [(75_000, 250_000), (215_000, 250_000), (250_000, 250_000)]


def test_widgets_tell_of_their_first_look_at_the_log(events: pl.DataFrame):
    pytest.importorskip("ipywidgets")
    heard = told(lambda tell: DELIVERED.explore(events, progress=tell))
    assert len(heard) >= 5
    assert told(lambda tell: DELIVERED.design(events, progress=tell))[-1] == (SIZE, SIZE)


def test_a_function_that_raises_ends_the_work_and_no_bar_is_left(events: pl.DataFrame):
    class EnoughError(Exception):
        pass

    def enough(done: int, total: int | None) -> None:
        raise EnoughError

    with pytest.raises(EnoughError):
        fd.replay(DELIVERED, events, progress=enough)
    # what comes next is followed by itself
    assert told(lambda tell: fd.replay(DELIVERED, events, progress=tell))


# -- on a terminal -----------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """What is written to it, and whether anything of it is still to be seen."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        plain = re.sub(r"\x1b\[[A-Z]", "", self.getvalue())
        return [line.strip() for line in re.split(r"[\r\n]", plain) if line.strip()]

    @property
    def is_clear(self) -> bool:
        *_, blank, end = self.getvalue().split("\r")
        return not blank.strip() and not end and "\n" not in self.getvalue()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    shown = Terminal()
    # not sys.stderr itself, which pytest puts in place again before the test begins
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=shown, modules=sys.modules))
    return shown


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars come with the first tick."""
    monkeypatch.setattr(progress, "DELAY", 0.0)


LONG: dict[str, tuple[str, Callable[[fd.Result, pl.DataFrame, Path], Any]]] = {
    "replay": ("replay", lambda result, events, folder: fd.replay(DELIVERED, events)),
    "sweep": ("replay", lambda result, events, folder: fd.sweep(REMEMBERING, events, window=["1s", "1h"])),
    "tune": ("replay", lambda result, events, folder: fd.tune(REMEMBERING, events, vary={"0.window": ["1s", "1h"]})),
    "compare": ("compare", lambda result, events, folder: fd.compare(result, result)),
    "graph": ("graph", lambda result, events, folder: fd.EntityGraph({"user": users(9)}, links(9))),
    "deliveries": ("deliveries", lambda result, events, folder: fd.replay(DELIVERED, events, progress=False).deliveries),
    "one sink": ("deliveries", lambda result, events, folder: result.to_arrow("push")),
    "report": ("report", lambda result, events, folder: result.report()._repr_mimebundle_()),
    "write": ("write", lambda result, events, folder: result.to_parquet(folder / "out")),
    "problems": ("problems", lambda result, events, folder: result.options.source.problems),
    "check": ("check", lambda result, events, folder: DELIVERED.check(log=events)),
    "as_test": ("as_test", lambda result, events, folder: result.as_test(7)),
    "why": ("why", lambda result, events, folder: result.why(7, "u6")),
    "read": ("read", lambda result, events, folder: fd.read_events(events)),
    "convert": ("convert", lambda result, events, folder: convert(events, fd.ParquetEventLog(folder / "log"))),
    "append": ("append", lambda result, events, folder: fd.ParquetEventLog(folder / "log").append(events)),
    "sample": ("sample", lambda result, events, folder: write_sample(folder, 1_000)),
}  # fmt: skip


@pytest.mark.parametrize("name", LONG)
def test_a_terminal_shows_one_bar_and_keeps_nothing_of_it(
    name: str,
    terminal: Terminal,
    at_once: None,
    result_of_few: fd.Result,
    few: pl.DataFrame,
    tmp_path: Path,
):
    label, work = LONG[name]
    work(result_of_few, few, tmp_path)
    assert {line.partition(":")[0] for line in terminal.lines} == {label}
    assert terminal.is_clear


def test_a_bar_says_how_far_it_is_and_how_fast(terminal: Terminal, monkeypatch: pytest.MonkeyPatch):
    clock = [1000.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(time=lambda: clock[0], monotonic=lambda: clock[0]))
    monkeypatch.setattr("tqdm.std.time", lambda: clock[0])
    monkeypatch.setattr(progress, "DELAY", 0.2)
    with progress.track(None, 300_000) as tick:
        tick(60_000)
        clock[0] += 0.25
        tick(60_000)
    (line,) = terminal.lines
    assert re.fullmatch(r"replay: +40%\|.*\| 120k/300k \[00:00<00:00, 480k events/s\]", line)


def test_errors_are_read_again_with_a_bar(terminal: Terminal, at_once: None, events: pl.DataFrame):
    failing = on("link.created").resolve("target_id", as_="whom").map(a=1).deliver("push")
    result = fd.replay(failing, events[:1_000], progress=False)
    assert len(result.errors) == 1_000
    assert {line.partition(":")[0] for line in terminal.lines} == {"errors"}
    assert all("/1.00k" in line for line in terminal.lines)
    assert terminal.is_clear


def test_what_is_quick_shows_nothing(terminal: Terminal, events: pl.DataFrame, tmp_path: Path):
    small = events[:1_000]
    result = fd.replay(DELIVERED, small)
    fd.compare(result, result)
    result.to_parquet(tmp_path / "out")
    with fd.ParquetEventLog(tmp_path / "log") as log:
        log.append(small)
        log.verify()
    assert terminal.getvalue() == ""


def test_without_a_terminal_nothing_is_shown(
    at_once: None, few: pl.DataFrame, result_of_few: fd.Result, capsys: pytest.CaptureFixture[str]
):
    fd.compare(fd.replay(DELIVERED, few), result_of_few)
    assert capsys.readouterr() == ("", "")


def test_with_true_there_is_a_bar_without_a_terminal(
    events: pl.DataFrame, capsys: pytest.CaptureFixture[str]
):
    fd.replay(DELIVERED, events[:10], progress=True)
    assert "replay:   0%" in capsys.readouterr().err


def test_with_false_nothing_is_shown_of_what_is_inside_either(
    terminal: Terminal, at_once: None, few: pl.DataFrame, result_of_few: fd.Result, tmp_path: Path
):
    fd.compare(fd.replay(DELIVERED, few, progress=False), result_of_few, progress=False)
    with fd.ParquetEventLog(tmp_path / "log") as log:
        convert(few, log, progress=False)
    result_of_few.as_test(7, progress=False)
    result_of_few.to_parquet(tmp_path / "out", progress=False)
    assert terminal.getvalue() == ""


def test_threads_have_bars_of_their_own(terminal: Terminal, at_once: None, few: pl.DataFrame):
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: fd.replay(DELIVERED, few), range(4)))
    assert [len(result) for result in results] == [len(few)] * 4
    assert all(line.startswith("replay:") for line in terminal.lines)


def test_a_bar_stays_alive_while_one_long_step_takes_its_time(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(progress, "DELAY", 0.1)
    with progress.track(None, 10, "wait"):
        assert progress.run_in_background(lambda: time.sleep(0.7) or "done") == "done"
        assert len(terminal.lines) >= 2
    assert terminal.is_clear


def test_a_log_out_of_order_shows_a_bar_while_it_is_sorted(
    terminal: Terminal, at_once: None, events: pl.DataFrame
):
    fd.replay(DELIVERED, events[::-1])
    assert any("replay:   0%" in line for line in terminal.lines)
    assert terminal.is_clear


# -- in a notebook -----------------------------------------------------------------------------------------

CELLS = [
    """import polars as pl, flowdsl as fd
from flowdsl import on, progress
progress.DELAY = 0.0
number = pl.int_range(300_000, eager=True)
events = pl.DataFrame({"timestamp": number.cast(pl.Datetime("us", "UTC")), "kind": "link.created", "link_type": "x",
    "source_id": "s" + number.cast(pl.String), "target_id": "t"})
flow = on("link.created").map(recipient_id="{{ source_id }}").deliver("push")""",
    'print("before"); result = fd.replay(flow, events); print("after")',
    "fd.compare(result, result).totals()",
    "result",
    "result.deliveries.head(1)",
]


class Listening(NotebookClient):
    """A client that notes each text that an output shows for a while."""

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        if msg["msg_type"] in ("display_data", "update_display_data"):
            self.resources["seen"].append(msg["content"]["data"].get("text/plain", ""))
        return super().process_message(msg, cell, cell_index)


def test_a_notebook_shows_bars_and_keeps_nothing_of_them(tmp_path: Path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    seen: list[str] = []
    client = Listening(
        notebook,
        timeout=60,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}, "seen": seen},
    )
    client.execute()
    nbformat.validate(notebook)
    assert {line.partition(":")[0] for line in seen if line} == {"replay", "compare", "report", "deliveries"}
    assert any("/300k" in line for line in seen)
    assert "widgets" not in notebook.metadata
    replayed, compared, shown, table = (cell.outputs for cell in notebook.cells[1:])
    assert [dict(output.data) for output in replayed if output.output_type == "display_data"] == [{}]
    assert "".join(output.text for output in replayed if output.output_type == "stream") == "before\nafter\n"
    for outputs in (compared, shown, table):
        bar, result = outputs
        assert (dict(bar.data), result.output_type) == ({}, "execute_result")
    assert not re.search(r"\d%\|", nbformat.writes(notebook))
