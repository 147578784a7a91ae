"""Projects: flows with their sinks, consumers and log backend."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flowdsl.errors import FlowError, ReplayError, did_you_mean, one_line
from flowdsl.flow import Flow
from flowdsl.rules import FLOWDSL, Rules, rules_of

if TYPE_CHECKING:
    import os

    from flowdsl.diagrams.picture import Picture
    from flowdsl.findings import Finding
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.progress import Progress
    from flowdsl.sinks.base import Sink

# declared by production, and not there
NOT_IMPLEMENTED_SINK_TYPES: Final = ("feed",)
PRODUCTION_SINK_TYPES: Final = ("push", "in_app", "feed", "web_socket", "webhook", "counter", "custom")
# production refuses a file with any other
SINK_TYPES: Final = (*PRODUCTION_SINK_TYPES, "frame")
BACKENDS: Final = ("memory", "nats", "kafka", "redis")
SEEKS: Final = ("latest", "beginning", "last_acknowledged")


@dataclass(frozen=True)
class SinkConfig:
    """Configuration of a sink: its name, its type, and the options of that type."""

    name: str
    type: str
    # it may hold what is nobody's business
    config: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)


@dataclass(frozen=True)
class ConsumerOptions:
    """Consumer of the log, and where it starts to read."""

    name: str
    seek: str = "latest"


@dataclass(frozen=True)
class Backend:
    """Backend that stores the events in production."""

    type: str = "memory"
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, repr=False)
class Project:
    """Flows with the sinks and consumers that belong to them; `replay` takes it as it is.

    `other` holds the top-level keys that are none of flowdsl's business (`entities`, `links` …), `text` the YAML it was
    read from, comments and all, `name` what places in it begin with, `skipped` why flows were left out, and `left_out`
    which of the flows of the text they are, `rules` those by which it was read; none of these makes two projects differ.
    """

    flows: tuple[Flow, ...] = ()
    sinks: tuple[SinkConfig, ...] = ()
    consumers: tuple[ConsumerOptions, ...] = ()
    backend: Backend = Backend()
    other: Mapping[str, Any] = field(default_factory=dict, compare=False)
    text: str | None = field(default=None, compare=False)
    name: str | None = field(default=None, compare=False)
    skipped: tuple[FlowError, ...] = field(default=(), compare=False)
    left_out: tuple[int, ...] = field(default=(), compare=False)
    rules: Rules = field(default=FLOWDSL, compare=False)

    def check(
        self,
        target: str | None = None,
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
        for flow in self.flows:
            if flow.name == name:
                return flow
        names = [flow.name for flow in self.flows]
        raise ReplayError(
            f"there is no flow {name!r}",
            allowed=", ".join(names) or "no flow",
            hint=did_you_mean(name, names),
        )

    def with_flow(self, flow: Flow) -> Project:
        """The project with this flow in the place of the first of its name, or at the end.

        >>> from flowdsl import load, on
        >>> project = load("# ours\\n- name: a  # first\\n  trigger: {kind: link.created}\\n  pipeline: []\\n")
        >>> print(project.with_flow(on("link.deleted", name="a")).to_yaml(), end="")
        # ours
        - name: a  # first
          trigger: {kind: link.deleted}
          pipeline: []
        """
        names = [mine.name for mine in self.flows]
        at = names.index(flow.name) if flow.name in names else len(names)
        return replace(self, flows=(*self.flows[:at], flow, *self.flows[at + 1 :]))

    def merge(self, *others: Project) -> Project:
        """This project and others as one, by production's rules.

        Flows and consumers one after the other (two flows of one name both run), of sinks of one name the last, and
        the last backend that is not the usual one. Of other top-level keys lists are joined, mappings too, and of
        anything else the last counts. The text of this project stays, with what comes to it.

        >>> from flowdsl import on
        >>> one, two = Project((on("link.created", name="a"),)), Project((on("link.deleted", name="b"),))
        >>> [flow.name for flow in one.merge(two).flows]
        ['a', 'b']
        """
        merged = self
        for other in others:
            sinks = {sink.name: sink for sink in (*merged.sinks, *other.sinks)}
            merged = replace(
                merged,
                flows=merged.flows + other.flows,
                sinks=tuple(sinks.values()),
                consumers=merged.consumers + other.consumers,
                backend=merged.backend if other.backend == Backend() else other.backend,
                other=_joined(merged.other, other.other),
                skipped=merged.skipped + other.skipped,
            )
        return merged

    def build_sinks(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        custom: Mapping[str, Any] | None = None,
        graph: EntityGraph | None = None,
        target: str | None = None,
    ) -> dict[str, Sink]:
        """Real sinks, by name, of the types and with the options that the project has; nothing is opened yet.

        With `target="this-rs"` they are that runtime's, in memory, for a replay with that target and `dispatch=True`:
        they read payloads as it does, and have what it would show, count and send in `.calls`; nothing leaves the machine.

        What in_app, feed, counter and push keep is in SQLite files in `folder`, named like the sinks, or in memory where
        there is no folder; a `path` of the configuration is one in that folder. `custom` maps names to functions or sinks
        of the program: those of the type `custom` need one, any other may have one instead. Counters start from what
        `graph` has. Raises `SinkError`.

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

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Flow):
            return self._parts == ((other,), (), (), Backend())
        return self._parts == other._parts if isinstance(other, Project) else NotImplemented

    def __hash__(self) -> int:
        alone = self._parts == (self.flows[:1], (), (), Backend()) and self.flows
        return hash(self.flows[0]) if alone else hash(self._parts)

    @property
    def _parts(self) -> tuple[Any, ...]:
        return self.flows, self.sinks, self.consumers, self.backend

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from flowdsl.diagrams.picture import shown

        return shown(self.picture(), str(self) or repr(self))

    def __repr__(self) -> str:
        sinks = ", ".join(sink.name for sink in self.sinks) or "none"
        return f"<Project of {len(self.flows)} flows; sinks: {sinks}>"

    def __str__(self) -> str:
        """Every flow as it is written in Python."""
        return "\n\n".join(f"# {one_line(flow.name)}\n{flow}" for flow in self.flows)


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of both; lists and mappings of one key are joined, of anything else the last counts."""
    joined = {**one, **other}
    for key in one.keys() & other.keys():
        mine, its = one[key], other[key]
        if isinstance(mine, list) and isinstance(its, list):
            joined[key] = [*mine, *its]
        elif isinstance(mine, Mapping) and isinstance(its, Mapping):
            joined[key] = {**mine, **its}
    return joined
