"""Reads one table in every format with every reader: check.py DIRECTORY.

The directory has the table "all" as one file in one/ and in parts in parts/. Every
reader must find the values and the types below, made by TestReaders.
"""

import datetime as dt
import math
import sys
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

UTC = dt.timezone.utc
TYPES = {
    "seed": pa.uint64(), "replicate": pa.int64(), "p": pa.float64(), "whole": pa.int64(), "big": pa.uint64(), "x": pa.float64(),
    "text": pa.string(), "flag": pa.bool_(), "day": pa.date32(), "at": pa.timestamp("us"),
    "instant": pa.timestamp("us", tz="UTC"), "raw": pa.binary(), "Größe": pa.int64(),
}
OUTPUT = [
    [-9223372036854775808, 18446744073709551615, 0.1, 'a,b "c"\nd', True, dt.date(2026, 1, 15), dt.datetime(2026, 1, 15, 10, 30, 0, 1),
     dt.datetime(2026, 1, 15, 9, 30, tzinfo=UTC), b"\x00\xff", 1],
    [9007199254740993, 0, math.nan, "ä温🙂", False, dt.date(1969, 12, 31), dt.datetime(1969, 12, 31, 23, 59, 59),
     dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), b"x", 2],
    [None] * 10,
    [0, 1, math.inf, "\\N \t'", None, None, None, None, None, 3],
]
ROWS = [[seed, 0, p] + row for seed, p in ((18446744073709551615, 0.5), (9223372036854775809, 1.0)) for row in OUTPUT]
failures = []


def show(value):
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    return repr(value)


def check(what, table, lost=()):
    """Compares a table with what was written; columns in lost are not looked at."""
    names = [name for name in TYPES if name not in lost]
    for name in names:
        found = table.schema.field(name).type
        if pa.types.is_large_string(found) or pa.types.is_string_view(found):
            found = pa.string()
        if pa.types.is_large_binary(found) or pa.types.is_binary_view(found):
            found = pa.binary()
        if pa.types.is_timestamp(found) and found.tz:
            found = pa.timestamp(found.unit, tz="UTC")
        if found != TYPES[name]:
            failures.append(f"{what}: {name} is {found}, not {TYPES[name]}")
    if table.num_rows != len(ROWS):
        failures.append(f"{what}: {table.num_rows} rows, not {len(ROWS)}")
        return
    for name in names:
        got = [v.astimezone(UTC) if isinstance(v, dt.datetime) and v.tzinfo else v for v in table.column(name).to_pylist()]
        want = [row[list(TYPES).index(name)] for row in ROWS]
        if list(map(show, got)) != list(map(show, want)):
            failures.append(f"{what}: {name} is {got}, not {want}")


def frame(df):
    """A data frame of pandas with its own types."""
    return pa.Table.from_pandas(df, preserve_index=False)


def columnar(out):
    parquet, arrow = out / "all.parquet", out / "all.arrow"
    check(f"{out.name} pyarrow parquet", pq.read_table(parquet))
    check(f"{out.name} pandas parquet", frame(pd.read_parquet(parquet, dtype_backend="pyarrow")))
    check(f"{out.name} polars parquet", pl.read_parquet(parquet).to_arrow())
    pattern = str(parquet / "*.parquet") if parquet.is_dir() else str(parquet)
    check(f"{out.name} polars scan", pl.scan_parquet(pattern).collect().to_arrow())
    check(f"{out.name} duckdb parquet", duckdb.sql(f"from read_parquet('{pattern}')").to_arrow_table())
    usual = pd.read_parquet(parquet)
    kinds = {"seed": "uint64", "x": "float64", "replicate": "int64"}
    if (found := {name: str(usual[name].dtype) for name in kinds}) != kinds:
        failures.append(f"pandas' usual types are {found}")
    if list(usual["seed"]) != [row[0] for row in ROWS]:
        failures.append(f"pandas' seeds are {list(usual['seed'])}")
    if parquet.is_dir():
        check("parts pyarrow arrow", ds.dataset(arrow, format="arrow").to_table())
        check("parts polars arrow", pl.scan_ipc(str(arrow / "*.arrow")).collect().to_arrow())
        check("parts duckdb arrow", duckdb.from_arrow(ds.dataset(arrow, format="arrow")).to_arrow_table())
    else:
        check("one pyarrow arrow", ipc.open_file(arrow).read_all())
        check("one polars arrow", pl.read_ipc(arrow).to_arrow())
        check("one pandas arrow", frame(pd.read_feather(arrow, dtype_backend="pyarrow")))


