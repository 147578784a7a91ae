"""Failures of a template for one event, and limits on its work."""

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
    """Raised if one event cannot be rendered; the message gives the reason."""

    @property
    def reason(self) -> str:
        """The reason."""
        return str(self)


class RenderAbortError(RenderError):
    """Failure that `{% if %}` does not treat as false: a limit was reached, or Tera crashes."""


class RenderCrashError(RenderAbortError):
    """Raised if Tera crashes and ends production's process, which then handles no later event."""

    @property
    def reason(self) -> CrashReason:
        """The reason of the crash."""
        return CrashReason(self)


class Budget:
    """Counter of the work of one rendering.

    Only loops and macros are charged: without them the length of the template bounds the work, so both
    the row form and the column form fail at the same templates.
    """

    __slots__ = ("depth", "loops", "steps")

    def __init__(self) -> None:
        self.steps = 0
        self.depth = 0
        self.loops = 0

    def charge(self, steps: int) -> None:
        """Charge the cost of loops and macros."""
        if self.loops:
            self.steps += steps
            if self.steps > MAX_STEPS:
                raise RenderAbortError(f"the template takes more than {MAX_STEPS:,} steps")

    def enter(self) -> None:
        """Enter one level of nesting."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise RenderAbortError(f"the template nests more than {MAX_DEPTH} levels deep while it runs")

    @property
    def too_deep(self) -> bool:
        """True if the nesting is too deep."""
        return self.depth > MAX_DEPTH

    def leave(self) -> None:
        """Leave one level of nesting."""
        self.depth -= 1

    def made(self, value: Any) -> Any:
        """Return a computed value after charging its size; fail if it is too large."""
        if isinstance(value, (str, list)):
            check_size(value)
            self.charge(1 + len(value) // 64)
        return value


def values_in(value: Any) -> int:
    """Count the values in a value, including itself; fail beyond the limit.

    A template can nest an array in itself twice, again and again: few objects, but many values.
    """
    count, pending = 0, [value]
    while pending:
        inner = pending.pop()
        count += 1
        check_items(count)
        if isinstance(inner, list):
            pending += inner
        elif isinstance(inner, dict):
            pending += inner.values()
    return count


def check_size(value: Any) -> Any:
    """Return the value; fail if a text or array exceeds its limit."""
    if isinstance(value, str):
        check_characters(len(value))
    elif isinstance(value, list):
        check_items(len(value))
    return value


def too_long() -> str:
    """Return why a text is refused that has more characters than a text may have."""
    return f"the template makes a text of more than {MAX_TEXT:,} characters"


def check_characters(count: int) -> None:
    """Fail if a text has more characters than a text may have."""
    if count > MAX_TEXT:
        raise RenderAbortError(too_long())


def check_items(count: int) -> None:
    """Fail if an array has more items than an array may have."""
    if count > MAX_ITEMS:
        raise RenderAbortError(f"the template makes an array of more than {MAX_ITEMS:,} items")
