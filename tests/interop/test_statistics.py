"""Counts and bounds of our data files are those that Iceberg's Java classes compute for the same rows, for every type of column.

Intended differences, each asserted here:
- within structs Java's writer counts values and nulls of floating point columns only where the struct is there; we count all
  rows, as Java itself does for all other types, and when it reads a footer.
"""

import json
import random
from collections import Counter

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyspark.sql import functions

import exports
from judge import assert_report
from model import START
from profiles import blob, b, flag, fraction, n, s, text, whole
from readers import path

SCALARS = {
    "text": ("string", text),
    "long text": ("string", lambda rnd: s("".join(rnd.choices("aé😀\uffff\U0010ffff", k=40)))),
    "same start": ("string", lambda rnd: s("the same start of every text " + str(rnd.randrange(10**6)))),
    "whole": ("long", whole),
    "price": ("decimal(38,9)", fraction),
    "small": ("decimal(9,2)", lambda rnd: n(f"{rnd.randrange(-999, 999)}.25")),
    "middle": ("decimal(18,4)", lambda rnd: n(f"{rnd.randrange(-10**13, 10**13)}.0001")),
    "flag": ("boolean", flag),
    "blob": ("binary", blob),
    "long blob": ("binary", lambda rnd: b(bytes(rnd.choices([0, 1, 0x7F, 0x80, 0xFF], k=30)))),
    "top blob": ("binary", lambda rnd: b(b"\xff" * rnd.randrange(16, 30))),
    "float": ("double", lambda rnd: n(rnd.choice(["-0", "1E-130", "-1E100", "0.1", "3"]))),
    "digits": ("number-string", lambda rnd: n(rnd.choice(["1E100", "1E-130", "12.50"]))),
    "json": ("json", lambda rnd: rnd.choice([text, whole])(rnd)),
    "nothing": ("string", lambda rnd: {"NULL": True}),
}
FIELDS = {name: {"type": kind} for name, (kind, _) in SCALARS.items()}
TYPES = FIELDS | {
    "list": {"type": {"list": "long"}},
    "texts": {"type": {"set": "string"}},
    "rows": {"type": {"list": {"struct": FIELDS}}},
    "map": {"type": {"map": "long"}},
    "wide": {"type": {"map": {"struct": FIELDS}}},
    "m": {"type": {"struct": FIELDS | {"in": {"type": {"struct": FIELDS | {"list": {"type": {"list": "string"}}}}}}}},
}


def scalars(rnd):
    return {name: make(rnd) for name, (_, make) in SCALARS.items() if rnd.random() < 0.7}


def items(rnd, count):
    for number in range(count):
        item = scalars(rnd) | {"pk": s(f"key of a length past sixteen {number:05}"), "sk": n(number - 7)}
        more = {
            "list": lambda: {"L": [whole(rnd) for _ in range(rnd.randrange(4))]},
            "texts": lambda: {"SS": list({f"t{rnd.randrange(9)}" for _ in range(3)})},
            "rows": lambda: {"L": [{"M": scalars(rnd)} for _ in range(rnd.randrange(3))]},
            "map": lambda: {"M": {f"k{rnd.randrange(9)}": whole(rnd) for _ in range(rnd.randrange(4))}},
            "wide": lambda: {"M": {f"k{rnd.randrange(9)}": {"M": scalars(rnd)} for _ in range(rnd.randrange(3))}},
            "m": lambda: {"M": scalars(rnd) | {"in": {"M": scalars(rnd) | {"list": {"L": [text(rnd)]}}}}},
            "flag": lambda: s("rescued: the same start"),
        }
        yield item | {name: make() for name, make in more.items() if rnd.random() < 0.7}


def metrics(spark, warehouse, table):
    """Column by full name, with what the one data file's manifest entry says of it."""
    rows = spark.sql(warehouse, f"select readable_metrics from {spark.name(warehouse, table)}.files")
    ((found,),) = [row.values() for row in rows]
    return found


def load(tool, warehouse, seed, count, files=1):
    found = list(items(random.Random(f"statistics {seed}"), count))
    random.Random(f"order {seed}").shuffle(found)
    bucket = exports.Bucket(tool.folder / "bucket", seed=seed)
    full = bucket.full([found[number::files] for number in range(files)], START)
    keys = {"pk": {"type": "string"}, "sk": {"type": "decimal(38,9)"}}
    schema = tool.folder / "schema.json"
    schema.write_text(json.dumps({"version": 1, "key": ["pk", "sk"], "attributes": keys | TYPES}))
    done = tool.full_load(full, "ns.t", warehouse, "--schema", schema)
    assert_report(done, "full-load", "ns.t", "applied", warehouse, START)


