"""Print the flows of a YAML file as Python code or as a picture."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from flowdsl.cli.console import load_project, show, show_json
from flowdsl.errors import one_line

if TYPE_CHECKING:
    from flowdsl.api.project import Project

SUMMARY = "print the flows of a YAML file as text or as a picture"
FORMATS = ("text", "svg", "mermaid")


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("flows", metavar="FLOWS.yaml", help="the flows; - reads them from stdin")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--format", choices=FORMATS, default="text", help="text (default), or a picture: svg or mermaid"
    )
    form.add_argument("--json", action="store_true", help="print them as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the flows."""
    project = load_project(options.flows)
    if options.json:
        show_json(_as_json(project))
    elif options.format != "text":
        show(getattr(project.picture(), options.format).rstrip("\n"))
    else:
        show(_as_text(project))
    return 0


def _as_text(project: Project) -> str:
    types = {sink.name: sink.type for sink in project.sinks}
    paragraphs = []
    for flow in project.flows:
        lines = [flow.name]
        if flow.description:
            lines.append(f"  {flow.description}")
        lines.append(f"      {flow.trigger.text}")
        lines += [f"  {number:>2}  {step.text}" for number, step in enumerate(flow.steps)]
        lines += [f"  to  {sink}" + (f" ({types[sink]})" if sink in types else "") for sink in flow.sinks]
        paragraphs.append("\n".join(map(one_line, lines)))
    return "\n\n".join(paragraphs) or "no flows"


def _as_json(project: Project) -> object:
    flows = [
        {
            "name": flow.name,
            "description": flow.description,
            "trigger": flow.trigger.text,
            "steps": [{"operator": step.name, "text": step.text} for step in flow.steps],
            "sinks": list(flow.sinks),
        }
        for flow in project.flows
    ]
    return {"flows": flows, "sinks": [{"name": sink.name, "type": sink.type} for sink in project.sinks]}
