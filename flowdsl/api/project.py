"""`Project` and `load`: flows with sinks and consumers, read from YAML, checked, drawn and written back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from flowdsl.api.flow import Flow
from flowdsl.calls import answered, answering
from flowdsl.errors import SinkError
from flowdsl.log.source import LogLike
from flowdsl.paths import path_of
from flowdsl.production.project_spec import ProjectSpec
from flowdsl.production.yaml import load_source
from flowdsl.rules import Target, rules_of

if TYPE_CHECKING:
    import datetime as dt

    from flowdsl.diagrams.picture import Picture
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.progress import Progress
    from flowdsl.reports.finding_table import FindingTable
    from flowdsl.sinks.base import Sink


@answering
@dataclass(frozen=True, repr=False, eq=False)
class Project(ProjectSpec):
    """Flows with their sinks and consumers, as in a YAML file. `replay` accepts a project.

    Parameters
    ----------
    flows
        The flows.
    sinks
        The configurations of the sinks.
    consumers
        The consumers of the log.
    backend
        The backend that stores the events in production.
    other
        Top-level keys of the file that flowdsl does not use.
    text, name, skipped, left_out, rules
        Where the project comes from: the YAML it was read from, its name in messages, why flows were skipped,
        which of the flows in the text they are, and the rules it was read by. They do not matter for
        equality.

    Examples
    --------
    >>> from flowdsl import on
    >>> len(Project((on("link.created", name="a"),)).flows)
    1
    """

    flows: tuple[Flow, ...] = ()

    @classmethod
    def of(cls, spec: ProjectSpec) -> Project:
        """Return the project that a specification describes, its flows as `Flow`s.

        Parameters
        ----------
        spec
            The specification.

        Returns
        -------
        Project
            The project.

        Examples
        --------
        >>> from flowdsl.production.project_spec import ProjectSpec
        >>> Project.of(ProjectSpec()).flows
        ()
        """
        if isinstance(spec, cls):
            return spec
        parts = {field.name: getattr(spec, field.name) for field in fields(spec)}
        return cls(**{**parts, "flows": tuple(map(Flow.of, spec.flows))})

    def check(
        self,
        target: Target | None = None,
        *,
        log: LogLike | None = None,
        graph: EntityGraph | None = None,
        max_ahead_of_next: str | dt.timedelta | None = None,
        progress: Progress = None,
    ) -> FindingTable:
        """Find mistakes and traps in the project.

        Parameters
        ----------
        target
            A production runtime, `"this-rs"`: also find what it rejects, loses or does differently.
        log
            A log, as in `replay`. The flows are replayed over it, and problems of its events are found too.
        graph
            The entities and links before the first event.
        max_ahead_of_next, progress
            As in `replay`.

        Returns
        -------
        FindingTable
            A list of findings, which notebooks show as a table. Each has a code (see
            docs/findings.md) and its place in the file.

        Raises
        ------
        FlowError
            If the target is unknown, or the log cannot be read.

        Examples
        --------
        >>> from flowdsl import on
        >>> [finding.code for finding in Project((on("link.created", name="a"),)).check()]
        ['no-deliver', 'every-type']
        """
        from flowdsl.findings import check_project
        from flowdsl.reports.finding_table import FindingTable

        return FindingTable(check_project(self, target, log, graph, max_ahead_of_next, progress))

    def picture(self) -> Picture:
        """Draw the flows as lanes with the sinks they share, as a notebook shows them.

        Returns
        -------
        Picture
            The drawing: `.svg`, `.mermaid`, text, and `save`.

        Examples
        --------
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
        """Return the first flow of that name."""
        return Flow.of(super().__getitem__(name))

    def build_sinks(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        custom: Mapping[str, Any] | None = None,
        graph: EntityGraph | None = None,
        target: Target | None = None,
    ) -> dict[str, Sink]:
        """Build the sinks of the project, without opening them.

        Parameters
        ----------
        folder
            Where in_app, feed, counter and push sinks store their SQLite files, named like the sinks; None
            keeps them in memory. A `path` in a configuration is relative to it.
        custom
            Functions or sinks by name. Sinks of the type `custom` need one; any other may be replaced by one.
        graph
            Where counters start.
        target
            A production runtime, `"this-rs"`: build its sinks, simulated in memory, for a replay with that
            target and `dispatch=True`. What they would show, count and send is in `.calls`.

        Returns
        -------
        dict of str to Sink
            The sinks by name.

        Raises
        ------
        SinkError
            If a configuration is not valid, or a custom sink is missing.

        Examples
        --------
        >>> from flowdsl.production.project_spec import SinkConfig
        >>> project = Project(sinks=(SinkConfig("likes", "counter", {"field": "likes"}),))
        >>> project.build_sinks()
        {'likes': Counter(memory)}
        """
        from flowdsl.production.sinks import build, check_custom
        from flowdsl.production.sinks_there import sinks_there

        place = None if folder is None else path_of(folder, SinkError)
        if not rules_of(target).early_checks:
            named = [sink for flow in self.flows for sink in flow.sinks]
            return sinks_there(self.sinks, named, check_custom(custom), graph)
        return build(self.sinks, place, custom=custom, graph=graph)

    def to_dict(self) -> dict[str, Any]:
        """Return the document that `to_yaml` writes, as plain Python objects.

        Returns
        -------
        dict
            The document, with every flow lowered.

        Raises
        ------
        ExportError
            With the problems of all flows that production does not support.

        Examples
        --------
        >>> Project().to_dict()["events"]["flows"]
        []
        """
        from flowdsl.production.export import project_to_dict

        return project_to_dict(self)

    def to_yaml(self) -> str:
        """Return the YAML text of the project.

        A project that was read keeps its text, comments included, except where it was changed; changed and
        new flows are lowered as by `Flow.portable`.

        Returns
        -------
        str
            The text.

        Raises
        ------
        ExportError
            If a flow to be written is not supported by production.

        Examples
        --------
        >>> from flowdsl import on
        >>> from flowdsl.production.project_spec import SinkConfig
        >>> print(
        ...     Project((on("link.created", name="a"),), (SinkConfig("in-app", "in_app"),)).to_yaml(), end=""
        ... )
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
        """Write the project to a file.

        A project that was read is written as by `to_yaml`. A project made in Python becomes a complete file
        for production; in an existing file of flows its flows, sinks and consumers replace those of the same
        name, and the rest is kept. If anything fails, the file is unchanged.

        Parameters
        ----------
        path
            The file.
        overwrite
            Replace a file that is not a file of flows.

        Raises
        ------
        ExportError
            As of `to_yaml`, and if the file is not a file of flows.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Project().save(pathlib.Path(folder) / "flows.yaml")
        """
        from flowdsl.production.save import save

        save(self, path, overwrite=overwrite)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from flowdsl.diagrams.picture import mime_bundle

        return mime_bundle(self.picture(), str(self) or repr(self))


@answered
def load(
    source: str | os.PathLike[str] | Mapping[str, Any] | Sequence[Any],
    target: Target | None = None,
    *,
    skip_invalid: bool = False,
) -> Project:
    """Load flows, sinks and consumers from YAML.

    The YAML is read strictly: unknown keys, wrong types, repeated keys, and flows that could not be built in
    Python are refused.

    Parameters
    ----------
    source
        A path, YAML text, or the same as mappings and lists. A list of flows or a single flow is accepted as
        well as production's `events: {flows: […]}`. A list of paths gives one project, merged as by
        `Project.merge`.
    target
        `"this-rs"` reads as that runtime does: it refuses what the runtime refuses, ignores unknown keys, and
        conditions, templates and durations mean what they mean there. Such flows run by its rules.
    skip_invalid
        Whether flows that are refused are left out, with a `FlowWarning` for each problem.

    Returns
    -------
    Project
        The flows, sinks and consumers.

    Raises
    ------
    LoadError
        With every problem and its place (`flows.yaml:12:5`) in `problems`; also if no flow is left.

    Examples
    --------
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
