"""What a widget is drawn on: it draws a view (plain JSON) in the browser, and hands back what was clicked and typed.

Names and values of data are only ever set as text there. A widget loses its state when the notebook is loaded again, so
beside each one stands a static form of it, which is hidden while the widget is alive.
"""

from __future__ import annotations

import functools
import importlib.util
import secrets
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from flowdsl.errors import FlowError

_HERE = Path(__file__).parent
_VIEW = "application/vnd.jupyter.widget-view+json"
Handler = Callable[[Mapping[str, Any]], None]


def require_widgets() -> None:
    """A `FlowError` that says what to install, where widgets are not."""
    missing = [name for name in ("ipywidgets", "anywidget") if importlib.util.find_spec(name) is None]
    if missing:
        raise FlowError(
            f"widgets need {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            hint="pip install 'flowdsl[notebook]', then restart the kernel and load the page again",
        )


class Panel:
    """A place in a notebook that shows a view, and tells `handler` what is done there.

    `script` names the JavaScript file beside this module that draws it. `draw(view)` and `fall_back(html, text)` may be
    called from any thread, before and after it is displayed.
    """

    def __init__(self, script: str, handler: Handler) -> None:
        require_widgets()
        self.view: dict[str, Any] = {}
        self._static: dict[str, str] = {}
        self._shown: Any = None
        self._id = f"flowdsl-{secrets.token_hex(6)}"
        self._widget = _widget_class(script)(fallback=self._id)
        self._widget.on_msg(lambda widget, content, buffers: handler(content))

    def draw(self, view: dict[str, Any]) -> None:
        """Show this view."""
        self.view = view
        self._widget.view = view

    def fall_back(self, html: str, text: str) -> None:
        """Have this shown where the widget is not alive, beside places that show only text."""
        body = f'<div id="{self._id}" style="max-width:60em">{html}</div>'
        self._static = {"text/html": body, "text/plain": text}
        if self._shown is not None:
            self._shown.update(self._static, raw=True)

    @property
    def has_fallback(self) -> bool:
        """Whether `fall_back` was called."""
        return bool(self._static)

    def display(self) -> None:
        """Show it below the cell that runs."""
        from IPython import display as shown

        display: Any = shown.display
        text = self._static.get("text/plain", "")
        view = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
        display({_VIEW: view, "text/plain": text.partition("\n")[0]}, raw=True)
        self._shown = display(self._static, raw=True, display_id=True)


def static_html(title: str, body: str) -> str:
    """A piece of static HTML from text: a title and what reads best in a fixed width."""
    return f"<b>{escape(title)}</b><pre style='white-space:pre-wrap'>{escape(body)}</pre>"


@functools.cache
def _widget_class(script: str) -> Any:
    import anywidget
    import traitlets

    class FlowWidget(anywidget.AnyWidget):
        """A widget that draws its view."""

        _esm = "\n".join(
            (_HERE / name).read_text("utf-8") for name in ("dom.js", "complete.js", f"{script}.js")
        )
        _css = (_HERE / "panel.css").read_text("utf-8")
        view = traitlets.Dict().tag(sync=True)
        fallback = traitlets.Unicode().tag(sync=True)

    # anywidget tells styles and code apart by the name of the class
    FlowWidget.__name__ = FlowWidget.__qualname__ = f"Flow{script.title()}"
    return FlowWidget
