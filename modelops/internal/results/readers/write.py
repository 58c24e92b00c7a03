"""Writes outputs as simulations do: write.py DIRECTORY. What is in them is for
TestPrograms of package table to know.
"""

import datetime as dt
import decimal
import json
import os
import sys
import warnings

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

warnings.simplefilter("ignore")
os.chdir(sys.argv[1])

# pyarrow: all types that Arrow and Parquet have between them.
berlin = pa.timestamp("us", tz="Europe/Berlin")
table = pa.table({
    "i8": pa.array([-5, None], pa.int8()), "u8": pa.array([255, None], pa.uint8()),
    "i16": pa.array([-5, None], pa.int16()), "u16": pa.array([65535, None], pa.uint16()),
    "i32": pa.array([-5, None], pa.int32()), "u32": pa.array([4294967295, None], pa.uint32()),
    "u64": pa.array([18446744073709551615, None], pa.uint64()),
    "f16": pa.array(np.array([0.5, 1], dtype=np.float16)), "f32": pa.array([0.5, None], pa.float32()), "f64": pa.array([float("nan"), None]),
    "b": pa.array([True, None]), "s": pa.array(['ä,"x"', None]), "ls": pa.array(["x", None], pa.large_string()),
    "bin": pa.array([b"\0\1", None]), "lbin": pa.array([b"\0\1", None], pa.large_binary()), "fsb": pa.array([b"ab", None], pa.binary(2)),
    "cat": pa.array(["red", None]).dictionary_encode(),
    "dec": pa.array([decimal.Decimal("1.25"), None], pa.decimal128(10, 2)), "dec0": pa.array([decimal.Decimal("12345"), None], pa.decimal128(38, 0)),
    "d32": pa.array([dt.date(2026, 1, 15), None]), "d64": pa.array([dt.date(2026, 1, 15), None], pa.date64()),
    "ns": pa.array([dt.datetime(2026, 1, 15, 10, 30, 0, 1), None], pa.timestamp("ns")),
    "fine": pa.array([1, None], pa.timestamp("ns")), "sec": pa.array([dt.datetime(1969, 1, 15, 10, 30), None], pa.timestamp("s")),
    "tz": pa.array([dt.datetime(2026, 1, 15, 10, 30, tzinfo=dt.timezone.utc), None], berlin),
    "time": pa.array([dt.time(10, 30), None], pa.time64("us")), "dur": pa.array([dt.timedelta(seconds=90), None], pa.duration("us")),
    "list": pa.array([[1, 2], None]), "struct": pa.array([{"a": 1, "b": "x"}, None]), "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
    "null": pa.nulls(2), "Größe": pa.array([1, None]),
})
views = table
for name, column in {
    "sv": pa.array(["x", None], pa.string_view()), "bv": pa.array([b"x", None], pa.binary_view()),
    "ree": pa.RunEndEncodedArray.from_arrays(pa.array([1, 2], pa.int32()), pa.array([7, None])),
}.items():
    views = views.append_column(name, column)
for compression in (None, "lz4", "zstd"):
    options = ipc.IpcWriteOptions(compression=compression)
    with ipc.new_stream(f"views-stream-{compression}", views.schema, options=options) as w:
        w.write_table(views)
    with ipc.new_file(f"views-file-{compression}", views.schema, options=options) as w:
        w.write_table(views)
for compression in ("none", "snappy", "gzip", "brotli", "zstd", "lz4"):
    pq.write_table(table, f"all-parquet-{compression}", compression=compression)
pq.write_table(table, "all-parquet-plain", use_dictionary=False)
pq.write_table(table, "all-parquet-pages2", data_page_version="2.0")
pq.write_table(table.slice(0, 0), "empty-parquet")
with ipc.new_stream("empty-stream", table.schema) as w:
    w.write_table(table.slice(0, 0))
with ipc.new_stream("twice", pa.schema([("a", pa.int64()), ("a", pa.int64())])) as w:
    pass

# Polars.
frame = pl.DataFrame({
    "i": [1, None], "cat": pl.Series(["a", None], dtype=pl.Categorical), "enum": pl.Series(["a", None], dtype=pl.Enum(["a", "b"])),
    "t": [dt.datetime(2026, 1, 15, 10, 30), None], "dur": [dt.timedelta(1), None], "l": [[1, 2], None], "st": [{"a": 1}, None],
    "dec": [decimal.Decimal("1.25"), None], "bin": [b"\0x", None], "n": [None, None], "f": [float("nan"), None],
})
frame.write_parquet("polars-parquet")
frame.write_ipc("polars-ipc", compression="lz4")
frame.write_ipc_stream("polars-stream")
frame.select("i", "cat", "l", "st").write_json("polars-records")
frame.select("i", "cat", "l", "st").write_ndjson("polars-lines")
frame.select("i", "cat", "t", "f").write_csv("polars.csv")

# pandas.
data = pd.DataFrame({
    "i": [1, 2], "f": [1.5, float("nan")], "s": ["a", None], "cat": pd.Categorical(["x", "y"]),
    "t": pd.to_datetime(["2026-01-15 10:30", "2026-01-15 10:31"]), "I": pd.array([1, None], dtype="Int64"), "td": pd.to_timedelta([1, 2], unit="s"),
})
data.to_parquet("pandas-parquet")
data.to_feather("pandas-feather")
data[["i", "f", "s", "cat"]].to_csv("pandas.csv")
data[["i", "f", "s", "cat"]].to_csv("pandas-index.tsv", sep="\t")
data[["i", "f", "s", "cat"]].to_json("pandas-json")
data[["i", "f", "s", "cat"]].to_json("pandas-lines", orient="records", lines=True)

# Python and DuckDB.
with open("python-json", "w") as f:
    json.dump([{"x": float("nan"), "y": 1}, {"x": -float("inf"), "y": 2**64 - 1}], f)
duckdb.sql("select 0.1 as dec, sum(range) as huge, [1, 2] as l from range(3)").write_parquet("duckdb-parquet")
