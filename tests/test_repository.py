"""The rules of the repository, so that they hold tomorrow as well."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import flowdsl
from tests.house.imports import import_cycles, part_of

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "flowdsl"
# slow to import or not always there: imported inside of the functions that need them
HEAVY = {
    "pandas",
    "networkx",
    "duckdb",
    "anywidget",
    "ipywidgets",
    "IPython",
    "jinja2",
    "simpleeval",
    "tqdm",
    "yaml",
    "doctest",
    "httpx",
    "tenacity",
    "websockets",
}
# the row form of conditions is loaded when a condition has no other
# modules that are themselves imported late
HEAVY_ALLOWED = {
    ("flowdsl.expressions.conditions.scalar", "simpleeval"),
    ("flowdsl.sinks.listeners", "websockets"),
}
TOP = {
    ".ci", ".github", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in",
    "Makefile", "README.md", "mkdocs.yml", "SECURITY.md", "data", "docs", "findings", "flowdsl", "notebooks",
    "pyproject.toml", "tests",
}  # fmt: skip


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(path: Path) -> Iterator[str]:
    """What a module imports when it is imported itself."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                yield deeper if deeper in MODULES else node.module


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.splitlines()]
    else:
        found = [
            path
            for top in TOP
            for path in ((ROOT / top).rglob("*") if (ROOT / top).is_dir() else [ROOT / top])
        ]
    return [path for path in found if path.is_file() and "__pycache__" not in path.parts]


def test_imports_go_one_way():
    # the layers stand in pyproject.toml; in a process of its own, since it switches off the loggers of all others
    script = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([script, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_no_import_cycle_has_more_than_three_files():
    packages, files = import_cycles()
    assert packages == 0
    assert files <= 3, "python -m tests.house.imports lists them"


_SHARED = {
    f"flowdsl.operators.{name}" for name in ("base", "options", "time_options", "collect_option", "scope")
}


def test_operators_know_neither_one_another_nor_an_engine():
    for module, path in MODULES.items():
        if module.startswith("flowdsl.operators.") and module not in (*_SHARED, "flowdsl.operators.generate"):
            known = [
                name for name in imports(path) if name.startswith(("flowdsl.operators", "flowdsl.engine"))
            ]
            assert set(known) <= _SHARED, module


def test_heavy_modules_are_imported_late():
    for module, path in MODULES.items():
        heavy = {name.partition(".")[0] for name in imports(path)} & HEAVY
        assert {(module, name) for name in heavy} <= HEAVY_ALLOWED, f"{module} imports {', '.join(heavy)}"


def test_importing_flowdsl_imports_next_to_nothing():
    code = "import sys; before = set(sys.modules); import flowdsl; print(*set(sys.modules) - before)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert {name for name in loaded if name.startswith("flowdsl")} == {"flowdsl"}
    assert len(loaded) < 10, loaded


def test_public_names_are_sorted_and_lead_somewhere():
    assert flowdsl.__all__ == sorted(flowdsl.__all__)
    assert set(flowdsl.__all__) == set(flowdsl._HOME)
    for name in flowdsl.__all__:
        public = getattr(flowdsl, name)
        assert getattr(public, "__doc__", None), f"{name} says nothing of itself"
        assert not isinstance(public, type(sys)), f"{name} is a module"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        flowdsl.nothing  # noqa: B018


def test_completion_offers_the_public_names_only():
    assert dir(flowdsl) == sorted([*flowdsl.__all__, "__version__", "sinks", "testing"])
    assert dir(flowdsl.sinks) == flowdsl.sinks.__all__
    assert dir(flowdsl.testing) == flowdsl.testing.__all__


def test_the_version_is_written_once_and_heads_the_changelog():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "flowdsl.__version__"}
    releases = re.findall(r"(?m)^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"))
    assert releases[0] in ("Unreleased", flowdsl.__version__)


def test_no_module_has_the_name_of_a_public_function():
    # importing flowdsl.x would put the module where flowdsl.x(…) is meant to be
    assert not {part_of(module) for module in MODULES if module != "flowdsl"} & set(flowdsl.__all__)


@pytest.mark.parametrize(
    ("path", "generate"),
    [
        ("api/steps.py", "flowdsl.operators.generate"),
        ("expressions/fn.py", "flowdsl.expressions.generate"),
    ],
)
def test_generated_modules_are_what_is_declared(path: str, generate: str):
    formatted = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--stdin-filename", f"flowdsl/{path}", "-"],
        input=importlib.import_module(generate).source(), capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert formatted.stdout == (PACKAGE / path).read_text("utf-8"), f"run python -m {generate}"


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_examples_in_docstrings_are_true(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0


def test_public_functions_and_classes_say_what_they_give():
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text("utf-8"))
        assert ast.get_docstring(tree) or module == "flowdsl.__main__", module
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{module}.{node.name}"


def test_nothing_is_left_to_do_and_no_machine_is_named():
    # put together, so that this file does not find itself
    wrong = re.compile(
        "|".join(
            [
                "TO" + "DO",
                "FIX" + "ME",
                r"/ro" + r"ot/",
                r"/ho" + r"me/\w",
                r"/wo" + r"rk/",
                "C:" + r"\\Users",
            ]
        )
    )
    for path in tracked_files():
        if path.suffix in (".parquet", ".gz", ".png"):
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            assert not wrong.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"


def test_the_top_of_the_repository_is_tidy():
    assert {path.relative_to(ROOT).parts[0] for path in tracked_files()} <= TOP
