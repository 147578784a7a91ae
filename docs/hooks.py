"""Add to the documentation site what is not written in docs/: hooks of MkDocs, which mkdocs.yml names.

README.md is the first page, notebooks and the project's own pages are taken from where they lie, and the reference has a page
for each group of public names. A public name that is in no group is a warning, which `mkdocs build --strict` refuses.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

import flowdsl
from flowdsl import sinks, testing

ROOT = Path(__file__).parents[1]
LOG = logging.getLogger("mkdocs.flowdsl")
PROJECT_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")

# pages of the reference: file, title, public names
REFERENCE: dict[str, tuple[str, tuple[str, ...]]] = {
    "flows": ("Flows", ("on", "Flow", "var", "fn", "Project", "load", "schema")),
    "events": (
        "Events and logs",
        (
            "link_created", "link_deleted", "entity_created", "entity_updated", "entity_deleted",
            "read_events", "convert",
            "guess",
            "Guess", "Shape", "literal", "MemoryEventLog", "ParquetEventLog", "Position",
        ),
    ),
    "graph": ("The graph", ("EntityGraph", "read_graph")),
    "replay": ("Replay and results", ("replay", "Spark", "Cap", "Result", "read_result", "compare", "Comparison", "sweep", "Sweep", "tune", "Tuning", "design")),
    "live": ("Live", ("Runtime",)),
    "sinks": ("Sinks", tuple(f"sinks.{name}" for name in dir(sinks))),
    "testing": ("Testing", tuple(f"testing.{name}" for name in dir(testing))),
    "errors": (
        "Errors",
        (
            "FlowError", "BuildError", "CallError", "ConditionError", "TemplateError", "LoadError", "ExportError", "DataError",
            "ReplayError", "LiveError", "SinkError", "PluginError", "FlowWarning",
        ),
    ),
}  # fmt: skip
MODULES = ("sinks", "testing")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the notebooks and the pages of the reference into the navigation."""
    for section in config.nav or []:
        if section == {"Notebooks": []}:
            section["Notebooks"] = [{_title(path): f"notebooks/{path.name}"} for path in _notebooks()]
        elif section == {"Reference": []}:
            section["Reference"] = [{title: f"reference/{name}.md"} for name, (title, _) in REFERENCE.items()]
    return config


@event_priority(100)
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere or are made, before other plugins look for their kinds of files."""
    _warn_of_names_without_a_page()
    for name in ("README.md", *PROJECT_PAGES):
        page = "index.md" if name == "README.md" else name
        files.append(File.generated(config, page, content=_at_its_page((ROOT / name).read_text("utf-8"))))
    for name, (title, names) in REFERENCE.items():
        text = "\n\n".join([f"# {title}", *(f"::: flowdsl.{one}" for one in names)])
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    for path in _notebooks():
        files.append(
            File(
                f"notebooks/{path.name}",
                str(ROOT),
                config.site_dir,
                use_directory_urls=config.use_directory_urls,
            )
        )
    return files


def _at_its_page(text: str) -> str:
    """Return the text of a file at the top, with its links as they are from docs/."""

    def moved(found: re.Match[str]) -> str:
        target = found[2]
        if target.startswith("docs/"):
            target = target.removeprefix("docs/")
        elif target == "README.md":
            target = "index.md"
        elif not target.startswith(("http", "#", "notebooks/")) and target not in PROJECT_PAGES:
            return found[1]
        return f"[{found[1]}]({target})"

    return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", moved, text)


def _warn_of_names_without_a_page() -> None:
    written = {name for _, names in REFERENCE.values() for name in names}
    public = {name for name in dir(flowdsl) if not name.startswith("_") and name not in MODULES}
    for name in sorted(public - written):
        LOG.warning(
            "%s: the public name %r is on no page of the reference", PurePosixPath(__file__).name, name
        )


def _notebooks() -> list[Path]:
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def _title(notebook: Path) -> str:
    """Return the first heading of a notebook."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    lines = (
        line
        for cell in cells
        if cell["cell_type"] == "markdown"
        for line in "".join(cell["source"]).splitlines()
    )
    return next((line.removeprefix("# ") for line in lines if line.startswith("# ")), notebook.stem)
