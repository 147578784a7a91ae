"""Thousands of generated templates, by rows, by columns and by Tera itself."""

from __future__ import annotations

import random
from typing import Any

import pytest
from test_templates_oracle import Job, disagreements

TEXTS = [
    "",
    "abc",
    "Ada Lovelace",
    "é",
    "ne\u0301e",
    "a/b <i>&'\"",
    "  x y\t",
    "42",
    "-7",
    "3.5",
    "0x1F",
    "true",
    "🎉 ok",
    "ß ŉ ﬁ",
    "a,b,c",
    "ΑΣ Σ",
    "x\r\ny\n",
    "2024-02-29T12:34:56Z",
    "2024-02-29",
    "2024-02-29T12:34:56.789+02:00",
    "1709210096",
    "1e5",
    "+5",
    "٣",
    "İstanbul",
    "日本語 テキスト",
    "a\u00a0b\u200b",
    "<p>x</p> <p>a&amp;b</p>",
    "%41%zz/\\n`{{ a }}",
]
NUMBERS: list[Any] = [
    0,
    1,
    2,
    3,
    -1,
    7,
    10,
    255,
    1.0,
    0.5,
    -2.5,
    1e21,
    1e-7,
    -0.0,
    123456.789,
    2**53 + 1,
    2**62,
    -(2**63),
    1e300,
    0.1 + 0.2,
    1e15,
    1e16,
    123456789012345680,
    5e-324,
    99.995,
    2.675,
    1024,
    1709210096,
    -0.5,
    2.5,
]
OTHERS: list[Any] = [
    None,
    True,
    False,
    [],
    [1, 2, 3],
    ["b", "a", "A"],
    [3, 1.0, 2],
    [{"n": 2, "s": "y"}, {"n": 1}, {"n": None}],
    {},
    {"k": 1, "s": "v"},
    {"a": {"b": [1, {"c": "d"}]}},
    [[1], [2, [3]]],
    ["x", None, 1, True, 1.5],
    {"z": 1, "a": 2, "B": 3, "é": 4},
    [{"n": {"k": 2}}, {"n": {"k": 1}}],
    ["é", "e", "É", "E", "z"],
    [2, 1, 2, 3.0, 3],
]
PATHS = ["a", "b", "c", "d", "o.k", "o.s", "o.x", "missing", "missing.deep", "o", "l"]
DYNAMIC = ["l.0", "l[1]", "o[s]", 'o["k"]', "l[i]", "o[missing]", "l.0.n"]
STRINGS = ['"x"', "'a'", "`b c`", '""', '"é"', "'abc'", '"%"', '"/"']
LITERALS = ["0", "1", "2", "-3", "1.5", "2.0", "10", "true", "false", "True", "9223372036854775807"]
TEXT_PATHS, NUMBER_PATHS = ["a", "b", "o.s"], ["c", "d", "o.k"]
TEXT_FILTERS = [
    "upper",
    "lower",
    "trim",
    "wordcount",
    "capitalize",
    "title",
    "escape",
    "urlencode",
    "striptags",
    "int",
    "float",
    "length",
    "reverse",
    "as_str",
    "json_encode",
    "addslashes",
]
TEXT_FILTERS += [
    'replace(from="a", to="b")',
    "truncate(length=3)",
    'split(pat=",") | join(sep="+")',
    "default(value=1)",
    'split(pat="a") | last',
]
NUMBER_FILTERS = [
    "abs",
    "round",
    "int",
    "float",
    "pluralize",
    "as_str",
    "json_encode",
    "round(precision=1)",
    'round(method="ceil")',
    "default(value=0)",
]
PLAIN_FILTERS = [
    "upper",
    "lower",
    "trim",
    "trim_start",
    "trim_end",
    "wordcount",
    "capitalize",
    "title",
    "linebreaksbr",
    "indent",
    "striptags",
    "spaceless",
    "urlencode",
    "urlencode_strict",
    "escape",
    "escape_xml",
    "addslashes",
    "int",
    "float",
    "first",
    "last",
    "join",
    "sort",
    "unique",
    "abs",
    "pluralize",
    "round",
    "filesizeformat",
    "length",
    "reverse",
    "json_encode",
    "as_str",
    "safe",
    "date",
    "truncate",
    "slice",
]
ARGUED_FILTERS = [
    'replace(from="a", to="b")',
    'replace(from="", to="-")',
    "truncate(length=2)",
    'truncate(length=3, end="!")',
    'split(pat=",")',
    'split(pat="")',
    'join(sep=", ")',
    "nth(n=1)",
    'get(key="k")',
    'get(key="zz", default=1)',
    "default(value=1)",
    "default(value=a)",
    'trim_start_matches(pat="a")',
    'trim_end_matches(pat="")',
    "round(precision=1)",
    'round(method="ceil")',
    'round(method="floor", precision=2)',
    "round(precision=-1)",
    "int(base=16)",
    "int(default=5)",
    "float(default=1.5)",
    "slice(start=1)",
    "slice(start=-2, end=3)",
    "slice(end=-1)",
    'sort(attribute="n")',
    'group_by(attribute="n")',
    'map(attribute="n")',
    'filter(attribute="n", value=1)',
    'filter(attribute="s")',
    'unique(attribute="n")',
    "unique(case_sensitive=true)",
    "concat(with=[1, 2])",
    "concat(with=a)",
    'pluralize(singular="y", plural="ies")',
    "json_encode(pretty=true)",
    "filesizeformat(binary=true)",
    'indent(prefix="> ", first=true, blank=true)',
    "truncate(length=a)",
    "replace(from=a, to=b)",
    'date(format="%d/%m/%Y %H:%M")',
    'date(format="%A %e %B %Y, %j %U %I %p")',
    'date(timezone="Europe/Berlin", format="%Y-%m-%dT%H:%M:%S%z")',
    "slugify",
    'split(pat="  ")',
    'default(value="")',
    'round(method="common", precision=3)',
    "truncate(length=0)",
    "int(base=2)",
    "int(base=36)",
    "nth(n=c)",
    "get(key=a)",
    'map(attribute="n.k")',
    'sort(attribute="n.k")',
    'group_by(attribute="n.k")',
    'filter(attribute="n", value=a)',
    'concat(with="x")',
    "pluralize(singular=a)",
    "slice(start=c)",
    "join(sep=1)",
    'split(pat="") | reverse | join',
]
TESTS = [
    "defined",
    "undefined",
    "odd",
    "even",
    "string",
    "number",
    "iterable",
    "object",
    "divisibleby(2)",
    'starting_with("a")',
    'ending_with("c")',
    'containing("b")',
    "containing(1)",
    'matching("^[a-c]+$")',
    "divisibleby(a)",
    "starting_with(b)",
]