PANDAS = {"seed": "UInt64", "whole": "Int64", "big": "UInt64", "x": "float64", "text": "string", "flag": "boolean", "Größe": "Int64"}
POLARS = {
    "seed": pl.UInt64, "replicate": pl.Int64, "p": pl.Float64, "whole": pl.Int64, "big": pl.UInt64, "x": pl.Float64, "text": pl.String,
    "flag": pl.Boolean, "day": pl.Date, "at": pl.Datetime("us"), "instant": pl.Datetime("us", "UTC"), "Größe": pl.Int64,
}
DUCKDB = {
    "seed": "UBIGINT", "whole": "BIGINT", "big": "UBIGINT", "x": "DOUBLE", "text": "VARCHAR", "day": "DATE", "at": "TIMESTAMP",
    "instant": "TIMESTAMPTZ", "flag": "BOOLEAN", "raw": "VARCHAR", "Größe": "BIGINT", "replicate": "BIGINT", "p": "DOUBLE",
}


def text(out):
    """CSV and JSON: bytes are base64 there, which is not looked at; JSON has no NaN."""
    csv, lines = out / "all.csv", out / "all.ndjson"
    parts = csv.is_dir()
    csvs = sorted(csv.glob("*.csv")) if parts else [csv]
    jsons = sorted(lines.glob("*.ndjson")) if parts else [lines]
    nulls = {name: [""] for name in TYPES} | {"x": ["", "NaN"]}
    read = pd.concat([pd.read_csv(f, dtype=PANDAS, keep_default_na=False, na_values=nulls) for f in csvs])
    check(f"{out.name} pandas csv", frame(read), lost=("raw", "x", "day", "at", "instant"))
    if list(map(show, read["x"])) != [show(math.nan if r[5] is None else r[5]) for r in ROWS]:
        failures.append(f"pandas reads x of CSV as {list(read['x'])}")
    usual = pd.concat([pd.read_csv(f) for f in csvs])
    if usual["seed"].dtype != "uint64" or list(usual["seed"]) != [row[0] for row in ROWS]:
        failures.append(f"pandas reads the seeds of CSV as {usual['seed'].dtype}: {list(usual['seed'])}")
    check(f"{out.name} polars csv", pl.concat([pl.read_csv(f, schema_overrides=POLARS) for f in csvs]).to_arrow(), lost=("raw",))
    names = "[" + ",".join(f"'{f}'" for f in csvs) + "]"
    types = "{" + ",".join(f"'{k}': '{v}'" for k, v in DUCKDB.items()) + "}"
    check(f"{out.name} duckdb csv", duckdb.sql(f"from read_csv({names}, types={types})").to_arrow_table(), lost=("raw",))
    finite = ("raw", "x")
    check(f"{out.name} polars json", pl.concat([pl.read_ndjson(f, schema_overrides=POLARS) for f in jsons]).to_arrow(), lost=finite)
    names = "[" + ",".join(f"'{f}'" for f in jsons) + "]"
    found = duckdb.sql(f"select seed, whole, big, text, x from read_json({names})").fetchall()
    want = [[r[0], r[3], r[4], r[6], r[5] if r[5] and math.isfinite(r[5]) else None] for r in ROWS]
    if [list(row) for row in found] != want:
        failures.append(f"{out.name} duckdb json: {found}, not {want}")
    usual = pd.concat([pd.read_json(f, lines=True) for f in jsons])
    if list(usual["seed"]) != [row[0] for row in ROWS]:
        failures.append(f"pandas reads the seeds of JSON as {usual['seed'].dtype}: {list(usual['seed'])}")


for name in ("one", "parts"):
    columnar(Path(sys.argv[1]) / name)
    text(Path(sys.argv[1]) / name)
print("\n".join(failures))
sys.exit(1 if failures else 0)
