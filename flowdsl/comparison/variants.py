"""Variants of a flow that ran in one replay."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from flowdsl.arguments import is_text_in
from flowdsl.comparison.comparison import Comparison
from flowdsl.comparison.grid import Variant
from flowdsl.comparison.inputs import FlowPair, FlowResult
from flowdsl.errors import ReplayError
from flowdsl.flow.caps import count_apart
from flowdsl.flow.spec import FlowSpec
from flowdsl.results.options import Options, options_of
from flowdsl.results.result_data import ResultData
from flowdsl.text import short_repr


@dataclass(frozen=True, repr=False)
class VariantsData:
    """Variants of a flow, and the replay of all of them."""

    result: ResultData
    variants: tuple[Variant, ...]

    def flow(self, name: str) -> FlowSpec:
        """Return the flow of a variant by its name."""
        return self.variants[self._number(name)].flow

    def compare(self, before: str, after: str) -> Comparison:
        """Compare two variants, delivery by delivery.

        Parameters
        ----------
        before, after
            The names of the variants, such as `window=5m`.

        Returns
        -------
        Comparison
            The differences between the two.

        Examples
        --------
        >>> from flowdsl import MemoryEventLog, link_created, on, sweep
        >>> log = MemoryEventLog()
        >>> for minute in (0, 1, 3, 20):
        ...     like = link_created("likes", "ann", "post")
        ...     _ = log.append(like, timestamp=f"2026-01-01T00:{minute:02}:00Z")
        >>> digest = on("link.created").batch("target_id", window="1m").map(title="{{ batch.count }}")
        >>> digest = digest.deliver("push")
        >>> tried = sweep(digest, log, window=["1m", "1h"])
        >>> tried.compare("window=1m", "window=1h").totals()["removed"]
        3
        """
        one, other = (FlowResult(self.result, self._number(name)) for name in (before, after))
        return Comparison([FlowPair(one, other)])

    @property
    def _sides(self) -> list[FlowResult]:
        return [FlowResult(self.result, number) for number in range(len(self.variants))]

    @property
    def _parameters(self) -> list[str]:
        return [name for name, _ in self.variants[0].values]

    def _parameter_columns(self) -> dict[str, pl.Series]:
        return {
            name: _parameter_column([dict(variant.values)[name] for variant in self.variants])
            for name in self._parameters
        }

    def _number(self, name: str) -> int:
        names = [variant.name for variant in self.variants]
        if not is_text_in(name, names):
            raise ReplayError.unknown(f"there is no variant {short_repr(name)}", name, names)
        return names.index(name)

    def __len__(self) -> int:
        """Return the number of variants."""
        return len(self.variants)


def options_of_variants(variants: Sequence[Variant], log: Any, graph: Any, **options: Any) -> Options:
    """Return the options of a replay of variants in which caps of sinks count for each variant alone."""
    read = options_of([variant.flow for variant in variants], log, graph, **options)
    return replace(read, caps=count_apart(read.caps, read.flows))


def _parameter_column(values: Sequence[Any]) -> pl.Series:
    """Return parameters as given if they have one plain type, otherwise as text."""
    kinds = set(map(type, values))
    if any(kinds <= plain for plain in ({bool}, {int, float}, {dt.timedelta})):
        return pl.Series(values)
    return pl.Series(map(str, values), dtype=pl.String)