class Generator:
    """Templates at random, most of which Tera takes."""

    def __init__(self, seed: int, *, columnar: bool) -> None:
        self.random = random.Random(seed)
        self.columnar = columnar
        self.names: list[str] = []

    def pick(self, options: list[Any]) -> Any:
        return self.random.choice(options)

    def wild(self) -> bool:
        """Whether to pick without regard to types; most templates that mix them only fail."""
        return self.random.random() < 0.15

    def path(self) -> str:
        if not self.wild():
            return str(self.pick(TEXT_PATHS + NUMBER_PATHS + self.names))
        options = PATHS + self.names * 3 + ([] if self.columnar else DYNAMIC)
        return str(self.pick(options))

    def value(self) -> str:
        if not self.wild():
            return str(self.pick([*NUMBER_PATHS, *LITERALS[:7]]))
        return str(self.pick([self.path(), self.path(), self.pick(LITERALS), self.path()]))

    def arithmetic(self, depth: int = 2) -> str:
        if depth == 0 or self.random.random() < 0.4:
            return self.value()
        left, right = self.arithmetic(depth - 1), self.arithmetic(depth - 1)
        text = f"{left} {self.pick(list('+-*/%'))} {right}"
        return f"({text})" if self.random.random() < 0.3 else text

    def filters(self, kind: str = "") -> str:
        if not self.wild():
            options = {"text": TEXT_FILTERS, "number": NUMBER_FILTERS}.get(
                kind, ["as_str", "json_encode", "default(value=3)"]
            )
            return self.pick(["", f" | {self.pick(options)}"])
        count = self.pick([0, 1, 1, 1, 2])
        return "".join(f" | {self.pick(self.pick([PLAIN_FILTERS, ARGUED_FILTERS]))}" for _ in range(count))

    def text(self) -> str:
        parts = [
            self.pick([self.pick(STRINGS), self.path(), self.pick(LITERALS[:7])])
            for _ in range(self.pick([1, 2, 3]))
        ]
        return " ~ ".join(parts) if len(parts) > 1 else str(self.pick(STRINGS))

    def test(self) -> str:
        if not self.wild():
            path = self.pick(
                [
                    "a is containing('b')",
                    "b is string",
                    "c is odd",
                    "d is number",
                    "missing is defined",
                    "o is object",
                    "a is matching('^[a-c]+$')",
                    "c is divisibleby(2)",
                ]
            )
            return str(path)
        return f"{self.path()} is {self.pick(['', '', 'not '])}{self.pick(TESTS)}"

    def operand(self) -> str:
        kind = self.random.random()
        if kind < 0.2:
            return self.text() + self.filters("text")
        if kind < 0.3:
            return self.test()
        if kind < 0.5:
            return self.arithmetic() + self.filters("number")
        return self.pick(TEXT_PATHS) + self.filters("text") if kind < 0.75 else self.path() + self.filters()

    def condition(self, depth: int = 2) -> str:
        kind = self.random.random()
        if depth and kind < 0.2:
            joined = f"{self.condition(depth - 1)} {self.pick(['and', 'or'])} {self.condition(depth - 1)}"
            return f"({joined})" if self.random.random() < 0.3 else joined
        if kind < 0.3:
            return "not " + self.pick([self.path(), self.operand(), self.test()])
        if kind < 0.45 and not self.wild():
            return f"{self.arithmetic(1)} {self.pick(['==', '<', '>='])} {self.arithmetic(1)}"
        if kind < 0.6:
            return f"{self.operand()} {self.pick(['==', '!=', '<', '>', '<=', '>='])} {self.operand()}"
        if kind < 0.7:
            container = self.pick([self.path(), "[1, 2, a]", '["abc", "b"]', self.text(), '["x", 1.0, true]'])
            return f"{self.operand()} {self.pick(['in', 'not in'])} {container}"
        return self.pick([self.path(), self.test(), self.operand()])

    def expression(self) -> str:
        if self.random.random() < 0.05:
            return f"[{self.operand()}, {self.path()}, 1]" + self.filters()
        return self.operand() if self.random.random() < 0.6 else self.condition()

    def node(self, depth: int) -> str:
        kind = self.random.random()
        dash, end = self.pick(["", "", "-"]), self.pick(["", "", "-"])
        if kind < 0.25 or depth == 0:
            return self.pick(
                [" text ", "\n", "é", "{% raw %} {{ x }} {% endraw %}", "{# note -#}", " ", "<b>"]
            )
        if kind < 0.65:
            return f"{{{{{dash} {self.expression()} {end}}}}}"
        if kind < 0.85:
            rest = self.pick(["", f"{{% elif {self.condition()} {end}%}}{self.body(depth - 1)}"])
            rest += self.pick(["", f"{{%{dash} else %}}{self.body(depth - 1)}"])
            return f"{{%{dash} if {self.condition()} %}}{self.body(depth - 1)}{rest}{{% endif {end}%}}"
        if kind < 0.93:
            name = self.pick(["v", "w", "a"])
            value = self.expression()
            self.names.append(name)
            return f"{{%{dash} set {name} = {value} {end}%}}"
        if self.columnar or kind < 0.95:
            name = self.pick(
                ["upper", "trim", "length", "escape", 'replace(from="e", to="3")', "safe", "abs"]
            )
            return f"{{% filter {name} {end}%}}{self.body(depth - 1)}{{%{dash} endfilter %}}"
        return self.loop(depth)

    def loop(self, depth: int) -> str:
        head, names = self.pick(
            [
                ("x in l", ["x", "loop.index", "loop.last", "x.n"]),
                (f"x in {self.path()}", ["x", "loop.first", "loop.index0"]),
                ("k, x in o", ["k", "x", "loop.index"]),
                ("x in [1, a, b]", ["x"]),
                ("x in range(end=3)", ["x", "loop.index"]),
                ("x in a | split(pat=',')", ["x"]),
            ]
        )
        self.names += names
        inner = self.body(depth - 1) + self.pick(
            [
                "",
                "{% if loop.index == 2 %}{% break %}{% endif %}",
                "{% if loop.first %}{% continue %}{% endif %}z",
                "{% set_global v = x %}",
            ]
        )
        return f"{{% for {head} %}}{inner}{self.pick(['', '{%- else -%} none '])}{{% endfor %}}"

    def body(self, depth: int) -> str:
        return "".join(self.node(depth) for _ in range(self.pick([1, 1, 2])))

    def template(self) -> str:
        self.names = []
        macro = ""
        if not self.columnar and self.random.random() < 0.15:
            macro = f"{{% macro m(p, q=2) %}}{self.pick(['[', ''])}{{{{ p }}}}{{{{ q | default(value=1) }}}}{{{{ a }}}}{{% endmacro m %}}"
        text = "".join(self.node(2) for _ in range(self.pick([1, 2, 3])))
        return text + (macro + f"{{{{ self::m(p={self.operand()}) }}}}" if macro else "")

    def context(self) -> dict[str, Any]:
        def any_value() -> Any:
            return self.pick(self.pick([texts, texts, NUMBERS, NUMBERS, OTHERS]))

        # where templates loop, over letters of one code point
        texts = [text for text in TEXTS if self.columnar or "\u0301" not in text]

        def like(values: list[Any]) -> Any:
            return any_value() if self.wild() else self.pick(values)

        context = {
            name: like(texts if name in "ab" else NUMBERS[:15])
            for name in "abcd"
            if self.random.random() < 0.97
        }
        usual = {"k": like(NUMBERS[:15]), "s": like(texts), "abc": 5}
        context["o"] = self.pick([usual, usual, usual, {"s": "k"}, any_value()])
        context["l"] = self.pick([[1, 2, 3], ["a", "é"], [{"n": 2, "s": "y"}, {"n": 1}], [], any_value()])
        context["s"], context["i"] = self.pick(["k", "s", "abc", "0"]), self.pick([0, 1, 5, "0"])
        return context


