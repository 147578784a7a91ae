"""What can go wrong, as one tree.

::

    FlowError                     everything flowdsl raises on purpose
    ├── BuildError                a flow that cannot be what was written (also a ValueError)
    │   ├── ConditionError        a condition that does not parse or cannot be evaluated
    │   ├── TemplateError         a template that does not parse or is refused
    │   └── ExportError           a flow that production cannot say; `.problems` holds all that it cannot
    ├── LoadError                 YAML that is refused; `.problems` holds all of them
    ├── DataError                 events, entities, links or files that cannot be used (also a ValueError)
    ├── ReplayError               a replay that cannot start or go on
    ├── SinkError                 a sink that cannot be made or used as it is
    ├── PluginError               something of another package that cannot be loaded, or is not what it should be
    └── LiveError                 a live run that cannot start or go on

Each says where it is (flow, step, file and line), what is wrong, what was allowed, and a hint.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Final


class FlowError(Exception):
    """Something flowdsl refuses, with its place, what was allowed instead, and a hint.

    `what` is the sentence; `flow`, `step` (counted from 0, with its operator) and `place`
    (`flows.yaml:12:5`) say where; `allowed` lists what would have been accepted.
    """

    def __init__(
        self,
        what: str,
        *,
        flow: str | None = None,
        step: str | None = None,
        place: str | None = None,
        allowed: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.flow = flow
        self.step = step
        self.place = place
        self.allowed = allowed
        self.hint = hint

    def located(
        self, *, flow: str | None = None, step: str | None = None, place: str | None = None
    ) -> FlowError:
        """The same error with the parts of its place that it did not know yet."""
        self.flow = self.flow or flow
        self.step = self.step or step
        self.place = self.place or place
        return self

    def __str__(self) -> str:
        where = ", ".join(
            part
            for part in (
                self.place,
                self.flow and f"flow {_shortened(self.flow, 200)!r}",
                self.step and f"step {self.step}",
            )
            if part
        )
        what = _shortened(self.what, 2_000)
        lines = [f"{where}: {what}" if where else what]
        if self.allowed:
            lines.append(f"  allowed: {_shortened(self.allowed, 2_000)}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return printable("\n".join(lines))


# controls, ends of lines and paragraphs, what turns the direction of text, halves of surrogate pairs
_UNSHOWN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text as any output takes it: half of a surrogate pair, which is no character, by its number."""
    return text.encode(errors="backslashreplace").decode()


def one_line(text: str) -> str:
    r"""The text where a line break, or anything else that is not shown, would end what it stands in: by its number.

    >>> print(one_line("likes\nimport os"))
    likes\nimport os
    """
    return _UNSHOWN.sub(lambda found: repr(found[0])[1:-1], text)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


class BuildError(FlowError, ValueError):
    """A flow that cannot be what was written."""


class ConditionError(BuildError):
    """A condition that does not parse, or that cannot be evaluated at all."""


class TemplateError(BuildError):
    """A template that does not parse, or that flowdsl refuses."""


class ExportError(BuildError):
    """A flow that cannot be said in production's language; `problems` holds every part that cannot, in order."""

    def __init__(self, problems: Sequence[BuildError]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))

    def __str__(self) -> str:
        return self.what


class DataError(FlowError, ValueError):
    """Events, entities, links or files that cannot be used as they are."""


class ReplayError(FlowError):
    """A replay that cannot start or cannot go on."""


class SinkError(FlowError, ValueError):
    """A sink that cannot be made, opened or used as it is."""


class PluginError(FlowError):
    """Something that another package adds and that cannot be loaded, or is not what it should be.

    `place` names the distribution and the object in it.
    """


class LiveError(FlowError):
    """A live run that cannot start or cannot go on."""


class LoadError(FlowError, ValueError):
    """YAML that is refused; `problems` holds every refusal, in the order of the text."""

    def __init__(self, problems: Sequence[FlowError]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))

    def __str__(self) -> str:
        return self.what


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the known word nearest to `word`, or None where nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else None
