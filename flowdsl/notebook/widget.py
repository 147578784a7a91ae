"""Widget that draws a view (plain JSON) in the browser and sends back user input.

The browser shows names and values of the data as text only, never as HTML. A widget loses its state when the
notebook is reloaded, so each one has a static form next to it, which is hidden while the widget is alive.
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
    """Raise `FlowError` with install instructions if widgets are not installed."""
    missing = [name for name in ("ipywidgets", "anywidget") if importlib.util.find_spec(name) is None]
    if missing:
        raise FlowError(
            f"widgets need {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
            "installed",
            hint="pip install 'flowdsl[notebook]', then restart the kernel and load the page again",
        )


class Panel:
    """Widget in a notebook that shows a view, and passes user input to `handler`

    `script` names the JavaScript file next to this module that draws it. `draw(view)` and `fall_back(html,
    text)` may be called from any thread, before and after it is displayed.
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
        """Show a view."""
        self.view = view
        self._widget.view = view

    def fall_back(self, html: str, text: str) -> None:
        """Set the static form for pages without a live widget, and the text for plain-text outputs."""
        body = f'<div id="{self._id}" style="max-width:60em">{html}</div>'
        self._static = {"text/html": body, "text/plain": text}
        if self._shown is not None:
            self._shown.update(self._static, raw=True)

    @property
    def widget(self) -> Any:
        """The widget itself, for notebooks that show such values without IPython."""
        return self._widget

    @property
    def has_fallback(self) -> bool:
        """True if `fall_back` was called."""
        return bool(self._static)

    def display(self) -> None:
        """Display the widget below the running cell."""
        from IPython import display as shown

        display: Any = shown.display
        text = self._static.get("text/plain", "")
        view = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
        display({_VIEW: view, "text/plain": text.partition("\n")[0]}, raw=True)
        self._shown = display(self._static, raw=True, display_id=True)


def static_html(title: str, body: str) -> str:
    """Return static HTML with a title and preformatted text."""
    return f"<b>{escape(title)}</b><pre style='white-space:pre-wrap'>{escape(body)}</pre>"


@functools.cache
def _widget_class(script: str) -> Any:
    import anywidget
    import traitlets

    class FlowWidget(anywidget.AnyWidget):
        """Widget that draws its view."""

        _esm = "\n".join(
            (_HERE / name).read_text("utf-8") for name in ("dom.js", "complete.js", f"{script}.js")
        )
        _css = (_HERE / "panel.css").read_text("utf-8")
        view = traitlets.Dict().tag(sync=True)
        fallback = traitlets.Unicode().tag(sync=True)

    # anywidget keys styles and code by the name of the class
    FlowWidget.__name__ = FlowWidget.__qualname__ = f"Flow{script.title()}"
    return FlowWidget
