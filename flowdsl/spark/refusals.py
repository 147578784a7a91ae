"""Refusals of replays that do not run on a cluster, and the errors of jobs that failed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from flowdsl.errors import DataError, FlowError, ReplayError
from flowdsl.results.engine import RunRequest
from flowdsl.results.options import Options

_RAISED: Final = re.compile(r"[\w.]*(Error|Exception): ")


def check(options: Options, request: RunRequest) -> None:
    """Refuse what cannot run on a cluster."""
    here = "leave engine= out: it runs on this machine"
    if options.state is not None:
        raise ReplayError(
            "state= does not go to a cluster",
            hint="leave engine= out to go on from a state, or replay the log from its beginning",
        )
    if request.dispatch:
        raise ReplayError("dispatch=True does not go to a cluster: sinks are open on this machine", hint=here)
    if options.gates:
        names = ", ".join(map(repr, options.gates))
        raise ReplayError(f"the preferences of {names} do not go to a cluster", hint=here)
    if request.outcomes is not None:
        raise ReplayError("explanations run on this machine", hint=here)
    if options.graph is not None and options.graph.fetchers:
        names = ", ".join(map(repr, options.graph.fetchers))
        raise ReplayError(
            f"functions supply the entities of type {names}, and are asked on this machine",
            allowed="frames and mappings",
            hint=here,
        )


def check_sendable(options: Options) -> None:
    """Raise `ReplayError` for flows that cannot be sent to another process."""
    from pyspark import cloudpickle

    for flow in options.flows:
        try:
            cloudpickle.dumps(flow)
        except Exception as error:
            raise ReplayError(
                f"it has a function that cannot be sent to other processes: {type(error).__name__}: {error}",
                flow=flow.name,
                hint="use a function of a module, or one that holds no open file, lock or connection",
            ) from error


@contextmanager
def translate_failures() -> Iterator[None]:
    """Translate Spark's error of a failed job into an error of flowdsl."""
    from pyspark.errors import PySparkException

    try:
        yield
    except FlowError:
        raise
    except PySparkException as error:
        raise _error_in(str(error)) from error
    except Exception as error:
        if type(error).__module__.startswith(("py4j", "pyspark", "grpc")):
            raise _error_in(str(error)) from error
        raise


def _error_in(text: str) -> FlowError:
    """Return the error of flowdsl that a task raised, or an error that the job failed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        name, _, what = line.partition(": ")
        if name == "flowdsl.errors.DataError":
            return DataError(what)
    reason = next((line for line in reversed(lines) if _RAISED.match(line)), lines[0] if lines else "")
    return ReplayError(
        f"the Spark job failed: {reason[:500]}",
        hint="the error that this one came from has all that Spark says; no part of its output is a result",
    )
