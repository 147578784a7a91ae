"""Tokens of listeners: JSON Web Tokens that name recipients and expire."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from flowdsl.errors import BuildError, SinkError
from flowdsl.expressions.durations import parse_duration
from flowdsl.sinks.http_client import need
from flowdsl.text import short_repr

# what HS256 asks of its key
LEAST_SECRET: Final = 32
_AUDIENCE: Final = "flowdsl"
_ALGORITHM: Final = "HS256"
# a token is read before it is verified: a long one is refused unread
_LONGEST: Final = 1 << 13


@dataclass(frozen=True)
class Grant:
    """Grant of a token: deliveries to `recipients` (None for all) until `end`, in seconds since 1970."""

    recipients: frozenset[str] | None
    end: float


class Tokens:
    """Maker and reader of tokens signed with one secret."""

    def __init__(self, secret: str | None) -> None:
        self._jwt: Any = need("jwt", "web_socket")
        self._key = secrets.token_bytes(LEAST_SECRET) if secret is None else check_secret(secret)

    def made(self, recipients: Iterable[str] | None, lasts: str) -> str:
        """Make a token for some recipients, or for all (None)."""
        granted = {"all": True} if recipients is None else {"recipients": sorted(set(recipients))}
        claims = {"aud": _AUDIENCE, "exp": time.time() + _seconds(lasts), **granted}
        token: str = self._jwt.encode(claims, self._key, algorithm=_ALGORITHM)
        return token

    def read(self, token: str) -> Grant | None:
        """Read a token; return None if it was signed with another secret, has expired, or is malformed."""
        if len(token) > _LONGEST:
            return None
        try:
            claims = self._jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={"require": ["exp", "aud"]},
            )
        # whatever a stranger sends, it is not a token
        except Exception:
            return None
        granted, everything = claims.get("recipients"), claims.get("all", False)
        if everything is True and granted is None:
            return Grant(None, float(claims["exp"]))
        if everything is False and isinstance(granted, list) and all(isinstance(one, str) for one in granted):
            return Grant(frozenset(granted), float(claims["exp"]))
        return None


def check_secret(secret: str) -> bytes:
    """Return a secret as the key that it is; one that is too short is refused."""
    key = secret.encode()
    if len(key) < LEAST_SECRET:
        raise SinkError(
            f"secret has {len(key)} bytes",
            allowed=f"{LEAST_SECRET} and more",
            hint="python -c 'import secrets; print(secrets.token_urlsafe())' makes one",
        )
    return key


def check_recipients(recipients: object) -> list[str]:
    """One recipient or several, as a list."""
    given = [recipients] if isinstance(recipients, str) else recipients
    several = list(given) if isinstance(given, Iterable) else []
    if not several or not all(isinstance(one, str) and one for one in several):
        raise SinkError(
            f"recipients is {short_repr(recipients)}", allowed="a recipient's id, or a list of them"
        )
    return several


def _seconds(lasts: object) -> float:
    try:
        if isinstance(lasts, str):
            return parse_duration(lasts).microseconds / 1e6
    except BuildError as error:
        raise SinkError(
            f"lasts: {error.what}", allowed="a duration, such as '1h'", hint=error.hint
        ) from error
    raise SinkError(f"lasts is {short_repr(lasts, 40)}", allowed="a duration, such as '1h'")
