"""Every code block of README.md and docs/ is run, in order, and must print what stands below it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

import flowdsl as fd
from flowdsl.cli.main import main
from flowdsl.operators import OPERATORS
from flowdsl.operators.base import Operator
from flowdsl.samples.datasets import write_sample

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "data" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# what only a shell understands
SHELL = set("|<>;&$*`\n\\")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Block:
    line: int
    language: str
    text: str


def blocks_of(text: str) -> Iterator[Block]:
    for found in FENCE.finditer(text):
        yield Block(text.count("\n", 0, found.start()) + 1, found[1], found[2])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_sample(folder / "sample")
    shutil.copy(ROOT / "data" / "flows.yaml", folder)
    return folder


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_code_blocks_run_and_print_what_stands_below_them(
    path: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(data, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "110")
    names: dict[str, object] = {"__name__": "__main__"}
    printed = None
    for block in blocks_of(path.read_text("utf-8")):
        where = f"{path.name}:{block.line}"
        if block.language == "text":
            assert printed is not None, f"{where}: there is nothing above that prints"
            assert_like(printed, block.text, where)
            printed = None
            continue
        assert not printed, f"{where}: what the block before it prints does not stand below it:\n{printed}"
        printed = None
        if block.language == "python":
            printed = run_python(block, where, names)
        elif block.language == "console":
            run_console(block, where)
        elif block.language in ("py", "yml"):
            # parts, which have tests where they are taken from
            continue
        elif block.language == "yaml":
            fd.load(block.text)
        else:
            pytest.fail(f"{where}: a block in {block.language or 'no language'} cannot be run")


def run_python(block: Block, where: str, names: dict[str, object]) -> str:
    # line numbers of errors are those of the document
    code = compile("\n" * block.line + block.text, where, "exec")
    with contextlib.redirect_stdout(io.StringIO()) as out, warnings.catch_warnings():
        # a reader sees it on stderr
        warnings.simplefilter("ignore", fd.FlowWarning)
        exec(code, names)
    return out.getvalue()


def run_console(block: Block, where: str) -> None:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        folder: Path | None = None
        if command.startswith("pip install "):
            # that it names this project, and extras that there are
            requirement = Requirement(command.removeprefix("pip install ").strip("'"))
            metadata = importlib.metadata.metadata("flowdsl")
            assert requirement.name == "flowdsl", f"{where}: {command}"
            assert requirement.extras <= set(metadata.get_all("Provides-Extra", [])), f"{where}: {command}"
            continue
        if command.startswith("make "):
            # that the target is there; the tests are what it runs
            command, folder = command.replace("make", "make -n", 1), ROOT
        code, printed, said = (
            run_here(command)
            if command.startswith("flowdsl ") and not SHELL & set(command)
            else run_in_shell(command, folder)
        )
        assert code in (0, 1), f"{where}: {command}\n{said}"
        if folder is None:
            assert_like(printed, expected, f"{where}: {command}")


def run_here(command: str) -> tuple[int, str, str]:
    """Run the program in this process, which starts in no time."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(shlex.split(command)[1:])
    return code, out.getvalue(), err.getvalue()


def run_in_shell(command: str, folder: Path | None) -> tuple[int, str, str]:
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
        cwd=folder,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def assert_like(printed: str, expected: str, where: str) -> None:
    """The same text, where a line of `…` stands for any lines."""
    pattern = r"\n".join(r"(?:.*\n)*?.*" if line == "…" else re.escape(line) for line in lines_of(expected))
    assert re.fullmatch(pattern, "\n".join(lines_of(printed))), f"{where}: this was printed:\n{printed}"


def lines_of(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def operator_row(operator: type[Operator]) -> str:
    options = ", ".join(
        f"`{option.yaml}`" if option.portable else f"*`{option.yaml}`*"
        for option in operator.options().values()
    )
    return f"| `{operator.name}` | {operator.summary} | {options} | `.{operator.example}` |"


def made_by(name: str) -> ModuleType:
    """The module of docs/ that writes a part of it."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_operators_says_what_the_operators_declare():
    rows = [
        "| operator | what it does | options | in Python |",
        "|---|---|---|---|",
        *map(operator_row, OPERATORS.values()),
    ]
    table = "\n".join(rows)
    text = (ROOT / "docs" / "operators.md").read_text("utf-8")
    found = re.search(r"<!-- operators[^\n]*-->\n(.*?)\n?<!-- /operators -->", text, re.DOTALL)
    assert found is not None
    assert found[1].strip() == table, f"this should stand in docs/operators.md:\n{table}"


def test_the_table_of_what_production_lacks_says_what_the_export_refuses():
    page = (ROOT / "docs" / "export.md").read_text("utf-8")
    assert made_by("make_lacking").written(page) == page, "write it anew: make lacking"


def test_the_table_of_shapes_says_what_they_declare():
    page = (ROOT / "docs" / "data.md").read_text("utf-8")
    assert made_by("make_shapes").written(page) == page, "write it anew: make shapes"


def test_links_to_files_lead_somewhere():
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_pictures_of_the_readme_show_what_its_first_block_replays():
    make_pictures = made_by("make_pictures")
    picture, report = make_pictures.drawn()
    images = ROOT / "docs" / "images"
    assert (images / "likes.svg").read_text("utf-8") == picture, "draw it anew: make pictures"
    assert (images / "report.sha256").read_text("utf-8") == make_pictures.checksum(report), (
        "draw it anew: make pictures"
    )


def test_a_wrong_output_would_be_noticed():
    assert_like("a\nb\nc\n", "a\n…\nc\n", "here")
    assert_like("a\n", "a", "here")
    with pytest.raises(AssertionError, match="here: this was printed"):
        assert_like("a\nb\n", "a\n", "here")
    assert sys.version_info >= (3, 11)
