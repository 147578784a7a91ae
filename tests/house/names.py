"""Names of modules, classes and functions."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

from tests.house.sources import ROOT, sources

# the name that users know: `flowdsl.testing`
PUBLIC = {"testing"}
# words that are not verbs
OTHERS = {"missing", "string"}
VERBS = {"embed", "exceed", "feed", "need", "proceed", "seed"}
PARTICIPLE = re.compile(
    "[a-z]+ed|begun|brought|built|chosen|drawn|found|given|gone|heard|held|hidden|kept|known|left|lost|made"
    "|meant|met|said|seen|sent|shown|taken|told|written"
)


def bare_gerunds() -> list[str]:
    """Return the modules and packages whose name is one word that ends in -ing."""
    return [
        str(source.path.relative_to(ROOT))
        for source in sources()
        if re.fullmatch(r"[a-z]+ing", source.name) and source.name not in PUBLIC | OTHERS
    ]


def repeated_classes() -> list[str]:
    """Return the class names that stand for more than one class, with the places of each."""
    places: dict[str, list[str]] = defaultdict(list)
    for source in sources():
        for node in source.classes:
            places[node.name].append(source.place(node.lineno))
    return [f"{name}: {', '.join(found)}" for name, found in sorted(places.items()) if len(found) > 1]


def participles() -> list[str]:
    """Return the functions and methods whose name is one participle; properties have names of values."""
    return [
        f"{source.place(node.lineno)}: {node.name}"
        for source in sources()
        for node in source.functions
        if _is_participle(node.name.strip("_"))
        and not any("property" in ast.unparse(d) for d in node.decorator_list)
    ]


def _is_participle(word: str) -> bool:
    return PARTICIPLE.fullmatch(word) is not None and word not in VERBS
