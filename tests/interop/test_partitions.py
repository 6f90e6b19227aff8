"""Partitioned tables: each transform on each type it takes, written by us, evolved and maintained by Spark, read by all."""

from decimal import Decimal

import pytest
from pyiceberg.expressions import EqualTo, GreaterThanOrEqual, IsNull

import profiles
from claims import assert_claims
from judge import metadata
from profiles import Profile
from shapes import BINARY, BOOLEAN, DECIMAL, LONG, STRING
from story import Story
from test_other_writers import MODES, REWRITE_DATA
from tool import keys


def s(text):
    return {"S": text}


def some_text(rnd, full=False):
    return s(rnd.choice(["", "eu-north", "eu-west", "größe", "😀😀 x", "%41/=é"]))


def some_number(rnd, full=False):
    return {"N": rnd.choice(["-11", "-10", "-1", "0", "1", "9", "10", "9223372036854775807", "-9223372036854775808"])}


def some_price(rnd, full=False):
    return {"N": "0.5" if full else rnd.choice(["-10.65", "-0.000000001", "0", "10.65", "12345678901234567890.5"])}


def some_bytes(rnd, full=False):
    return profiles.b(rnd.choice([b"", b"\x00", b"\xff\xfe\xfd\xfc", b"abcdef"]))


PLAIN = Profile(
    "partitions",
    {"id": (STRING, profiles.keyed("K"))},
    {
        "region": (STRING, some_text, 0.8),
        "n": (LONG, some_number, 0.8),
        "price": (DECIMAL, some_price, 0.8),
        "hash-value": (BINARY, some_bytes, 0.8),
        "flag": (BOOLEAN, profiles.flag, 0.7),
        "other": (STRING, profiles.text, 0.7),
    },
)
KEYS = {
    "long": (LONG, lambda number: {"N": str((number * 7919 % 100_003) - 50_000)}),
    "decimal": (DECIMAL, lambda number: {"N": f"{number * 7919 % 1003 - 500}.{number:06d}1"}),
    "binary": (BINARY, lambda number: profiles.b((number * 7919 % 65_521).to_bytes(2, "big") + b"\xff")),
}
SPECS = {
    "identity": ["region"],
    "identity of a long": ["n"],
    "identity of a decimal": ["price"],
    "identity of binary": ["hash-value"],
    "identity of a boolean": ["flag"],
    "bucket": ["bucket(4, id)"],
    "buckets of all": ["bucket(2, region)", "bucket(2, n)", "bucket(2, price)", "bucket(2, hash-value)"],
    "truncate": ["truncate(3, region)"],
    "truncate of a long": ["truncate(10, n)"],
    "truncate of a decimal": ["truncate(50, price)"],
    "truncate of binary": ["truncate(2, hash-value)"],
    "several": ["truncate(2, id)", "region", "flag"],
}


def by(specs):
    return [part for spec in specs for part in ("--partition-by", spec)]


@pytest.mark.parametrize("specs", SPECS.values(), ids=SPECS)
def test_each_transform(specs, tool, warehouse, readers, seed):
    story = Story(PLAIN, seed, tool, warehouse)
    story.load(80, files=2, more=by(specs))
    story.same(readers, "after the load")
    story.apply(50)
    if "spark" in readers.names:
        assert_claims(readers["spark"], warehouse, "ns.t", len(story.model.items))
    story.modes = ("--write-mode", "copy-on-write")
    story.apply(50)
    story.same(readers, "after a window of each mode")
    if "spark" in readers.names:
        assert_partitions(readers["spark"], warehouse)


@pytest.mark.parametrize("kind", KEYS)
def test_keys_in_buckets(kind, tool, warehouse, readers, spark, seed):
    """Spark's bucket of a key is ours: its filter by the key finds the row."""
    story = Story(Profile(f"keys {kind}", {"key": KEYS[kind]}, PLAIN.attributes), seed, tool, warehouse)
    story.load(60, files=2, more=by(["bucket(7, key)", "truncate(3, key)"]))
    story.apply(40)
    story.same(readers, "after a window")
    name = spark.name(warehouse, "ns.t")
    for (value,) in list(story.model.items)[:12]:
        shown = f"X'{value.hex()}'" if isinstance(value, bytes) else f"{value}bd" if isinstance(value, Decimal) else value
        found = spark.sql(warehouse, f"select key from {name} where key = {shown}")
        assert len(found) == 1, value


