"""Whichever argument of a public callable is nonsense: it is taken, or refused with an error of flowdsl."""

from __future__ import annotations

import datetime as dt
import inspect
import itertools
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import flowdsl as fd
from flowdsl import log, sinks, testing, var
from flowdsl.log.subscription import Subscription
from flowdsl.operators.base import Operator
from tests.house.public import public_callables

AT = "2026-01-01T00:00:00Z"
EVENT = {"timestamp": AT, "event": fd.link_created("likes", "ann", "bob")}
FLOW = fd.on("link.created", name="likes").map(title="{{ source_id }}").deliver("in-app")
LIMITED = fd.on("link.created").rate_limit(1, per="1m").map(title="hello").deliver("in-app")
PROJECT = fd.load({"events": {"flows": []}})


class Hostile:
    """A value that no operation of Python may touch."""

    def refuse(self, *_: object) -> Any:
        raise ValueError("no truth here")

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __len__ = __repr__ = refuse
    __hash__ = __str__ = __contains__ = refuse


NONSENSE: dict[str, Any] = {
    "5": 5,
    "-1": -1,
    "nan": float("nan"),
    "inf": float("inf"),
    "a huge float": 1e300,
    "True": True,
    "None": None,
    "empty text": "",
    "text": "nonsense",
    "half a surrogate pair": "\ud800",
    "bytes": b"\xff",
    "an object": object(),
    "{}": {},
    "{5: {}}": {5: {}},
    "[]": [],
    "[5]": [5],
    "[{}]": [{}],
    "[None]": [None],
    "an int of 400 digits": 10**400,
    "a complex number": 1j,
    "a NUL": "\0",
    "a path that is too long": "x" * 5_000,
    "a set": {5},
    "a naive moment": dt.datetime(1, 1, 1),
    "a type": int,
    "a sink": sinks.Frame(),
    "a function": lambda *_: {},
    "a flow": FLOW,
    "an array": np.array([1, 2]),
    "an array of texts": np.array(["a", "b"]),
    "an empty array": np.array([]),
    "an array of two dimensions": np.zeros((2, 2)),
    "a NumPy number": np.float64("nan"),
    "a pandas frame": pd.DataFrame({"a": [1, 2]}),
    "a pandas series": pd.Series([1, 2]),
    "a pandas NA": pd.NA,
    "a pandas NaT": pd.NaT,
    "a Polars frame": pl.DataFrame({"a": [1, 2]}),
    "a Polars series": pl.Series([1, 2]),
    "a Polars expression": pl.col("a"),
    "an Arrow table": pa.table({"a": [1, 2]}),
    "an Arrow value": pa.scalar(None, pa.int64()),
    "a condition": var.a == 5,
    "an array in a list": [np.array([1, 2])],
    "a frame in a list": [pd.DataFrame({"a": [1, 2]})],
    "a series in a mapping": {"a": pl.Series([1, 2]), "in-app": pd.Series([1, 2])},
    "what cannot be asked": Hostile(),
    "what cannot be asked, in a mapping": {"a": Hostile(), "in-app": Hostile(), "kind": Hostile()},
    "what cannot be asked, in a list": [Hostile()],
}
# what flowdsl makes of its own data and hands out, and what its engine calls: nobody writes their arguments
MADE = {
    *(
        "flowdsl.Comparison",
        "flowdsl.Flow",
        "flowdsl.Project",
        "flowdsl.Result",
        "flowdsl.Sweep",
        "flowdsl.Position",
    ),
    *("flowdsl.log.Converted", "flowdsl.log.EventSource", "flowdsl.testing.Outcome"),
    *(f"flowdsl.sinks.{name}" for name in ("FeedItem", "FeedPage", "Notification", "Preferences")),
}
# its methods get what flowdsl makes
ENGINES = {"flowdsl.Spark"}
CALLED_BY_THE_ENGINE = {
    *(
        "accepts",
        "forget_tickets",
        "fresh",
        "from_spec",
        "ids_of",
        "keep_tickets",
        "of",
        "over",
        "start",
        "tickets",
    ),
}


