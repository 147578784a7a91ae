"""Text helpers that every layer may use."""

from __future__ import annotations


def clip(text: str, most: int) -> str:
    """Return the text, cut to at most `most` characters with `…` at its end.

    >>> clip("a long text", 6), clip("short", 6)
    ('a lon…', 'short')
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def type_text(value: object) -> str:
    """Return the type of an object with its article.

    >>> type_text(7), type_text("seven")
    ('an int', 'a str')
    """
    return with_article(type(value).__name__)


def with_article(noun: str) -> str:
    """Return a noun with its article; `user` and `unit` begin as `you` does.

    >>> with_article("account"), with_article("user"), with_article("umbrella"), with_article("int")
    ('an account', 'a user', 'an umbrella', 'an int')
    """
    start = noun[:3].casefold()
    vowel = start[:1] in {*"aeiou"} and start not in {"use", "uni", "uti", "uui"} and start[:2] != "eu"
    return f"{'an' if vowel else 'a'} {noun}"


def short_repr(value: object, most: int = 60) -> str:
    """Return the `repr` of any object, cut to `most` characters; one whose `repr` fails is shown by its type.

    >>> short_repr("a" * 100, 5), short_repr(10**5000)
    ("'aaaa", '<int of 16610 bits>')
    """
    try:
        return repr(value)[:most]
    # objects may raise anything; so do numbers of more digits than Python writes
    except Exception:
        name = type(value).__name__
        return (
            f"<int of {value.bit_length()} bits>" if type(value) is int else f"<{name} that cannot be shown>"
        )
