"""What columns are read of JSON lines and CSV is what plain Python reads of them, row by row, problems included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from flowdsl.errors import DataError
from flowdsl.log import blocks, json_lines, literal, read_events, text_lines
from tests.oracle import plain_readers

quiet = settings(
    max_examples=2 * settings().max_examples,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
pytestmark = pytest.mark.filterwarnings("ignore:.*without a zone")


def told(path: Path, **how: Any) -> Any:
    """Return the events and the problems of a file, or what is said where it is refused."""
    try:
        log = read_events(path, **how)
    except DataError as error:
        return str(error)
    events = [row for batch in log.read() for row in batch.to_pylist()]
    return events, log.skipped, list(log.problems.itertuples(index=False, name=None))


def told_plainly(path: Path, **how: Any) -> Any:
    """Return the same as plain Python reads it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "file_blocks", plain_readers.file_blocks)
        return told(path, **how)


def in_place(said: Any) -> Any:
    """Return what was told with the problems in the order of their rows: small blocks tell them in another."""
    return "refused" if isinstance(said, str) else (*said[:2], sorted(said[2], key=repr))


def is_at_odds(said: Any) -> bool:
    """Whether rows cannot be read beside the others of their piece: a piece of such rows alone refuses the file."""
    return any("seq_no is None" in why or "cannot be read" in why for _, _, _, why, _ in said[2])


def check(path: Path, piece: int, **how: Any) -> None:
    """Compare both ways, in one piece and in many."""
    plain = told_plainly(path, **how)
    assert told(path, **how) == plain
    with pytest.MonkeyPatch.context() as patch:
        # lines are few here
        patch.setattr(json_lines, "_FEW", 0)
        assert told(path, **how) == plain
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "PIECE", piece)
        found = in_place(told(path, **how))
        assert found == in_place(plain) or (found == "refused" and is_at_odds(plain))


