"""Write the table of known shapes into docs/data.md: `make shapes`. It is made of their declarations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from flowdsl.log.origins import ConstantOrigin
from flowdsl.log.shape import RowShape, Shape
from flowdsl.log.shapes import SHAPES

PAGE = Path(__file__).parents[1] / "docs" / "data.md"
PLACE = re.compile(r"(<!-- shapes[^\n]*-->\n).*?(<!-- /shapes -->)", re.DOTALL)


def table() -> str:
    """Return the table."""
    rows = [
        f"| `{name}` | {shape.summary} | {_named(shape, 'link_type')} | {_named(shape, 'entity_type')} |\n"
        for name, shape in sorted(SHAPES.own.items())
    ]
    return "| shape | reads | links | entities |\n|---|---|---|---|\n" + "".join(rows)


def written(page: str) -> str:
    """Return the page with the table as it has to be."""
    return PLACE.sub(lambda found: found[1] + table() + found[2], page)


def _named(shape: Shape, field: str) -> str:
    return ", ".join(dict.fromkeys(_origins(shape, field))) or "–"


def _origins(shape: Shape, field: str) -> Iterator[str]:
    read = RowShape(shape)
    for part in (part for parts in read.parts.values() for part in parts):
        origin = part.columns.get(field)
        if isinstance(origin, ConstantOrigin):
            yield f"`{origin.value}`"
    origin = shape.columns.get(field)
    if isinstance(origin, ConstantOrigin):
        yield f"`{origin.value}`"
    elif origin is not None:
        # with Debezium's schema around it, a path is the same
        first = origin if isinstance(origin, str) else next(str(one) for one in origin)  # type: ignore[union-attr]
        yield f"the values of `{first.removeprefix('payload.')}`"


def main() -> None:
    """Write the table into the page."""
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
