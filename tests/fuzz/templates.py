"""Random templates over random values: a column of contexts prints what each of them prints alone."""

from __future__ import annotations

import random
from typing import Any

from oracle.rows import PythonRows

from flowdsl.errors import TemplateError
from flowdsl.expressions.templates import Template
from flowdsl.expressions.templates.failures import RenderError

NAMES = ["a", "b", "o.x", "o.y", "o", "l", "missing", "o.nope.z"]
KEYS = ["x", "y", "~", "a]b", "'q", "0", "", "x.y", "/", "é", "nope"]
TEXTS = [
    "",
    "x",
    "é☃",
    "3",
    " a b ",
    "<b>&\"'",
    "2024-02-29",
    "2024-02-29T23:59:60Z",
    "+12024-01-31",
    "a/b~c",
    "x" * 40,
]
NUMBERS = [
    0, 1, -1, 3, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 0.5, -0.0, 1.0, 1e21, 1e-7, 0.45566510149066475,
    253_402_300_800,
]  # fmt: skip
FILTERS = [
    "upper", "lower", "trim", "length", "abs", "round", "json_encode", "as_str", "reverse", "first", "last", "int", "float",
    "capitalize", "title", "escape", "wordcount", "sort", "unique", "date", "default(value='D')", "default(value=b)", "join(sep='-')",
    "replace(from='x', to='yy')", "truncate(length=2)", "map(attribute='x')", "concat(with=a)", "get(key='x', default=1)",
    "nth(n=1)", "split(pat=' ')", "round(precision=1)", "date(format='%Y %S')", "urlencode", "slugify", "filesizeformat",
]  # fmt: skip
TESTS = [
    "defined",
    "undefined",
    "string",
    "number",
    "object",
    "iterable",
    "odd",
    "even",
    "containing('x')",
    "starting_with('x')",
]


def check(rng: random.Random) -> int:
    text = "".join(_node(rng, 0) for _ in range(rng.randint(1, 3)))
    try:
        template = Template.parse(text, lenient=rng.random() < 0.5)
    except TemplateError:
        return 1
    contexts = [_context(rng) for _ in range(rng.randint(1, 6))]
    alone = [_alone(template, context) for context in contexts]
    texts, failures = template.render(PythonRows(contexts))
    failed = failures.mask.tolist() if failures else [False] * len(contexts)
    together = [None if lost else made for made, lost in zip(texts.to_list(), failed, strict=True)]
    assert together == alone, f"{text!r} over {contexts!r}: {together!r} beside {alone!r}"
    return len(contexts)


def _alone(template: Template, context: dict[str, Any]) -> str | None:
    rows = PythonRows([context])
    try:
        if template.lenient:
            # one context is read as production reads it, too
            texts, failures = template.render(rows)
            return None if failures and failures.mask[0] else texts[0]
        return template.render_row(lambda path: rows.column(path).values()[0])
    except RenderError:
        return None


def _context(rng: random.Random) -> dict[str, Any]:
    context = {name: _value(rng, 0) for name in ("a", "b", "l") if rng.random() < 0.9}
    context["o"] = (
        {key: _value(rng, 1) for key in rng.sample(KEYS, 3)} if rng.random() < 0.8 else _value(rng, 1)
    )
    return context


def _value(rng: random.Random, depth: int) -> Any:
    kind = rng.random()
    if kind < 0.35:
        return rng.choice(NUMBERS)
    if kind < 0.7:
        return rng.choice(TEXTS)
    if kind < 0.8 or depth > 1:
        return rng.choice([None, True, False])
    if kind < 0.9:
        return [_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return {key: _value(rng, depth + 1) for key in rng.sample(KEYS, rng.randint(0, 3))}


def _path(rng: random.Random) -> str:
    name = rng.choice(NAMES)
    kind = rng.random()
    if kind < 0.08:
        return f"{name}[{rng.choice(NAMES)}]"
    key = rng.choice(KEYS)
    quote = '"' if "'" in key else "'"
    return f"{name}[{quote}{key}{quote}]" if kind < 0.16 else name


def _operand(rng: random.Random, depth: int) -> str:
    kind = rng.random()
    if kind < 0.6 or depth > 1:
        made = _path(rng) if rng.random() < 0.75 else rng.choice(["3", "0.5", "'x'", "true", "-1", "'é'"])
    elif kind < 0.8:
        made = f"{_path(rng)} {rng.choice('+-*/%~')} {rng.choice([_path(rng), '2', '0.5', '0'])}"
    else:
        made = f"[{', '.join(_operand(rng, depth + 1) for _ in range(rng.randint(0, 2)))}]"
    return made + "".join(f" | {rng.choice(FILTERS)}" for _ in range(rng.choice([0, 0, 0, 1, 1, 2])))


def _logic(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.2:
        made = f"{_path(rng)} is {rng.choice(['', 'not '])}{rng.choice(TESTS)}"
    elif kind < 0.7:
        made = f"{_operand(rng, 1)} {rng.choice(['==', '!=', '<', '<=', '>', '>='])} {_operand(rng, 1)}"
    elif kind < 0.8:
        made = f"{_operand(rng, 2)} {rng.choice(['in', 'not in'])} {_operand(rng, 0)}"
    else:
        made = _operand(rng, 0)
    made = f"not {made}" if rng.random() < 0.3 else made
    return f"{made} {rng.choice(['and', 'or'])} {_logic(rng)}" if rng.random() < 0.2 else made


def _node(rng: random.Random, depth: int) -> str:
    kind = rng.random()
    if kind < 0.45 or depth > 1:
        return f"{{{{ {_logic(rng) if rng.random() < 0.4 else _operand(rng, 0)} }}}}"
    inner = _node(rng, depth + 1)
    if kind < 0.7:
        return f"{{% if {_logic(rng)} %}}{inner}{{% else %}}{_node(rng, depth + 1)}{{% endif %}}"
    if kind < 0.8:
        return f"{{% set {rng.choice(['a', 'b', 'z'])} = {_operand(rng, 0)} %}}{inner}"
    if kind < 0.9:
        return f"{{% for one in {_path(rng)} %}}{{{{ loop.index }}}}{inner}{{% endfor %}}"
    return f" text {inner} " if kind < 0.97 else f"{{% include 'x' ignore missing %}}{inner}"
