"""Conversion of what functions accept as flows: one, several, or a project."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from flowdsl.errors import ReplayError
from flowdsl.flow.spec import FlowSpec


class HasFlows(Protocol):
    """A project, or anything else that holds flows."""

    @property
    def flows(self) -> Sequence[FlowSpec]:
        """Return the flows in order."""
        ...


FlowLike = FlowSpec | Iterable[FlowSpec] | HasFlows


def as_flows(flows: FlowLike) -> tuple[FlowSpec, ...]:
    """Return the flows of a flow, a list or a project; raise `ReplayError` for anything else."""
    if isinstance(flows, FlowSpec):
        return (flows,)
    held = getattr(flows, "flows", flows)
    if isinstance(held, Iterable) and not isinstance(held, (str, bytes, Mapping)):
        listed = tuple(held)
        for flow in listed:
            if not isinstance(flow, FlowSpec):
                raise ReplayError(
                    f"{type(flow).__name__} is not a flow", allowed="a flow, a list of flows, or a project"
                )
        if not listed:
            raise ReplayError("there is no flow to run", hint="pass a flow, a list of them, or a project")
        return listed
    raise ReplayError(
        f"{type(flows).__name__} is not a flow",
        allowed="a flow, a list of flows, or a project",
        hint="on('link.created')… makes one; load(path) reads YAML",
    )
