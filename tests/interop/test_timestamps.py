"""Timestamp columns of the schema file: every reader sees the instant, and finds rows by it."""

import json
from datetime import datetime, timedelta, timezone

import exports
from claims import assert_claims
from judge import assert_report, metadata
from model import START, WINDOW

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SCHEMA = {
    "version": 1, "key": ["pk"],
    "attributes": {
        "pk": {"type": "string"},
        "s": {"column": "seconds", "type": "timestamp(seconds)"},
        "ms": {"type": "timestamp(milliseconds)"},
        "iso": {"type": "timestamp(iso-8601)"},
        "list": {"type": {"list": "timestamp(seconds)"}},
        "map": {"type": {"map": "timestamp(milliseconds)"}},
        "m": {"type": {"struct": {"at": {"type": "timestamp(iso-8601)"}}}},
    },
}
# A few days from the ends of time, since Python's own conversions go a day beyond.
MOMENTS = [EPOCH, EPOCH - timedelta(microseconds=1), datetime(2026, 1, 14, 10, 21, 36, 366933, timezone.utc),
           datetime(1, 1, 3, tzinfo=timezone.utc), datetime(9999, 12, 30, 23, 59, 59, 999999, timezone.utc)]


def number(moment, unit):
    micros = (moment - EPOCH) // timedelta(microseconds=1)
    digits = {"s": 6, "ms": 3}[unit]
    text = f"{abs(micros):0{digits + 1}d}"
    return {"N": ("-" if micros < 0 else "") + f"{text[:-digits]}.{text[-digits:]}".rstrip("0").rstrip(".")}


def iso(moment):
    return {"S": moment.isoformat().replace("+00:00", "Z")}


def item(pk, moment):
    return {
        "pk": {"S": pk}, "s": number(moment, "s"), "ms": number(moment, "ms"), "iso": iso(moment),
        "list": {"L": [number(moment, "s"), {"NULL": True}]}, "map": {"M": {"x": number(moment, "ms")}}, "m": {"M": {"at": iso(moment)}},
    }


def expected(pk, moment):
    return {
        "pk": pk, "seconds": moment, "ms": moment, "iso": moment, "list": [moment, None], "map": {"x": moment}, "m": {"at": moment},
        "_ddb_rescued": None,
    }


def utc(value):
    if isinstance(value, datetime):
        # Spark gives the session's time without a zone, and the session is in UTC.
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)
    if isinstance(value, dict):
        return {name: utc(one) for name, one in value.items()}
    if isinstance(value, list):
        pairs = value and all(isinstance(one, tuple) for one in value)
        return {name: utc(one) for name, one in value} if pairs else [utc(one) for one in value]
    return value


def test_instants(tool, warehouse, readers):
    bucket = exports.Bucket(tool.folder / "bucket")
    file = tool.folder / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    items = {f"k{n}": moment for n, moment in enumerate(MOMENTS)}
    full = bucket.full([[item(pk, moment) for pk, moment in items.items()]], START)
    assert_report(tool.full_load(full, "ns.t", warehouse, "--schema", file), "full-load", "ns.t", "applied", warehouse, START)
    changed = [("k1", MOMENTS[2]), ("k9", MOMENTS[1])]
    for n, mode in enumerate(("merge-on-read", "copy-on-write")):
        at = START + n * WINDOW
        lines = [(at * 1000, {"pk": {"S": pk}}, None, item(pk, moment)) for pk, moment in changed]
        folder = bucket.incremental([lines], at, at + WINDOW, "NEW_IMAGE")
        done = tool.incremental(folder, "ns.t", warehouse, "--write-mode", mode)
        report = assert_report(done, "incremental", "ns.t", "applied", warehouse, at + WINDOW)
        assert report["windows"][0]["rescued"] == {}
    found = metadata(warehouse, "ns.t")
    assert {one["name"]: one["type"] for one in found["schemas"][-1]["fields"]}["seconds"] == "timestamptz"
    items |= dict(changed)
    for name in readers.names:
        reader = readers[name]
        read = reader.arrow if name == "duckdb" else reader.rows
        rows = sorted((utc(row) for row in read(warehouse, "ns.t")), key=lambda row: row["pk"])
        assert rows == [expected(pk, items[pk]) for pk in sorted(items)], name
    if "duckdb" in readers.names:
        rows = readers["duckdb"].arrow(warehouse, "ns.t", "seconds = TIMESTAMPTZ '2026-01-14 10:21:36.366933Z'")
        assert sorted(row["pk"] for row in rows) == ["k1", "k2"]
    if "spark" in readers.names:
        spark = readers["spark"]
        rows = spark.sql(
            warehouse, f"SELECT pk FROM {spark.name(warehouse, 'ns.t')} WHERE iso = TIMESTAMP '2026-01-14 10:21:36.366933Z'"
        )
        assert sorted(row["pk"] for row in rows) == ["k1", "k2"]
        assert_claims(spark, warehouse, "ns.t", len(items))
