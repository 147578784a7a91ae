"""Out of Python: flows and projects as mappings, as YAML, and as files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flowdsl.errors import BuildError, ExportError
from flowdsl.events import warn
from flowdsl.production.mapping import flow_mapping, project_mapping
from flowdsl.production.portable import portable
from flowdsl.production.writing import block_lines

if TYPE_CHECKING:
    from flowdsl.flow import Flow
    from flowdsl.production.project import Project

# relative to the file, so that it holds wherever the two stand together; `flowdsl schema` writes that file
SCHEMA_LINE: Final = "# yaml-language-server: $schema=flowdsl.schema.json"


def flow_to_dict(flow: Flow) -> dict[str, Any]:
    """What a file holds that has only this flow."""
    return {"events": {"flows": [flow_mapping(portable(flow))]}}


def project_to_dict(project: Project) -> dict[str, Any]:
    """What a file of the project holds, every flow lowered."""
    return project_mapping(project, portable_flows(project.flows))


def portable_flows(flows: Iterable[Flow]) -> tuple[Flow, ...]:
    """All flows lowered; raises `ExportError` with the problems of all of them."""
    lowered: list[Flow] = []
    problems: list[BuildError] = []
    for flow in flows:
        try:
            lowered.append(portable(flow))
        except ExportError as error:
            problems += error.problems
    if problems:
        raise ExportError(problems)
    return tuple(lowered)


def yaml_text(mapping: dict[str, Any]) -> str:
    """A file's text, with the line that tells editors its schema."""
    return "\n".join([SCHEMA_LINE, *block_lines(mapping), ""])


def flow_to_yaml(flow: Flow) -> str:
    """The text of a file that has only this flow."""
    return yaml_text(flow_to_dict(flow))


def project_to_yaml(project: Project) -> str:
    """The text of a project's file: the one it was read from, changed where the project was."""
    if project.text is None:
        return yaml_text(project_to_dict(project))
    from flowdsl.production.editing import edited

    text = edited(project.text, project)
    if text is not None:
        return text
    text = yaml_text(project_to_dict(project))
    if "#" in project.text:
        warn("the file is written anew, without its comments")
    return text


def save(text: str, path: str | os.PathLike[str]) -> None:
    """Write a file's text, which is complete before the file is touched."""
    Path(path).write_text(text, "utf-8", newline="")
