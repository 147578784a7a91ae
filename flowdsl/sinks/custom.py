"""Custom sink: a Python function."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

from flowdsl.arguments import flag_of
from flowdsl.errors import SinkError
from flowdsl.sinks.async_runner import Background
from flowdsl.sinks.base import Delivery, Failure, Outcome, Sink, check_deliveries
from flowdsl.text import type_text


class Custom(Sink):
    """Call a function for each delivery.

    Deliveries are handed over one after the other, in order. If the function raises an exception, that
    delivery has failed and the others go on.

    Parameters
    ----------
    function
        A function or async function that takes a `Delivery`. An async function runs in an event loop of the
        sink's own.
    batch
        Call the function once per batch, with a list of deliveries; if it raises, all of them have failed.

    Raises
    ------
    SinkError
        If `function` is not callable.

    Examples
    --------
    >>> titles = []
    >>> Custom(lambda delivery: titles.append(delivery.payload["title"])).deliver(
    ...     [Delivery({"title": "hello"})]
    ... )
    [None]
    >>> titles
    ['hello']
    """

    type: ClassVar[str] = "custom"
    portable: ClassVar[bool] = True
    summary: ClassVar[str] = "a function of the program, handed over under the sink's name"

    def __init__(self, function: Callable[[Any], Any], *, batch: bool = False) -> None:
        if not callable(function):
            raise SinkError(
                f"{type_text(function)} is not a function", allowed="a function or an async function"
            )
        self._function = function
        self._batch = flag_of(batch, "batch", error=SinkError)
        self._background = Background("flowdsl-custom")

    def close(self) -> None:
        """Stop the event loop, if there is one.

        Examples
        --------
        >>> Custom(print).close()
        """
        self._background.stop()

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Call the function for these deliveries.

        Parameters
        ----------
        deliveries
            The deliveries, in order.

        Returns
        -------
        sequence of Failure or None
            One entry per delivery: None, or why it failed.

        Examples
        --------
        >>> Custom(print).deliver([])
        []
        """
        check_deliveries(deliveries)
        if not deliveries:
            return []
        if self._batch:
            return [self._call(list(deliveries))] * len(deliveries)
        return [self._call(delivery) for delivery in deliveries]

    def __repr__(self) -> str:
        return f"Custom({getattr(self._function, '__qualname__', type(self._function).__name__)})"

    def _call(self, given: Any) -> Outcome:
        try:
            answer = self._function(given)
            if inspect.isawaitable(answer):
                self._background.run(_await_answer(answer))
        except Exception as error:
            return Failure.of(error)
        return None


async def _await_answer(answer: Awaitable[Any]) -> None:
    await answer
