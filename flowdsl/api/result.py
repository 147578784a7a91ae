"""`Result` and `read_result`: the result of a replay, with explanations, pictures and reports."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Never

from flowdsl.api.missing import missing_in_result
from flowdsl.calls import answered, answering
from flowdsl.errors import ReplayError
from flowdsl.progress import Progress
from flowdsl.results.options import Options
from flowdsl.results.result_data import ResultData
from flowdsl.results.store import FolderStore

if TYPE_CHECKING:
    import pandas as pd

    from flowdsl.api.testing import FlowTest
    from flowdsl.diagrams.picture import Picture
    from flowdsl.explanation.explain import Explanation
    from flowdsl.explanation.why import DeliveryExplanation
    from flowdsl.reports.report import Report


@answering
@dataclass(repr=False)
class Result(ResultData):
    """Result of a replay: what every sink would have received, and the outcome of everything else.

    `result["in-app"]` is the table of one sink, `result.deliveries` that of all. Tables are pandas with Arrow
    types; `to_polars` and `to_arrow` return them without a copy, and anything that reads Arrow streams
    accepts a result.

    Attributes
    ----------
    sinks, flows
        The names of the sinks and flows.
    deliveries, errors, dropped, steps, refused, undelivered, late, ahead, unmatched, open
        Tables of what happened, each with an explanation of its own.
    stopped
        Where production would stop for good, or None.
    state
        What a later replay continues from.

    Examples
    --------
    >>> from flowdsl import link_created, on, replay
    >>> flow = on("link.created").map(title="{{ source_id }} follows you").deliver("in-app")
    >>> result = replay(
    ...     flow, [{"timestamp": "2026-01-01T00:00:00Z", "event": link_created("follows", "ann", "bob")}]
    ... )
    >>> result["in-app"]["title"].tolist()
    ['ann follows you']
    """

    _shown: dict[str, Report] = field(default_factory=dict)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Never:
            sinks = self.sinks if "manifest" in self.__dict__ else ()
            raise AttributeError(missing_in_result(name, sinks, dir(type(self))))

    @classmethod
    def of(cls, data: ResultData) -> Result:
        """Return the result that holds these data.

        Parameters
        ----------
        data
            The tables and the manifest of a run.

        Returns
        -------
        Result
            The result.

        Examples
        --------
        >>> from flowdsl import on, replay
        >>> flow = on("link.created").map(title="hello").deliver("in-app")
        >>> type(Result.of(replay(flow, []))).__name__
        'Result'
        """
        return cls(**{part.name: getattr(data, part.name) for part in fields(data)})

    def picture(self) -> Picture:
        """Draw the flows with the counts of this run.

        Returns
        -------
        Picture
            The drawing: `.svg`, `.mermaid`, text, and `save`.

        Examples
        --------
        >>> from flowdsl import link_created, on, replay
        >>> flow = on("link.created", name="hello").where("source_id != target_id").map(a=1).deliver("in-app")
        >>> event = {"timestamp": "2026-01-01T00:00:00Z", "event": link_created("follows", "ann", "ann")}
        >>> print(replay(flow, [event]).picture())
        Replay of flow hello
        1 event replayed, 0 deliveries
        <BLANKLINE>
        hello
                 on       link.created
           0  1  where    source_id != target_id
                          ⊘ 1 filtered
           1  0  map      a
           2  0  deliver  in-app
                          → in-app  0
        <BLANKLINE>
        sinks
          in-app  0
        """
        from flowdsl.diagrams.picture import Picture
        from flowdsl.diagrams.results import result_diagram
        from flowdsl.results.error_counts import cause_counts

        return Picture(result_diagram(self.manifest, cause_counts(self.store, self.recorder)))

    def explain(self, seq_no: int, flow: str | None = None, *, progress: Progress = None) -> Explanation:
        """Explain what happened to one event, step by step. The replay runs again up to that event.

        Parameters
        ----------
        seq_no
            The number of the event.
        flow
            The name of a flow; all flows by default.
        progress
            As in `replay`.

        Returns
        -------
        Explanation
            The outcome of each step, operands of conditions, rendered templates and variables.

        Raises
        ------
        ReplayError
            If the log has no such event, or there is no such flow.

        Examples
        --------
        >>> from flowdsl import link_created, on, replay
        >>> flow = on("link.created", name="hello").map(a=1).deliver("in-app")
        >>> event = {"timestamp": "2026-01-01T00:00:00Z", "event": link_created("follows", "ann", "bob")}
        >>> len(replay(flow, [event]).explain(1).steps)
        3
        """
        from flowdsl.explanation.explain import explain

        options = self._run_again("cannot explain: it has no log and no flows")
        return explain(options, seq_no, flow, progress=progress)

    @property
    def members(self) -> pd.DataFrame:
        """Members of windows: a row for each context that went into a batch, with the batch's deliveries.

        The flows run once more to find them. Members of windows that are still open, or that had too few, are
        not among them.

        Returns
        -------
        pandas.DataFrame
            `flow`, `step`, `seq_no` and `branch` of the member; `batch_seq_no` and `batch_branch` of the
            context that went on; its number of `deliveries`, and `delivered_at` of the first.

        Raises
        ------
        ReplayError
            If the result was read from files.

        Examples
        --------
        >>> from flowdsl import link_created, on, replay
        >>> flow = on("link.created").batch("target_id", window="1h").map(title="hello").deliver("in-app")
        >>> log = [
        ...     {"timestamp": f"2026-01-01T00:0{n}:00Z", "event": link_created("likes", f"u{n}", "post")}
        ...     for n in range(2)
        ... ]
        >>> replay(flow, log).members[["seq_no", "batch_seq_no", "deliveries"]].values.tolist()
        [[1, 2, 1], [2, 2, 1]]
        """
        from flowdsl.frames import to_pandas
        from flowdsl.results.members import members_of

        return self._make_once("members", lambda: to_pandas(members_of(self)))

    def why(
        self, seq_no: int, recipient: str, flow: str | None = None, *, progress: Progress = None
    ) -> DeliveryExplanation:
        """Explain why one event reached a recipient or did not, down to the step that stopped it.

        The explanation follows the recipient's branch through fan-outs, batches and limits, and names earlier
        events that played a part. If the recipient is in no branch, it says when they were or will be.

        Parameters
        ----------
        seq_no
            The number of the event.
        recipient
            The id of the recipient.
        flow
            The name of a flow; all flows by default.
        progress
            As in `replay`.

        Returns
        -------
        DeliveryExplanation
            The explanation in sentences.

        Raises
        ------
        ReplayError
            If the log has no such event, or there is no such flow.

        Examples
        --------
        >>> from flowdsl import link_created, on, replay
        >>> flow = on("link.created", name="hello").where("link_type == 'likes'").map(a=1).deliver("in-app")
        >>> event = {"timestamp": "2026-01-01T00:00:00Z", "event": link_created("follows", "bob", "ann")}
        >>> print(replay(flow, [event]).why(1, recipient="ann"))
        event 1: link.created follows bob → ann, 2026-01-01 00:00:00 UTC
        No: event 1 did not reach ann.
        <BLANKLINE>
        hello: no
          It was dropped at step 0 (where): link_type == "likes" is false, for link_type is "follows".
        """
        from flowdsl.explanation.why import why

        options = self._run_again("cannot say why: it has no log and no flows")
        return why(options, seq_no, recipient, flow, progress)

    def as_test(self, seq_no: int, name: str | None = None, *, progress: Progress = None) -> FlowTest:
        """Make a test from the results of one event.

        The test contains only the events and the part of the graph that matter: earlier events are included
        if they share a window or limit with the event, or change what is looked up.

        Parameters
        ----------
        seq_no
            The number of the event.
        name
            The name of the test; by default it describes the event.
        progress
            As in `replay`.

        Returns
        -------
        FlowTest
            The test; `.to_yaml()` is text to be put below `tests:`.

        Raises
        ------
        ReplayError
            If no flow ran on the event, or no sufficiently small part of the log gives the same outcome.

        Examples
        --------
        >>> from flowdsl import link_created, on, replay
        >>> flow = on("link.created", name="hello").map(a=1).deliver("in-app")
        >>> event = {"timestamp": "2026-01-01T00:00:00Z", "event": link_created("follows", "ann", "bob")}
        >>> len(replay(flow, [event]).as_test(1).deliveries)
        1
        """
        from flowdsl.api.testing import FlowTest
        from flowdsl.flow_tests.extract import as_test

        options = self._run_again("has no log and no flows to make a test of")
        return FlowTest.from_spec(as_test(options, seq_no, name, progress))

    def _run_again(self, why_not: str) -> Options:
        """Return the options to run the replay again; raise an error for a result that was read back."""
        if self.options is None:
            raise ReplayError(f"a result that was read back {why_not}", hint="replay again")
        return self.options

    def report(self, path: str | os.PathLike[str] | None = None, *, progress: Progress = None) -> Report:
        """Summarize the result in a report.

        Parameters
        ----------
        path
            A file to write the report to, as one HTML page that needs no network.
        progress
            As in `replay`; counts deliveries.

        Returns
        -------
        Report
            The report; printing it gives text, a notebook shows it as HTML, `.figures` has the numbers.

        Raises
        ------
        DataError
            If the file cannot be written.

        Examples
        --------
        >>> from flowdsl import link_created, on, replay
        >>> flow = on("link.created", name="hello").map(title="hello").deliver("in-app")
        >>> event = {"timestamp": "2026-01-01T00:00:00Z", "event": link_created("follows", "ann", "bob")}
        >>> print(replay(flow, [event]).report("report.html"))
        1 event, 2026-01-01 00:00 to 2026-01-01 00:00 UTC: 1 delivery to 1 person
        ...
        """
        if "report" not in self._shown:
            from flowdsl.reports.report import Report

            self._shown["report"] = Report(self, progress)
        report: Report = self._shown["report"]
        if path is not None:
            report.save(path)
        return report

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {**self.report()._repr_mimebundle_(), "text/plain": repr(self)}


@answered
def read_result(folder: str | os.PathLike[str]) -> Result:
    """Read a result that `replay(…, out=folder)` or `result.to_parquet(folder)` wrote. Tables are read when
    they are used.

    Parameters
    ----------
    folder
        The folder.

    Returns
    -------
    Result
        The result, without `.state` and `.explain`.

    Raises
    ------
    DataError
        If the folder holds no result, or is damaged.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from flowdsl import on, replay
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     out = pathlib.Path(folder) / "result"
    ...     _ = replay(on("link.created").map(title="hello").deliver("in-app"), [], out=out)
    ...     read_result(out).sinks
    ('in-app',)
    """
    store = FolderStore.open(folder)
    return Result(store, store.read_manifest())
