"""Projects: flows with their sinks, consumers and log backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from flowdsl.arguments import all_of, one_of
from flowdsl.errors import BuildError, FlowError, ReplayError, did_you_mean, one_line
from flowdsl.flow.sink_cap import Cap
from flowdsl.flow.spec import FlowSpec
from flowdsl.rules import FLOWDSL, Rules

BACKENDS: Final = ("memory", "nats", "kafka", "redis")
SEEKS: Final = ("latest", "beginning", "last_acknowledged")


@dataclass(frozen=True)
class SinkConfig:
    """Configuration of a sink: its name, its type, the options of that type, and its cap."""

    name: str
    type: str
    # it may hold secrets
    config: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    # production has none
    cap: Cap | None = None


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
class ProjectSpec:
    """Flows with the sinks and consumers that belong to them, as data.

    `other` holds the top-level keys that are none of flowdsl's business (`entities`, `links` …), `text` the
    YAML it was read from, comments and all, `name` what places in it begin with, `skipped` why flows were
    left out, and `left_out` which of the flows of the text they are, `rules` those by which it was read; none
    of these makes two projects differ.
    """

    flows: tuple[FlowSpec, ...] = ()
    sinks: tuple[SinkConfig, ...] = ()
    consumers: tuple[ConsumerOptions, ...] = ()
    backend: Backend = Backend()
    other: Mapping[str, Any] = field(default_factory=dict, compare=False)
    text: str | None = field(default=None, compare=False)
    name: str | None = field(default=None, compare=False)
    skipped: tuple[FlowError, ...] = field(default=(), compare=False)
    left_out: tuple[int, ...] = field(default=(), compare=False)
    rules: Rules = field(default=FLOWDSL, compare=False)

    def __getitem__(self, name: str) -> FlowSpec:
        """Return the first flow of that name."""
        for flow in self.flows:
            if flow.name == name:
                return flow
        names = [flow.name for flow in self.flows]
        raise ReplayError(
            f"there is no flow {name!r}",
            allowed=", ".join(names) or "no flow",
            hint=did_you_mean(name, names),
        )

    def with_flow(self, flow: FlowSpec) -> Self:
        r"""Return the project with a flow that replaces the first one of its name, or is appended.

        Parameters
        ----------
        flow
            The flow.

        Returns
        -------
        Project
            The changed project.

        Examples
        --------
        >>> from flowdsl import load, on
        >>> project = load("# ours\n- name: a  # first\n  trigger: {kind: link.created}\n  pipeline: []\n")
        >>> print(project.with_flow(on("link.deleted", name="a")).to_yaml(), end="")
        # ours
        - name: a  # first
          trigger: {kind: link.deleted}
          pipeline: []
        """
        one_of(flow, "flow", FlowSpec, "a flow", error=BuildError)
        names = [mine.name for mine in self.flows]
        at = names.index(flow.name) if flow.name in names else len(names)
        return replace(self, flows=(*self.flows[:at], flow, *self.flows[at + 1 :]))

    def merge(self, *others: ProjectSpec) -> Self:
        """Merge this project with others, by production's rules.

        Flows and consumers are concatenated (two flows of one name both run). Of sinks of one name the last
        counts, and so does the last backend other than the default. Other top-level keys are joined if they
        are lists or mappings, otherwise the last counts. The text of this project is kept and extended.

        Parameters
        ----------
        *others
            The other projects.

        Returns
        -------
        Project
            The merged project.

        Examples
        --------
        >>> from flowdsl import Project, on
        >>> one, two = Project((on("link.created", name="a"),)), Project((on("link.deleted", name="b"),))
        >>> [flow.name for flow in one.merge(two).flows]
        ['a', 'b']
        """
        merged = self
        for other in all_of(others, "others", ProjectSpec, "projects", error=BuildError):
            sinks = {sink.name: sink for sink in (*merged.sinks, *other.sinks)}
            merged = replace(
                merged,
                flows=merged.flows + other.flows,
                sinks=tuple(sinks.values()),
                consumers=merged.consumers + other.consumers,
                backend=merged.backend if other.backend == Backend() else other.backend,
                other=_join(merged.other, other.other),
                skipped=merged.skipped + other.skipped,
            )
        return merged

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FlowSpec):
            return self._parts == ((other,), (), (), Backend())
        return self._parts == other._parts if isinstance(other, ProjectSpec) else NotImplemented

    def __hash__(self) -> int:
        alone = self._parts == (self.flows[:1], (), (), Backend()) and self.flows
        return hash(self.flows[0]) if alone else hash(self._parts)

    @property
    def _parts(self) -> tuple[Any, ...]:
        return self.flows, self.sinks, self.consumers, self.backend

    def __repr__(self) -> str:
        sinks = ", ".join(sink.name for sink in self.sinks) or "none"
        return f"<Project of {len(self.flows)} flows; sinks: {sinks}>"

    def __str__(self) -> str:
        """Every flow as it is written in Python."""
        return "\n\n".join(f"# {one_line(flow.name)}\n{flow}" for flow in self.flows)


def _join(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of both; lists and mappings of one key are joined, of anything else the last counts."""
    joined = {**one, **other}
    for key in one.keys() & other.keys():
        mine, its = one[key], other[key]
        if isinstance(mine, list) and isinstance(its, list):
            joined[key] = [*mine, *its]
        elif isinstance(mine, Mapping) and isinstance(its, Mapping):
            joined[key] = {**mine, **its}
    return joined