def memory_log() -> fd.MemoryEventLog:
    made = fd.MemoryEventLog()
    made.append(EVENT)
    made.mark_clock(AT)
    made.mark_ahead([1], AT)
    return made


# a result is not changed by what is asked of it
@cache
def result() -> fd.Result:
    return fd.replay(FLOW, memory_log())


@cache
def swept() -> fd.Sweep:
    return fd.sweep({"a": FLOW, "b": FLOW}, memory_log())


@cache
def tuned() -> fd.Tuning:
    return fd.tune(LIMITED, memory_log(), vary={"0.max": [1, 2]})


OWNERS: dict[str, Callable[[Path], Any]] = {
    "flowdsl.EntityGraph": lambda _: fd.EntityGraph(),
    "flowdsl.Flow": lambda _: FLOW,
    "flowdsl.MemoryEventLog": lambda _: memory_log(),
    "flowdsl.ParquetEventLog": lambda folder: fd.ParquetEventLog(folder / "log"),
    "flowdsl.Project": lambda _: PROJECT,
    "flowdsl.Result": lambda _: result(),
    "flowdsl.Runtime": lambda _: fd.Runtime(FLOW, memory_log()),
    "flowdsl.Sweep": lambda _: swept(),
    "flowdsl.Tuning": lambda _: tuned(),
    "flowdsl.log.EventSource": lambda _: log.open_log([EVENT]),
    "flowdsl.sinks.Counter": lambda _: sinks.Counter(),
    "flowdsl.sinks.Custom": lambda _: sinks.Custom(repr),
    "flowdsl.sinks.Delivery": lambda _: sinks.Delivery({}),
    "flowdsl.sinks.DurableSink": lambda _: sinks.Feed(),
    "flowdsl.sinks.Failure": lambda _: sinks.Failure("no"),
    "flowdsl.sinks.Feed": lambda _: sinks.Feed(),
    "flowdsl.sinks.Frame": lambda _: sinks.Frame(),
    "flowdsl.sinks.InApp": lambda _: sinks.InApp(),
    "flowdsl.sinks.Push": lambda _: sinks.Push(),
    "flowdsl.sinks.Sink": lambda _: sinks.Frame(),
    "flowdsl.sinks.WebSocket": lambda _: sinks.WebSocket(secret="s" * 40),
    "flowdsl.sinks.Webhook": lambda _: sinks.Webhook("http://127.0.0.1:9"),
    "flowdsl.testing.FlowTest": lambda _: testing.FlowTest(name="a", events=[]),
}
# by the name of a parameter, or of a callable and its parameter
VALID: dict[str, Any] = {
    "after": 0,
    "as_": "x",
    "batch": 1,
    "branch": None,
    "clock": AT,
    "columns": [],
    "condition": "true",
    "consumer": "c",
    "data": {},
    "deliveries": [],
    "entity_id": "a",
    "entity_type": "user",
    "error": "no",
    "event": "e",
    "events": [EVENT],
    "field": "a",
    "flow": FLOW,
    "flows": FLOW,
    "folder": "new",
    "from_": "target_id",
    "function": repr,
    "ids": ["a"],
    "key": "target_id",
    "kind": "link.created",
    "limit": 10,
    "link_type": "likes",
    "log": [EVENT],
    "max": 3,
    "name": "a",
    "number": 0,
    "path": "new",
    "payload": {},
    "per": "1h",
    "place": 0,
    "position": "latest",
    "project": PROJECT,
    "recipient": "ann",
    "recipients": "ann",
    "seq_no": 1,
    "seq_nos": [1],
    "sink": "s",
    "size": 10,
    "source": [EVENT],
    "source_id": "a",
    "target": "b",
    "target_id": "b",
    "timeout": 0.0,
    "token": "t",
    "types": "x",
    "url": "http://127.0.0.1:9",
    "value": 5,
    "via": "likes",
    "window": "1h",
    "flowdsl.EntityGraph.links_between.source": "a",
    "flowdsl.Sweep.compare.after": "b",
    "flowdsl.Sweep.compare.before": "a",
    "flowdsl.compare.after": result(),
    "flowdsl.compare.before": result(),
    "flowdsl.convert.log": fd.MemoryEventLog(),
    "flowdsl.sinks.delivery_key.flow": "f",
}
# they would wait as long
FOREVER = {("timeout", "None"), ("timeout", "a huge float")}
PUBLIC = public_callables()


