"""Print the lowest versions that pyproject.toml allows, as constraints for pip: what `make test-lowest` installs."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement


def lowest(project: Path) -> list[str]:
    """The dependencies of a project, each at its lower bound."""
    declared = tomllib.loads(project.read_text("utf-8"))["project"]["dependencies"]
    found = [Requirement(text) for text in declared]
    return [f"{one.name}=={spec.version}" for one in found for spec in one.specifier if spec.operator == ">="]


if __name__ == "__main__":
    print(*lowest(Path(__file__).parents[1] / "pyproject.toml"), sep="\n")
