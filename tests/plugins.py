"""Installs packages that plug into flowdsl into a folder on the path, as `pip install --target` would."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, source: str, points: Mapping[str, str]
) -> None:
    """Install a distribution of one module.

    `points` maps `group:name` to the object in the module: `{"flowdsl.filters:initials": "INITIALS"}`.
    """
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(source, "utf-8")
    described = folder / f"{module}-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8")
    lines: dict[str, list[str]] = {}
    for point, found in points.items():
        group, _, key = point.partition(":")
        lines.setdefault(group, []).append(f"{key} = {module}:{found}")
    text = "\n".join(f"[{group}]\n" + "\n".join(entries) + "\n" for group, entries in lines.items())
    (described / "entry_points.txt").write_text(text, "utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, module, raising=False)
