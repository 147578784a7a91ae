"""Writes `flowdsl/api/steps.py`: the builder methods, as real code that type checkers and completion
understand.

Run `python -m flowdsl.operators.generate` after a change to an operator's `build`; a test holds the file to
it.
"""

from __future__ import annotations

import ast
import inspect
import pathlib
import textwrap

from flowdsl.operators import OPERATORS
from flowdsl.operators.base import Operator

STARS: dict[object, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
HEAD = '''\
"""The builder methods of a flow, one an operator. Written by `python -m flowdsl.operators.generate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Never, Self

from flowdsl.api.calls import answered
from flowdsl.api.step_methods import StepMethods
from flowdsl.expressions.aggregates import Aggregate
from flowdsl.expressions.conditions import Condition, Expression
from flowdsl.expressions.durations import DurationLike
from flowdsl.expressions.var import Var
from flowdsl.operators.batch import Batch
from flowdsl.operators.cap import KeyCap
from flowdsl.operators.deduplicate import Deduplicate
from flowdsl.operators.deliver import Deliver
from flowdsl.operators.fan_out import FanOut
from flowdsl.operators.for_each import ForEach
from flowdsl.operators.map import Map
from flowdsl.operators.options import Direction, Strategy
from flowdsl.operators.rate_limit import RateLimit
from flowdsl.operators.resolve import Resolve
from flowdsl.operators.wait import Outside, Wait
from flowdsl.operators.where import Where
from flowdsl.values.local_time import Every


class Steps(StepMethods):
    """Builder methods: the steps that can follow a trigger or another step."""

    __slots__ = ()
'''


def source() -> str:
    """Return the text of the module."""
    return HEAD + "".join(map(_method, OPERATORS.own.values()))


def _method(operator: type[Operator]) -> str:
    build = operator.build
    signature = inspect.signature(build)
    doc = textwrap.indent(inspect.cleandoc(build.__doc__ or ""), " " * 8).strip()
    [function] = ast.parse(textwrap.dedent(inspect.getsource(build))).body
    assert isinstance(function, ast.FunctionDef)
    parameters, unknown = function.args, "()"
    (parameters.posonlyargs or parameters.args)[0].arg = "self"
    if parameters.kwarg is None:
        parameters.kwarg = ast.arg("unknown", ast.Name("Never"))
        unknown = "unknown"
    return f'''
    @answered
    def {operator.method}({ast.unparse(parameters)}) -> Self:
        """{doc}
        """
        return self._add({operator.__name__}, {unknown}, {_passed(signature)})
'''


def _passed(signature: inspect.Signature) -> str:
    parts = []
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            parts.append(f"{name}={name}")
        else:
            parts.append(STARS.get(parameter.kind, "") + name)
    return ", ".join(parts)


if __name__ == "__main__":
    path = pathlib.Path(__file__).parents[1] / "api" / "steps.py"
    path.write_text(source(), "utf-8")
