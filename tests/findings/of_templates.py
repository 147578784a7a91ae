"""Cases of templates."""

from __future__ import annotations

from findings import BATCH, ENTITY, FAN, OWNER, Case, flow, mapped

CASES = [
    Case("object-printed", mapped("{{ owner }}", OWNER), mapped("{{ owner.name }}", OWNER)),
    Case("object-printed", mapped("{{ data }}", on=ENTITY), mapped("{{ data | json_encode }}", on=ENTITY)),
    Case(
        "object-printed", mapped("{{ follower }}", FAN), mapped("{% set follower = 1 %}{{ follower }}", FAN)
    ),
    Case("object-printed", mapped("{{ batch }}", BATCH), mapped("{% if batch %}yes{% endif %}", BATCH)),
    Case(
        "list-printed",
        mapped("{{ batch.items }}", BATCH),
        mapped('{{ batch.items | join(sep=", ") }}', BATCH),
    ),
    Case(
        "list-printed",
        mapped('{{ data.tags | split(pat=",") }}', on=ENTITY),
        mapped("{% for t in data.tags %}{{ t }}{% endfor %}", on=ENTITY),
    ),
    Case(
        "items-are-ids",
        mapped('{{ batch.items | map(attribute="name") | join(sep=", ") }}', BATCH),
        mapped('{{ batch.items | slice(end=2) | join(sep=", ") }}', BATCH),
    ),
    Case(
        "items-are-ids",
        mapped("{% for fan in batch.items %}{{ fan.name }} {% endfor %}", BATCH),
        mapped("{% for fan in batch.items %}{{ fan }} {% endfor %}", BATCH),
    ),
    Case(
        "can-stop-production",
        mapped("{{ data.at | date }}", on=ENTITY),
        mapped("{{ data.name | upper }}", on=ENTITY),
    ),
    Case(
        "can-stop-production",
        mapped("{% for part in data.text %}{{ part }}{% endfor %}", on=ENTITY),
        mapped("{% for id in batch.items %}{{ id }}{% endfor %}", BATCH),
    ),
    Case(
        "can-stop-production", mapped("{{ data.n + 1 }}", on=ENTITY), mapped("{{ batch.count + 1 }}", BATCH)
    ),
    Case("remainder-sign", mapped("{{ data.n % 3 }}", on=ENTITY), mapped("{{ batch.count % 3 }}", BATCH)),
    Case("remainder-sign", mapped("{{ data.n % 3 }}", on=ENTITY), mapped("{{ data.n / 3 }}", on=ENTITY)),
    Case("joined-float", mapped('{{ "x" ~ 1.0 }}'), mapped('{{ "x" ~ 1.5 }}')),
    Case("number-becomes-text", mapped("{{ batch.count }}", BATCH), mapped("{{ batch.count }} likes", BATCH)),
    Case(
        "number-becomes-text",
        mapped("{{ data.text | length }}", on=ENTITY),
        mapped("{{ data.text }}", on=ENTITY),
    ),
    Case(
        "boolean-printed",
        mapped('{{ data.a or "none" }}', on=ENTITY),
        mapped('{{ data.a | default(value="none") }}', on=ENTITY),
    ),
    Case(
        "boolean-printed",
        mapped("{{ data.a and data.b }}", on=ENTITY),
        mapped("{{ data.a == 1 and data.b == 2 }}", on=ENTITY),
    ),
    Case(
        "not-printed",
        mapped("{{ not data.n == 3 }}", on=ENTITY),
        mapped("{% if not data.n == 3 %}x{% endif %}", on=ENTITY),
    ),
    Case("not-printed", mapped("{{ not data.n == 3 }}", on=ENTITY), mapped("{{ data.n != 3 }}", on=ENTITY)),
    Case("not-printed", mapped("{{ not data.n == 3 }}", on=ENTITY), mapped("{{ not data.n }}", on=ENTITY)),
    Case(
        "truncate-counts",
        mapped("{{ data.a | truncate(length=9) }}", on=ENTITY),
        mapped('{{ data.a | truncate(length=9, end="") }}', on=ENTITY),
    ),
    Case(
        "round-drops-zeros",
        mapped("{{ data.a | round(precision=2) }}", on=ENTITY),
        mapped("{{ data.a | round }}", on=ENTITY),
    ),
    Case(
        "division-by-variable",
        mapped("{{ 100 / data.n }}", on=ENTITY),
        mapped("{{ data.n / 100 }}", on=ENTITY),
    ),
    Case(
        "trailing-newline",
        flow("map:\n        template:\n          title: |\n            hello"),
        flow("map:\n        template:\n          title: |-\n            hello"),
    ),
    Case(
        "no-escapes",
        mapped(r'{{ data.a | replace(from=" ", to="\n") }}', on=ENTITY),
        mapped(r"{{ data.a }}\n", on=ENTITY),
    ),
    Case(
        "key-not-rendered",
        flow('map: {template: {"{{ source_id }}": x}}'),
        flow('map: {template: {x: "{{ source_id }}"}}'),
    ),
    Case("single-braces", mapped("from {source_id}"), mapped("from {{ source_id }}")),
    Case("single-braces", mapped("from ${ source_id }"), mapped("from {somebody}")),
    Case(
        "loop-in-key-order",
        mapped("{% for k, v in data.a %}{{ k }}{% endfor %}", on=ENTITY),
        mapped("{% for v in data.a %}{{ v }}{% endfor %}", on=ENTITY),
    ),
    Case(
        "default-not-first",
        mapped('{{ data.a | upper | default(value="x") }}', on=ENTITY),
        mapped('{{ data.a | default(value="x") | upper }}', on=ENTITY),
    ),
    Case(
        "default-not-first",
        mapped('{{ data.a ~ "!" | default(value="x") }}', on=ENTITY),
        mapped('{{ data.a | default(value="x") }}!', on=ENTITY),
    ),
    Case(
        "filter-reach",
        mapped("{{ 1 + data.n | abs }}", on=ENTITY),
        mapped("{{ (1 + data.n) | abs }}", on=ENTITY),
    ),
    Case(
        "filter-reach",
        mapped('{{ "a" ~ data.n | upper }}', on=ENTITY),
        mapped("a{{ data.n | upper }}", on=ENTITY),
    ),
    Case(
        "types-compared",
        mapped('{% if data.n == "3" %}x{% endif %}', on=ENTITY),
        mapped("{% if data.n == 3 %}x{% endif %}", on=ENTITY),
    ),
    Case(
        "types-compared",
        mapped('{% if batch.count != "x" %}x{% endif %}', BATCH),
        mapped('{% if batch.key != "x" %}x{% endif %}', BATCH),
    ),
    Case(
        "text-ordered",
        mapped('{% if data.a < "b" %}x{% endif %}', on=ENTITY),
        mapped('{% if data.a == "b" %}x{% endif %}', on=ENTITY),
    ),
    Case(
        "text-ordered",
        mapped("{% if source_id > target_id %}x{% endif %}"),
        mapped("{% if batch.count > 1 %}x{% endif %}", BATCH),
    ),
    Case("computed-with-text", mapped("{{ source_id + target_id }}"), mapped("{{ source_id ~ target_id }}")),
    Case("joined-object", mapped('{{ "by " ~ owner }}', OWNER), mapped('{{ "by " ~ owner.name }}', OWNER)),
    Case(
        "big-integer",
        mapped("{% if data.id == 9007199254740993 %}x{% endif %}", on=ENTITY),
        mapped("{% if data.id == 9007199254740992 %}x{% endif %}", on=ENTITY),
    ),
    Case("tera-2", mapped("{{ data.t | date }}", on=ENTITY), mapped("{{ data.t | upper }}", on=ENTITY)),
    Case(
        "tera-2",
        mapped("{{ data.t or 1 }}", on=ENTITY),
        mapped("{% if data.t or data.u %}x{% endif %}", on=ENTITY),
    ),
    Case("impure-function", mapped("{{ now() }}"), mapped("{{ source_id }} now()")),
    Case("impure-function", mapped('{{ get_env(name="HOME") }}'), mapped('{{ throw(message="no") }}')),
    Case("impure-function", mapped("{{ get_random(start=1, end=6) }}"), mapped("{{ range(end=6) | last }}")),
    Case("impure-function", mapped("{{ __tera_context }}"), mapped("{{ tera_context }}")),
    Case("template-fails", mapped("{{ source_id | uper }}"), mapped("{{ source_id | upper }}")),
    Case("template-fails", mapped("{{ source_id"), mapped("{{ source_id }}")),
    Case("template-fails", mapped("{{ source_id.upper() }}"), mapped("{{ now() }}")),
    Case("undefined-in-template", mapped("{{ nobody.name }}"), mapped("{{ owner.name }}", OWNER)),
    Case(
        "undefined-in-template", mapped("{{ source_id.name }}"), mapped('{{ nobody | default(value="x") }}')
    ),
    Case("undefined-in-template", mapped("{{ data.a }}"), mapped("{{ data.a }}", on=ENTITY)),
]
