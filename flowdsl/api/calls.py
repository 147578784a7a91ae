"""Calls of builder methods that Python itself refuses, answered with the step, what is allowed, and a
hint.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flowdsl.calls import is_refused
from flowdsl.operators import OPERATORS

Method = TypeVar("Method", bound=Callable[..., Any])


def answered(method: Method) -> Method:
    """Return a builder method that refuses a call with too few or too many arguments as any other mistake."""

    @functools.wraps(method)
    def call(self: Any, *given: object, **options: object) -> Any:
        try:
            return method(self, *given, **options)
        except TypeError as error:
            if not is_refused(error):
                raise
            [operator] = [one for one in OPERATORS.own.values() if one.method == method.__name__]
            with self._reading(operator.method):
                operator.refuse_call(given, options, inspect.signature(method))
            raise  # for type checkers: that raised

    return cast("Method", call)
