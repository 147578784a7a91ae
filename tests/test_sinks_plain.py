"""Functions as sinks, the table, and what holds for the package of sinks as a whole."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowdsl as fd
from flowdsl.production.sinks import options_of
from flowdsl.sinks import Counter, Custom, Delivery, Frame, delivery_key
from flowdsl.sinks.registry import SINKS

ROOT = Path(__file__).parents[1]


def notes(count: int) -> list[Delivery]:
    return [Delivery({"n": n}, "ann", f"k{n}") for n in range(count)]


def errors(outcomes: Sequence[Any]) -> list[str | None]:
    return [None if outcome is None else outcome.error for outcome in outcomes]


# -- functions ---------------------------------------------------------------------------------------------


def picky(delivery: Delivery) -> None:
    if delivery.payload["n"] == 1:
        raise ValueError("not this one")


async def slowly_picky(delivery: Delivery) -> None:
    await asyncio.sleep(0.001)
    picky(delivery)


class Callable:
    """An object that is called, and answers what can be awaited."""

    def __call__(self, delivery: Delivery) -> Any:
        return slowly_picky(delivery)


@pytest.mark.parametrize("function", [picky, slowly_picky, Callable(), lambda delivery: picky(delivery)])
def test_what_a_function_raises_is_the_failure_of_that_delivery_alone(function: Any):
    with Custom(function) as custom:
        assert errors(custom.deliver(notes(3))) == [None, "ValueError: not this one", None]
        assert errors(custom.deliver(notes(1))) == [None]


def test_an_error_without_words_is_told_by_its_type():
    def fails(delivery: Delivery) -> None:
        raise KeyError

    assert errors(Custom(fails).deliver(notes(1))) == ["KeyError"]


def test_a_function_of_batches_gets_them_whole_and_fails_as_a_whole():
    seen: list[list[Delivery]] = []
    assert errors(Custom(seen.append, batch=True).deliver(notes(3))) == [None] * 3
    assert seen == [notes(3)]

    def fails(batch: list[Delivery]) -> None:
        raise OSError("gone")

    assert errors(Custom(fails, batch=True).deliver(notes(2))) == ["OSError: gone"] * 2
    assert Custom(fails, batch=True).deliver([]) == []


def test_an_async_function_runs_while_another_event_loop_does_and_leaves_no_thread():
    said: list[Delivery] = []

    async def keep(delivery: Delivery) -> None:
        said.append(delivery)

    async def cell() -> None:
        with Custom(keep) as custom:
            custom.deliver(notes(2))

    before = set(threading.enumerate())
    asyncio.run(cell())
    assert said == notes(2)
    assert set(threading.enumerate()) <= before


def test_a_sink_that_nobody_has_any_more_takes_its_thread_with_it():
    before = set(threading.enumerate())
    custom = Custom(slowly_picky)
    custom.deliver(notes(1))
    (thread,) = set(threading.enumerate()) - before
    del custom
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_an_interrupt_goes_through():
    def interrupted(delivery: Delivery) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Custom(interrupted).deliver(notes(1))


# -- the table ---------------------------------------------------------------------------------------------


def test_a_table_has_the_columns_of_a_replay_and_every_delivery():
    frame = Frame()
    frame.deliver([Delivery({"seq_no": 5, "tags": ["a", {"b": None}], "n": 1}, "ann", "k1", seq_no=7)])
    frame.deliver([Delivery("text", None, "k2"), Delivery({}, "bob", "k3")])
    table = frame.frame()
    assert table["seq_no"].tolist() == [7, 0, 0]
    assert table["recipient_id"].tolist()[0] == "ann"
    assert table["payload.seq_no"].tolist()[0] == 5
    assert table["tags"].tolist()[0] == ['"a"', '{"b":null}']
    assert table["payload"].tolist()[1] == "text"
    assert table["key"].tolist() == ["k1", "k2", "k3"]
    assert (len(frame), repr(frame)) == (3, "Frame(3 deliveries)")
    frame.clear()
    assert list(frame.frame().columns[:3]) == ["delivered_at", "recipient_id", "flow"]
    assert len(frame) == 0


# -- counting against a plain count ------------------------------------------------------------------------


@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(["p1", "p2"]),
            st.sampled_from(["inc", "add", "increment", "dec", "sub", "subtract", "decrement", "set"]),
            st.integers(-5, 5) | st.floats(-2, 2),
        )
    ),
    size=st.integers(1, 5),
)
def test_a_counter_counts_as_a_plain_reading_does(changes: list[tuple[str, str, Any]], size: int):
    counter, expected = Counter(field="n"), {"p1": 0, "p2": 0}
    deliveries = [
        Delivery({"entity_type": "post", "entity_id": one, "operation": operation, "value": value})
        for one, operation, value in changes
    ]
    for start in range(0, len(deliveries), size):
        counter.deliver(deliveries[start : start + size])
    for one, operation, value in changes:
        if operation == "set":
            expected[one] = value
        elif operation in ("inc", "add", "increment"):
            expected[one] += value
        else:
            expected[one] = max(expected[one] - value, min(expected[one], 0))
    assert {one: counter.value("post", one) for one in expected} == expected


# -- keys --------------------------------------------------------------------------------------------------


def test_a_key_is_of_one_delivery_only():
    base = ("e", "f", "0.1", 2, "s")
    others = [("d",), ("g",), (None,), ("0",), (3,), ("t",)]
    places = [0, 1, 2, 2, 3, 4]
    keys = {
        delivery_key(*base[:n], *other, *base[n + 1 :])  # type: ignore[arg-type]
        for n, other in zip(places, others, strict=True)
    }
    assert len(keys | {delivery_key(*base), delivery_key(*base, provisional=True)}) == len(others) + 2
    # parts do not flow into one another
    assert delivery_key("1", "f", None, 1, "s") != delivery_key("", "1f", None, 1, "s")


# -- the package -------------------------------------------------------------------------------------------


def test_every_type_is_in_the_documentation_with_every_option_described():
    text = (ROOT / "docs" / "sinks.md").read_text("utf-8")
    for kind in SINKS:
        sink = SINKS[kind]
        assert sink.type == kind
        assert f"`{sink.__name__}(" in text
        assert f"`{kind}`" in text
        for option in options_of(kind).values():
            assert option.doc
            assert option.schema["examples"]
    assert fd.sinks.__all__ == sorted(fd.sinks.__all__)
    for name in fd.sinks.__all__:
        assert getattr(fd.sinks, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'Email'"):
        fd.sinks.Email  # noqa: B018


def test_sinks_are_loaded_one_by_one_and_their_libraries_when_they_open():
    code = """
import sys, flowdsl as fd
fd.sinks.InApp().deliver([fd.sinks.Delivery({}, "ann")])
fd.sinks.Webhook("http://127.0.0.1:9"), fd.sinks.Push(), fd.sinks.WebSocket()
print({"httpx", "websockets", "tenacity"} & {name.partition(".")[0] for name in sys.modules})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_delivery_made_by_hand_needs_a_payload_only():
    one = Delivery({"a": 1})
    assert (one.recipient, one.field("a"), one.field("b"), Delivery("text").field("a")) == (
        None,
        1,
        None,
        None,
    )
    assert one.delivered_at == dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
