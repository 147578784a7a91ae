#!/usr/bin/env bash
# PySpark code that SQLFrame runs on DuckDB puts the open orders last, counts nulls as prices, and takes three of the first two items.
#
# One would guess: SQLFrame has PySpark's own API over DuckDB, so that code for Spark runs and is tested without Spark. What differs
# between the engines it writes in DuckDB's words, as its parser of SQL knows both, or it refuses.
#
# What happens (SQLFrame 4.10.0 with SQLGlot 30.29.0 and DuckDB 2.0.1; Spark's column below was seen with PySpark 4.3.0), for three
# orders, the second of which is not paid and has no price:
# - Window.orderBy("paid") sorts nulls last, where Spark sorts them first: the first row of each customer is the paid order, not
#   the open one, and row numbers, lag and running sums are others. df.orderBy("paid"), outside of a window, sorts as Spark.
# - collect_list and collect_set keep nulls, which Spark leaves out, so that the size of a list is one more.
# - slice(items, 1, 2), two items from the first on, gives three. DuckDB wants the last position, and is given 1 + 2.
# - cast("int") rounds 9.5 to 10, where Spark cuts to 9. The greatest of a price that is null and 1.0, array_max, is null, not 1.0.
#   array_contains, of an array with a null and without "ben", is false, not null.
#
# Why it matters here: it is the fast half of a test: a hundred cases on DuckDB in the time in which Spark starts, and Spark at
# night. "The latest version of each entity" is a window, and "what was in the batch" a list. Each case is right where no
# value is null. Say asc_nulls_first() in windows, filter nulls before a list, and compare with Spark once, on rows with nulls.
#
# Source: https://spark.apache.org/docs/latest/sql-ref-null-semantics.html (nulls first in order by) and, in its list of functions,
# collect_list and slice(x, start, length); https://github.com/tobymao/sqlglot/issues/4031 (nulls of array_agg);
# https://github.com/eakmanrq/sqlframe/blob/main/docs/duckdb.md; https://duckdb.org/docs/stable/sql/functions/list (list_slice).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check sqlframe==4.10.0 sqlglot==30.29.0 duckdb==2.0.1
"$folder/venv/bin/python" - <<'PYTHON'
from sqlframe.duckdb import DuckDBSession, Window
from sqlframe.duckdb import functions as F

ORDERS = [
    (1, "ada", 9.5, "2026-11-28", "a,b,c,d"),
    (2, "ada", None, None, "e"),
    (3, "ben", 7.5, "2026-11-30", "f,g,h"),
]
orders = DuckDBSession.builder.getOrCreate().createDataFrame(ORDERS, ["id", "customer", "price", "paid", "items"])
by_time = Window.orderBy("paid")
nulls_first = Window.orderBy(F.col("paid").asc_nulls_first())


def compute(column) -> list:
    """The value for each order."""
    return [row[1] for row in orders.select("id", column.alias("value")).orderBy("id").collect()]


def aggregate(column) -> list:
    """The value for each customer."""
    return [row[1] for row in orders.groupBy("customer").agg(column.alias("value")).orderBy("customer").collect()]


def find_first_of_each() -> list:
    """The ids of the first order of each customer, open ones before all others."""
    number = F.row_number().over(Window.partitionBy("customer").orderBy("paid"))
    return [row[0] for row in orders.withColumn("number", number).filter("number = 1").orderBy("id").select("id").collect()]


items = F.split("items", ",")
greatest = F.array_max(F.array(F.col("price"), F.lit(1.0)))
has_ben = F.array_contains(F.array("customer", "paid"), "ben")
#     what                            SQLFrame gives                                       it is                     on Spark
EXPECTED = [
    ("first of each customer",        find_first_of_each(),                                [1, 3],                   [2, 3]),
    ("row_number over paid",          compute(F.row_number().over(by_time)),               [1, 3, 2],                [2, 1, 3]),
    ("row_number, nulls first",       compute(F.row_number().over(nulls_first)),           [2, 1, 3],                [2, 1, 3]),
    ("lag over paid",                 compute(F.lag("id").over(by_time)),                  [None, 3, 1],             [2, None, 1]),
    ("sum over paid",                 compute(F.sum("id").over(by_time)),                  [1, 6, 4],                [3, 2, 6]),
    ("orderBy paid",                  [row.id for row in orders.orderBy("paid").collect()],  [2, 1, 3],              [2, 1, 3]),
    ("collect_list of prices",        aggregate(F.collect_list("price")),                  [[9.5, None], [7.5]],     [[9.5], [7.5]]),
    ("size of collect_set",           aggregate(F.size(F.collect_set("price"))),           [2, 1],                   [1, 1]),
    ("slice of items, 1, 2",          compute(F.slice(items, 1, 2))[0],                    ["a", "b", "c"],          ["a", "b"]),
    ("slice of items, 2, 2",          compute(F.slice(items, 2, 2))[0],                    ["b", "c", "d"],          ["b", "c"]),
    ("price as int",                  compute(F.col("price").cast("int")),                 [10, None, 8],            [9, None, 7]),
    ("array_max of price and 1.0",    compute(greatest),                                   [9.5, None, 7.5],         [9.5, 1.0, 7.5]),
    ("array_contains ben",            compute(has_ben),                                    [False, False, True],     [False, None, True]),
]
wrong = 0
for what, seen, expected, on_spark in EXPECTED:
    print(f"{what:<27} {str(seen):<22} on Spark {'the same' if expected == on_spark else on_spark}")
    wrong += seen != expected
raise SystemExit(f"{wrong} of {len(EXPECTED)} are no longer so" if wrong else 0)
PYTHON
