"""Text with `{{ env.NAME }}`: stored as written, filled in where it is used, and never shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from flowdsl.errors import SinkError
from flowdsl.text import type_text

_NAME: Final = re.compile(r"\{\{\s*env\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
HIDDEN: Final = "***"


class EnvText:
    """Text in which `{{ env.NAME }}` stands for an environment variable. Its repr shows nothing of it."""

    def __init__(self, text: object, what: str) -> None:
        if not isinstance(text, str):
            raise SinkError(
                f"{what} is {type_text(text)}", allowed="text, with {{ env.NAME }} for what is secret"
            )
        rest = _NAME.sub("", text)
        if "{{" in rest or "}}" in rest:
            raise SinkError(f"{what} has braces that are not {{{{ env.NAME }}}}", allowed="{{ env.NAME }}")
        _check_line(rest, what)
        self._text = text
        self._what = what

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that the text refers to."""
        return tuple(dict.fromkeys(_NAME.findall(self._text)))

    @property
    def plain(self) -> str | None:
        """The text, if it refers to no variable."""
        return None if self.names else self._text

    def filled(self, environment: Mapping[str, str] | None = None) -> str:
        """Return the text with its variables filled in; raise an error that names a missing one."""
        known = os.environ if environment is None else environment
        for name in self.names:
            if name not in known:
                raise SinkError(
                    f"{self._what} needs the variable {name} of the environment, and it is not set"
                )
            _check_line(known[name].strip(), f"the variable {name} of the environment")
        # a line break at the end is left over from how the variable was set
        return _NAME.sub(lambda found: known[found[1]].strip(), self._text)

    def __repr__(self) -> str:
        return HIDDEN


def _check_line(text: str, what: str) -> None:
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise SinkError(f"{what} has a line break or another control character", allowed="text of one line")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise SinkError(f"{what} has half a surrogate pair", allowed="text that UTF-8 can say")
