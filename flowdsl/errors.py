"""Exceptions of flowdsl, and its warnings.

::

    FlowError                     base class
    ├── BuildError                invalid flow (also a ValueError)
    │   ├── ConditionError        condition that does not parse or cannot be evaluated
    │   ├── TemplateError         template that does not parse or is rejected
    │   └── ExportError           flow that production cannot express; `.problems` lists every part
    ├── CallError                 call with arguments that the function does not take (also a TypeError)
    ├── LoadError                 rejected YAML; `.problems` lists every error
    ├── DataError                 invalid events, entities, links or files (also a ValueError)
    ├── ReplayError               replay that cannot start or continue
    ├── SinkError                 sink that cannot be built or used
    ├── PluginError               plug-in of another package that cannot be loaded or is not valid
    └── LiveError                 live run that cannot start or continue

Each error has a location (flow, step, file and line), a message, the allowed alternatives, and a hint.
"""

from __future__ import annotations

import difflib
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Final, Self


class FlowError(Exception):
    """Error with its place, the allowed alternatives, and a hint.

    `what` is the message; `flow`, `step` (counted from 0, with its operator) and `place` (`flows.yaml:12:5`)
    are the location; `allowed` lists what would have been accepted.
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

    @classmethod
    def unknown(cls, what: str, word: object, known: Iterable[str], **where: str | None) -> Self:
        """Build the error about a word that is none of the known ones: it lists them, and hints at the
        closest.
        """
        words = list(known)
        return cls(what, allowed=", ".join(words), hint=did_you_mean(word, words), **where)

    def located(
        self, *, flow: str | None = None, step: str | None = None, place: str | None = None
    ) -> FlowError:
        """Add the missing parts of the location, and return the error."""
        self.flow = self.flow or flow
        self.step = self.step or step
        self.place = self.place or place
        return self

    def __str__(self) -> str:
        where = ", ".join(
            part
            for part in (
                self.place,
                self.flow and f"flow {_shorten(self.flow, 200)!r}",
                self.step and f"step {self.step}",
            )
            if part
        )
        what = _shorten(self.what, 2_000)
        lines = [f"{where}: {what}" if where else what]
        if self.allowed:
            lines.append(f"  allowed: {_shorten(self.allowed, 2_000)}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return printable("\n".join(lines))


# controls, line and paragraph separators, direction marks, half surrogate pairs
_UNSHOWN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return text that any output can encode; half surrogate pairs are escaped."""
    return text.encode(errors="backslashreplace").decode()


def one_line(text: str) -> str:
    r"""Escape line breaks and invisible characters.

    >>> print(one_line("likes\nimport os"))
    likes\nimport os
    """
    return _UNSHOWN.sub(lambda found: repr(found[0])[1:-1], text)


def text_of_error(error: Exception) -> str:
    """Return what an error says, after its class if it is not an error of flowdsl."""
    if isinstance(error, FlowError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


class BuildError(FlowError, ValueError):
    """Invalid flow."""


class ConditionError(BuildError):
    """Condition that does not parse or cannot be evaluated."""


class TemplateError(BuildError):
    """Template that does not parse or is rejected."""


class ExportError(BuildError):
    """Flow that production cannot express; `problems` lists every part, in order."""

    def __init__(self, problems: Sequence[BuildError]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    def __str__(self) -> str:
        return self.what


class CallError(FlowError, TypeError):
    """Call with too many or too few arguments, or with one that the function does not have."""


class DataError(FlowError, ValueError):
    """Invalid events, entities, links or files."""


class ReplayError(FlowError):
    """Replay that cannot start or continue."""


class SinkError(FlowError, ValueError):
    """Sink that cannot be built, opened or used."""


class PluginError(FlowError):
    """Plug-in of another package that cannot be loaded or is not valid.

    `place` names the distribution and the object in it.
    """


class LiveError(FlowError):
    """Live run that cannot start or continue."""


class LoadError(FlowError, ValueError):
    """Rejected YAML; `problems` lists every error, in the order of the text."""

    def __init__(self, problems: Sequence[FlowError]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    def __str__(self) -> str:
        return self.what


def did_you_mean(word: object, known: Iterable[str]) -> str | None:
    """Return a hint with the known word closest to `word`, or None."""
    if not isinstance(word, str):
        return None
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else None


class FlowWarning(UserWarning):
    """Warning about a decision made for the user, such as a timestamp without a time zone."""


# warnings already emitted in the current block
_warned: ContextVar[set[str] | None] = ContextVar("warned", default=None)


@contextmanager
def warn_once() -> Iterator[None]:
    """Emit each warning once within a block, however many rows cause it."""
    token = _warned.set(_warned.get() or set())
    try:
        yield
    finally:
        _warned.reset(token)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Leave out the warnings of what runs inside, which were given before or which nobody asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FlowWarning)
        yield


def warn(message: str) -> None:
    """Emit a `FlowWarning` that points at the calling line outside flowdsl."""
    warned = _warned.get()
    if warned is not None:
        if message in warned:
            return
        warned.add(message)
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "flowdsl":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, FlowWarning, stacklevel=level)
