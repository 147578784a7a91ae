"""Design event flows in Python, replay them over history, and ship them to production.

Names are loaded when they are first used: `import flowdsl` itself costs next to nothing.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # type checkers take it for typing's own, whose import would be most of the time
if TYPE_CHECKING:
    from typing import Any

    from flowdsl import sinks as sinks
    from flowdsl import testing as testing
    from flowdsl.api.design import design
    from flowdsl.api.flow import Flow, on
    from flowdsl.api.project import Project, load
    from flowdsl.api.replay import replay
    from flowdsl.api.result import Result, read_result
    from flowdsl.api.runtime import Runtime
    from flowdsl.api.sweep import Sweep, sweep
    from flowdsl.api.tune import Tuning, tune
    from flowdsl.comparison.comparison import Comparison, compare
    from flowdsl.errors import (
        BuildError,
        CallError,
        ConditionError,
        DataError,
        ExportError,
        FlowError,
        FlowWarning,
        LiveError,
        LoadError,
        PluginError,
        ReplayError,
        SinkError,
        TemplateError,
    )
    from flowdsl.events import entity_created, entity_deleted, entity_updated, link_created, link_deleted
    from flowdsl.expressions.fn import fn
    from flowdsl.expressions.var import var
    from flowdsl.flow.sink_cap import Cap
    from flowdsl.graph.folder import read_graph
    from flowdsl.graph.snapshot import EntityGraph
    from flowdsl.log import MemoryEventLog, ParquetEventLog, Position, convert, literal, read_events
    from flowdsl.log.guess import Guess, guess
    from flowdsl.log.shape import Shape
    from flowdsl.production.schema import schema
    from flowdsl.spark.engine import Spark

_HOME = {
    "BuildError": "errors",
    "CallError": "errors",
    "Cap": "flow.sink_cap",
    "Comparison": "comparison.comparison",
    "ConditionError": "errors",
    "DataError": "errors",
    "EntityGraph": "graph.snapshot",
    "ExportError": "errors",
    "Flow": "api.flow",
    "FlowError": "errors",
    "FlowWarning": "errors",
    "Guess": "log.guess",
    "LiveError": "errors",
    "LoadError": "errors",
    "MemoryEventLog": "log",
    "ParquetEventLog": "log",
    "PluginError": "errors",
    "Position": "log",
    "Project": "api.project",
    "ReplayError": "errors",
    "Result": "api.result",
    "Runtime": "api.runtime",
    "Shape": "log.shape",
    "SinkError": "errors",
    "Spark": "spark.engine",
    "Sweep": "api.sweep",
    "Tuning": "api.tune",
    "TemplateError": "errors",
    "compare": "comparison.comparison",
    "convert": "log",
    "design": "api.design",
    "entity_created": "events",
    "entity_deleted": "events",
    "entity_updated": "events",
    "fn": "expressions.fn",
    "guess": "log.guess",
    "link_created": "events",
    "link_deleted": "events",
    "literal": "log",
    "load": "api.project",
    "on": "api.flow",
    "read_events": "log",
    "read_graph": "graph.folder",
    "read_result": "api.result",
    "replay": "api.replay",
    "schema": "production.schema",
    "sweep": "api.sweep",
    "tune": "api.tune",
    "var": "expressions.var",
}

# modules that are used by their own name: `flowdsl.testing.FlowTest`
_MODULES = ("sinks", "testing")

__all__ = [
    "BuildError",
    "CallError",
    "Cap",
    "Comparison",
    "ConditionError",
    "DataError",
    "EntityGraph",
    "ExportError",
    "Flow",
    "FlowError",
    "FlowWarning",
    "Guess",
    "LiveError",
    "LoadError",
    "MemoryEventLog",
    "ParquetEventLog",
    "PluginError",
    "Position",
    "Project",
    "ReplayError",
    "Result",
    "Runtime",
    "Shape",
    "SinkError",
    "Spark",
    "Sweep",
    "TemplateError",
    "Tuning",
    "compare",
    "convert",
    "design",
    "entity_created",
    "entity_deleted",
    "entity_updated",
    "fn",
    "guess",
    "link_created",
    "link_deleted",
    "literal",
    "load",
    "on",
    "read_events",
    "read_graph",
    "read_result",
    "replay",
    "schema",
    "sweep",
    "tune",
    "var",
]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"flowdsl.{name}")
    if name not in _HOME:
        from flowdsl.api.missing import missing_in_package

        raise AttributeError(missing_in_package(name, __all__))
    value = getattr(importlib.import_module(f"flowdsl.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES, "__version__"])
