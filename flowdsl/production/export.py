"""Export of flows and projects as mappings, YAML and files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from flowdsl.errors import BuildError, ExportError, warn
from flowdsl.production.emitter import block_lines
from flowdsl.production.portable import portable
from flowdsl.production.serializer import flow_mapping, project_mapping
from flowdsl.sinks.registry import SINKS, is_portable, production_types

if TYPE_CHECKING:
    from flowdsl.flow.spec import FlowSpec
    from flowdsl.production.project_spec import ProjectSpec

# relative to the file, so that it holds wherever the two are together; `flowdsl schema` writes that file
PART_LINE: Final = (
    "# a part of a file: production wants `entities` and `links` beside `events`, as save(path) writes them"
)
SCHEMA_LINE: Final = "# yaml-language-server: $schema=flowdsl.schema.json"


def flow_to_dict(flow: FlowSpec) -> dict[str, Any]:
    """Return the document that contains only this flow."""
    return {"events": {"flows": [flow_mapping(portable(flow))]}}


def project_to_dict(project: ProjectSpec) -> dict[str, Any]:
    """Return the document of a project, with every flow lowered."""
    check_sinks(project)
    return project_mapping(project, portable_flows(project.flows))


def portable_flows(flows: Iterable[FlowSpec]) -> tuple[FlowSpec, ...]:
    """Lower all flows; raise `ExportError` with the problems of all of them."""
    lowered: list[FlowSpec] = []
    problems: list[BuildError] = []
    for flow in flows:
        try:
            lowered.append(portable(flow))
        except ExportError as error:
            problems += error.problems
    if problems:
        raise ExportError(problems)
    return tuple(lowered)


def check_sinks(project: ProjectSpec) -> None:
    """Raise `ExportError` if production lacks the type of a sink, or its cap."""
    problems = [
        BuildError(
            f"production has no sinks of the type {sink.type!r}",
            place=f"sink {sink.name!r}",
            allowed=", ".join(production_types()),
            hint=SINKS[sink.type].nearest if sink.type in SINKS else None,
        )
        for sink in project.sinks
        if not is_portable(sink.type)
    ]
    problems += [
        BuildError(
            "production has no caps of sinks",
            place=f"sink {sink.name!r}",
            hint="rate_limit in each flow comes nearest, but means something else: a token bucket for all "
            "recipients of that flow together",
        )
        for sink in project.sinks
        if sink.cap is not None
    ]
    if problems:
        raise ExportError(problems)


def yaml_text(mapping: Mapping[str, Any]) -> str:
    """Return the text of a file: its schema line, and whether production can load it on its own."""
    alone = "entities" in mapping and "links" in mapping
    return "\n".join([SCHEMA_LINE, *(() if alone else (PART_LINE,)), *block_lines(mapping), ""])


def whole_text(project: ProjectSpec) -> str:
    """Return the text of a new file that production loads, which includes entities and links even if
    empty.
    """
    mapping = project_to_dict(project)
    around = {key: mapping.get(key) or [] for key in ("entities", "links")}
    return yaml_text({**around, **{key: value for key, value in mapping.items() if key not in around}})


def flow_to_yaml(flow: FlowSpec) -> str:
    """Return the YAML text that contains only this flow."""
    return yaml_text(flow_to_dict(flow))


def project_to_yaml(project: ProjectSpec) -> str:
    """Return the YAML text of a project: the one it was read from, changed where the project changed."""
    check_sinks(project)
    if project.text is None:
        return yaml_text(project_to_dict(project))
    from flowdsl.production.project_patch import patch_text

    text = patch_text(project.text, project)
    if text is not None:
        return text
    if project.skipped:
        hint = "mend the flows that were left out, or take them out of the file"
        raise ExportError(
            [BuildError("the file cannot be changed and keep the flows that were left out", hint=hint)]
        )
    text = yaml_text(project_to_dict(project))
    if "#" in project.text:
        warn("the file is written anew, without its comments")
    return text
