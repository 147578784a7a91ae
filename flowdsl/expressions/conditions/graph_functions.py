"""Functions of conditions over the graph, as of the moment at which a step runs."""

from __future__ import annotations

from typing import Any, Final, NoReturn

from flowdsl.errors import did_you_mean
from flowdsl.expressions.conditions.declaration import Function, Kind
from flowdsl.expressions.conditions.graph_query import DIRECTIONS, GraphQuery
from flowdsl.expressions.conditions.typecheck import EvaluationError, Scalar
from flowdsl.text import short_repr

# types of ids: text, or a whole number, which stands for its decimal text
_ID: Final[tuple[Kind, ...]] = ("text", "number")
_TEXT: Final[tuple[Kind, ...]] = ("text",)


def _unasked(*values: Any) -> NoReturn:
    raise EvaluationError("the graph is asked while a flow runs")


def _type_problem(value: Scalar) -> str | None:
    return None if str(value).strip() else "a link type is text that is not empty"


def _direction_problem(value: Scalar) -> str | None:
    if value in DIRECTIONS:
        return None
    hint = did_you_mean(value, DIRECTIONS) or "write 'forward' or 'reverse'"
    return f"the direction {short_repr(value)} is not known; {hint}"


GRAPH_FUNCTIONS: Final = (
    Function(
        "linked",
        "Test whether there is a link of a type from one id to another, at the moment of the step.",
        'linked(target_id, "blocks", source_id)',
        {"source": _ID, "link_type": _TEXT, "target": _ID},
        "boolean",
        _unasked,
        constants={"link_type": _type_problem},
        asks=GraphQuery(
            lambda direction: ("between",),
            "where an id has one such link at most, resolve the other end over it and compare its id, but an "
            "event without the link fails there; else let the events carry the answer, as of when they are "
            "made",
        ),
    ),
    Function(
        "count_links",
        'Return how many links of a type an id has, with direction="reverse" how many end at it.',
        'count_links(target_id, "likes", direction="reverse")',
        {"start": _ID, "link_type": _TEXT, "direction": _TEXT},
        "number",
        _unasked,
        natural=True,
        defaults={"direction": "forward"},
        constants={"link_type": _type_problem, "direction": _direction_problem},
        asks=GraphQuery(
            lambda direction: (f"{direction} count",),
            "keep the number in the entity, resolve that and compare: it is as recent as whoever writes it "
            "makes it",
        ),
    ),
    Function(
        "first_link",
        'Return the metadata of the first link of a type that an id has, or with direction="reverse" that '
        "ends at it.",
        'first_link(source_id, "rates")',
        {"start": _ID, "link_type": _TEXT, "direction": _TEXT},
        "any",
        _unasked,
        defaults={"direction": "forward"},
        constants={"link_type": _type_problem, "direction": _direction_problem},
        asks=GraphQuery(
            lambda direction: (direction, "metadata"),
            "keep what the link says in the entity at one of its ends, and resolve that",
        ),
    ),
)
