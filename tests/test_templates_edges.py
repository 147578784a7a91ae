"""Single edges of Tera, one by one beside Tera itself: dates, letters, numbers, white space, order of loading."""

from __future__ import annotations

import random
from typing import Any

from test_templates_oracle import disagreements, tera

from flowdsl.expressions.templates.graphemes import graphemes
from flowdsl.expressions.templates.slugs import slug

CODES = [
    "Y",
    "C",
    "y",
    "q",
    "m",
    "b",
    "B",
    "h",
    "d",
    "e",
    "a",
    "A",
    "w",
    "u",
    "U",
    "W",
    "G",
    "g",
    "V",
    "j",
    "D",
    "x",
    "F",
    "v",
    "H",
    "k",
    "I",
    "l",
    "P",
    "p",
    "M",
    "S",
    "f",
    ".f",
    ".3f",
    ".6f",
    ".9f",
    "3f",
    "6f",
    "9f",
    "R",
    "T",
    "X",
    "r",
    "Z",
    "z",
    ":z",
    "::z",
    ":::z",
    "c",
    "+",
    "s",
    "t",
    "n",
    "%",
    "E",
    "L",
    "N",
    "4f",
]
CODES += [f"{pad}{code}" for pad in "-_0" for code in "YCydeHkIlMSjUWVuwsfqGgaDz"]
TIMES: list[Any] = [
    "2017-03-05T04:05:06.0789Z",
    "2021-01-02",
    "1996-12-19T16:39:57-08:30",
    "2000-12-31T23:59:59.123456789+05:45",
    "2024-02-29T12:00:00",
    "0099-01-01",
    0,
    1700000000,
    -1,
    "2021-13-01",
    "12:00",
    1.5,
    None,
]
ZONES = [
    "America/New_York",
    "Europe/Paris",
    "UTC",
    "Asia/Kathmandu",
    "nope",
    "Australia/Lord_Howe",
    "no/where",
]


def test_dates_are_written_as_by_tera() -> None:
    jobs = [
        # a zone is asked of texts only
        (f"{{{{ s | date(format='|%{code}|') }}}}", [{"s": t} for t in TIMES if isinstance(t, str) or code[-1] not in "zZ+"])
        for code in CODES
    ]  # fmt: skip
    assert disagreements(jobs) == []


def test_time_zones_are_those_of_tera() -> None:
    contexts = [{"s": time} for time in TIMES]
    text = "{{ s | date(format='%F %T %Z %:z', timezone='ZONE') }}"
    assert disagreements([(text.replace("ZONE", zone), contexts) for zone in ZONES]) == []


def test_letters_and_slugs_are_those_of_tera() -> None:
    letters = [chr(code) for code in (*range(0x20, 0x250), *range(0x370, 0x460), *range(0x1E00, 0x1F00))]
    letters += list("李雷王🎉🚀–“”…ßΣ")
    texts = [around.replace("_", letter) for letter in letters for around in ("_", "b_b", "b _-c")]
    names = ["upper", "lower", "capitalize", "title", "wordcount", "trim", "escape", "urlencode"]
    jobs = [
        (f"{{% for s in l %}}{{{{ s | {name} }}}}|{{% endfor %}}", [{"l": texts[:900]}]) for name in names
    ]
    assert disagreements(jobs) == []


def test_slugs_are_those_of_tera_in_every_script() -> None:
    chosen = random.Random(5)
    blocks = [
        (0x20, 0x250), (0x370, 0x600), (0x600, 0x3000), (0x3000, 0xD800), (0xE000, 0x10000), (0x1F000, 0x1FC00), (0x10000, 0x110000),
    ]  # fmt: skip
    texts = [
        "".join(
            chr(chosen.randrange(*chosen.choice(blocks)))
            if chosen.random() < 0.7
            else chosen.choice(" -a_B9")
            for _ in range(chosen.randrange(12))
        )
        for _ in range(3_000)
    ]
    ((slugs,),) = tera([("{% for s in l %}{{ s | slugify }}|{% endfor %}", [{"l": texts}])])
    assert slugs == "".join(f"{slug(text)}|" for text in texts)


