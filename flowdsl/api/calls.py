"""Errors with the step, the allowed arguments and a hint, for calls of builder methods that Python itself
refuses.
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
    """Wrap a builder method so that a wrong number or name of arguments raises an error with its step."""

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