def is_called_by_users(name: str) -> bool:
    owner, _, method = name.rpartition(".")
    engine = method in CALLED_BY_THE_ENGINE and name != "flowdsl.Runtime.start"
    step = isinstance(home := PUBLIC.get(owner), type) and issubclass(home, Operator)
    return name not in MADE and owner not in ENGINES and not engine and not step


CALLABLES = sorted(filter(is_called_by_users, PUBLIC))


def callable_named(name: str, folder: Path) -> Callable[..., Any]:
    owner, _, method = name.rpartition(".")
    if owner in ("flowdsl", "flowdsl.log", "flowdsl.sinks", "flowdsl.testing"):
        return PUBLIC[name]
    return getattr(OWNERS[owner](folder), method)  # type: ignore[no-any-return]


def needed_arguments(name: str) -> dict[str, Any]:
    return {
        one.name: VALID.get(f"{name}.{one.name}", VALID.get(one.name))
        for one in inspect.signature(PUBLIC[name]).parameters.values()
        if one.name not in ("self", "cls")
        and one.default is one.empty
        and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    }


def calls(name: str) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Every argument as every nonsense, the others as they should be; each with what it is called."""
    parameters = inspect.signature(PUBLIC[name]).parameters.values()
    needed = needed_arguments(name)
    if "timeout" in {one.name for one in parameters}:
        needed["timeout"] = 0.0
    for tried, (label, nonsense) in itertools.product(parameters, NONSENSE.items()):
        # an interest is what flowdsl finds out of flows; a function that tells the progress may do anything
        if tried.name in ("self", "cls", "interest", "progress") or (tried.name, label) in FOREVER:
            continue
        others = {key: value for key, value in needed.items() if key != tried.name}
        if tried.kind in (tried.POSITIONAL_ONLY, tried.VAR_POSITIONAL):
            yield f"{tried.name}={label}", (*others.values(), nonsense), {}
        else:
            key = "wrong" if tried.kind is tried.VAR_KEYWORD else tried.name
            yield f"{tried.name}={label}", (), {**others, key: nonsense}


def use(given: object) -> None:
    """What a caller does next: reading what is read bit by bit, and closing what was opened."""
    if isinstance(given, Iterator) and not isinstance(given, Subscription):
        list(itertools.islice(given, 3))
    if callable(close := getattr(given, "close", None)):
        close()


@pytest.mark.parametrize("name", CALLABLES)
def test_no_nonsense_shows_a_traceback_of_something_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    faults = []
    for label, args, given in calls(name):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                use(callable_named(name, tmp_path)(*args, **given))
        except fd.FlowError:
            pass
        # that is the fault
        except Exception as error:
            faults.append(f"{label}: {error!r}"[:300])
    assert faults == []


FLAGS = [
    (name, one.name)
    for name in CALLABLES
    for one in inspect.signature(PUBLIC[name]).parameters.values()
    if one.annotation in (bool, "bool")
]


@pytest.mark.parametrize("value", ["no", 0, None, [], np.array([True, False]), pd.Series([True])], ids=repr)
@pytest.mark.parametrize(("name", "flag"), FLAGS)
def test_a_flag_is_true_or_false_and_nothing_else_is_asked_whether_it_is(
    name: str, flag: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(FLAGS) > 10
    with pytest.raises(fd.FlowError, match=f"{flag} (is|must be)") as caught:
        callable_named(name, tmp_path)(**{**needed_arguments(name), flag: value})
    assert "True or False" in str(caught.value)
