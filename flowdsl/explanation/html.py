"""An explanation as HTML: the picture, and below it a table of the steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from flowdsl.diagrams.text_width import printable
from flowdsl.explanation.text import fresh_variables, moment, shown
from flowdsl.values.json_types import MISSING

if TYPE_CHECKING:
    from flowdsl.diagrams.picture import Picture
    from flowdsl.explanation.explain import ExplainedStep

ROWS: Final = 60
_NAMES: Final = ("flow", "step", "branch", "what", "outcome", "why", "read", "new")
_CELL: Final = "text-align:left;vertical-align:top;overflow-wrap:break-word;max-width:24em"


def page(picture: Picture, steps: Sequence[ExplainedStep], before: Iterable[str] = ()) -> str:
    """The HTML of an explanation: sentences, the picture, a row for each step of each branch; all names are escaped."""
    columns = {
        # said only where there are several
        "flow": len({step.flow for step in steps}) > 1,
        "branch": any(step.branch for step in steps),
    }
    rows = [_cells(step, fresh) for step, fresh in fresh_variables(steps[:ROWS])]
    names = [name for name in _NAMES if columns.get(name, True)]
    head = "".join(f'<th style="text-align:left">{name}</th>' for name in names)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{cells[name]}</td>' for name in names) + "</tr>"
        for cells in rows
    )
    left = len(steps) - ROWS
    more = f"<p>… and {left:,} rows more: <code>.to_pandas()</code> has them all</p>" if left > 0 else ""
    told = "".join(f"<p>{text(line)}</p>" for line in before)
    return f"<div>{told}{picture.html}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}</div>"


def text(value: object) -> str:
    """Text that stands as it is in HTML, whatever is in it, and turns nothing around it."""
    return f"<bdi>{escape(printable(str(value)))}</bdi>" if value not in (None, "") else ""


def _cells(step: ExplainedStep, fresh: Mapping[str, Any]) -> dict[str, str]:
    read = [f"{text(name)} = {text(shown(value))}" for name, value in step.operands]
    new = [f"{text(name)} = {text(shown(value))}" for name, value in fresh.items()]
    if step.operator == "map" and step.payload is not MISSING:
        new.append(f"payload = {text(shown(step.payload))}")
    cells = [
        text(step.flow),
        "" if step.step is None else str(step.step),
        text(step.branch),
        f"<code>{text(step.text)}</code>",
        step.outcome,
        text(_why(step)),
        "<br>".join(read),
        "<br>".join(new),
    ]
    return dict(zip(_NAMES, cells, strict=True))


def _why(step: ExplainedStep) -> str:
    why = step.reason or (f"to {', '.join(step.sinks)}" if step.sinks else "")
    if step.sinks and step.recipient_id and not step.reason:
        why += f" for {step.recipient_id}"
    return f"{why}, at {moment(step.at)}" if why and step.at is not None else why