def test_characters_as_readers_see_them_are_those_of_tera() -> None:
    chosen = random.Random(5)
    pieces = [
        *"ab \r\n",
        "\u0300",
        "\u0903",
        "\u200d",
        "\ufe0f",
        "👩",
        "🏽",
        "❤",
        "🚀",
        "🇫",
        "🇷",
        "각",
        "가",
        "\u1100",
        "\u1161",
        "\u11a8",
        "\u0600",
        "é",
        "日",
        "♂",
        "\u200b",
        "\u0e33",
    ]
    texts = ["".join(chosen.choice(pieces) for _ in range(chosen.randint(1, 7))) for _ in range(4_000)]
    for length in range(1, 7):
        text = f"{{% for s in l %}}{{% if s | truncate(length={length}, end='') == s %}}1{{% else %}}0{{% endif %}}{{% endfor %}}"
        expected = tera([(text, [{"l": texts}])])[0][0]
        assert expected == "".join("1" if length >= len(graphemes(item)) else "0" for item in texts)


def test_numbers_print_as_by_tera() -> None:
    chosen = random.Random(6)
    numbers: list[Any] = [
        0,
        -0.0,
        1.0,
        1e15,
        1e16,
        123456789012345680.0,
        1e-5,
        1e-6,
        1.5e-7,
        5e-324,
        1.7976931348623157e308,
        2**63 - 1,
        2**64 - 1,
        -(2**63),
        0.1 + 0.2,
    ]
    numbers += [chosen.uniform(-1, 1) * 10.0 ** chosen.randint(-20, 25) for _ in range(300)]
    texts = [
        "{{ n }}",
        "{{ n ~ '' }}",
        "{{ n | json_encode }}",
        "{{ n | round }}",
        "{{ n | round(precision=2) }}",
        "{{ n | round(precision=-3) }}",
        "{{ n | int }}",
        "{{ n / 3 }}",
        "{{ n * 7 }}",
        "{{ n % 7 }}",
        "{{ n - 1 }}",
        "{{ n | filesizeformat }}",
        "{{ n is odd }}",
        "{{ n == 1 }}",
        "{{ 1 >= n }}",
    ]
    plain = [number for number in numbers if not (isinstance(number, int) and number >= 2**63)]
    assert disagreements([(text, [{"n": number} for number in plain]) for text in texts]) == []


def test_white_space_goes_where_tera_takes_it() -> None:
    chosen = random.Random(7)
    gaps = [" ", "\n", "\t", "\u00a0", "\u2003", "\x1c", "x", " y ", ""]
    tags = [
        "{{ a }}",
        "{{- a }}",
        "{{ a -}}",
        "{# c #}",
        "{#- c -#}",
        "{%- set b = 1 -%}",
        "{% raw -%} z {%- endraw %}",
        "{%- raw %} z {% endraw -%}",
    ]
    pairs = [
        ("if a", "endif"),
        ("for i in l", "endfor"),
        ("filter upper", "endfilter"),
        ("block NAME", "endblock"),
    ]

    def body(depth: int) -> str:
        parts = []
        for _ in range(chosen.randint(1, 3)):
            parts.append(chosen.choice(gaps))
            if depth and chosen.random() < 0.5:
                start, end = chosen.choice(pairs if depth == 2 else pairs[:2])
                start = start.replace("NAME", f"b{chosen.randrange(10**9)}")
                left, right, left_end, right_end = (chosen.choice(["", "-"]) for _ in range(4))
                middle = (
                    chosen.choice(["", f"{{%{left_end} else {right}%}}{body(depth - 1)}"])
                    if start[0] in "if" and "filter" not in start
                    else ""
                )
                parts.append(
                    f"{{%{left} {start} {right}%}}{body(depth - 1)}{middle}{{%{left_end} {end} {right_end}%}}"
                )
            else:
                parts.append(chosen.choice(tags))
        return "".join([*parts, chosen.choice(gaps)])

    contexts: list[dict[str, Any]] = [{"a": "A", "l": [1]}, {"a": "", "l": []}]
    assert disagreements([(body(2), contexts) for _ in range(400)]) == []


