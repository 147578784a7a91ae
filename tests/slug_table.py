"""How Tera's `slugify` spells every letter, asked of Tera itself.

python tests/slug_table.py      writes the table that flowdsl reads
"""

from __future__ import annotations

import gzip
from pathlib import Path

from test_templates_oracle import tera

TABLE = Path(__file__).parents[1] / "flowdsl" / "language" / "templates" / "slugs.txt.gz"
LAST = 0x30000
_AT_ONCE = 4_000


def spellings(letters: list[str]) -> list[str]:
    """What each letter becomes between two others."""
    spelled: list[str] = []
    for start in range(0, len(letters), _AT_ONCE):
        part = [f"x{letter}y" for letter in letters[start : start + _AT_ONCE]]
        ((printed,),) = tera([("{% for t in l %}{{ t | slugify }}\n{% endfor %}", [{"l": part}])])
        assert printed is not None
        spelled += [line[1:-1] for line in printed.splitlines()]
    return spelled


def letters() -> list[str]:
    """All letters of the table: those beyond ASCII that a text can hold."""
    return [chr(point) for point in range(0x80, LAST) if not 0xD800 <= point < 0xE000]


if __name__ == "__main__":
    text = "\n".join(spellings(letters()))
    TABLE.write_bytes(gzip.compress(text.encode("ascii"), 9, mtime=0))
