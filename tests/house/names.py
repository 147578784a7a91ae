"""Names of modules and classes."""

from __future__ import annotations

import re
from collections import defaultdict

from tests.house.sources import ROOT, sources

# the name that users know: `flowdsl.testing`
PUBLIC = {"testing"}
# words that are not verbs
OTHERS = {"missing", "string"}


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