def test_odd_corners_of_the_language_are_those_of_tera() -> None:
    context = {
        "a": "abc",
        "o": {"k": 1, "abc": 5, "x.y": 6, "0": 7},
        "l": [1, "two", [3]],
        "n": 3,
        "nul": None,
        "t": True,
        "s": "x.y",
        "f": 1.0,
        "slash": "k/j",
    }
    texts = [
        "{{ (not t) }}", "{{ (not n) or false }}", "{{ 1or 2 }}", "{% if n isodd %}y{% endif %}", "{{ n is notodd }}", "{{ a inl }}",
        "{{ true ~ 'a' }}", "{{ o[s] }}", "{{ o[a] }}", "{{ o['x.y'] }}", "{{ o.0 }}", "{{ o[0] }}", "{{ l[n] }}", "{{ l.2.0 }}", "{{ l[f] }}", "{{ l.01 }}",
        "{{ o[slash] }}", "{{ o[nul] }}", "{{ o[l] }}", "{{ o[o.k] }}", "{{ a[0] }}", "{% if o[nul] %}y{% else %}n{% endif %}", "{{ o[nul] is defined }}",
        "{% set o = 1 %}{{ o.k }}", "{% set o = [1] %}{{ o.0 }}{{ o.k }}", "{{ a ~ 1.0 ~ f }}", "{{ [1, a, n == 3] }}", "{{ [1.0, 1] == [1, 1] }}", "{{ l == l }}{{ o == o }}",
        "{% for c in a %}{{ loop.index }}{{ c }}{{ loop.first }}{{ loop.last }}{% endfor %}", "{% for loop in l %}{{ loop }}{% endfor %}", "{% for i in l %}{{ loop.foo }}{% endfor %}",
        "{% for i in l %}{% set z = i %}{% endfor %}{{ z }}", "{% for i in l %}{% if loop.first %}{% set z = i %}{% endif %}{{ z is defined }}{% endfor %}",
        "{% for k, v in o %}{{ k }}{{ v }},{% endfor %}", "{% for k in o %}{{ k }}{% endfor %}", "{% for k, v in l %}{{ k }}{% endfor %}", "{% for k, a in o %}{{ a }}{% endfor %}{{ a }}",
        "{% for i in [1, 2] %}a{% else %}b{% else %}c{% endfor %}", "{% for i in [] %}a{% else %}b{% else %}c{% endfor %}", "{% for i in a ~ 'x' %}{{ i }}{% endfor %}", "{% for i in n + 1 %}{% endfor %}",
        "{% macro m(a=1, b='x', c=true, d=1.5) %}{{ a }}{{ b }}{{ c }}{{ d }}{{ n }}{% endmacro %}{{ self::m(b=n) }}{{ self :: m ( ) }}", "{% set q = 1 %}{% macro m() %}{{ q is defined }}{% endmacro m %}{{ self::m() }}",
        "{% macro m(x) %}{% if x > 0 %}{{ x }}{{ self::m(x=x - 1) }}{% endif %}{% endmacro m %}{{ self::m(x=4) }}", "{% if self::m() %}y{% endif %}{% macro m() %} {% endmacro m %}", "{% macro m(a = 1) %}{% endmacro %}",
        "{% filter safe %}{{ a }}{% endfilter %}", "{% filter replace(from='b', to=a) %}{{ a }}{% endfilter %}", "{{ a | default }}", "{{ zz | upper | default(value=1) }}", "{{ 'x' | default(value=1) }}", "{{ nul | default(value=zz) }}", "{{ a | default(value=zz) }}",
        "{{ not zz | upper }}", "{% if zz | upper %}y{% endif %}", "{% if not n | upper %}y{% else %}z{% endif %}", "{% if 'a' | length > 3 %}y{% else %}z{% endif %}", "{% if 1.5 | round %}y{% endif %}",
        "{{ a in o }}{{ 'k' in o }}{{ 1 in l }}{{ 1.0 in l }}{{ 'b' in a }}{{ 'two' not in l }}", "{{ n in a }}", "{{ a in n }}", "{{ not 'b' in a }}", "{% if not 'b' in a %}y{% endif %}", "{{ n in [3, 4] and a in ['abc'] }}",
        "{{ n > 2 and n < 4 or zz }}", "{{ zz and n }}", "{{ zz == 1 or n }}", "{{ n or zz == 1 }}", "{{ n > a }}", "{{ (n > 2) and (n < 4) }}", "{{ not (n) }}", "{{ not (n > 2) }}", "{{ n == 3 == true }}",
        "{{ range(start=1, end=7, step_by=2) }}{{ range(end=0) }}", "{{ range(start=3, end=1) }}", "{{ range(end=-1) }}", "{{ range(end=1.0) }}", "{{ range(end=n) | last }}", "{{ range(end=3) + 1 }}", "{% if range(end=3) %}y{% endif %}",
        "{{ a | replace(from='', to='-') }}{{ a | split(pat='') }}", "{{ a | trim_start_matches(pat='') }}{{ 'aab' | trim_start_matches(pat='a') }}{{ 'baa' | trim_end_matches(pat='a') }}", "{{ 'x\\ny' | split(pat='\\n') }}", "{{ '1,2' | split(pat=',') | join(sep='\\t') }}",
        "{{ '0b11' | int(base=2) }}{{ '0x0x1f' | int(base=16) }}{{ 'z' | int(base=36) }}{{ '+5' | int }}{{ '5.9' | int }}{{ '.5' | int }}{{ ' 7 ' | int }}{{ '1e3' | int(default=9) }}{{ '1.0e3' | int }}{{ '9999999999999999999' | int(default=-1) }}",
        "{{ 'inf' | float }}{{ '1e400' | float }}{{ '.5' | float }}{{ 'x' | float(default=2) }}{{ '1_0' | float }}", "{{ true | int }}", "{{ l | sort }}", "{{ [3, 1.5, -0.0, 0] | sort }}", "{{ ['b', 'B', 'a'] | sort | unique }}", "{{ [1, 2, 1] | unique }}{{ [true, false, true] | unique }}", "{{ [1.0] | unique }}",
        "{{ o | get(key='k') }}{{ o | get(key='zz', default=nul) }}", "{{ o | get(key=1) }}", "{{ l | nth(n=1) }}{{ l | nth(n=9) }}{{ [] | nth(n='x') }}", "{{ l | slice(start=-2) }}{{ l | slice(start=1.9, end=9) }}{{ l | slice(end=-9) }}", "{{ l | concat(with=o) | length }}{{ l | concat(with=[1]) }}",
        "{{ a | indent }}", "{{ 'a\nb\n\nc' | indent }}{{ 'a\r\nb\r' | indent(prefix='>', first=true, blank=true) }}", "{{ '<b>x</b> <i>' | striptags }}{{ '<b> <i>' | spaceless }}", "{{ 1 | pluralize }}{{ -1 | pluralize }}{{ 1.0 | pluralize }}{{ 0 | pluralize(plural='es') }}", "{{ 1023 | filesizeformat }}{{ 1024 | filesizeformat(binary=true) }}{{ 1048575 | filesizeformat }}{{ 1.5 | filesizeformat }}",
        "{{ a is matching('B') }}{{ a is matching('(?i)B') }}", "{{ a is matching('(') }}", "{{ a is divisibleby(2) }}", "{{ n is divisibleby(0) }}", "{{ l is containing('two') }}{{ o is containing('k') }}", "{{ n is containing(1) }}", "{{ nul is string }}{{ zz is undefined }}", "{{ zz is not defined }}", "{{ o.k is odd }}{{ f is even }}",
        "{{ 5 % 0 }}", "{{ 5.5 % 0 }}", "{{ 1 + 2 * 3 - 4 / 2 }}", "{{ (1 + 2) * 3 }}", "{{ 7 / 2 * 2 }}", "{{ n / 0 + 1 }}", "{{ n / 0 == 'NaN' }}", "{{ n / 0 > 1 }}", "{{ 1 --1 }}", "{{ 1 - -1 }}", "{{ n-1 }}", "{{ n -1 }}", "{{ 2 * 9223372036854775807 }}", "{{ a * 2 }}", "{{ 'a' + 1 }}", "{{ (1/3) ~ '' }}",
        "{#- x -#} a", "a {#- x -#} b", "{##}", "{{ a }}{{", "{{ a }", "{% raw %}{% raw %}{% endraw %}", "{%if a%}x{%endif%}", "{% if a -%} x {%- else -%} y {%- endif %}", "{{a|upper|lower}}", "{{ a | upper() }}", "{{ a|replace(from='a',to='b',) }}", "{{ [1,2,] }}", "{{ [] }}", "{{ ['a' ~ 'b', n | abs] }}", "{% set x = ['a'] | first %}{{ x }}", "{% set x=1%}{{x}}", "{% setx = 1 %}",
    ]  # fmt: skip
    assert disagreements([(text, [context, {}]) for text in texts], lenient=True) == []