def jobs(seed: int, count: int, *, columnar: bool) -> list[Job]:
    generator = Generator(seed, columnar=columnar)
    return [(generator.template(), [generator.context() for _ in range(6)]) for _ in range(count)]


TOKENS = [
    "{{",
    "}}",
    "{%",
    "%}",
    "-",
    "~",
    "|",
    "(",
    ")",
    "[",
    "]",
    " ",
    "not ",
    "and ",
    "or ",
    "in ",
    "is ",
    ".",
    '"',
    "'",
    "`",
]
TOKENS += [
    "0",
    "1.",
    "true",
    "a",
    "b",
    "=",
    "==",
    "<",
    ",",
    "::",
    "{#",
    "#}",
    "if",
    "else",
    "\n",
    "é",
    "{{-",
    "-}}",
    "-%}",
    "raw",
]


def damaged(seed: int, count: int) -> list[Job]:
    """Templates with pieces lost, doubled or put in."""
    chosen = random.Random(seed)
    out: list[Job] = []
    for text, contexts in jobs(seed, count, columnar=seed % 2 == 0):
        for _ in range(chosen.choice([1, 1, 2, 3])):
            at, from_, kind = (
                chosen.randrange(len(text) + 1),
                chosen.randrange(len(text) + 1),
                chosen.random(),
            )
            if kind < 0.4:
                text = text[:at] + text[at + chosen.randint(1, 3) :]
            elif kind < 0.8:
                text = text[:at] + chosen.choice(TOKENS) + text[at:]
            else:
                text = text[:at] + text[from_ : from_ + chosen.randint(1, 6)] + text[at:]
        out.append((text, contexts[:2]))
    return out


@pytest.mark.parametrize("seed", range(2))
def test_templates_with_a_column_form_print_what_tera_prints(seed: int) -> None:
    assert disagreements(jobs(seed, 300, columnar=True)) == []


@pytest.mark.parametrize("seed", range(10, 12))
def test_templates_with_loops_and_macros_print_what_tera_prints(seed: int) -> None:
    assert disagreements(jobs(seed, 250, columnar=False)) == []


@pytest.mark.parametrize("seed", range(20, 22))
def test_what_tera_cannot_read_is_refused_and_nothing_else(seed: int) -> None:
    assert disagreements(damaged(seed, 400), lenient=True) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1030))
def test_many_more_templates_print_what_tera_prints(seed: int) -> None:
    assert disagreements(jobs(seed, 450, columnar=seed % 2 == 0)) == []
    assert disagreements(damaged(seed, 450), lenient=True) == []
