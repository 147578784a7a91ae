"""An SVG writer: escaped text, short numbers, no scripts and nothing to fetch."""

from __future__ import annotations

import hashlib
from html import escape
from typing import Final

from flowdsl.diagrams.palette import style
from flowdsl.diagrams.text_width import printable

TITLE_MOST: Final = 2_000


class Canvas:
    """Drawing surface that collects shapes; `svg` returns the whole file."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, css: str, *, rx: float = 6) -> None:
        """Draw a rectangle with round corners."""
        self._parts.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="{_n(rx)}" class="{css}"/>'
        )

    def path(
        self, d: str, css: str, *, width: float | None = None, place: tuple[float, float, float] | None = None
    ) -> None:
        """Draw an outline; `width` is that of its stroke, `place` moves and scales it: x, y, scale."""
        more = "" if width is None else f' stroke-width="{_n(width)}"'
        if place is not None:
            x, y, scale = place
            more += f' transform="translate({_n(x)} {_n(y)}) scale({_n(scale)})"'
        self._parts.append(f'<path d="{d}" class="{css}"{more}/>')

    def text(self, x: float, y: float, text: str, css: str, size: float, *, anchor: str = "start") -> None:
        """Draw one line of text; `y` is its base line."""
        where = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}" class="t {css}" font-size="{_n(size)}"{where}>{escape(printable(text))}</text>'
        )

    def open(self, title: str, name: str | None = None) -> None:
        """Begin a group with a tooltip; `name` is its class, for readers of the file."""
        what = "" if name is None else f' class="{name}"'
        self._parts.append(f"<g{what}><title>{escape(printable(title, TITLE_MOST))}</title>")

    def close(self) -> None:
        """End the group."""
        self._parts.append("</g>")

    def svg(self, width: float, height: float, title: str, description: str) -> str:
        """Return the file, with `title` and `description` as its text alternatives."""
        title, description = escape(printable(title)), escape(printable(description, 20_000))
        body = "".join(self._parts)
        # a name by content: the same picture always has the same one, another picture another
        name = "fd" + hashlib.sha256(f"{title}\n{description}\n{body}".encode()).hexdigest()[:10]
        size = f'width="{_n(width)}" height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} class="{name}" role="img"'
            f' aria-labelledby="{name}-title {name}-desc" style="max-width:100%;height:auto">'
            f'<title id="{name}-title">{title}</title><desc id="{name}-desc">{description}</desc>'
            f"<style>{style('.' + name)}</style>"
            f'<rect x=".5" y=".5" width="{_n(width - 1)}" height="{_n(height - 1)}" rx="10" class="paper"/>'
            f"{body}</svg>"
        )


def _n(number: float) -> str:
    """Return a number with at most one decimal."""
    return f"{number + 0.0:.1f}".removesuffix(".0")
