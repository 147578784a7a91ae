"""What a user gets who installs the built package: small, with the notebooks, from an archive as from a wheel."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from flowdsl.cli.main import main
from flowdsl.samples.notebooks import copy_notebooks, notebook_files

# built once
pytestmark = pytest.mark.xdist_group("package")
ROOT = Path(__file__).parents[1]
NAMES = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel and source archive, built from what git knows of."""
    clone, folder = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("dist")
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is not a clone: only git says what belongs to the package")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_bytes((ROOT / name).read_bytes())
    # building changes sys.argv
    command = "import sys; from setuptools import build_meta as b; to = sys.argv[1]; b.build_wheel(to); b.build_sdist(to)"
    subprocess.run([sys.executable, "-c", command, folder], cwd=clone, check=True, capture_output=True)
    return folder


def test_the_wheel_is_smaller_than_two_megabytes_and_has_the_notebooks(built: Path):
    [wheel] = built.glob("*.whl")
    assert wheel.stat().st_size < 2_000_000
    with zipfile.ZipFile(wheel) as opened:
        inside = opened.namelist()
    assert sorted(Path(name).name for name in inside if name.endswith(".ipynb")) == NAMES
    assert any(name.endswith("flowdsl/schema.json") for name in inside)
    assert not [name for name in inside if name.startswith("tests/")]


@pytest.mark.parametrize("installed", ["pandas 2.2.0", "numpy 1.26.0", "pyarrow 18.0.0", "tzdata 2022.7"])
def test_an_environment_of_pandas_2_stays_as_it_is(installed: str):
    name, version = installed.split()
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    [wanted] = [one for one in map(Requirement, declared) if one.name == name]
    assert wanted.specifier.contains(version)


@pytest.mark.parametrize("how", ["--prefix", "--target"])
def test_an_installed_wheel_finds_its_notebooks(built: Path, tmp_path: Path, how: str):
    [wheel] = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed"]
    where = [how, tmp_path / "site", "--no-compile", "--disable-pip-version-check", wheel]
    subprocess.run([*pip, *where], check=True, capture_output=True)
    [package] = (tmp_path / "site").rglob("flowdsl/__init__.py")
    code = "import sys; sys.path.insert(0, sys.argv[1]); from flowdsl.cli.main import main; main(['notebooks', 'mine'])"
    command = [sys.executable, "-c", code, package.parents[1]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env={})
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == NAMES
    assert [Path(line).name for line in done.stdout.splitlines()] == NAMES


def test_the_source_archive_has_what_its_notebooks_need(built: Path):
    [archive] = built.glob("*.tar.gz")
    with tarfile.open(archive) as inside:
        names = {name.partition("/")[2] for name in inside.getnames()}
    assert {f"notebooks/{name}" for name in NAMES} <= names


def test_notebooks_are_copied_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["notebooks", str(tmp_path / "mine")]) == 0
    (tmp_path / "mine" / NAMES[0]).write_text("my notes", "utf-8")
    assert main(["notebooks", str(tmp_path / "mine")]) == 0
    assert f"kept as they are: {', '.join(NAMES)}" in capsys.readouterr().err
    assert (tmp_path / "mine" / NAMES[0]).read_text("utf-8") == "my notes"
    assert copy_notebooks(tmp_path / "mine")[0] == []


@pytest.mark.parametrize("path", notebook_files(), ids=lambda path: path.stem)
def test_no_notebook_reads_what_lies_around_it(path: Path):
    """Neither the history of the clone nor its files: each makes what it needs."""
    text = path.read_text("utf-8")
    assert "../" not in text.replace("](../", "](")
    assert 'repository = \\".\\"' not in text
    assert "data/sample" not in text


# a stand-in for Windows: the modules and functions that Python has on Linux and macOS only
WINDOWS = """
import os, sys
for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None
for name in ("fork", "register_at_fork", "fdatasync", "pread", "pwrite", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY"):
    delattr(os, name)

import flowdsl as fd
from flowdsl.samples import write_sample

sample = write_sample("sample", events=500)
flows = fd.load(sample.flows)
result = fd.replay(flows, sample.log, fd.read_graph(sample.graph), out="result", progress=False)
result.report("report.html")
assert len(fd.read_result("result")) == len(result) > 0
log = fd.MemoryEventLog()
log.append(fd.link_created("likes", "ann", "p"))
inbox = fd.sinks.InApp()
flow = fd.on("link.created").map(recipient_id="bob", title="liked").deliver("in-app")
fd.Runtime(flow, log, sinks={"in-app": inbox}).run_until_idle()
assert inbox.total("bob") == 1
try:
    fd.ParquetEventLog("log").append(fd.link_created("likes", "ann", "p"))
except fd.DataError as error:
    print(error)
"""


def test_windows_lacks_nothing_but_logs_in_folders(tmp_path: Path):
    run = subprocess.run(
        [sys.executable, "-c", WINDOWS], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (run.stderr, run.returncode) == ("", 0)
    assert "needs the file locks of Linux or macOS\n  hint: MemoryEventLog works everywhere" in run.stdout