def assert_partitions(spark, warehouse):
    """Java's own partition values of the rows of each file are those that the manifests say, and its counts agree."""
    name = spark.name(warehouse, "ns.t")
    counted = spark.sql(warehouse, f"select sum(record_count) as n from {name}.files where content = 0")
    listed = spark.sql(warehouse, f"select sum(record_count) as n from {name}.partitions")
    assert counted == listed
    found = metadata(warehouse, "ns.t")
    names = {field["id"]: field["name"] for schema in found["schemas"] for field in schema["fields"]}
    specs = {spec["spec-id"]: spec["fields"] for spec in found["partition-specs"]}
    for spec_id, fields in specs.items():
        for field in fields:
            source, transform = f"`{names[field['source-id']]}`", field["transform"]
            if transform == "identity":
                expected = source
            elif transform.startswith("bucket["):
                expected = f"`{warehouse.catalog}`.system.bucket({transform[7:-1]}, {source})"
            elif transform.startswith("truncate["):
                expected = f"`{warehouse.catalog}`.system.truncate({transform[9:-1]}, {source})"
            else:
                continue
            wrong = spark.sql(
                warehouse,
                f"select {source} as value, _partition.`{field['name']}` as said from {name} "
                f"where _spec_id = {spec_id} and not (_partition.`{field['name']}` <=> {expected})",
            )
            assert not wrong, (field, wrong[:3])


@pytest.mark.parametrize("modes", MODES)
def test_spark_changes_the_spec(modes, tool, warehouse, readers, spark, seed):
    story = Story(PLAIN, seed, tool, warehouse, modes=modes)
    story.load(80, files=2, more=by(["bucket(4, id)"]))
    story.apply(40)
    name = spark.name(warehouse, "ns.t")
    for change in (
        "add partition field region",
        "add partition field truncate(10, n) as n_ten",
        "replace partition field id_bucket with bucket(3, id) as id_three",
        "drop partition field region",
        "add partition field flag",
    ):
        spark.sql(warehouse, f"alter table {name} {change}")
        story.apply(40)
        story.same(readers, f"after a window behind {change}")
        assert_claims(spark, warehouse, "ns.t", len(story.model.items))
        assert_partitions(spark, warehouse)
    used = {row["spec_id"] for row in spark.sql(warehouse, f"select distinct spec_id from {name}.files")}
    assert len(used) > 1, used

    # Many delete files for one data file are merged, also across specs.
    for _ in range(9):
        story.apply(25)
    story.same(readers, "after nine windows")
    assert_claims(spark, warehouse, "ns.t", len(story.model.items))

    (rewritten,) = REWRITE_DATA(spark, story)
    assert rewritten["rewritten_data_files_count"] > 0
    story.apply(40)
    story.same(readers, "after a window behind rewrite_data_files")
    assert_partitions(spark, warehouse)

    for field in ("n_ten", "id_three", "flag"):
        spark.sql(warehouse, f"alter table {name} drop partition field {field}")
    story.apply(40)
    story.same(readers, "after a window into the table without partitions")


