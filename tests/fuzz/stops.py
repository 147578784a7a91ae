"""Where production stops: templates by columns and by rows, and whole replays in chunks of any size.

Nothing here makes an engine crash: `date` is told that its last second is an early one, and only here.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from oracle.comparing import said_by_engine
from oracle.this_rs import ProductionGraph, interpret

import flowdsl as fd
from flowdsl.expressions.templates import RenderError, Template
from flowdsl.expressions.templates.filters import dates
from flowdsl.expressions.templates.scalar import render_rows
from flowdsl.values.columns import Column
from flowdsl.values.json_types import MISSING
from flowdsl.values.paths import Path

LAST = 1_000
ROWS = 200
_VALUES = (0, 1, 7, LAST, LAST + 1, -5, 2.5, "text", "", "2026-01-31", True, None, [1, 2], {"x": 1}, MISSING)
_PIECES = (
    "{{ a | date }}", "{{ b | date(format='%H:%M') }}", "{% if a %}{{ a | date }}{% else %}-{% endif %}", "{{ a + b }}",
    "{{ a | default(value=7) | date }}", "{% if b == 7 %}{{ a | date }}{% endif %}", "{{ a ~ b }}", "{{ b }}",
    "{{ a is number }}", "{% if a is number and a > 3 %}{{ b | date }}{% endif %}", "{{ a | int | date }}",
    "{% set c = a %}{{ c | date }}", "{% for c in b %}{{ c }}{% endfor %}", "{{ a % 3 }}", "{% if not a %}{{ b | date }}{% endif %}",
)  # fmt: skip


class _Rows:
    """Contexts with the variables `a` and `b`."""

    def __init__(self, values: Sequence[Sequence[Any]]) -> None:
        self._values = values
        self.size = len(values)

    def column(self, path: Path) -> Column:
        """The values at a path."""
        place = "ab".find(path[0])
        return Column.of([row[place] if place >= 0 else MISSING for row in self._values])

    def take(self, index: Any) -> _Rows:
        """Some of the contexts."""
        return _Rows([self._values[i] for i in np.asarray(index).tolist()])


@contextmanager
def _early_end() -> Iterator[None]:
    known = dates.is_known
    dates.is_known = lambda seconds: seconds <= LAST
    try:
        yield
    finally:
        dates.is_known = known


def check(rng: random.Random) -> int:
    """Try a template on many contexts, or some flows on a log."""
    with _early_end():
        return _replayed(rng) if rng.random() < 0.05 else _rendered(rng)


def _rendered(rng: random.Random) -> int:
    text = "".join(rng.choices(_PIECES, k=rng.randint(1, 3)))
    template = Template.parse(text, lenient=True)
    rows = [(rng.choice(_VALUES), rng.choice(_VALUES)) for _ in range(ROWS)]
    texts, failures = template.render(_Rows(rows))
    crashed = np.zeros(ROWS, np.bool_) if failures is None or failures.crashed is None else failures.crashed
    for row, (a, b) in enumerate(rows):
        by_columns = None if failures is not None and failures.mask[row] else texts[row]
        by_rows, crash = _by_row(template, {("a",): a, ("b",): b, ("c",): MISSING})
        assert (by_rows, crash) == (by_columns, bool(crashed[row])), (text, a, b)
        assert not crash or template.can_crash, text
    return ROWS


def _by_row(template: Template, context: dict[Path, Any]) -> tuple[str | None, bool]:
    from flowdsl.expressions.templates.failures import RenderCrashError

    try:
        return render_rows(template.body, context.__getitem__), False
    except RenderError as failure:
        return None, isinstance(failure, RenderCrashError)


def _replayed(rng: random.Random) -> int:
    count = rng.randint(1, 12)
    flows = [_flow(rng, name) for name in "abc"[: rng.randint(1, 3)]]
    events: list[dict[str, Any]] = []
    people = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(4)]
    for n in range(count):
        at = rng.choice((1, 5, LAST, LAST + 1, "text")) if rng.random() < 0.3 else 3
        metadata = {"at": at, "k": rng.randint(0, 2)}
        event = fd.link_created(
            "likes", rng.choice(people), rng.choice(people), link_id=_id(100 + n), metadata=metadata
        )
        stamp = f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z"
        events.append({"id": None, "seq_no": n + 1, "timestamp": stamp, "event": event})
    links = [
        {
            "link_type": "follows",
            "link_id": _id(n),
            "source_id": rng.choice(people),
            "target_id": rng.choice(people),
        }
        for n in range(6)
    ]
    entities = {"user": {one: {"at": rng.choice((1, 2, LAST, LAST + 1))} for one in people}}
    project = fd.load({"events": {"flows": flows}}, target="this-rs")
    expected = interpret(flows, events, ProductionGraph(entities, links))
    sizes = (None, 1, rng.randint(1, count + 1))
    for size in sizes:
        graph = fd.EntityGraph(entities, links)
        result = fd.replay(project, events, graph, target="this-rs", chunk_size=size, open_windows="keep")
        found = said_by_engine(result, project.flows)
        for part in ("errors", "steps", "dropped", "open", "deliveries"):
            assert found[part] == expected[part], (part, size, json.dumps(flows))
        stopped = result.stopped
        at = None if stopped is None else (stopped.seq_no, stopped.flow, stopped.step, stopped.branch)
        assert at == expected["stopped"], (size, json.dumps(flows))
    return count * len(sizes)


def _id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number + 1_000:012d}"


def _flow(rng: random.Random, name: str) -> dict[str, Any]:
    steps: list[dict[str, Any]] = []
    if rng.random() < 0.4:
        steps.append(
            {"fan_out": {"from": "target_id", "via": "follows", "direction": "reverse", "as": "fan"}}
        )
    if rng.random() < 0.4:
        steps.append(
            rng.choice(
                (
                    {"deduplicate": {"key": "metadata.k", "window": "3s"}},
                    {"batch": {"key": "metadata.k", "window": "2s"}},
                    {"rate_limit": {"max": 2, "per": "3s"}},
                )
            )
        )
    path = "fan.at" if steps and "fan_out" in steps[0] and rng.random() < 0.5 else "metadata.at"
    if rng.random() < 0.5:
        steps += [{"map": {"template": "x"}}, {"deliver": {"sink": f"early-{name}"}}]
    steps += [{"map": {"template": {"t": f"{{{{ {path} | date }}}}"}}}, {"deliver": {"sink": name}}]
    return {"name": name, "trigger": {"kind": "link.created"}, "pipeline": steps}
