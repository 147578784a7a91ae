"""`Project` and `load`: flows with what belongs to them, read from YAML, checked, drawn and written back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowdsl.api.flow import Flow
from flowdsl.production.project_spec import ProjectSpec
from flowdsl.production.yaml import load_source
from flowdsl.rules import Target, rules_of

if TYPE_CHECKING:
    import datetime as dt

    from flowdsl.diagrams.picture import Picture
    from flowdsl.findings import Finding
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.progress import Progress
    from flowdsl.sinks.base import Sink


@dataclass(frozen=True, repr=False, eq=False)
class Project(ProjectSpec):
    """Flows with the sinks and consumers that belong to them; `replay` takes it as it is.

    `other` holds the top-level keys that are none of flowdsl's business (`entities`, `links` …), `text` the YAML it was
    read from, comments and all, `name` what places in it begin with, `skipped` why flows were left out, and `left_out`
    which of the flows of the text they are, `rules` those by which it was read; none of these makes two projects differ.
    """

    flows: tuple[Flow, ...] = ()

    @classmethod
    def of(cls, spec: ProjectSpec) -> Project:
        """Return the project that a specification describes, its flows as `Flow`s."""
        if isinstance(spec, cls):
            return spec
        parts = {field.name: getattr(spec, field.name) for field in fields(spec)}
        return cls(**{**parts, "flows": tuple(map(Flow.of, spec.flows))})

    def check(
        self,
        target: Target | None = None,
        *,
        log: Any = None,
        graph: EntityGraph | None = None,
        max_ahead_of_next: str | dt.timedelta | None = None,
        progress: Progress = None,
    ) -> list[Finding]:
        """What is worth knowing before it is shipped: mistakes, traps, what is defined and not used.

        With `target="this-rs"` also what that runtime refuses, loses or does otherwise. Each finding has a `code`, with
        an entry in docs/findings.md; `where` is the place in the file, as long as the flows are what the file says.
        With a `log` (and a `graph`), as `replay` takes them, the flows are replayed, and what the events show is found too;
        `max_ahead_of_next` and `progress` are as there.
        """
        from flowdsl.findings import check_project

        return check_project(self, target, log, graph, max_ahead_of_next, progress)

    def picture(self) -> Picture:
        """The flows drawn as lanes, with the sinks that they share; it is what a notebook shows of a project.

        >>> from flowdsl import on
        >>> print(Project((on("link.created", name="a"), on("link.deleted", name="b"))).picture())
        2 flows
        <BLANKLINE>
        a
              on  link.created
        <BLANKLINE>
        b
              on  link.deleted
        """
        from flowdsl.diagrams.flows import flow_diagram
        from flowdsl.diagrams.picture import Picture

        return Picture(flow_diagram(self.flows, {sink.name: sink.type for sink in self.sinks}))

    def __getitem__(self, name: str) -> Flow:
        """The first flow of that name."""
        return Flow.of(super().__getitem__(name))

    def build_sinks(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        custom: Mapping[str, Any] | None = None,
        graph: EntityGraph | None = None,
        target: Target | None = None,
    ) -> dict[str, Sink]:
        """Real sinks, by name, of the types and with the options that the project has; nothing is opened yet.

        With `target="this-rs"` they are that runtime's, in memory, for a replay with that target and `dispatch=True`:
        they read payloads as it does, and have what it would show, count and send in `.calls`; nothing leaves the machine.

        What in_app, feed, counter and push keep is in SQLite files in `folder`, named like the sinks, or in memory where
        there is no folder; a `path` of the configuration is one in that folder. `custom` maps names to functions or sinks
        of the program: those of the type `custom` need one, any other may have one instead. Counters start from what
        `graph` has. Raises `SinkError`.

        >>> from flowdsl.production.project_spec import SinkConfig
        >>> project = Project(sinks=(SinkConfig("likes", "counter", {"field": "likes"}),))
        >>> project.build_sinks()
        {'likes': Counter(memory)}
        """
        from flowdsl.production.sinks import build
        from flowdsl.production.sinks_there import sinks_there

        if not rules_of(target).early_checks:
            named = [sink for flow in self.flows for sink in flow.sinks]
            return sinks_there(self.sinks, named, custom or {}, graph)
        return build(self.sinks, None if folder is None else Path(folder), custom=custom, graph=graph)

    def to_dict(self) -> dict[str, Any]:
        """Production's form in Python's own types, every flow lowered; `ExportError` has the problems of all flows."""
        from flowdsl.production.export import project_to_dict

        return project_to_dict(self)

    def to_yaml(self) -> str:
        """The project's file: the text it was read from, changed only where the project was.

        Flows that are as they were read stay as they are written, comments and order of keys too; a changed or new one
        is lowered as by `Flow.portable`, and only what differs in it is written anew. Raises `ExportError` where a flow
        that is to be written cannot be said in production. A project made in Python gets a text as `Flow.to_yaml` has.

        >>> from flowdsl import on
        >>> from flowdsl.production.project_spec import SinkConfig
        >>> print(Project((on("link.created", name="a"),), (SinkConfig("in-app", "in_app"),)).to_yaml(), end="")
        # yaml-language-server: $schema=flowdsl.schema.json
        # a part of a file: production wants `entities` and `links` beside `events`, as save(path) writes them
        events:
          flows:
            - name: a
              trigger:
                kind: link.created
              pipeline: []
        sinks:
          - name: in-app
            type: in_app
        """
        from flowdsl.production.export import project_to_yaml

        return project_to_yaml(self)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the project to a file, as UTF-8; on a refusal the file stays as it was.

        A project that was read goes back into its file, or into a new one, as `to_yaml` has it. One made in Python becomes
        a whole file of production's, or what an existing one says of the same flows, sinks and consumers is changed, and
        the rest of it kept. Any other file is refused, unless `overwrite` says that it may go. Raises `ExportError`.
        """
        from flowdsl.production.save import save

        save(self, path, overwrite=overwrite)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from flowdsl.diagrams.picture import shown

        return shown(self.picture(), str(self) or repr(self))


def load(
    source: str | os.PathLike[str] | Mapping[str, Any] | Sequence[Any],
    target: Target | None = None,
    *,
    skip_invalid: bool = False,
) -> Project:
    """The flows, sinks and consumers of a YAML file, of YAML text, or of the same as mappings and lists.

    A list of paths gives one project, merged by production's rules as by `Project.merge`.

    It is read strictly: what is unknown, of a wrong type or said twice, and every flow that could not be built in
    Python, is refused. Raises `LoadError`, whose `problems` has every refusal with its place (`flows.yaml:12:5`).
    A list of flows, or a single flow, is accepted as well as production's `events: {flows: […]}`.

    With `target="this-rs"` it is read as that runtime reads it: refused is what it refuses, unknown keys are ignored,
    and conditions, templates and durations mean what they mean there; such flows run by its rules. `skip_invalid=True`
    leaves out flows that are refused, as that runtime does, with a `FlowWarning` for each problem; if no flow is left,
    that is an error.

    >>> project = load('''
    ... - name: notify
    ...   trigger: {kind: link.created, link_type: follows}
    ...   pipeline:
    ...     - map: {template: {title: "{{ source_id }} follows you"}}
    ...     - deliver: {sink: in-app}
    ... ''')
    >>> print(project.flows[0])
    on('link.created', link_type='follows')
        .map(title='{{ source_id }} follows you')
        .deliver('in-app')
        .named('notify')
    """
    return Project.of(load_source(source, rules_of(target), skip_invalid=skip_invalid))
