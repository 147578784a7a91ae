"""Members that `fn` has besides flowdsl's own functions: those of other packages, and `is_in`."""

from __future__ import annotations

from flowdsl.errors import did_you_mean
from flowdsl.expressions.aggregates import AGGREGATES, guess_aggregate
from flowdsl.expressions.conditions.functions import FUNCTIONS, guess_function
from flowdsl.expressions.var import Var, make_call, make_comparison


class PluginFunction:
    """Function that another package declares, as a method of `fn`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.__doc__ = FUNCTIONS[name].doc

    def __call__(self, *arguments: object, **named: object) -> Var:
        return make_call(self.name, *arguments, **named)

    def __repr__(self) -> str:
        return f"fn.{self.name}"


class PluginFunctions:
    """Base of `fn`."""

    def __getattr__(self, name: str) -> PluginFunction:
        if name.startswith("__") or name not in FUNCTIONS:
            hint = did_you_mean(name, AGGREGATES) or guess_function(name) or guess_aggregate(name)
            raise AttributeError(
                f"there is no function {name!r}; there are {', '.join(FUNCTIONS)}; and for collect="
                f" {', '.join(AGGREGATES)}" + (f"; {hint}" if hint else "")
            )
        return PluginFunction(name)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *FUNCTIONS})

    def is_in(self, value: object, whole: object) -> Var:
        """Test whether a value is in a list, in an array, or part of a text.

        >>> from flowdsl import fn, var
        >>> ~fn.is_in(var.data.kind, ["post", "page"])
        var('data.kind not in ["post", "page"]')
        """
        return make_comparison("in", value, whole)
