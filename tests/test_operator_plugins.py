"""Operators of other packages: how they are put into flows, what they get for their declaration, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from event_tables import log_of, sent

import flowdsl as fd
from flowdsl.operators import OPERATORS
from tests.plugins import install

SOURCE = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from flowdsl.kernels.kernel import Kernel
from flowdsl.kernels.outcome import StepOutcome, dropped_rows
from flowdsl.operators.base import Kind, Operator
from flowdsl.operators.options import PATH, FLAG, number, option


@dataclass(frozen=True)
class Sample(Operator):
    name: ClassVar[str] = "sample"
    method: ClassVar[str] = "sample"
    summary: ClassVar[str] = "go on with some of the contexts, chosen by a hash of a value"
    example: ClassVar[str] = "then(Sample(0.1, 'source_id'))"
    nearest: ClassVar[str] = "filter by a flag that the events carry"

    fraction: float = option(number(0, 1, 0.1), "how many of the values go on")
    key: tuple = option(PATH, "the path of the value", key=True)
    inverted: bool = option(FLAG, "the others go on", default=False)

    @property
    def kind(self):
        return Kind.PER_EVENT

    def kernel(self, rules):
        return SampleKernel(self)


class SampleKernel(Kernel):
    def __init__(self, options):
        self.options = options

    def run(self, contexts, until):
        values = contexts.column(self.options.key).values()
        kept = np.array([(sum(map(ord, str(v))) % 100 < self.options.fraction * 100) for v in values], bool)
        kept ^= self.options.inverted
        dropped = dropped_rows(contexts, np.flatnonzero(~kept), "not sampled")
        return StepOutcome(contexts.take(np.flatnonzero(kept)), dropped=dropped)
"""
LOG = "| at | source |\n" + "\n".join(f"| {number} | u{number} |" for number in range(10))


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The class of an operator of another package."""
    install(tmp_path, monkeypatch, "acme-sample", SOURCE, {"flowdsl.operators:sample": "Sample"})
    found = OPERATORS["sample"]
    assert found is sys.modules["acme_sample"].Sample
    return found


def flow(step: Any) -> fd.Flow:
    return fd.on("link.created").then(step).map(who="{{ source_id }}").deliver("s")


def test_its_options_are_read_by_their_types_and_its_text_follows_from_them(sample: Any) -> None:
    written = flow(sample(1, "source_id", inverted=True))
    (step, *_) = written.steps
    assert (step.fraction, step.key, step.paths, step.key_paths) == (
        1.0,
        ("source_id",),
        {("source_id",)},
        {("source_id",)},
    )
    assert step.text == "sample(1.0, key='source_id', inverted=True)"
    assert step.with_options(inverted=False).text == "sample(1.0, key='source_id')"
    with pytest.raises(fd.BuildError, match="sample: fraction must be a number from 0 to 1, not 7"):
        flow(sample(7, "source_id"))
    with pytest.raises(fd.BuildError, match=r"reads 'nothing', but there is no variable 'nothing'"):
        flow(sample(0.5, "nothing"))


def test_its_python_text_makes_an_equal_flow(sample: Any) -> None:
    written = flow(sample(0.4, "source_id"))
    text = written.to_python()
    assert "from acme_sample import Sample" in text
    scope: dict[str, Any] = {}
    exec(text, scope)
    assert scope["flow"] == written


def test_it_is_read_from_yaml_with_all_that_is_checked_there(sample: Any) -> None:
    text = """
    name: link.created
    trigger: {kind: link.created}
    pipeline:
      - sample: {fraction: 0.4, key: source_id}
      - map: {template: {who: "{{ source_id }}"}}
      - deliver: {sink: s}
    """
    (loaded,) = fd.load(text).flows
    assert loaded.steps == flow(sample(0.4, "source_id")).steps
    with pytest.raises(fd.LoadError, match=r"sample has no option 'fracton'"):
        fd.load(text.replace("fraction", "fracton"))
    with pytest.raises(fd.LoadError, match="there is no operator 'sample'"):
        fd.load(text, target="this-rs")


def test_it_replays_alike_in_chunks_of_any_size(sample: Any) -> None:
    written = flow(sample(0.7, "source_id"))
    wanted = sent(fd.replay(written, log_of(LOG)), "who")
    assert 0 < len(wanted) < 10
    assert sent(fd.replay(written, log_of(LOG), chunk_size=3), "who") == wanted


def test_production_lacks_it_and_export_and_findings_say_so(sample: Any) -> None:
    written = flow(sample(0.4, "source_id"))
    with pytest.raises(fd.ExportError) as refused:
        written.to_yaml()
    (problem,) = refused.value.problems
    assert (problem.what, problem.step) == ("production has no operator 'sample'", "0 (sample)")
    assert problem.hint == "filter by a flag that the events carry"
    assert ("not-portable", 0) in [(found.code, found.step) for found in written.check(target="this-rs")]


def test_there_is_no_method_of_that_name_and_the_error_says_what_to_write(sample: Any) -> None:
    with pytest.raises(AttributeError, match=r"an operator of another package: .then\(Sample\(…\)\)"):
        fd.on("link.created").sample(0.1)  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="did you mean 'where'"):
        fd.on("link.created").wher("a")  # type: ignore[attr-defined]
    with pytest.raises(fd.BuildError, match="then takes a step, not Sample"):
        fd.on("link.created").then(sample)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("raise OSError('gone')", "cannot be loaded: OSError: gone"),
        ("class Sample: pass", "is the class Sample"),
    ],
)
def test_a_broken_one_is_an_error_that_names_its_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, what: str
) -> None:
    install(tmp_path, monkeypatch, "acme-broken", source, {"flowdsl.operators:sample": "Sample"})
    with pytest.raises(fd.PluginError, match=what) as refused:
        fd.load("{name: f, trigger: {kind: link.created}, pipeline: [{sample: {}}]}")
    assert "acme-broken" in str(refused.value)
    assert not hasattr(fd.on("link.created"), "sample")
