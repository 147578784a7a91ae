"""The names of Tera's filters, tests and functions, and what arguments they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Signature(NamedTuple):
    """The names of the arguments that must be given, and of those that may be."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


FILTERS: Final[Mapping[str, Signature]] = {
    "abs": Signature(),
    "addslashes": Signature(),
    "as_str": Signature(),
    "capitalize": Signature(),
    "concat": Signature(("with",)),
    "date": Signature((), ("format", "timezone", "locale")),
    "default": Signature(("value",)),
    "escape": Signature(),
    "escape_xml": Signature(),
    "filesizeformat": Signature((), ("binary",)),
    "filter": Signature(("attribute",), ("value",)),
    "first": Signature(),
    "float": Signature((), ("default",)),
    "get": Signature(("key",), ("default",)),
    "group_by": Signature(("attribute",)),
    "indent": Signature((), ("prefix", "first", "blank")),
    "int": Signature((), ("default", "base")),
    "join": Signature((), ("sep",)),
    "json_encode": Signature((), ("pretty",)),
    "last": Signature(),
    "length": Signature(),
    "linebreaksbr": Signature(),
    "lower": Signature(),
    "map": Signature(("attribute",)),
    "nth": Signature(("n",)),
    "pluralize": Signature((), ("singular", "plural")),
    "replace": Signature(("from", "to")),
    "reverse": Signature(),
    "round": Signature((), ("method", "precision")),
    "safe": Signature(),
    "slice": Signature((), ("start", "end")),
    "slugify": Signature(),
    "sort": Signature((), ("attribute",)),
    "spaceless": Signature(),
    "split": Signature(("pat",)),
    "striptags": Signature(),
    "title": Signature(),
    "trim": Signature(),
    "trim_end": Signature(),
    "trim_end_matches": Signature(("pat",)),
    "trim_start": Signature(),
    "trim_start_matches": Signature(("pat",)),
    "truncate": Signature((), ("length", "end")),
    "unique": Signature((), ("attribute", "case_sensitive")),
    "upper": Signature(),
    "urlencode": Signature(),
    "urlencode_strict": Signature(),
    "wordcount": Signature(),
}

TESTS: Final[Mapping[str, int]] = {
    "containing": 1,
    "defined": 0,
    "divisibleby": 1,
    "ending_with": 1,
    "even": 0,
    "iterable": 0,
    "matching": 1,
    "number": 0,
    "object": 0,
    "odd": 0,
    "starting_with": 1,
    "string": 0,
    "undefined": 0,
}
"""How many arguments each test takes."""

FUNCTIONS: Final[Mapping[str, Signature]] = {
    "range": Signature(("end",), ("start", "step_by")),
    "throw": Signature(("message",)),
}

REFUSED: Final[Mapping[str, str]] = {
    "get_env": "it would put the environment of the machine into a message",
    "get_random": "a replay would differ from run to run",
    "now": "a replay would differ from run to run",
}
"""Functions of Tera that flowdsl refuses, and why."""

CONTEXT_DUMP: Final = "__tera_context"
"""The path by which Tera prints all variables, which flowdsl refuses."""
