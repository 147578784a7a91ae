"""`FlowTest` and the functions that run tests; users import them from `flowdsl.testing`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from flowdsl.api.project import Project
from flowdsl.api.result import Result
from flowdsl.arguments import all_of
from flowdsl.calls import answered, answering
from flowdsl.errors import FlowError
from flowdsl.flow.inputs import FlowLike
from flowdsl.flow_tests import runner
from flowdsl.flow_tests.cases import FlowTestSpec
from flowdsl.flow_tests.runner import RunOutcome


@answering
class FlowTest(FlowTestSpec):
    """Test of flows: events, a graph, and the deliveries, drops and failures they must lead to.

    A test has the same fields as an entry of `tests:` in YAML.

    Parameters
    ----------
    name
        The name of the test.
    events
        Mappings with the fields of their kind and `at` (a time after `start` or a timestamp; by default that
        of the event before), or the results of `link_created` and its sisters, alone or as `(at, event)`.
    deliveries
        All deliveries. The `payload` of one names the fields to compare, or all of them with `exact`.
    drops
        All dropped contexts; None compares none.
    failures
        All failed contexts.
    description
        Text for readers.
    flows
        The names of the flows to run; None runs all.
    target
        A production runtime, such as `"this-rs"`, whose rules are used.
    open_windows
        What becomes of windows that are open at the end, as in `replay`.
    graph
        The entities and links before the first event.
    start
        The time from which `at` counts.

    Raises
    ------
    LoadError
        If a field is not valid.

    Examples
    --------
    >>> from flowdsl import link_created, on
    >>> flow = on("link.created").map(title="{{ source_id }} follows you").deliver("in-app")
    >>> test = FlowTest(
    ...     name="users are notified of new followers",
    ...     events=[link_created("follows", "ann", "bob")],
    ...     deliveries=[{"sink": "in-app", "recipient": "bob", "payload": {"title": "ann follows you"}}],
    ... )
    >>> test.run(flow).passed
    True
    """

    @classmethod
    def from_spec(cls, spec: FlowTestSpec) -> FlowTest:
        """Return the test that a specification describes.

        Parameters
        ----------
        spec
            The specification.

        Returns
        -------
        FlowTest
            The test.

        Examples
        --------
        >>> FlowTest.from_spec(FlowTest(name="nothing happens", events=[])).name
        'nothing happens'
        """
        return spec if isinstance(spec, cls) else cls(**{f.name: getattr(spec, f.name) for f in fields(spec)})

    def run(self, flows: FlowLike) -> Outcome:
        """Run the test.

        Parameters
        ----------
        flows
            A flow, a list of flows, or a project.

        Returns
        -------
        Outcome
            The outcome: whether it passed, and the differences.

        Examples
        --------
        >>> from flowdsl import on
        >>> FlowTest(name="nothing happens", events=[]).run(
        ...     on("link.created").map(title="hello").deliver("in-app")
        ... ).passed
        True
        """
        return Outcome.of(runner.run(self, flows))

    def check(self, flows: FlowLike) -> None:
        """Run the test and raise an error if it fails; for pytest and the like.

        Parameters
        ----------
        flows
            A flow, a list of flows, or a project.

        Raises
        ------
        AssertionError
            If the test fails; the message shows the differences.

        Examples
        --------
        >>> from flowdsl import on
        >>> FlowTest(name="nothing happens", events=[]).check(
        ...     on("link.created").map(title="hello").deliver("in-app")
        ... )
        """
        outcome = self.run(flows)
        if not outcome.passed:
            raise AssertionError(f"{self.name}\n{outcome.diff}")


@answering
@dataclass(frozen=True, repr=False)
class Outcome(RunOutcome):
    """Outcome of a test.

    Attributes
    ----------
    test
        The test.
    settled
        The test as it would pass: its expectations replaced by what happened.
    result
        The replay, or None if it did not run.
    error
        Why it did not run, or None.

    Examples
    --------
    >>> from flowdsl import on
    >>> from flowdsl.testing import FlowTest
    >>> FlowTest(name="nothing happens", events=[]).run(
    ...     on("link.created").map(title="hello").deliver("in-app")
    ... ).error is None
    True
    """

    test: FlowTest
    settled: FlowTest
    result: Result | None = None

    @classmethod
    def of(cls, run: RunOutcome) -> Outcome:
        """Return the outcome of a run.

        Parameters
        ----------
        run
            The run of a test.

        Returns
        -------
        Outcome
            The outcome, with a result that explains and reports.

        Examples
        --------
        >>> from flowdsl import on
        >>> flow = on("link.created").map(title="hello").deliver("in-app")
        >>> FlowTest(name="nothing happens", events=[]).run(flow).passed
        True
        """
        result = None if run.result is None else Result.of(run.result)
        return cls(FlowTest.from_spec(run.test), FlowTest.from_spec(run.settled), result, run.error)


@answered
def read_tests(source: Any) -> tuple[FlowTest, ...]:
    """Read the tests of a project.

    Parameters
    ----------
    source
        A project, or anything that `load` accepts.

    Returns
    -------
    tuple of FlowTest
        The tests.

    Raises
    ------
    LoadError
        If a test is not valid.

    Examples
    --------
    >>> read_tests({"sinks": [], "tests": [{"name": "nothing happens", "events": []}]})
    (<FlowTest 'nothing happens': 0 events>,)
    """
    return tuple(map(FlowTest.of, runner.read_tests(source)))


@answered
def run_tests(project: Project, tests: Iterable[FlowTest] | None = None) -> list[Outcome]:
    """Run tests of a project.

    Parameters
    ----------
    project
        The project.
    tests
        The tests; those of the project by default.

    Returns
    -------
    list of Outcome
        One outcome per test; a test that cannot run has an `error`.

    Examples
    --------
    >>> from flowdsl import load
    >>> run_tests(load({"events": {"flows": []}}))
    []
    """
    outcomes = []
    given = read_tests(project) if tests is None else all_of(tests, "tests", FlowTest, "a list of FlowTest")
    for test in given:
        try:
            outcomes.append(test.run(project))
        except FlowError as error:
            outcomes.append(Outcome(test, test, error=error))
    return outcomes
