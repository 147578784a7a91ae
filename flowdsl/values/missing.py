"""*Missing*: the value of a path that leads nowhere."""

from __future__ import annotations

from typing import Final


class Missing:
    """Value of a path that leads nowhere; distinct from null."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()
