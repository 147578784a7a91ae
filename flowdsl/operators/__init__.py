"""The eight operators, each in a file of its own; `OPERATORS` finds them by the name they have in YAML."""

from __future__ import annotations

from flowdsl.operators.base import Operator
from flowdsl.operators.batch import Batch
from flowdsl.operators.deduplicate import Deduplicate
from flowdsl.operators.deliver import Deliver
from flowdsl.operators.fan_out import FanOut
from flowdsl.operators.map import Map
from flowdsl.operators.rate_limit import RateLimit
from flowdsl.operators.resolve import Resolve
from flowdsl.operators.where import Where

# in the order in which documentation lists them
OPERATORS: dict[str, type[Operator]] = {
    operator.name: operator
    for operator in (Resolve, FanOut, Where, Deduplicate, Batch, RateLimit, Map, Deliver)
}
