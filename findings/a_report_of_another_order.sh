#!/usr/bin/env bash
# Asked on the command line for the report of order 2026_11, papermill runs the notebook for order 202611.
#
# One would guess: what is passed by -p is a text. If it is made into a number at all, then only what is written as people write
# numbers, and a notebook whose parameter is a text by default gets a text.
#
# What happens (papermill 2.7.0): each value is offered to True, False and None and to Python's int() and float(), and the first
# that takes it has it, whatever the parameter was before.
# - int() allows an underscore between digits and zeros in front: 2026_11 is 202611, 1_000 is 1000, 007 is 7.
# - float() knows words and exponents: 12e5 is 1200000.0, and the customers "Nan" and "Infinity" become numbers. "None" is None.
# - 2026-11, 12e5x and 0x1F stay as they are. So most ids of one kind are texts, and some of them are numbers.
# - -y, which takes YAML, does the same to 2026_11 and 1_000, as YAML 1.1 allows underscores as well. It leaves 12e5 and Nan.
# - -r leaves everything as it is, and so does execute_notebook(parameters=…), by which such runs are tested.
#
# Why it matters here: notebooks that replay a flow for one customer, order or month are run by schedulers with -p. A filter for
# 202611 finds no event or the events of another order, and the report is green, with no rows or with somebody else's. Pass
# ids by -r.
#
# Source: _resolve_type in https://github.com/nteract/papermill/blob/main/papermill/cli.py;
# https://papermill.readthedocs.io/en/latest/usage-execute.html#using-raw-parameters;
# https://docs.python.org/3/library/functions.html#int (underscores).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check papermill==2.7.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import ast
import json
import subprocess
import sys

import nbformat
import papermill

folder = sys.argv[1]
cell = nbformat.v4.new_code_cell("order = 'none'", metadata={"tags": ["parameters"]})
kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel}), f"{folder}/report.ipynb")


def read() -> str:
    """The value that was put into the notebook, as Python writes it."""
    with open(f"{folder}/out.ipynb") as file:
        cells = json.load(file)["cells"]
    (injected,) = [cell for cell in cells if "injected-parameters" in cell["metadata"]["tags"]]
    assignment = ast.parse("".join(injected["source"])).body[0]
    return ast.unparse(assignment.value)


def run(*options: str) -> str:
    command = [f"{folder}/venv/bin/papermill", "--prepare-only", *options, f"{folder}/report.ipynb", f"{folder}/out.ipynb"]
    subprocess.run(command, capture_output=True, check=True)
    return read()


def by_function(order: str) -> str:
    papermill.execute_notebook(f"{folder}/report.ipynb", f"{folder}/out.ipynb", {"order": order}, prepare_only=True)
    return read()


#     order        -p                   -y                   -r and execute_notebook
EXPECTED = [
    ("2026_11",    "202611",            "202611",            "'2026_11'"),
    ("2026-11",    "'2026-11'",         "'2026-11'",         "'2026-11'"),
    ("1_000",      "1000",              "1000",              "'1_000'"),
    ("12e5",       "1200000.0",         "'12e5'",            "'12e5'"),
    ("12e5x",      "'12e5x'",           "'12e5x'",           "'12e5x'"),
    ("Nan",        "float('nan')",      "'Nan'",             "'Nan'"),
    ("Infinity",   "float('inf')",      "'Infinity'",        "'Infinity'"),
    ("None",       "None",              "'None'",            "'None'"),
]
wrong = 0
for order, *expected in EXPECTED:
    seen = [run("-p", "order", order), run("-y", f"order: {order}"), run("-r", "order", order)]
    print(f"{order:<10} -p {seen[0]:<14} -y {seen[1]:<12} -r {seen[2]}")
    wrong += seen != expected or by_function(order) != expected[2]
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
