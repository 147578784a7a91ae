"""Programs in a process of their own, which import this flowdsl."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[1]


def own_environment() -> dict[str, str]:
    """The environment of this process, with the path of this flowdsl."""
    return os.environ | {"PYTHONPATH": str(ROOT)}


def printed(code: str, *arguments: object) -> str:
    """What a program prints that ends well."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False,
        env=own_environment(), cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def begun(code: str, *arguments: object) -> tuple[subprocess.Popen[str], IO[str]]:
    """A program that goes on after its first line, `ready`, and what it prints from there on."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True, env=own_environment(),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process, process.stdout
