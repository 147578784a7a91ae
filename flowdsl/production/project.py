"""What a file of production's shape holds: flows, sinks, consumers and the log's backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flowdsl.errors import ReplayError, did_you_mean
from flowdsl.flow import Flow

SINK_TYPES: Final = ("push", "in_app", "feed", "web_socket", "webhook", "counter", "custom")
BACKENDS: Final = ("memory", "nats", "kafka", "redis")
SEEKS: Final = ("latest", "beginning", "last_acknowledged")


@dataclass(frozen=True)
class SinkConfig:
    """A sink as it is configured: its name, its type, and what that type wants to know."""

    name: str
    type: str
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Consumer:
    """A consumer of the log and where it begins to read."""

    name: str
    seek: str = "latest"


@dataclass(frozen=True)
class Backend:
    """What keeps the events in production."""

    type: str = "memory"
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, repr=False)
class Project:
    """Flows with the sinks and consumers that belong to them; `replay` takes it as it is.

    `other` holds the top-level keys that are none of flowdsl's business (`entities`, `links` …), `text` the YAML it was
    read from, comments and all; neither makes two projects differ.
    """

    flows: tuple[Flow, ...] = ()
    sinks: tuple[SinkConfig, ...] = ()
    consumers: tuple[Consumer, ...] = ()
    backend: Backend = Backend()
    other: Mapping[str, Any] = field(default_factory=dict, compare=False)
    text: str | None = field(default=None, compare=False)

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

    def __repr__(self) -> str:
        sinks = ", ".join(sink.name for sink in self.sinks) or "none"
        return f"<Project of {len(self.flows)} flows; sinks: {sinks}>"

    def __str__(self) -> str:
        """Every flow as it is written in Python."""
        return "\n\n".join(f"# {flow.name}\n{flow}" for flow in self.flows)
