"""The picture of a result: its flows with the counts of the run."""

from __future__ import annotations

from flowdsl.diagrams.picture import Picture
from flowdsl.diagrams.results import Causes, result_diagram
from flowdsl.results.error_counts import cause_counts
from flowdsl.results.result_data import ResultData


def result_picture(result: ResultData, causes: Causes | None = None) -> Picture:
    """Return the flows of a result with its counts at their edges; `causes` are counted if not given."""
    if causes is None:
        causes = cause_counts(result.store, result.recorder)
    return Picture(result_diagram(result.manifest, causes))
