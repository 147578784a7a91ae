"""The pieces that a page is put together from; every text in them is escaped here and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from flowdsl.diagrams.text_width import printable

# signs of one value that are shown
_LONG: Final = 600


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Cell = str | int | Html


@dataclass(frozen=True)
class Bar:
    """A cell with a bar, as long as its share of the largest."""

    share: float


def plain(text: object, most: int = _LONG) -> Html:
    """Text as what it is, cut where it is very long, its direction kept from what stands around it."""
    said = str(text)
    more = f" … ({len(said):,} characters)" if len(said) > most else ""
    return Html(f"<bdi>{escape(_lines(said[:most]))}</bdi>{more}")


def strong(text: object) -> Html:
    """Text that stands out."""
    return Html(f"<b>{plain(text)}</b>")


def joined(*parts: object) -> Html:
    """Texts one after the other; those that are no HTML yet are escaped."""
    return Html("".join(part if isinstance(part, Html) else escape(printable(str(part))) for part in parts))


def element(name: str, *parts: object, css: str = "") -> Html:
    """An element around parts."""
    return Html(f"<{name}{f' class={css!r}' if css else ''}>{joined(*parts)}</{name}>")


def paragraph(*parts: object) -> Html:
    """A paragraph."""
    return element("p", *parts)


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell | Bar]], *, left: int = 1) -> Html:
    """A table: the first `left` columns hold text, the others numbers; bars have a column of their own."""
    body = ["".join(_cell(cell, number < left) for number, cell in enumerate(row)) for row in rows]
    head = "".join(
        f'<th scope="col"{"" if number < left or not text else " class=n"}>{escape(text)}</th>'
        for number, text in enumerate(heads)
    )
    lines = "".join(f"<tr>{row}</tr>" for row in body)
    # where the screen is narrow it is scrolled by itself
    return Html(
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def details(summary: object, *parts: object) -> Html:
    """Something that is opened by whoever wants to see it; on paper it is open."""
    return Html(f"<details><summary>{joined(summary)}</summary>{joined(*parts)}</details>")


def definitions(values: dict[str, Any]) -> Html:
    """Fields and their values, one below the other; no `dl`, which notebooks lay out in their own way."""
    return joined(
        *(
            joined(element("div", plain(name), css="field"), element("div", value_text(value), css="value"))
            for name, value in values.items()
        )
    )


def code(text: object, most: int = _LONG) -> Html:
    """Text as it stands in code."""
    return element("span", plain(text, most), css="code")


def value_text(value: Any) -> Html:
    """A JSON value as it is read: text plainly, anything else as JSON."""
    return plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _cell(cell: Cell | Bar, text: bool) -> str:
    if isinstance(cell, Bar):
        return f'<td class="bar"><i style="width:{100 * cell.share:.1f}%"></i></td>'
    shown = cell if isinstance(cell, Html) else f"{cell:,}" if isinstance(cell, int) else plain(cell)
    return f"<td>{shown}</td>" if text else f'<td class="n">{shown}</td>'


def _lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))
