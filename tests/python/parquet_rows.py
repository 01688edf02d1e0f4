"""Writes tests/cases/parquet: the same three rows by each of the libraries that people write Parquet with.

Run by hand, with pyarrow, pandas, polars and duckdb installed; the files are kept in the repository."""

import datetime as dt
import decimal
import pathlib

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = pathlib.Path(__file__).parent.parent / "cases" / "parquet"
TIME = dt.datetime(2026, 11, 23, 8, 15, 30, 250_001, dt.timezone.utc)
ROWS = {
    "_key": ["u-1", '["sku-1","DE"]', "ü"],
    "_time": [TIME, None, TIME],
    "_delete": [None, False, True],
    "bought": [["a", "b"], [], None],
    "count": [7, None, -1],
    "segment": ["vip", None, "new"],
    "seen": [TIME, None, TIME],
    "taste": [[0.5, -1.0], None, [1.0, 2.0]],
    "value": [1.5, None, 0.1],
    "vip": [True, None, False],
}

FOLDER.mkdir(parents=True, exist_ok=True)
table = pa.table(ROWS)
pq.write_table(table, FOLDER / "pyarrow.parquet", compression="snappy")
seen = table.schema.get_field_index("seen")
nanos = table.set_column(seen, "seen", table["seen"].cast(pa.timestamp("ns")))
pq.write_table(nanos, FOLDER / "nanos.parquet", compression="zstd", row_group_size=2)
pd.DataFrame(ROWS).convert_dtypes().to_parquet(FOLDER / "pandas.parquet", index=False)
pl.DataFrame(ROWS).write_parquet(FOLDER / "polars.parquet")
rows = table
duckdb.sql("SET TimeZone = 'UTC'; COPY (SELECT * FROM rows) TO '%s' (FORMAT parquet)" % (FOLDER / "duckdb.parquet"))

# Columns that can be no feature, each in a file of its own.
REFUSED = {
    "date": [dt.date(2026, 11, 23)],
    "decimal": [decimal.Decimal("1.50")],
    "binary": [b"x"],
    "struct": [{"a": 1}],
    "nested": [[[1.0]]],
    "flags": [[True]],
}
for name, values in REFUSED.items():
    pq.write_table(pa.table({"_key": ["u-1"], name: values}), FOLDER / f"refused_{name}.parquet")
pq.write_table(pa.table({"_key": [1], "value": [1.0]}), FOLDER / "refused_key.parquet")

# Files that are compressed in ways that are not read, and one with an index of pandas.
for name in ["gzip", "lz4"]:
    pq.write_table(pa.table({"_key": ["u-1"], "value": [1.0]}), FOLDER / f"refused_{name}.parquet", compression=name)
indexed = pd.DataFrame({"_key": ["u-1"], "value": [1.0]}, index=["x"])
indexed.to_parquet(FOLDER / "refused_index.parquet")
