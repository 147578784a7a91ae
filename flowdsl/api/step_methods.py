"""Methods that a flow and a trigger have besides the builder methods of flowdsl's own operators."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Never, Self

from flowdsl.api.missing import missing_in_flow
from flowdsl.operators.base import Operator, as_step


class StepMethods:
    """Base of the builder methods: steps of other packages, and hints at unknown names."""

    __slots__ = ()

    @abstractmethod
    def _then(self, step: Operator) -> Self:
        """Return the flow with one step more."""

    @abstractmethod
    def _reading(self, method: str) -> AbstractContextManager[None]:
        """Say at which step an option was refused."""

    def _add(self, operator: type[Operator], unknown: Iterable[str], /, *given: Any, **options: Any) -> Self:
        """Return the flow with a step of an operator; refuse the options that its method does not have."""
        with self._reading(operator.method):
            operator.refuse_options(unknown, tuple(options))
            step = operator.build(*given, **options)
        return self._then(step)

    def then(self, step: Operator) -> Self:
        """Append an operator of another package, which has no method of its own.

        Parameters
        ----------
        step
            The operator.

        Returns
        -------
        Flow
            The flow with this step appended.

        Raises
        ------
        BuildError
            If an option has a wrong type, or the step is not valid at its place.

        Examples
        --------
        >>> from flowdsl import on
        >>> from flowdsl.operators import Where
        >>> on("link.created").then(Where("source_id != target_id"))
        <Flow 'link.created': on('link.created').where('source_id != target_id')>
        """
        with self._reading(getattr(step, "method", "then")):
            read = as_step(step)
        return self._then(read)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Never:
            raise AttributeError(missing_in_flow(type(self).__name__, name))