LINKS = {"timestamp": "at", "kind": literal("link.created"), "link_type": literal("l"), "source_id": "a", "target_id": "b"}  # fmt: skip
CELLS = st.one_of(
    st.sampled_from(["", "a", " b ", "1", "-0", "ü", "\x00", "a b", '"', '""', '"a"', '"a,b"', '"a""b"', '""""', 'a"b',
                     '"a', 'b"', '"a"b', '"a\nb"', '"\r\n"', "\r", "\ufeff", "\u2028", "\x85", "NA", "#", "'x'", '"" "', "\\"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)  # fmt: skip
TIMES = st.sampled_from(["1", "2", "2.5", "", "soon", "2024-01-01T00:00:00Z", '"3"'])


@quiet
@given(
    st.lists(st.tuples(TIMES, CELLS, CELLS, st.sampled_from([None, None, None, 2, 4])), max_size=16),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff", "\n", "x\n", '"\n']),
    st.booleans(),
    st.binary(max_size=2),
    st.integers(1, 40),
)
def test_csv_is_read_as_python_reads_it(
    tmp_path: Path, rows: list[Any], between: str, end: str, before: str, whole: bool, odd: bytes, piece: int
) -> None:
    lines = [between.join(["at", "a", "b"])]
    for at, a, b, width in rows:
        fields = [at, a, b] if width is None else [at, a, b, a][:width]
        lines.append(between.join(fields))
    content = (before + end.join(lines) + end * whole).encode()
    path = tmp_path / "a.csv"
    path.write_bytes(content + (end.encode() + odd if odd else b""))
    check(path, piece, columns=LINKS, time_unit="s")


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("cell", ['""', "", "x", '"x"', '"a\nb"'])
def test_few_columns_and_blank_lines_are_read_alike(columns: int, cell: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    header, more = ",".join(["a", "b"][:columns]), ",y" * (columns - 1)
    path.write_text(f"{header}\n\n{cell}{more}\n\nz{more}\n")
    how = {"timestamp": literal("2024-01-01T00:00:00Z"), "source_id": "a", "target_id": literal("t")}
    check(path, 3, columns={**LINKS, **how})


def test_long_cells_and_unclosed_quotes_over_many_pieces_are_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    long = "x" * 140_000
    path.write_text(
        f'at,a,b\n1,{long},b\n2,"{long}",b\n3,"a\n' + "4,a,b\n" * 40 + f'5,"{long[:999]}\n",b\n6,"a,b\n'
    )
    check(path, 100, columns=LINKS, time_unit="s")


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([2**53 + 1, 2**63, -(2**70), 1.5, 1e16, -0.0, 1e-7, 0.1 + 0.2]),
    st.sampled_from(["", "a", "ü", "a b", 'q"', "b\\", "\n", "\x7f", "\x01", "\u2028", "\U0001f600", "\ud800", ", ", ": ", "{", "nan"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2), max_leaves=5
)  # fmt: skip
WHEN = st.sampled_from(
    [AT := "2024-01-01T00:00:00Z", "2024-01-01T00:00:01.5+01:00", AT, AT, 7, None, "", "soon"]
)
IDS = st.sampled_from(["a", "b", "a", "b", 7, None, "", 1.5, True, [], "q\\u0022", "-0"])
KIND = st.sampled_from(["link.created", "entity.created", "link.created", "link.deleted", "?", None, 3])
ROWS = st.fixed_dictionaries(
    {"kind": KIND, "timestamp": WHEN, "link_type": IDS, "source_id": IDS, "target_id": IDS},
    optional={"entity_type": IDS, "entity_id": IDS, "data": VALUES | st.just('{"a":1}'), "metadata": VALUES, "seq_no": st.sampled_from([1, 2, None, "3"]),
              "event_id": IDS, "id": IDS, "action": st.sampled_from(["created", "updated", None, 1]), "extra": VALUES, "a.b": IDS},
)  # fmt: skip
EVENTS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["entity", "entity", "link", 1]),
        "action": st.sampled_from(["created", "deleted", None]),
    },
    optional={"entity_type": IDS, "entity_id": IDS, "data": VALUES, "metadata": VALUES, "timestamp": WHEN},
)
ENVELOPES = st.fixed_dictionaries(
    {"id": IDS, "timestamp": WHEN, "event": EVENTS | VALUES}, optional={"seq_no": st.integers(1, 9)}
)
CLOUD = st.fixed_dictionaries(
    {"specversion": st.sampled_from(["1.0", "1.0", "0.3"]), "id": IDS, "source": IDS, "type": KIND},
    optional={"time": WHEN, "data": ROWS | VALUES, "subject": IDS, "data_base64": st.just("e30=")},
)
LINES = st.builds(
    lambda value, spaces, plain, odd: odd(json.dumps(value, separators=(",", ":") if spaces else None, ensure_ascii=plain)),
    st.one_of(ROWS, ROWS, ENVELOPES, CLOUD, VALUES), st.booleans(), st.booleans(),
    st.sampled_from([str, str, str, str, str, lambda s: s[:-1], lambda s: s + ",", lambda s: s[:-1] + ',"kind":"link.deleted"}',
                     lambda s: s.replace(":1", ":-0"), lambda s: s.replace("1.5", "1.50"), lambda s: s.replace("1.5", "15e-1"), lambda s: s.replace(":7", ":NaN"),
                     lambda s: " " + s + "\r", lambda s: "\xa0" + s, lambda s: s.replace("}", ",}"), lambda s: "", lambda s: s.replace(":", " : "), lambda s: s + s, lambda s: s + " " + s[1:] + s]),
)  # fmt: skip
PATHS: Any = [
    {},
    {"time_unit": "s"},
    {"columns": {"source_id": "data.a", "metadata": "data"}},
    {"columns": {"kind": "action", "entity_id": "event.data.a", "event_id": "extra.a.b", "seq_no": literal(None)}, "kinds": {"created": "entity.created", None: None}},
    {"columns": {"target_id": "a.b", "data": "extra", "metadata": lambda row: row["extra"]}},
    {"split": {"link.created": ["link.deleted", {"kind": "link.created", "source_id": "event_id"}]}, "duplicates": "drop"},
]  # fmt: skip


@quiet
@example(['{"specversion": "1.0", "id": "a", "source": "a", "type": "link.created"}'], [], {}, 1, b"")
@given(
    st.lists(LINES, max_size=4), st.lists(st.integers(0, 3), max_size=10), st.sampled_from(PATHS), st.integers(1, 400),
    st.sampled_from([b"", b"", b"", "\ufeff".encode(), b"\xff\n"]),
)  # fmt: skip
def test_json_lines_are_read_as_python_reads_them(
    tmp_path: Path, made: list[str], order: list[int], how: dict[str, Any], piece: int, before: bytes
) -> None:
    lines = [made[i % len(made)] for i in order] if made else []
    path = tmp_path / "a.jsonl"
    text = "\n".join([*lines, *made])
    # that is one array
    assume(not text.lstrip().startswith("["))
    content = before + text.encode("utf-8", "surrogatepass")
    path.write_bytes(content)
    check(path, piece, **how)
