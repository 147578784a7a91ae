"""Hints that translate idioms of Jinja2, Liquid and Python to Tera."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from flowdsl.errors import did_you_mean

_NO_NULL: Final = "null has no name in Tera: ask {% if x %}, or write x | default(value=…)"
_WORDS: Final = {
    "filter": {
        "count": "length",
        "d": "default(value=…)",
        "e": "escape",
        "forceescape": "escape",
        "len": "length",
        "lstrip": "trim_start",
        "nl2br": "linebreaksbr",
        "rejectattr": "filter(attribute=…, value=…)",
        "rstrip": "trim_end",
        "selectattr": "filter(attribute=…, value=…)",
        "size": "length",
        "str": "as_str",
        "string": "as_str",
        "strip": "trim",
        "striphtml": "striptags",
        "to_json": "json_encode()",
        "tojson": "json_encode()",
        "upcase": "upper",
        "downcase": "lower",
        "url_encode": "urlencode",
    },
    "test": {
        "contains": "containing",
        "endswith": "ending_with",
        "float": "number",
        "integer": "number",
        "mapping": "object",
        "match": "matching",
        "sequence": "iterable",
        "startswith": "starting_with",
    },
    "function": {"len": "the filter length"},
}
_SENTENCES: Final = {
    ("test", "none"): _NO_NULL,
    ("test", "null"): _NO_NULL,
    ("test", "in"): "write {% if x in list %}, without `is`",
    ("function", "namespace"): "{% set_global x = … %} sets a variable from within a loop",
    **{("variable", name): _NO_NULL for name in ("none", "None", "null", "nil", "undefined")},
    ("variable", "loop"): "there are loop.index, index0, first and last, and only within {% for %}",
}
# hints by the text before and after the position at which the parser stops
_SYNTAX: Final = (
    (r"", r"if\b", "an inline `if` is written `{% if … %}…{% else %}…{% endif %}`"),
    (r"\bnot$", r"\(", "`not` stands before a value, not before parentheses"),
    (r"", r"\(", "values have no methods; filters are written `value | name(argument=…)`"),
    (r"/$", r"/", 'whole numbers come from `a / b | round(method="floor")`'),
    (r"\*$", r"\*", "there are no powers"),
    (r"\|$", r"\|", "`||` is written `or`"),
    (r"", r"&", "`&&` is written `and`"),
    (r"", r"!(?!=)", "`!x` is written `not x`"),
    (r"", r"=(?!=)", "`==` compares"),
    (r"", r"-\s*[^\W\d]", "a minus before a variable is written `0 - x`"),
    (r"(?<![-\w])-$", r"[^\W\d]", "a minus before a variable is written `0 - x`"),
    (r"", r"\{(?![{%#])", "there are no objects in templates"),
    (r"\[[^\]]*$", r":", "`slice(start=…, end=…)` takes a part of a list"),
    (r"\w\([^()]*$", r"[\"'`\w]", "arguments have names, as in `truncate(length=20)`"),
    (r"\d$", r"[eE][-+]?\d", "numbers are written without an exponent"),
)


def word_hint(kind: str, name: str, known: Iterable[str]) -> str | None:
    """Return a hint for an unknown filter, test, function or variable.

    >>> word_hint("filter", "tojson", ["json_encode", "join"])
    "Tera's word for it is json_encode()"
    """
    if (kind, name) in _SENTENCES:
        return _SENTENCES[kind, name]
    meant = _WORDS.get(kind, {}).get(name)
    return f"Tera's word for it is {meant}" if meant else did_you_mean(name, known)


def syntax_hint(before: str, rest: str) -> str | None:
    """Return a hint for a position at which no rule matches."""
    near = before[-200:]
    for behind, ahead, hint in _SYNTAX:
        if re.search(behind, near) and re.match(ahead, rest):
            return hint
    return None
