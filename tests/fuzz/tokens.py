"""Tokens of listeners that somebody has changed, cut, joined or made up: none is good for more than was granted."""

from __future__ import annotations

import json
import random
from base64 import urlsafe_b64encode

from flowdsl.sinks.tokens import Tokens

TOKENS = Tokens("a secret of the tests, and long enough")
OTHERS = Tokens("another secret, which is long enough")
TEXTS = ["", "ann", "bob", "*", "\0", "é☃", "a.b.c", "x" * 300]


def check(rng: random.Random) -> int:
    recipients = [rng.choice(TEXTS) for _ in range(rng.randint(1, 4))]
    lasts = rng.choice(["5m", "2h", "365d"])
    token = TOKENS.made(None if rng.random() < 0.2 else recipients, lasts)
    grant = TOKENS.read(token)
    assert grant is not None
    assert grant.recipients is None or grant.recipients == frozenset(recipients)
    assert OTHERS.read(token) is None
    changed = 0
    for _ in range(40):
        other = _changed(token, rng)
        found = TOKENS.read(other)
        # the last letter of a signature has bits that say nothing: the token is the same then
        assert found is None or found == grant, other
        changed += 1
    return 2 + changed


def _changed(token: str, rng: random.Random) -> str:
    match rng.randrange(5):
        case 0:
            at = rng.randrange(len(token))
            return token[:at] + rng.choice("ABCxyz019-_.=\n\0é") + token[at + rng.randint(0, 2) :]
        case 1:
            return token[: rng.randrange(len(token))]
        case 2:
            head, body, signature = token.split(".")
            claims = {"aud": "flowdsl", "exp": 4102444800, "all": True}
            return ".".join([head, _part(claims), rng.choice([signature, "", body])])
        case 3:
            head = {"alg": rng.choice(["HS384", "RS256", "HS256 ", ""]), "typ": "JWT"}
            return ".".join([_part(head), *token.split(".")[1:]])
        case _:
            return "".join(rng.choice(token + "\ud800 %.") for _ in range(rng.randint(0, 200)))


def _part(said: object) -> str:
    return urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()
