"""Notebooks run from top to bottom and show what their text says; they are kept without outputs, so that none is stale."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from executed_notebooks import FOLDER, NOTEBOOKS, Executed, write_repository

pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_kept_without_outputs_and_leads_on(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in cells] == [([], None)] * len(cells)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert text.startswith("# ")
    for link in (part.partition(")")[0] for part in text.split("](")[1:]):
        assert link.startswith("https://") or (FOLDER / link.partition("#")[0]).exists(), link


def test_the_first_flow_ends_with_a_report_of_ones_own_events(tmp_path: Path) -> None:
    run = Executed("first-flow.ipynb", tmp_path)
    assert run.text("graph") == (
        "EntityGraph(entities={'post': 333, 'user': 500}, links={'owns': 333, 'follows': 1979})"
    )
    assert {"text/plain", "image/svg+xml"} <= run.shown("flow").keys()
    assert run.text("result").startswith("20,000 events replayed, 9,453 deliveries\n")
    assert "text/html" in run.shown("result")
    assert "Yara Tanaka liked In praise of bicycles" in run.text("messages")
    assert run.text("busiest").splitlines()[1].split()[-1] == "92"
    assert run.printed("gathered") == "9,453 messages before, 4,738 now\n"
    assert "Quentin Ivanova and 18 more liked" in run.text("gathered")
    assert "no entity has the id in 'target_id'" in run.text("explained")
    assert run.text("own-log") == "<MemoryEventLog of 5 events; 2 rows broken: see .problems>"
    assert "example-orders.csv: timestamps without a zone are taken as UTC" in run.warned("own-log")
    assert "31.02.2025 10:00" in run.text("problems")
    assert "source_id is null, and link.created needs link_type, source_id and target_id" in run.text(
        "problems"
    )
    assert run.text("own-report").startswith("5 events replayed, 4 deliveries\n")
    assert "thank-you" in run.shown("own-report")["text/html"]
    file = tmp_path / "first-report.html"
    assert run.printed("own-file") == f"written to {file.resolve()}\n"
    assert "Thank you for cup and 1 more" in file.read_text("utf-8")
    assert run.text("designer").startswith("fd.design: thank-you\n")


@pytest.mark.parametrize("repository", ["None", '"."'])
def test_a_real_history_is_read_from_a_repository(tmp_path: Path, repository: str) -> None:
    """The example in the notebook is what git says of the repository that is made here."""
    if repository != "None":
        write_repository(tmp_path)
    run = Executed(
        "real-history.ipynb", tmp_path, instead=("repository = None", f"repository = {repository}")
    )
    assert run.printed("rows") == "10 changes of files by 3 people\n"
    assert run.text("log") == "<MemoryEventLog of 19 events>"
    # Ann hears of Bob twice and of Eve; Bob of Ann and of Eve; Eve of Bob: once for all changes of a day
    assert run.text("result").startswith("19 events replayed, 6 deliveries\n")
    heard = [line.split() for line in run.text("recipients").splitlines()[2:]]
    assert heard == [["Ann", "3", "5"], ["Bob", "2", "2"], ["Eve", "1", "1"]]
    assert "Bob changed core.py, and 1 more changes" in run.text("largest")
    assert 'reader = {"id": "Ann", "name": "Ann"}' in run.text("explained")
    assert "No: event 18 did not reach person Bob.\n" in run.text("why")
    assert "It was dropped at step 1 (where)" in run.text("why")
    assert run.text("explorer").startswith("your-files-changed: 19 events, 4 delivered, 3 dropped")
    # Bob went on working on core.py, on the next commit and a week later
    assert run.text("compared").startswith("6 deliveries before, 4 after: 3 the same, 2 removed, 1 changed")
    assert run.printed("kept") == "6 ('digest',) ['report.html', 'result']\n"
    assert "│ Ann          │        3 │" in run.text("queried")


def test_digest_windows_are_chosen_with_sweep_and_compare(tmp_path: Path) -> None:
    run = Executed("digest-windows.ipynb", tmp_path)
    rows = [line.split() for line in run.text("table").splitlines()[2:]]
    assert [row[0] for row in rows] == ["1m", "5m", "15m", "1h", "3h", "6h", "12h", "24h"]
    deliveries = [int(row[1]) for row in rows]
    assert deliveries == sorted(deliveries, reverse=True)
    assert run.text("sweep").splitlines()[0].split()[:3] == ["window", "deliveries", "recipients"]
    # the text says that an hour saves most, and that little is saved from six hours on
    saved = [float(row[2]) for row in rows]
    assert saved[3] > 0.5
    assert saved[7] - saved[5] < 0.05
    assert run.text("compared").startswith(f"{deliveries[3]:,} deliveries before, {deliveries[5]:,} after: ")
    assert "more liked" in run.printed("changed")
    both = [line.split() for line in run.text("both").splitlines()[1:]]
    assert [row[1:3] for row in both] == [
        [window, most] for window in ("1h", "6h") for most in ("1", "3", "10")
    ]
    assert int(both[2][3].replace(",", "")) <= deliveries[3]
    # the text says that one setting keeps what is asked, with four in ten events untold
    assert "1 keeps all 3 demands, the best by events: 4.window=1h, 5.max=1" in run.text("tuned")
    told = [float(line.split()[3].replace(",", "")) for line in run.text("tuned").splitlines()[8:]]
    assert 0.6 < told[0] / max(told) < 0.65
    assert "settings that no other beats" in run.shown("tuned")["text/html"]
    assert ".batch('target_id', window='1h')" in run.printed("chosen")


def test_a_flow_goes_from_the_notebook_to_production(tmp_path: Path) -> None:
    run = Executed("to-production.ipynb", tmp_path)
    assert "error    recipient-is-target    step 3: " in run.printed("findings")
    assert run.text("prediction").splitlines()[0] == (
        "8,627 deliveries as meant, 4,805 in production: 0 the same, 3,822 removed, 4,805 readdressed"
    )
    assert "recipient-is-target" in run.text("causes")
    assert "error" not in run.printed("mended")
    assert run.text("again") == "8,627 deliveries as meant, 8,627 in production: all the same"
    assert "condition: source_id != recipient_id" in run.printed("yaml")
    assert "name: a like is told to the author" in run.printed("test")
    assert run.printed("loaded").startswith("True\n")
    assert ".fan_out('target_id', via='owns', direction='reverse', as_='recipient')" in run.printed("loaded")


def test_a_flow_runs_live_in_a_notebook(tmp_path: Path) -> None:
    run = Executed("live.ipynb", tmp_path)
    assert run.printed("started").startswith("3 events, ")
    assert "eve - Cem and 1 more liked In praise of tea\n" in run.printed("closed")
    assert "('bob'" not in run.printed("closed")
    assert "ConnectionError: the phone of bob is off" in run.text("letters")
    assert run.printed("retried").splitlines() == [
        "[('eve', 'Cem and 1 more liked In praise of tea'), ('bob', 'Ann liked A week of moss')]",
        "0 dead letters",
    ]
    assert run.printed("gone-on").splitlines()[1] == (
        "['Bob liked In praise of tea', 'Cem and 1 more liked In praise of tea']"
    )
    assert run.printed("replayed") == "True\n"
    assert run.text("replayed").startswith("4 events replayed, 6 deliveries\n")
