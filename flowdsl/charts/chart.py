"""Chart values: SVG with text alternatives, alone or in a page, in the reader's light or dark scheme."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from flowdsl.diagrams.palette import DARK, LIGHT, SANS, Scheme
from flowdsl.diagrams.svg import escape_text, image_html, short_number, theme_image

# on a phone, its texts are about as large as those around it
NARROW: Final = 400.0
# distinct in light, in dark and to colour-blind readers; tests keep their contrast at 3 to 1
SERIES: Final = (
    ("#0969da", "#58a6ff"),
    ("#bc4c00", "#f0883e"),
    ("#1a7f37", "#56d364"),
    ("#8250df", "#bc8cff"),
    ("#9a6700", "#e3b341"),
    ("#bf3989", "#f778ba"),
    ("#0b6e6e", "#56d4dd"),
    ("#57606a", "#b4bec9"),
)


@dataclass(frozen=True, repr=False)
class Chart:
    """A drawn chart: `.svg` is a file of its own, `.inline` goes into a page with `chart_style`, `.text` is
    the same as text, and `.narrow` the same for a narrow screen.

    The same data always gives the same bytes; no script runs and nothing is fetched.
    """

    title: str
    description: str
    width: float
    height: float
    body: str
    text: str
    narrow: Chart | None = None

    @cached_property
    def svg(self) -> str:
        """The chart as a self-contained SVG file."""
        name = "fd" + hashlib.sha256(f"{self.title}\n{self.body}".encode()).hexdigest()[:10]
        size = f'width="{short_number(self.width - 1)}" height="{short_number(self.height - 1)}"'
        paper = f'<rect x=".5" y=".5" {size} rx="8" class="paper"/>'
        return self._render(name, f"<style>{chart_style('.' + name)}</style>{paper}")

    @property
    def html(self) -> str:
        """The chart as an `<img>` with embedded data, which is shown in untrusted notebooks too."""
        return image_html(self.svg, self.title, None if self.narrow is None else self.narrow.svg)

    @cached_property
    def inline(self) -> str:
        """The chart for a page that already has the style sheet of charts."""
        return self._render("chart", "")

    def _render(self, name: str, before: str) -> str:
        size = f'width="{short_number(self.width)}" height="{short_number(self.height)}"'
        box = f'viewBox="0 0 {short_number(self.width)} {short_number(self.height)}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} class="{name}" role="img"'
            f' aria-label="{escape_text(self.title)}" style="max-width:100%;height:auto">'
            f"<title>{escape_text(self.title)}</title><desc>{escape_text(self.description)}</desc>"
            f"{before}{self.body}</svg>"
        )

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Chart {self.title!r}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self.text, "image/svg+xml": self.svg, "text/html": theme_image(self.html)}


def fit_chart(draw: Callable[[float], Chart], width: float) -> Chart:
    """Draw a chart as wide as said, and once more for narrow screens."""
    return replace(draw(width), narrow=draw(NARROW))


def chart_style(root: str) -> str:
    """Return the style sheet of charts, with every rule below one class; paper is light."""
    fixed = f"{root} text{{font:11px {SANS};font-variant-numeric:tabular-nums;unicode-bidi:isolate}}"
    dark = _colours(root, DARK)
    return fixed + _colours(root, LIGHT) + f"@media screen and (prefers-color-scheme:dark){{{dark}}}"


def _colours(root: str, scheme: Scheme) -> str:
    side = 0 if scheme is LIGHT else 1
    rules = [
        f".paper{{fill:{scheme['paper']};stroke:{scheme['rim']}}}",
        f"text{{fill:{scheme['soft']}}}",
        f".grid{{stroke:{scheme['rim']};stroke-opacity:.6}}",
        f".axis{{stroke:{scheme['soft']}}}",
        f".halo{{paint-order:stroke;stroke:{scheme['paper']};stroke-width:3px;stroke-linejoin:round}}",
    ]
    for number, colours in enumerate(SERIES):
        rules.append(f".f{number}{{fill:{colours[side]}}}")
        rules.append(f".l{number}{{fill:none;stroke:{colours[side]};stroke-width:2;stroke-linejoin:round}}")
    return "".join(f"{root} {rule}" for rule in rules)
