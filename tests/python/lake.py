"""Counts a lake with DuckDB, and tries the queries of the documentation on it: lake.py LAKE PAGE."""

import json
import os
import re
import sys

import duckdb

lake, page = sys.argv[1], open(sys.argv[2], encoding="utf-8").read()
os.chdir(os.path.dirname(os.path.abspath(lake)))
# The page calls its lake `lake`.
assert os.path.basename(lake) == "lake", lake


def count(what, paths):
    return duckdb.sql(f"select count(*), count(distinct {what}) from read_parquet({paths})").fetchall()[0]


place = "(node, epoch, seq, event = '$reward')"
events, distinct_events = count(place, ["lake/events/**/*.parquet", "lake/rewards/**/*.parquet"])
decisions, distinct_decisions = count("(node, epoch, seq)", ["lake/decisions/**/*.parquet"])
queries = [len(duckdb.sql(query).fetchall()) for query in re.findall(r"```sql\n(.*?)```", page, re.S)]
print(
    json.dumps(
        {
            "events": events,
            "distinct_events": distinct_events,
            "decisions": decisions,
            "distinct_decisions": distinct_decisions,
            "queries": queries,
        }
    )
)
