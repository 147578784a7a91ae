"""The report of a result: made on demand, from the result's tables alone."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowdsl.diagrams.picture import Picture
from flowdsl.diagrams.results import result_diagram
from flowdsl.errors import DataError
from flowdsl.progress import Progress, track
from flowdsl.reports.aggregation import measure
from flowdsl.reports.metrics import Figures
from flowdsl.reports.page import MOST_DRAWN, render_fragment, render_page
from flowdsl.reports.summary import report_text
from flowdsl.results.error_counts import counts_of
from flowdsl.text import type_text

if TYPE_CHECKING:
    from flowdsl.results.result_data import ResultData


class Report:
    """The report of a result, which `result.report()` returns and notebooks show.

    Everything is computed on first use, from the result's tables alone: no flow runs and nothing is fetched.
    The same result always gives the same bytes.

    Attributes
    ----------
    figures : Figures
        All metrics of the report.
    html : str
        The report as one HTML file that opens offline.
    text : str
        The report in short, as text.

    Examples
    --------
    >>> from flowdsl import link_created, on, replay
    >>> flow = on("link.created", name="liked").map(recipient_id="{{ target_id }}").deliver("push")
    >>> events = [{"timestamp": "2026-01-01T00:00:00Z", "event": link_created("likes", "ann", "bob")}]
    >>> result = replay(flow, events)
    >>> print(result.report().text.splitlines()[0])
    1 event, 2026-01-01 00:00 to 2026-01-01 00:00 UTC: 1 delivery to 1 person
    """

    def __init__(self, result: ResultData, progress: Progress = None) -> None:
        self._result = result
        self._progress = progress

    @cached_property
    def figures(self) -> Figures:
        """All metrics of the report."""
        # each part of the deliveries is measured once, or several times if there are very many
        with track(self._progress, len(self._result), "report", "deliveries") as follower:
            return measure(self._result, follower)

    @cached_property
    def html(self) -> str:
        """The report as a self-contained page, without scripts or links, for light, dark and print."""
        return render_page(self.figures, self._result.manifest, self._picture())

    @cached_property
    def text(self) -> str:
        """The report in short, as text."""
        return report_text(self.figures, self._result.manifest)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file.

        Parameters
        ----------
        path
            The file, in a folder that exists.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        if not isinstance(path, (str, os.PathLike)):
            raise DataError(f"a path is {type_text(path)}", allowed="text or a pathlib.Path")
        text = self.html
        try:
            Path(path).write_bytes(text.encode())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(
                f"the report cannot be written to {os.fspath(path)!r}: {reason}",
                hint="name a file in a folder that is there and may be written to",
            ) from error

    def _picture(self) -> Picture | None:
        if len(self._result.flows) > MOST_DRAWN:
            return None
        causes = counts_of(self.figures.causes, self._result.flows)
        return Picture(result_diagram(self._result.manifest, causes))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Report of {len(self._result):,} deliveries>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        html = render_fragment(self.figures, self._result.manifest, self._picture())
        return {"text/plain": self.text, "text/html": html}
