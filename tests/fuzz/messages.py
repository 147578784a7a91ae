"""Messages of widgets, changed and made up: each is taken or refused in a sentence, and nothing is written beside the notebook."""

from __future__ import annotations

import functools
import os
import random
import tempfile
from pathlib import Path
from typing import Any

import flowdsl as fd
from flowdsl import on
from flowdsl.api.design import Designer
from flowdsl.notebook.explorer import Explorer
from flowdsl.notebook.messages import DESIGN, EXPLORE, parse_message

ODD: list[Any] = [
    None, True, -1, 0, 1, 3, 2**53, 2**70, 0.5, "", "x", "link.created", "template", "text", "name", "sinks", "map", "#1", "#-1",
    "#" + "9" * 30, "../x.yaml", "/tmp/x.py", "a\0b", "there.yaml", "\ud800", [], ["a"], {}, {"a": 1}, "filtered", "dropped", "{{ ",
]  # fmt: skip
FIELDS = [
    "key",
    "row",
    "name",
    "value",
    "operator",
    "at",
    "by",
    "forward",
    "seq_no",
    "where",
    "pages",
    "ending",
    "do",
    "more",
]


@functools.cache
def widgets() -> tuple[Designer, Explorer, Path]:
    flow = on("link.created").where("source_id != 'a'").map(title="{{ source_id }}").deliver("s")
    log = [{"timestamp": "2026-01-01T09:00:00Z", "event": fd.link_created("l", who, "p")} for who in "abc"]
    folder = Path(tempfile.mkdtemp())
    (folder / "there.yaml").write_text("mine")
    return fd.design(log, flow=flow), flow.explore(log), folder


def check(rng: random.Random) -> int:
    designer, explorer, folder = widgets()
    before = os.getcwd()
    os.chdir(folder)
    try:
        for _ in range(20):
            message = _message(rng)
            designer.do(message)
            explorer.do(message)
            for known in (DESIGN, EXPLORE):
                try:
                    what, how = parse_message(message, known)
                except fd.FlowError:
                    continue
                assert what in known
                assert "do" not in how
    finally:
        os.chdir(before)
        designer.settle()
        explorer.settle()
    assert (folder / "there.yaml").read_text() == "mine"
    assert {path.parent for path in folder.rglob("*")} == {folder}
    return 40


def _message(rng: random.Random) -> Any:
    if rng.random() < 0.05:
        return rng.choice(ODD)
    known = rng.choice([DESIGN, EXPLORE])
    what = rng.choice([*known])
    message = {"do": what, **{name: rng.choice(ODD) for name in (*known[what].fields, *known[what].more)}}
    for _ in range(rng.choice([0, 0, 1, 2])):
        message[rng.choice(FIELDS)] = rng.choice(ODD)
    if rng.random() < 0.2:
        message.pop(rng.choice([*message]))
    return message
