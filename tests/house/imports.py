"""Import cycles of flowdsl, with imports inside functions and under TYPE_CHECKING counted.

`python -m tests.house.imports` prints them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx as nx

PACKAGE = Path(__file__).parents[2] / "flowdsl"


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path, modules: set[str]) -> Iterator[str]:
    """Return every module of flowdsl that a file imports, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in modules else node.module


def import_graph() -> nx.DiGraph[str]:
    """Return the files as nodes and the imports between them as edges.

    `flowdsl` itself is left out: its names are loaded from everywhere.
    """
    files = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
    graph = nx.DiGraph()
    for module, path in files.items():
        for imported in imported_modules(path, set(files)):
            if "flowdsl" not in (module, imported) and module != imported:
                graph.add_edge(module, imported)
    return graph


def part_of(module: str) -> str:
    """Return the package or module directly below `flowdsl` that a module belongs to."""
    return module.split(".")[1]


def package_graph(files: nx.DiGraph[str]) -> nx.DiGraph[str]:
    graph = nx.DiGraph()
    for importing, imported in files.edges:
        # an __init__ that gathers what lies below it is not a cycle of two
        if part_of(importing) != part_of(imported):
            graph.add_edge(part_of(importing), part_of(imported))
    return graph


def cycles(graph: nx.DiGraph[str]) -> list[list[str]]:
    """Return the strongly connected parts of more than one node, largest first."""
    found = [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1]
    return sorted(found, key=lambda part: (-len(part), part))


def import_cycles() -> tuple[int, int]:
    """Return how many packages are part of a cycle, and how many files the largest cycle has."""
    files = import_graph()
    packages = cycles(package_graph(files))
    return sum(map(len, packages)), max(map(len, cycles(files)), default=0)


def main() -> None:
    files = import_graph()
    packages = package_graph(files)
    print(f"packages in cycles: {sum(map(len, cycles(packages)))}")
    for cycle in cycles(packages):
        print("   ", ", ".join(cycle))
    print("cycles of files:")
    for cycle in cycles(files):
        print(f"    {len(cycle)}:", ", ".join(name.removeprefix("flowdsl.") for name in cycle))


if __name__ == "__main__":
    main()