@pytest.fixture
def loaded(tool, warehouse, seed):
    load(tool, warehouse, seed, 60)


def test_filters_find_what_is_there(tool, warehouse, readers, spark, seed):
    """Readers leave files and row groups out by our bounds, statistics and dictionaries: by a filter they find a value as often
    as without one."""
    load(tool, warehouse, seed, 6000, files=3)
    table = spark.session(warehouse).table(spark.name(warehouse, "ns.t"))
    rows = spark.rows(warehouse, "ns.t")
    assert len(rows) == 6000
    paths = ["pk", "sk", *(f"{parent}{column}" for column in SCALARS for parent in ("", "m.", "m.in."))]
    for name in paths:
        parts = name.split(".")
        values = Counter(value for row in rows if (value := inside(row, parts)) is not None)
        ordered = sorted(values)
        picked = {ordered[at * (len(ordered) - 1) // 3] for at in range(4)} if ordered else ()
        assert bool(picked) == (parts[-1] != "nothing"), name
        field = functions.col(".".join(f"`{part}`" for part in parts))

        def count(condition):
            return table.filter(condition).count()

        for value in picked:
            given = functions.lit(bytearray(value) if isinstance(value, bytes) else value)
            assert count(field == given) == values[value], (name, value)
            if "duckdb" in readers.names and len(parts) == 1:
                found = readers["duckdb"].select(warehouse, "ns.t", f'"{name}" = ?', [value])
                assert len(found) == values[value], ("duckdb", name, value)
        assert count(field.isNull()) == len(rows) - values.total(), name


def inside(row, names):
    for name in names:
        row = None if row is None else row[name]
    return bytes(row) if isinstance(row, bytearray) else row


def test_a_file_that_spark_writes_of_the_same_rows(loaded, warehouse, spark):
    """All columns that can have bounds have them: past a hundred of them both would leave the others out."""
    catalog = SqlCatalog("default", uri=f"sqlite:///{warehouse.database}", warehouse=warehouse.uri)
    ours = catalog.load_table("ns.t")
    catalog.create_table("ns.u", ours.schema())
    session = spark.session(warehouse)
    rows = session.table(spark.name(warehouse, "ns.t")).coalesce(1).sortWithinPartitions("pk", "sk")
    rows.writeTo(spark.name(warehouse, "ns.u")).append()
    found, expected = metrics(spark, warehouse, "ns.t"), metrics(spark, warehouse, "ns.u")
    assert set(found) == set(expected)
    assert 60 < len(found) <= 100
    wrong, bounded = [], 0
    for column in sorted(found):
        for name in ("value_count", "null_value_count", "nan_value_count", "lower_bound", "upper_bound"):
            one, other = found[column][name], expected[column][name]
            counts = name in ("value_count", "null_value_count")
            if counts and column in ("m.float", "m.in.float"):
                assert one - other == 60 - expected[column]["value_count"], (column, name, one, other)
            elif one != other:
                wrong.append((column, name, one, other))
        bounded += found[column]["lower_bound"] is not None
    assert not wrong, "\n".join(map(repr, wrong))
    assert bounded > 30


def test_what_java_finds_in_our_file(loaded, warehouse, spark):
    """Sizes, counts and bounds by field id, read by Java from the file's footer."""
    jvm = spark.spark._jvm
    fields = "file_path, column_sizes, value_counts, null_value_counts, lower_bounds, upper_bounds, split_offsets, record_count"
    (ours,) = spark.sql(warehouse, f"select {fields} from {spark.name(warehouse, 'ns.t')}.files")
    java_table = jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(
        spark.session(warehouse)._jsparkSession, spark.name(warehouse, "ns.t")
    )
    config = jvm.org.apache.iceberg.MetricsConfig.forTable(java_table)
    file = jvm.org.apache.iceberg.Files.localInput(str(path(ours["file_path"])))
    java = jvm.org.apache.iceberg.parquet.ParquetUtil.fileMetrics(file, config)
    assert java.recordCount() == ours["record_count"]

    def counts(found):
        return {int(key): int(value) for key, value in found.items()}

    def bounds(found):
        return {int(key): bytes(jvm.org.apache.iceberg.util.ByteBuffers.toByteArray(value)) for key, value in found.items()}

    assert counts(java.columnSizes()) == ours["column_sizes"]
    for found, name in ((java.valueCounts(), "value_counts"), (java.nullValueCounts(), "null_value_counts")):
        assert counts(found) == ours[name]
    assert bounds(java.lowerBounds()) == {key: bytes(value) for key, value in ours["lower_bounds"].items()}
    assert bounds(java.upperBounds()) == {key: bytes(value) for key, value in ours["upper_bounds"].items()}
