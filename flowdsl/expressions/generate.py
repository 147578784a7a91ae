"""Write `flowdsl/expressions/fn.py`: the functions of conditions as methods, for type checkers and
completion.

Run `python -m flowdsl.expressions.generate` after changing a declaration in `conditions/functions.py`; a
test checks that the file is up to date.
"""

from __future__ import annotations

import json
import pathlib
import textwrap

from flowdsl.expressions.aggregates import AGGREGATES
from flowdsl.expressions.conditions.declaration import Function
from flowdsl.expressions.conditions.functions import FUNCTIONS
from flowdsl.expressions.conditions.grammar import parse_expression
from flowdsl.expressions.conditions.nodes import ConditionLiteral, Expression, FunctionCall
from flowdsl.expressions.conditions.typecheck import Scalar

HEAD = '''"""Functions for expressions in Python. Written by `python -m flowdsl.expressions.generate`."""

from __future__ import annotations

from typing import Final, overload

from flowdsl.expressions.aggregates import Aggregate, aggregate
from flowdsl.expressions.plugin_functions import PluginFunctions
from flowdsl.expressions.var import Var, make_call


class Functions(PluginFunctions):
    """Functions for expressions built with `var`."""
'''
TAIL = """

fn: Final = Functions()
"""


def source() -> str:
    """Return the text of the module."""
    functions = [_method(function) for name, function in FUNCTIONS.own.items() if name not in AGGREGATES]
    return (
        HEAD + "".join(functions) + "".join(_aggregate(name, doc) for name, doc in AGGREGATES.items()) + TAIL
    )


def _method(function: Function) -> str:
    usage = parse_expression(function.usage)
    assert isinstance(usage, FunctionCall)
    first = [name for name in function.arguments if name not in function.defaults]
    if function.several:
        first[-1] = f"*{first[-1]}"
    parameters = [f"{name}: object" for name in first]
    parameters += [f"{name}: object = {_constant(value)}" for name, value in function.defaults.items()]
    passed = [*first, *(f"{name}={name}" for name in function.defaults)]
    written = (f"{name}={_python(node)}" if name else _python(node) for name, node in usage.written)
    return f'''
    def {function.name}(self, {", ".join(parameters)}) -> Var:
        """{_wrap(function.doc)}

        >>> from flowdsl import fn, var
        >>> fn.{function.name}({", ".join(written)})
        var({str(usage)!r})
        """
        return make_call("{function.name}", {", ".join(passed)})
'''


def _wrap(text: str) -> str:
    return "\n        ".join(textwrap.wrap(text, 96, break_on_hyphens=False))


def _constant(value: Scalar) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _aggregate(name: str, doc: str) -> str:
    example = f"""
        >>> from flowdsl import fn, var
        >>> fn.{name}(var.data.amount)
        fn.{name}('data.amount')
"""
    if name not in FUNCTIONS.own:
        return f'''
    def {name}(self, value: object) -> Aggregate:
        """{doc[:-1]}, for `collect` of a batch.
{example}        """
        return aggregate("{name}", value)
'''
    function = FUNCTIONS.own[name]
    return f'''
    @overload
    def {name}(self, number: object, /) -> Aggregate: ...
    @overload
    def {name}(self, number: object, other: object, /, *numbers: object) -> Var: ...
    def {name}(self, *numbers: object) -> Aggregate | Var:
        """{_wrap(function.doc + " Of one expression: those of a window, for `collect` of a batch.")}
{example}        >>> fn.{name}(var.data.price, var.data.offer)
        var('{name}(data.price, data.offer)')
        """
        return aggregate("{name}", *numbers) if len(numbers) == 1 else make_call("{name}", *numbers)
'''


def _python(node: Expression) -> str:
    return str(node) if isinstance(node, ConditionLiteral) else f"var.{node}"


if __name__ == "__main__":
    path = pathlib.Path(__file__).with_name("fn.py")
    path.write_text(source(), "utf-8")
