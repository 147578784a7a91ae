"""An explanation as HTML: the picture, and below it a table of the steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from flowdsl.explaining.text import fresh_variables, moment, shown
from flowdsl.pictures.metrics import printable
from flowdsl.values.tags import MISSING

if TYPE_CHECKING:
    from flowdsl.explaining.explain import ExplainedStep
    from flowdsl.pictures.picture import Picture

ROWS: Final = 60
_HEAD: Final = ("flow", "step", "branch", "what", "outcome", "why", "read", "new")


def page(picture: Picture, steps: Sequence[ExplainedStep], before: Iterable[str] = ()) -> str:
    """The HTML of an explanation: sentences, the picture, a row for each step of each branch; all names are escaped."""
    rows = "".join(_row(step, fresh) for step, fresh in fresh_variables(steps[:ROWS]))
    left = len(steps) - ROWS
    more = f"<p>… and {left:,} rows more: <code>.to_pandas()</code> has them all</p>" if left > 0 else ""
    head = "".join(f'<th style="text-align:left">{name}</th>' for name in _HEAD)
    told = "".join(f"<p>{text(line)}</p>" for line in before)
    return f"<div>{told}{picture.html}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}</div>"


def text(value: object) -> str:
    """Text that stands as it is in HTML, whatever is in it, and turns nothing around it."""
    return f"<bdi>{escape(printable(str(value)))}</bdi>" if value not in (None, "") else ""


def _row(step: ExplainedStep, fresh: Mapping[str, Any]) -> str:
    why = step.reason or (
        f"to {', '.join(step.sinks)}" + (f" for {step.recipient_id}" if step.recipient_id else "")
        if step.sinks
        else ""
    )
    if step.at is not None and (step.reason or step.sinks):
        why += f", at {moment(step.at)}"
    read = [f"{text(name)} = {text(shown(value))}" for name, value in step.operands]
    new = [f"{text(name)} = {text(shown(value))}" for name, value in fresh.items()]
    if step.operator == "map" and step.payload is not MISSING:
        new.append(f"payload = {text(shown(step.payload))}")
    number = "" if step.step is None else step.step
    cells = [
        text(step.flow),
        str(number),
        text(step.branch),
        f"<code>{text(step.text)}</code>",
        step.outcome,
        text(why),
    ]
    cells += ["<br>".join(read), "<br>".join(new)]
    style = "text-align:left;vertical-align:top;overflow-wrap:anywhere"
    return "<tr>" + "".join(f'<td style="{style}">{cell}</td>' for cell in cells) + "</tr>"
