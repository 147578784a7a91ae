"""The operators, each in a file of its own, and those that other packages add (`flowdsl.operators`).

Goes in: one file per operator, with its options, checks and kernel. Stays out: engines; no operator knows
them or another operator.
"""

from __future__ import annotations

from flowdsl.errors import PluginError, did_you_mean
from flowdsl.operators.base import Operator
from flowdsl.operators.batch import Batch
from flowdsl.operators.cap import KeyCap
from flowdsl.operators.deduplicate import Deduplicate
from flowdsl.operators.deliver import Deliver
from flowdsl.operators.fan_out import FanOut
from flowdsl.operators.for_each import ForEach
from flowdsl.operators.map import Map
from flowdsl.operators.rate_limit import RateLimit
from flowdsl.operators.resolve import Resolve
from flowdsl.operators.wait import Wait
from flowdsl.operators.where import Where
from flowdsl.registry import Registry, subclass_problem

# in the order in which documentation lists them
_OWN = (Resolve, FanOut, ForEach, Where, Deduplicate, Batch, RateLimit, KeyCap, Wait, Map, Deliver)
OPERATORS: Registry[type[Operator]] = Registry(
    "flowdsl.operators", {operator.name: operator for operator in _OWN}, subclass_problem(Operator)
)
"""The operators by the name that they have in YAML, those of other packages behind flowdsl's own."""
PORTABLE = tuple(operator.name for operator in _OWN if operator.portable)
"""Names of the operators that production has."""


def is_own(step: Operator) -> bool:
    """Return True for a step whose operator is flowdsl's own."""
    return type(step) in _OWN


def missing_method(owner: str, name: str) -> str:
    """Return the error message for an attribute that a flow or trigger does not have."""
    message = f"{owner!r} object has no attribute {name!r}"
    if name.startswith("_"):
        return message
    try:
        if name in OPERATORS and name not in OPERATORS.own:
            return (
                f"{message}; {name} is an operator of another package: .then({OPERATORS[name].__name__}(…))"
            )
    except PluginError as error:
        # a missing attribute stays one
        return f"{message}; {error}"
    meant = synonym_of(name)
    if meant is not None:
        return f"{message}; that is {meant.method!r} here: {meant.summary}"
    hint = did_you_mean(name, [operator.method for operator in OPERATORS.own.values()])
    return f"{message}; {hint}" if hint else message


def synonym_of(name: str) -> type[Operator] | None:
    """Return the operator that has this name in YAML or in other tools, if any."""
    return next((o for o in OPERATORS.own.values() if name in (o.name, o.method, *o.synonyms)), None)
