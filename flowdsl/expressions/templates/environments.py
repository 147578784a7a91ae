"""Environments: names that a template defines by `set`, loops and macro parameters."""

from __future__ import annotations

from typing import Any

from flowdsl.expressions.templates.failures import RenderCrashError
from flowdsl.expressions.templates.graphemes import graphemes
from flowdsl.expressions.templates.value_paths import follow_path
from flowdsl.expressions.templates.values import NOTHING, steps


class Environment:
    """Names of a template, of a macro call, or of a loop."""

    __slots__ = ("closed", "loop", "names")

    def __init__(self, names: dict[str, Any], *, closed: bool, loop: Loop | None = None) -> None:
        self.names = names
        self.closed = closed
        """Whether the frames around it are out of sight."""
        self.loop = loop

    def find(self, root: str, tail: tuple[str, ...], text: str) -> Any:
        """Return what a path leads to, or `NOTHING`, which continues the search further out."""
        if root in self.names:
            found = steps(self.names[root], tail)
            if found is not NOTHING:
                return found
        return self.loop.find(root, tail, text) if self.loop else NOTHING

    def find_text(self, path: str, rest: str) -> Any:
        """Like `find`, for a path read as text; `rest` follows its first dot."""
        root = path.partition(".")[0]
        if root in self.names:
            found = follow_path(self.names[root], rest)
            if found is not NOTHING:
                return found
        return self.loop.find_text(root, rest) if self.loop else NOTHING


class Loop:
    """State of a `for`: its items, and the current one."""

    __slots__ = ("at", "clusters", "items", "key", "size", "state", "value")

    def __init__(self, key: str | None, value: str, container: Any) -> None:
        self.key, self.value = key, value
        self.items: Any = sorted(container.items()) if isinstance(container, dict) else container
        self.size = len(self.items)
        self.clusters: list[str] | None = None
        self.at = 0
        self.state = ""

    def find(self, root: str, tail: tuple[str, ...], text: str) -> Any:
        """Return the loop's own names: key, item, and `loop.index` and the like."""
        if not tail and root == self.key:
            return self.items[self.at][0]
        if root == "loop":
            return self._own(text)
        return steps(self._item(), tail) if root == self.value else NOTHING

    def find_text(self, root: str, rest: str) -> Any:
        """Like `find`, for a path read as text."""
        if root == "loop":
            return self._own(f"{root}.{rest}")
        return follow_path(self._item(), rest) if root == self.value and rest else NOTHING

    def _own(self, text: str) -> Any:
        if text == "loop.index":
            return self.at + 1
        if text == "loop.index0":
            return self.at
        if text == "loop.first":
            return self.at == 0
        return self.at == self.size - 1 if text == "loop.last" else NOTHING

    def _item(self) -> Any:
        if isinstance(self.items, str):
            if self.clusters is None:
                self.clusters = graphemes(self.items)
            if self.at >= len(self.clusters):
                # Tera loops once per code point, and crashes when there are no letters left
                raise RenderCrashError("the template loops over a text with letters of several code points")
            return self.clusters[self.at]
        return self.items[self.at][1] if self.key is not None else self.items[self.at]
