"""Saving of a project to a new file, its own file, or one that it is merged into."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from flowdsl.arguments import flag_of
from flowdsl.errors import BuildError, ExportError, FlowError, LoadError, without_warnings
from flowdsl.paths import path_of
from flowdsl.production.export import project_to_yaml, whole_text
from flowdsl.production.parser import BYTES
from flowdsl.production.project_spec import Backend, ProjectSpec
from flowdsl.production.yaml import decode_text, load_text


def save(project: ProjectSpec, path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Write the project; its text is complete before the file is touched. See `Project.save`."""
    file = path_of(path)
    there = None if flag_of(overwrite, "overwrite") else _text_of(file)
    if project.text is not None:
        text = project_to_yaml(project)
        if there is not None and there not in (project.text, text):
            raise _error(
                file, "the file is not the one that the project was read from, or it has changed since"
            )
    elif there is None:
        text = whole_text(project)
    else:
        text = project_to_yaml(_with_parts(_project_of(there, file), project))
    try:
        file.write_text(text, "utf-8", newline="")
    except OSError as error:
        raise _error(file, f"it cannot be written: {error.strerror or error}", overwrites=False) from error


def _text_of(file: Path) -> str | None:
    """Return the content of a file, or None if it does not exist or is empty."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _error(file, f"it cannot be read: {error.strerror or error}", overwrites=False) from error
    try:
        text = decode_text(raw, file.name)
    except LoadError as error:
        raise _no_flows(file, error) from None
    return text if text.strip() else None


def _project_of(text: str, file: Path) -> ProjectSpec:
    """Return the project in an existing file; rejected flows keep their text."""
    try:
        with without_warnings():
            return load_text(text, file.name, skip_invalid=True)
    except LoadError as error:
        raise _no_flows(file, error) from None


def _with_parts(there: ProjectSpec, project: ProjectSpec) -> ProjectSpec:
    """Return the existing document with the flows, sinks and consumers of the project replacing those of the
    same name.
    """
    merged = there
    for flow in project.flows:
        merged = merged.with_flow(flow)
    sinks = {sink.name: sink for sink in (*there.sinks, *project.sinks)}
    consumers = {consumer.name: consumer for consumer in (*there.consumers, *project.consumers)}
    return replace(
        merged,
        sinks=tuple(sinks.values()),
        consumers=tuple(consumers.values()),
        backend=there.backend if project.backend == Backend() else project.backend,
        other={**there.other, **project.other},
    )


def _no_flows(file: Path, error: LoadError) -> ExportError:
    first: FlowError = error.problems[0]
    return _error(file, f"there is a file that holds no flows: {first}")


def _error(file: Path, what: str, *, overwrites: bool = True) -> ExportError:
    hint = "choose another name, or say save(path, overwrite=True)" if overwrites else None
    return ExportError([BuildError(what, place=str(file), hint=hint)])