@pytest.mark.parametrize("modes", MODES)
def test_compact_of_partitions_and_of_changed_specs(modes, tool, warehouse, readers, spark, seed):
    story = Story(PLAIN, seed, tool, warehouse, modes=modes)
    story.load(80, files=2, more=by(["bucket(2, id)", "region"]))
    name = spark.name(warehouse, "ns.t")

    def compacted(label):
        for _ in range(6):
            story.apply(30)
        files = f"select count(*) as n from {name}.files where content = 0"
        (before,) = spark.sql(warehouse, files)
        result = tool.run("compact", "--table", "ns.t", "--warehouse", warehouse.folder, "--format", "json")
        assert result.exit == 0 and result.json["status"] == "applied", result
        (after,) = spark.sql(warehouse, files)
        assert after["n"] < before["n"], (label, before, after)
        # A delete file that other data files need too may go on naming one that was compacted.
        story.same(readers, f"after compact {label}")
        assert_partitions(spark, warehouse)
        story.apply(30)
        story.same(readers, f"after a window behind compact {label}")

    compacted("of the spec of the load")
    for change in ("replace partition field region with truncate(2, region)", "drop partition field id_bucket"):
        spark.sql(warehouse, f"alter table {name} {change}")
        compacted(change)
    used = {row["spec_id"] for row in spark.sql(warehouse, f"select distinct spec_id from {name}.files")}
    assert len(used) > 1, used
    result = tool.run("expire", "--table", "ns.t", "--warehouse", warehouse.folder, "--format", "json", "--older-than", "0s")
    assert result.exit == 0 and result.json["maintenance"][0]["files_deleted"] > 0, result
    story.same(readers, "after expire")
    story.apply(30)
    story.same(readers, "after a window behind expire")
    assert_partitions(spark, warehouse)


def test_filters_prune_and_are_right(tool, warehouse, readers, spark, seed):
    story = Story(PLAIN, seed, tool, warehouse)
    story.load(100, files=2, more=by(["truncate(10, n)", "region"]))
    story.apply(60)
    rows = [story.model.row(item) for item in story.model.items.values()]
    name = spark.name(warehouse, "ns.t")
    table = warehouse.pyiceberg().load_table("ns.t")
    for condition, holds, expression in (
        ("n = -10", lambda row: row["n"] == -10, EqualTo("n", -10)),
        ("n >= 1", lambda row: row["n"] is not None and row["n"] >= 1, GreaterThanOrEqual("n", 1)),
        ("n is null", lambda row: row["n"] is None, IsNull("n")),
        ("region = ''", lambda row: row["region"] == "", EqualTo("region", "")),
        ("region is null and n = 0", lambda row: row["region"] is None and row["n"] == 0, None),
    ):
        expected = sorted(row["id"] for row in rows if holds(row))
        for reader in readers.names:
            if reader == "spark":
                found = spark.sql(warehouse, f"select id from {name} where {condition}")
            elif reader == "duckdb":
                found = readers[reader].select(warehouse, "ns.t", condition, [])
            elif reader == "pyiceberg" and expression is not None:
                found = table.scan(row_filter=expression).to_arrow().to_pylist()
                assert len(list(table.scan(row_filter=expression).plan_files())) < len(list(table.scan().plan_files()))
            else:
                continue
            assert sorted(row["id"] for row in found) == expected, (reader, condition)


def test_a_later_attribute_named_like_a_partition_field(tool, warehouse, spark, seed):
    """Java does not open a table with a column and a partition field of one name."""
    story = Story(PLAIN, seed, tool, warehouse)
    story.load(20, files=1, more=by(["bucket(4, id)", "region"]))
    act = lambda model: model.put(model.new_item() | {"id_bucket": s("x")})  # noqa: E731
    window, folder = story.export_window(0, act)
    result = tool.incremental(folder, "ns.t", warehouse)
    assert result.exit == 0, result
    (added,) = result.json["windows"][0]["columns_added"]
    assert added.startswith("id_bucket__"), added
    name = spark.name(warehouse, "ns.t")
    (found,) = spark.sql(warehouse, f"select `{added}` as value from {name} where `{added}` is not null")
    assert found["value"] == "x"


def test_replace_sets_a_spec_or_keeps_it(tool, warehouse, readers, seed):
    story = Story(PLAIN, seed, tool, warehouse)
    story.load(40, files=2, more=by(["truncate(10, n)"]))
    used = []
    for specs in (["bucket(3, id)"], [], ["region", "flag"], ["truncate(10, n)"]):
        story.apply(20)
        folder = story.export_full()
        result = tool.full_load(folder, "ns.t", warehouse, *keys(story.model.profile), "--if-exists", "replace", *by(specs))
        assert result.exit == 0 and result.json["status"] == "applied", result
        story.same(readers, f"after a replacement with {specs}")
        used.append(metadata(warehouse, "ns.t")["default-spec-id"])
    assert used == [1, 1, 2, 0]
    story.apply(20)
    story.same(readers, "after a window")
