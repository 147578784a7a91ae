"""The engines by name, and logs that only one of them reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flowdsl.errors import ReplayError, did_you_mean
from flowdsl.results.engine import Engine, EngineName
from flowdsl.results.local_engine import LocalEngine
from flowdsl.spark.engine import Spark
from flowdsl.spark.sources import SparkEvents, is_spark_frame
from flowdsl.text import short_repr

ENGINES: Final[Mapping[str, Engine]] = {"local": LocalEngine(), "spark": Spark()}
"""The engines that are known by name."""


def engine_of(engine: EngineName | Engine) -> Engine:
    """Return an engine by its name, or the one given; a `ReplayError` for anything else."""
    if isinstance(engine, str):
        if engine in ENGINES:
            return ENGINES[engine]
        hint = did_you_mean(engine, ENGINES)
    elif isinstance(engine, Engine) and not isinstance(engine, type):
        return engine
    else:
        hint = "an object with a method run(plan, options, store, request) is one: see flowdsl.results.engine"
    raise ReplayError(
        f"engine={short_repr(engine)} is not known",
        allowed=f"{' or '.join(map(repr, ENGINES))}, or an engine",
        hint=hint,
    )


def log_of(log: Any) -> Any:
    """Return a log as `open_log` takes it: a DataFrame of Spark becomes one."""
    return SparkEvents(log) if is_spark_frame(log) else log
