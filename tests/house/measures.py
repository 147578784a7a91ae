"""The measures of the house: numbers of which less is better, with the places behind them."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from tests.house import functions, imports, names, public, text
from tests.house.sources import sources

RECORD = Path(__file__).with_name("record.json")


@dataclass(frozen=True)
class Measure:
    """One line of the table.

    `value` is what counts, `goal` what it is to be, `unit` stands behind both, and `places` is where to begin.
    """

    key: str
    title: str
    value: float
    goal: float
    unit: str = ""
    places: list[str] = field(default_factory=list)

    def text(self, number: float) -> str:
        """Return a number of this measure as the table shows it."""
        return f"{number:,.10g}{self.unit}"


def measures() -> list[Measure]:
    """Measure the tree as it is."""
    return [*_import_measures(), *_docstring_measures(), *_name_measures(), *_code_measures()]


def _import_measures() -> list[Measure]:
    packages, files = imports.import_cycles()
    return [
        Measure("packages_in_cycles", "packages in import cycles, all kinds of imports", packages, 0),
        Measure("largest_cycle", "files in the largest import cycle", files, 3),
    ]


def _docstring_measures() -> list[Measure]:
    questions = text.questions()
    share = round(100 * len(questions) / text.docstring_count(), 2)
    incomplete = public.incomplete_callables()
    title = f"of {len(public.public_callables())} public callables, without Parameters, Returns, Raises or example"
    return [
        Measure("questions", "docstring summaries that are questions", share, 0.5, " %", questions),
        Measure("incomplete", title, len(incomplete), 0, places=incomplete),
    ]


def _name_measures() -> list[Measure]:
    gerunds, repeated, participles = names.bare_gerunds(), names.repeated_classes(), names.participles()
    share = round(100 * len(participles) / sum(len(source.functions) for source in sources()), 2)
    return [
        Measure("gerunds", "bare-gerund module names", len(gerunds), 0, places=gerunds),
        Measure("repeated_classes", "class names used twice", len(repeated), 0, places=repeated),
        Measure("participles", "functions named by one participle", share, 3, " %", participles),
    ]


def _code_measures() -> list[Measure]:
    weighed = functions.weighed_functions()
    dense = [f"{f.place}: {f.name} {f.complexity}" for f in weighed if f.complexity > 10]
    share = round(100 * len(dense) / len(weighed), 2)
    density = round(sum(f.complexity for f in weighed) / sum(f.lines for f in weighed), 3)
    unformatted, long = text.unformatted(), text.long_lines()
    return [
        Measure("complex", "functions of complexity over 10", share, 1.5, " %", dense),
        Measure("density", "complexity per body line", density, 0.40),
        Measure("fmt_skip", "fmt: skip", len(unformatted), 0, places=unformatted),
        Measure("long_lines", "lines over 110 outside tables", len(long), 0, places=long),
        Measure("lines", "lines of flowdsl/ without docstrings", text.undocumented_line_count(), 50_000),
    ]


def recorded() -> dict[str, float]:
    """Return the values that must not get worse, by key."""
    return dict(json.loads(RECORD.read_text("utf-8")))


def record(found: list[Measure], accepted: Collection[str] = ()) -> dict[str, float]:
    """Lower the record where the tree is better than it, and return it; a new measure is taken in.

    The keys `accepted` are recorded as they are, worse ones too.
    """
    before = {} if not RECORD.exists() else recorded()
    kept = {key: value for key, value in before.items() if key not in accepted}
    best = {measure.key: min(measure.value, kept.get(measure.key, measure.value)) for measure in found}
    RECORD.write_text(json.dumps(best, indent=2) + "\n", "utf-8")
    return best
