"""The templates of the golden runs of production, on the entities of those runs, beside Tera."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_templates_oracle import Job, disagreements

GOLDEN = Path(__file__).parents[2] / "shared" / "this-rs" / "golden"


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def steps(flow: dict[str, Any], operator: str) -> list[dict[str, Any]]:
    return [
        step[operator] for step in flow["pipeline"] if operator in step and isinstance(step[operator], dict)
    ]


def jobs(name: str) -> list[Job]:
    """Each template of a golden file once, with contexts such as its flows had."""
    chosen = random.Random(name)
    found: dict[str, list[dict[str, Any]]] = {}
    with gzip.open(GOLDEN / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            given = json.loads(line)["given"]
            entities = [entity for kind in given["entities"].values() for entity in kind.values()]
            events = [event["event"] for event in given["events"] if "at_ms" in event]
            for flow in given["flows"]:
                names = [
                    step["as"] for op in ("resolve", "fan_out") for step in steps(flow, op) if "as" in step
                ]
                for step in steps(flow, "map"):
                    for text in strings(step.get("template")):
                        contexts = found.setdefault(text, [])
                        if len(contexts) < 6 and entities and events:
                            context = dict(chosen.choice(events))
                            contexts.append(context | {name: chosen.choice(entities) for name in names})
    return list(found.items())


@pytest.mark.skipif(not GOLDEN.exists(), reason="the golden runs are not beside the repository")
@pytest.mark.parametrize("name", ["map", "mixed"])
def test_golden_templates_print_what_tera_prints(name: str) -> None:
    templates = jobs(name)
    assert len(templates) > 200
    # the golden runs hold templates that flowdsl refuses although Tera would get past what is wrong with them
    assert disagreements(templates) == []
