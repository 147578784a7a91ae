"""Tera itself, run beside flowdsl in a process of its own; where flowdsl says that it crashes, it is not asked."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from oracle.rows import PythonRows
from oracle.values import look_up

from flowdsl.errors import TemplateError
from flowdsl.expressions.templates import Template
from flowdsl.expressions.templates.failures import RenderCrashError, RenderError

CHILD = """
import json, pathlib, sys, tempfile, pytera
with tempfile.TemporaryDirectory() as folder:
    for line in sys.stdin:
        text, contexts = json.loads(line)
        pathlib.Path(folder, "t.txt").write_bytes(text.encode())
        try:
            tera = pytera.PyTera(folder + "/*.txt")
        except Exception as error:
            print(json.dumps([None] * len(contexts)), flush=True)
            continue
        out = []
        for context in contexts:
            try:
                out.append(tera.render_template("t.txt", **context))
            except Exception as error:
                out.append(None)
        print(json.dumps(out), flush=True)
"""

Job = tuple[str, Sequence[dict[str, Any]]]


def tera(jobs: Sequence[Job]) -> list[list[str | None]]:
    """What Tera prints for each template in each context, None where it fails."""
    lines = "".join(json.dumps(job) + "\n" for job in jobs)
    run = subprocess.run(
        [sys.executable, "-c", CHILD], input=lines, capture_output=True, text=True, check=False
    )
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(answers) == len(jobs), f"Tera gave up at template {len(answers)}: {run.stderr[-300:]}"
    return answers


def spared(job: Job, *, lenient: bool = False) -> Job:
    """A template and those of its contexts at which flowdsl says of no crash: the others are for nobody."""
    text, contexts = job
    try:
        template = Template.parse(text, lenient=lenient)
    except TemplateError:
        return job
    return text, [context for context in contexts if not _crashes(template, context)]


def _crashes(template: Template, context: dict[str, Any]) -> bool:
    try:
        template.render_row(lambda path: look_up(context, path))
    except RenderError as failure:
        return isinstance(failure, RenderCrashError)
    return False


class Failed(str):
    """A failure with its message."""


def by_rows(template: Template, contexts: Sequence[dict[str, Any]]) -> list[str]:
    """What the row form prints."""
    out: list[str] = []
    for context in contexts:
        try:
            out.append(template.render_row(lambda path, context=context: look_up(context, path)))
        except RenderError as failure:
            out.append(Failed(failure))
    return out


def by_columns(template: Template, contexts: Sequence[dict[str, Any]]) -> list[str]:
    """What `render` prints."""
    texts, failures = template.render(PythonRows(contexts))
    assert texts.dtype == pl.String
    assert len(texts) == len(contexts)
    lost = failures.mask if failures else np.zeros(len(contexts), np.bool_)
    return [
        Failed(failures.message(at)) if lost[at] and failures else texts[at] for at in range(len(contexts))
    ]


def disagreements(jobs: Sequence[Job], *, lenient: bool = False) -> list[str]:
    """What flowdsl prints and Tera does not, or the other way round, and where the two forms differ."""
    found: list[str] = []
    jobs = [spared(job, lenient=lenient) for job in jobs]
    for (text, contexts), expected in zip(jobs, tera(jobs), strict=True):
        try:
            template = Template.parse(text, lenient=lenient)
        except TemplateError as error:
            if any(answer is not None for answer in expected):
                found.append(f"{text!r} refused: {error}; Tera prints {expected!r}")
            continue
        rows, columns = by_rows(template, contexts), by_columns(template, contexts)
        for context, right, row, column in zip(contexts, expected, rows, columns, strict=True):
            if (None if isinstance(row, Failed) else row) != right:
                found.append(f"{text!r} in {context!r}: Tera {right!r}, flowdsl {row!r}")
            if type(row) is not type(column) or row != column:
                found.append(f"{text!r} in {context!r}: by rows {row!r}, by columns {column!r}")
    return found
