"""How a template fails for one event, and how much work it may do before it does."""

from __future__ import annotations

from typing import Any, Final

from flowdsl.expressions.crashes import CrashReason

MAX_TEXT: Final = 1_000_000
"""Characters that one text may have, whether it is printed or only made on the way."""

MAX_ITEMS: Final = 100_000
"""Items that an array made by the template may have, inner ones counted, and comparisons within one `==`."""

MAX_STEPS: Final = 100_000
"""Nodes, expressions and size (a step for each 64 characters or items) that loops and macros may cost."""

MAX_DEPTH: Final = 150
"""How deep bodies, macros and expressions may be inside one another while they run."""


MAX_INCLUDED: Final = 30
"""How often a template may include itself, one inside the other, before that is taken for without end."""


class RenderError(Exception):
    """One event cannot be rendered; the message says why."""

    @property
    def reason(self) -> str:
        """Why."""
        return str(self)


class RenderAbortError(RenderError):
    """A failure that no `{% if %}` takes for false: a limit was met, or Tera itself crashes."""


class RenderCrashError(RenderAbortError):
    """Tera crashes here, and whatever runs it with it: in production no later event is processed."""

    @property
    def reason(self) -> CrashReason:
        """Why, as that of a crash."""
        return CrashReason(self)


class Budget:
    """What one rendering has used up.

    Only loops and macros are charged: a template without them does an amount of work that its length
    bounds, and so fails or not in the same way whichever form renders it.
    """

    __slots__ = ("depth", "loops", "steps")

    def __init__(self) -> None:
        self.steps = 0
        self.depth = 0
        self.loops = 0

    def charge(self, steps: int) -> None:
        """Take `steps` from what loops and macros may cost."""
        if self.loops:
            self.steps += steps
            if self.steps > MAX_STEPS:
                raise RenderAbortError(f"the template takes more than {MAX_STEPS:,} steps")

    def enter(self) -> None:
        """Go one level deeper."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise RenderAbortError(f"the template nests more than {MAX_DEPTH} levels deep while it runs")

    @property
    def too_deep(self) -> bool:
        """Whether it went deeper than it may."""
        return self.depth > MAX_DEPTH

    def leave(self) -> None:
        """Come back from one level."""
        self.depth -= 1

    def made(self, value: Any) -> Any:
        """A value that an operation made, charged by its size, or a failure where it is too large."""
        if isinstance(value, (str, list)):
            checked(value)
            self.charge(1 + len(value) // 64)
        return value


def values_in(value: Any) -> int:
    """How many values there are in a value, itself counted; a failure where they are beyond the limit.

    A template can put one array into another again and again, twice each time: few objects, many values.
    """
    count, pending = 0, [value]
    while pending:
        inner = pending.pop()
        count += 1
        if count > MAX_ITEMS:
            raise RenderAbortError(f"the template makes an array of more than {MAX_ITEMS:,} items")
        if isinstance(inner, list):
            pending += inner
        elif isinstance(inner, dict):
            pending += inner.values()
    return count


def checked(value: Any) -> Any:
    """The value, or a failure where it is a text or an array beyond its limit."""
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise RenderAbortError(f"the template makes a text of more than {MAX_TEXT:,} characters")
    if isinstance(value, list) and len(value) > MAX_ITEMS:
        raise RenderAbortError(f"the template makes an array of more than {MAX_ITEMS:,} items")
    return value
