"""Counts with their nouns."""

from __future__ import annotations


def count_text(count: int, what: str) -> str:
    """Return a count with its noun.

    >>> count_text(1, "delivery"), count_text(15322, "delivery"), count_text(2, "branch")
    ('1 delivery', '15,322 deliveries', '2 branches')
    """
    if count == 1:
        return f"1 {what}"
    if what.endswith("person"):
        return f"{count:,} {what.removesuffix('person')}people"
    if what.endswith("ch"):
        return f"{count:,} {what}es"
    ends_in_y = what.endswith("y") and what[-2:-1] not in "aeiou"
    return f"{count:,} {what[:-1]}ies" if ends_in_y else f"{count:,} {what}s"
