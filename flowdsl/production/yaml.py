"""Loading of flows from YAML of production's shape."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from flowdsl.arguments import flag_of
from flowdsl.errors import FlowError, LoadError, warn
from flowdsl.paths import path_of
from flowdsl.production.loader import DocumentReader
from flowdsl.production.nodes import Item, read_mapping, read_text
from flowdsl.production.parser import BYTES, too_long
from flowdsl.production.project_spec import ProjectSpec
from flowdsl.rules import FLOWDSL, Rules
from flowdsl.text import type_text

_PATHS = (str, os.PathLike)


def load_source(
    source: str | os.PathLike[str] | Mapping[str, Any] | Sequence[Any],
    rules: Rules,
    *,
    skip_invalid: bool = False,
) -> ProjectSpec:
    """Load a project from whatever `flowdsl.load` takes, by these rules."""
    skip_invalid = flag_of(skip_invalid, "skip_invalid")
    if isinstance(source, (list, tuple)) and source and all(isinstance(one, _PATHS) for one in source):
        return merge_documents(
            [partial(load_source, one, rules, skip_invalid=skip_invalid) for one in source]
        )
    if isinstance(source, (Mapping, list, tuple)):
        return _project(read_mapping(source), [], None, rules, skip_invalid=skip_invalid)
    if isinstance(source, str) and _is_text(source):
        return load_text(source, rules=rules, skip_invalid=skip_invalid)
    if isinstance(source, (str, os.PathLike)):
        path = path_of(source)
        return load_bytes(_read(path), path.name, rules=rules, skip_invalid=skip_invalid)
    raise LoadError(
        [FlowError(f"{type_text(source)} holds no flows", allowed="a path, YAML text, a mapping or a list")]
    )


def merge_documents(loads: Sequence[Callable[[], ProjectSpec]]) -> ProjectSpec:
    """Merge several sources into one project; if any is rejected, raise the problems of all."""
    projects: list[ProjectSpec] = []
    problems: list[FlowError] = []
    for read in loads:
        try:
            projects.append(read())
        except LoadError as error:
            problems += error.problems
    if problems:
        raise LoadError(problems)
    return projects[0].merge(*projects[1:])


def load_mapping(document: Mapping[str, Any], rules: Rules) -> ProjectSpec:
    """Load a project from plain Python objects by these rules."""
    return _project(read_mapping(document), [], None, rules, skip_invalid=False)


def load_text(
    text: str, name: str = "text", *, rules: Rules = FLOWDSL, skip_invalid: bool = False
) -> ProjectSpec:
    """Load a project from YAML text; places start with `name`."""
    item, problems = read_text(text, name, lenient=not rules.early_checks)
    project = _project(item, problems, text, rules, skip_invalid=skip_invalid)
    return replace(project, name=name)


def load_bytes(raw: bytes, name: str, *, rules: Rules = FLOWDSL, skip_invalid: bool = False) -> ProjectSpec:
    """Load a project from YAML in UTF-8; places start with `name`."""
    text = decode_text(raw, name, keep_mark=not rules.early_checks)
    return load_text(text, name, rules=rules, skip_invalid=skip_invalid)


def decode_text(raw: bytes, name: str, *, keep_mark: bool = False) -> str:
    """Decode the text of a file; raise `LoadError` if it is too long or not UTF-8.

    A byte order mark is left out, unless it is to be kept: it takes up a column for production, which then
    reads another document.
    """
    if len(raw) > BYTES:
        raise LoadError([too_long(name)])
    try:
        return raw.decode("utf-8" if keep_mark else "utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise LoadError(
            [FlowError("this is not UTF-8 text", place=f"{name}:{line}:{column}", hint="save it as UTF-8")]
        ) from None


def _project(
    item: Item, problems: list[FlowError], text: str | None, rules: Rules, *, skip_invalid: bool
) -> ProjectSpec:
    from flowdsl.production.this_rs_loader import ProductionReader

    reader = DocumentReader(problems) if rules.early_checks else ProductionReader(problems)
    project = reader.project(item)
    skips = skip_invalid and bool(project.flows) and len(reader.problems) == len(reader.refused_flows)
    if reader.problems and not skips:
        raise LoadError(sorted(reader.problems, key=_position))
    for problem in reader.refused_flows:
        warn(f"left out: {problem}")
    skipped, left_out = tuple(reader.refused_flows), tuple(reader.left_out)
    return replace(project, text=text, skipped=skipped, left_out=left_out, rules=rules)


def _is_text(source: str) -> bool:
    """Return True if a text is YAML rather than a path: paths have no line breaks and no YAML syntax."""
    return "\n" in source or source.lstrip()[:1] in ("{", "[") or ": " in source


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(BYTES + 1)
    except OSError as error:
        raise LoadError(
            [FlowError(f"it cannot be read: {error.strerror or error}", place=str(path))]
        ) from error


def _position(error: FlowError) -> tuple[int, ...]:
    """Return the sort key of an error by its position; errors without one keep their order."""
    parts = (error.place or "").split(":")[-2:]
    return tuple(map(int, parts)) if len(parts) == 2 and all(part.isdigit() for part in parts) else (0, 0)
