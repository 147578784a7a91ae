"""Print the table of measures of the tree: `python -m tests.house [--list KEY] [--record] [--accept KEY …]`."""

from __future__ import annotations

import argparse

from tests.house.measures import Measure, measures, record, recorded
from tests.house.text import line_count


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.house", description=__doc__)
    parser.add_argument("--list", metavar="KEY", help="print the places behind one line of the table")
    parser.add_argument("--record", action="store_true", help="lower the record to what the tree has now")
    parser.add_argument(
        "--accept", metavar="KEY", nargs="+", default=[], help="record these lines though they are worse"
    )
    chosen = parser.parse_args()
    found = measures()
    if chosen.list:
        print(*next(measure.places for measure in found if measure.key == chosen.list), sep="\n")
        return
    print(table(found, record(found, chosen.accept) if chosen.record or chosen.accept else recorded()))
    print(f"\n{line_count():,} lines of flowdsl/ in all")


def table(found: list[Measure], record: dict[str, float]) -> str:
    """Return the measures beside the record and the goal, as text."""
    rows = [("key", "measure", "now", "record", "goal")]
    rows += [(m.key, m.title, m.text(m.value), m.text(record[m.key]), m.text(m.goal)) for m in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)),
                   *(cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True))])
        for row in rows
    )  # fmt: skip


if __name__ == "__main__":
    main()
