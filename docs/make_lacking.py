"""Write the table of what production lacks into docs/export.md: `make lacking`.

Nothing in it is written here: every operator, option, function, filter and sink says itself whether production has it, and the
reason and the nearest form are those with which the export refuses an example of it.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import flowdsl as fd
from flowdsl import on, var
from flowdsl.expressions.conditions.functions import FUNCTIONS
from flowdsl.expressions.templates.filters import FILTERS
from flowdsl.operators import OPERATORS
from flowdsl.operators.base import Operator
from flowdsl.sinks.registry import SINKS

PAGE = Path(__file__).parents[1] / "docs" / "export.md"
PLACE = re.compile(r"(<!-- lacking[^\n]*-->\n).*?(<!-- /lacking -->)", re.DOTALL)
# of the grammar of conditions, which declares no single parts
CONDITIONS = (
    "data.n < 3",
    "data.n in [1, 2]",
    "data.a == 1 or data.b == 2",
    "data.n + 1 == data.m",
    "data.flag",
)
Row = tuple[str, str, str]


def table() -> str:
    """Return the table."""
    head = "| what | why production cannot | the nearest form |\n|---|---|---|\n"
    rows = [*_operators(), *_options(), *_functions(), *_language(), *_filters(), *_sinks()]
    return head + "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows
    )


def written(page: str) -> str:
    """Return the page with the table as it has to be."""
    return PLACE.sub(lambda found: found[1] + table() + found[2], page)


def _operators() -> Iterator[Row]:
    for operator in OPERATORS.own.values():
        if not operator.portable:
            step = eval(f"Flow.{operator.example}", {"Flow": _Steps(), "var": var})
            yield _row(f"`{operator.name}`", _refused([step], f"operator {operator.name!r}"))


def _options() -> Iterator[Row]:
    for operator in OPERATORS.own.values():
        for name, option in operator.options().items() if operator.portable else ():
            shown = f"`{option.yaml}` of `{operator.name}`"
            if not option.portable:
                yield _row(shown, _refused_option(operator, name, repr(option.yaml)))
            # what production has one of may be several here, or be read from data
            for value in option.schema.get("examples", ()) if option.portable else ():
                several = isinstance(value, list) and option.kind.control == "paths"
                if several or (option.kind.control == "duration" and str(value).startswith("data.")):
                    what = "several, as" if several else "read from"
                    problem = _refused_option(operator, name, f"has one {option.yaml}", [value])
                    yield _row(f"{shown}, {what} `{value}`", problem)


def _refused_option(
    operator: type[Operator], name: str, sign: str, values: Sequence[Any] | None = None
) -> fd.FlowError:
    """Return the refusal of an option, given with as few others of its operator as it can stand with."""
    plain = eval(f"Flow.{operator.example}", {"Flow": _Steps(), "var": var})
    own = {
        field: option for field, option in operator.options().items() if not option.portable and field != name
    }
    for size in range(3):
        for others in itertools.combinations(own, size):
            fields = (name, *others)
            examples = [operator.options()[field].schema["examples"] for field in fields]
            for given in itertools.product(values or examples[0], *examples[1:]):
                try:
                    step = plain.with_options(**dict(zip(fields, given, strict=True)))
                    return _refused([step], sign)
                except fd.BuildError:
                    continue
    raise AssertionError(f"no example of {operator.name} with {name} is refused")


def _functions() -> Iterator[Row]:
    for function in FUNCTIONS.own.values():
        if not function.portable:
            condition = function.usage if function.result == "boolean" else f"{function.usage} == 1"
            yield _row(f"`{function.usage}`", _refused([_Steps().where(condition)], "production cannot say"))


def _language() -> Iterator[Row]:
    for condition in CONDITIONS:
        yield _row(
            f"the condition `{condition}`", _refused([_Steps().where(condition)], "production cannot say")
        )
    yield _row("a Python function", _refused([_Steps().where(len)], "Python function"))
    yield _row("`map(n=var.data.n)`", _refused([_Steps().map(n=var.data.n)], "keeps its type"))
    yield _row("`event.seq_no`", _refused([_Steps().map(n="{{ event.seq_no }}")], "the event itself"))
    yield _row("`before.price`", _refused([_Steps().map(n="{{ before.price }}")], "before the event"))
    batch = _Steps().batch("entity_id", window="1h")
    yield _row(
        "`batch.closed_at`", _refused([batch, _Steps().map(at="{{ batch.closed_at }}")], "'closed_at'")
    )


def _filters() -> Iterator[Row]:
    for name, declared in FILTERS.own.items():
        if not declared.portable:
            yield _row(
                f"the filter `{name}`", _refused([_Steps().map(n=f"{{{{ data.n | {name} }}}}")], "no filter")
            )


def _sinks() -> Iterator[Row]:
    for name, sink in SINKS.own.items():
        if not sink.portable:
            yield _row(f"the sink `{name}`", _refused_sinks({"name": "s", "type": name}))
    yield _row(
        "`cap` of a sink, `caps=`",
        _refused_sinks({"name": "s", "type": "push", "cap": {"max": 3, "per": "day"}}),
    )
    for name, sink in SINKS.own.items():
        own = [option.yaml for option in sink.options if not option.portable]
        if own:
            options = ", ".join(f"`{option}`" for option in own)
            yield (
                f"{options} of the sink `{name}`",
                "production passes over them",
                "[wiring](wiring.md): its application sets up its sinks",
            )


class _Steps:
    """Builds single steps as a flow's methods do."""

    def __getattr__(self, method: str) -> Any:
        [operator] = [one for one in OPERATORS.own.values() if one.method == method]
        return operator.build


def _refused(steps: Sequence[Operator], sign: str) -> fd.FlowError:
    """Return the problem with this sign in it, of a flow with these steps that has all variables they read."""
    last: fd.FlowError | None = None
    for trigger, start in (("entity.updated", "entity_id"), ("link.created", "source_id")):
        flow = on(trigger)  # type: ignore[arg-type]
        # what examples read, and a trigger does not have
        for name in ("owner", "person", "fan", *(["data"] if start == "source_id" else [])):
            flow = flow.resolve(start, as_=name)
        try:
            flow = dataclasses.replace(flow, steps=(*flow.steps, *steps))
            flow.scopes()
        except fd.BuildError as error:
            last = error
            continue
        try:
            flow.portable()
        except fd.ExportError as error:
            for problem in error.problems:
                if sign in problem.what:
                    return problem
    raise last or AssertionError(f"{steps} are not refused with {sign!r}")


def _refused_sinks(sink: dict[str, Any]) -> fd.FlowError:
    try:
        fd.load({"events": {"flows": []}, "sinks": [sink]}).to_dict()
    except fd.ExportError as error:
        return error.problems[0]
    raise AssertionError(f"{sink} is not refused")


def _row(what: str, problem: fd.FlowError) -> Row:
    # the example stands in the first column, and the part of a payload says nothing here
    why = re.sub(
        r"^(\w+: |production cannot say .*?: (?=a |there |one ))|^<function len> is", "", problem.what
    ).strip()
    return what, why, problem.hint or "–"


def main() -> None:
    """Write the table into the page."""
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
