"""Pictures as users get them: one diagram as SVG, Mermaid, text and files, and shown in notebooks."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from flowdsl.diagrams.column_layout import draw_column
from flowdsl.diagrams.diagram import Diagram
from flowdsl.diagrams.lane_layout import SHARED, draw_lanes
from flowdsl.diagrams.mermaid import mermaid
from flowdsl.diagrams.svg import Canvas, image_html, theme_image
from flowdsl.diagrams.text_renderer import outline
from flowdsl.errors import DataError

# width in pixels up to which a picture is hardly shrunk on a narrow screen
FITS: Final = 480
FORMATS: Final = {".svg": "svg", ".mmd": "mermaid", ".mermaid": "mermaid", ".txt": "text"}


@dataclass(frozen=True, repr=False)
class Picture:
    """A drawn diagram: `.svg`, `.mermaid` and `.text` hold it, `.save(path)` writes it, a notebook shows it.

    The SVG is self-contained: no script, no font, no address. It follows the reader's light or dark scheme,
    and prints light. The same diagram always gives the same bytes.

    >>> from flowdsl import on
    >>> print(on("link.created", name="hello").map(title="hello").deliver("in-app").picture())
    hello
          on       link.created
       0  map      title
       1  deliver  in-app
                   → in-app
    <BLANKLINE>
    sinks
      in-app
    """

    diagram: Diagram

    @cached_property
    def svg(self) -> str:
        """The picture as SVG: one flow runs downwards, several are lanes."""
        draw = draw_column if len(self.diagram.chains) == 1 else draw_lanes
        canvas, width, height = draw(self.diagram)
        return canvas.svg(width, height, self.diagram.title, self.text)

    @cached_property
    def narrow(self) -> str | None:
        """The picture as SVG for narrow screens: flows as columns, one below the other; None if `svg` is
        narrow enough.
        """
        chains = self.diagram.chains
        one = len(chains) == 1
        if not 1 <= len(chains) <= SHARED or (one and draw_column(self.diagram)[1] <= FITS):
            return None
        canvas, widest, bottom = Canvas(), 0.0, 0.0
        for chain in chains:
            notes = self.diagram.notes if one else ()
            column, wide, tall = draw_column(replace(self.diagram, chains=(chain,), notes=notes), narrow=True)
            canvas.place(column, bottom)
            widest, bottom = max(widest, wide), bottom + tall
        return canvas.svg(widest, bottom, self.diagram.title, self.text)

    @cached_property
    def mermaid(self) -> str:
        """The picture as Mermaid text."""
        return mermaid(self.diagram)

    @cached_property
    def text(self) -> str:
        """The picture as plain text."""
        return outline(self.diagram)

    @property
    def html(self) -> str:
        """The picture as an `<img>` with embedded data, which keeps its styles and names apart from those of
        the page.
        """
        return image_html(self.svg, self.diagram.title, self.narrow)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to a file: `.svg`, `.mmd` (Mermaid) or `.txt`, by the suffix."""
        file = Path(path)
        if file.suffix.lower() not in FORMATS:
            raise DataError.unknown(
                f"a picture cannot be written as {file.suffix or file.name!r}", file.suffix, FORMATS
            )
        file.write_bytes(getattr(self, FORMATS[file.suffix.lower()]).encode())

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Picture {self.diagram.title!r}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return mime_bundle(self, self.text)


def mime_bundle(picture: Picture, text: str) -> dict[str, str]:
    """Return the MIME bundle of a picture, with a text for programs that do not show pictures.

    The HTML is an `<img>`, which untrusted notebooks show too and screen readers announce; exports to other
    formats take the SVG. Mermaid is left out on purpose: JupyterLab would prefer it to the SVG, and exports
    would show nothing.
    """
    return {"text/plain": text, "image/svg+xml": picture.svg, "text/html": theme_image(picture.html)}
