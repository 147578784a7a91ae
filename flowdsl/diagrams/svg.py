"""An SVG writer: text is escaped, numbers are short, and files have no scripts and no external resources."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from html import escape
from typing import Final

from flowdsl.diagrams.palette import page_scheme, style
from flowdsl.diagrams.text_width import printable

TITLE_MOST: Final = 2_000
IMAGE: Final = "fd-image"
# width in pixels up to which a screen is narrow; views/view.css has the same number
PHONE: Final = 640


class Canvas:
    """Drawing surface that collects shapes; `svg` returns the whole file."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, css: str, *, rx: float = 6) -> None:
        """Draw a rectangle with round corners."""
        self._parts.append(
            f'<rect x="{short_number(x)}" y="{short_number(y)}" {_size(width, height)}'
            f' rx="{short_number(rx)}" class="{css}"/>'
        )

    def path(
        self, d: str, css: str, *, width: float | None = None, place: tuple[float, float, float] | None = None
    ) -> None:
        """Draw an outline; `width` is that of its stroke, `place` moves and scales it: x, y, scale."""
        more = "" if width is None else f' stroke-width="{short_number(width)}"'
        if place is not None:
            x, y, scale = place
            more += (
                f' transform="translate({short_number(x)} {short_number(y)}) scale({short_number(scale)})"'
            )
        self._parts.append(f'<path d="{d}" class="{css}"{more}/>')

    def text(self, x: float, y: float, text: str, css: str, size: float, *, anchor: str = "start") -> None:
        """Draw one line of text; `y` is its base line."""
        where = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._parts.append(
            f'<text x="{short_number(x)}" y="{short_number(y)}" class="t {css}"'
            f' font-size="{short_number(size)}"{where}>{escape_text(text)}</text>'
        )

    def open(self, title: str, name: str | None = None) -> None:
        """Begin a group with a tooltip; `name` is its class, for readers of the file."""
        what = "" if name is None else f' class="{name}"'
        self._parts.append(f"<g{what}><title>{escape_text(title)}</title>")

    def close(self) -> None:
        """End the group."""
        self._parts.append("</g>")

    def place(self, other: Canvas, y: float) -> None:
        """Draw the content of another canvas, moved down by `y`."""
        self._parts += [f'<g transform="translate(0 {short_number(y)})">', *other._parts, "</g>"]

    def svg(self, width: float, height: float, title: str, description: str) -> str:
        """Return the file, with `title` and `description` as its text alternatives."""
        title, description = escape_text(title), escape_text(description, 20_000)
        body = "".join(self._parts)
        # a name from the content: equal pictures have equal names, others differ
        name = "fd" + hashlib.sha256(f"{title}\n{description}\n{body}".encode()).hexdigest()[:10]
        size = f'{_size(width, height)} viewBox="0 0 {short_number(width)} {short_number(height)}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} class="{name}" role="img"'
            f' aria-labelledby="{name}-title {name}-desc" style="max-width:100%;height:auto">'
            f'<title id="{name}-title">{title}</title><desc id="{name}-desc">{description}</desc>'
            f"<style>{style('.' + name)}</style>"
            f'<rect x=".5" y=".5" {_size(width - 1, height - 1)} rx="10" class="paper"/>'
            f"{body}</svg>"
        )


def escape_text(text: str, most: int = TITLE_MOST) -> str:
    """Return text escaped for SVG and HTML, with invisible characters replaced by visible ones."""
    return escape(printable(text, most))


def short_number(number: float) -> str:
    """Return a number with at most one decimal."""
    return f"{number + 0.0:.1f}".removesuffix(".0")


def _size(width: float, height: float) -> str:
    return f'width="{short_number(width)}" height="{short_number(height)}"'


def image_html(svg: str, title: str, narrow: str | None = None) -> str:
    """Return an `<img>` with embedded data, which keeps its styles and names apart from those of the page.

    `narrow` is the SVG for narrow screens.
    """
    image = f'<img class="{IMAGE}" alt="{escape_text(title)}" src="{_data(svg)}" style="max-width:100%">'
    if narrow is None:
        return image
    return f'<picture><source media="(max-width: {PHONE}px)" srcset="{_data(narrow)}">{image}</picture>'


def _data(svg: str) -> str:
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"


def theme_image(image: str) -> str:
    """Return an image, without anything around it, in the theme of its page."""
    return f"<style>{page_scheme('.' + IMAGE)}</style>{image}"
