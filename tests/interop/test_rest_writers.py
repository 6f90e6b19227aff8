"""Through a REST catalog: Spark and PyIceberg write to our tables, and windows go into tables that they made."""

import itertools
import json
from dataclasses import replace

import pyarrow as pa
import pytest
from pyiceberg.expressions import EqualTo
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType, BooleanType, DecimalType, LongType, NestedField, StringType, StructType,
)

import exports
from judge import assert_report, assert_window, differences, metadata, snapshots
from model import START, WINDOW
from profiles import COMMON, FLAT, n, s, text
from shapes import BINARY, BOOLEAN, DECIMAL, LONG, STRING, Struct
from story import Story
from test_other_writers import EXPIRE, REWRITE_DATA, REWRITE_DELETES, delete, merge, others_items, touch_some
from tool import keys

NAME = "`default`.ns.t"


def arrow(warehouse, story, items):
    table = warehouse.pyiceberg().load_table("ns.t")
    return table, pa.Table.from_pylist([story.model.row(item) for item in items], schema=table.schema().as_arrow())


def append_by_pyiceberg(served, story, count=12):
    items = others_items(story.model, count)
    if "lines" not in story.model.profile.attributes:
        for item in items:
            del item["lines"]
    table, rows = arrow(served, story, items)
    table.append(rows)
    for item in items:
        story.model.put(item)
    return items


def test_they_write_to_our_table(tool, served, readers, spark, seed):
    story = Story(COMMON, seed, tool, served)
    story.load(80)
    items = merge(spark, story)
    story.apply(40, touch_some(items))
    story.same(readers, "after a window behind Spark's MERGE")
    story.apply(40, touch_some(append_by_pyiceberg(served, story)))
    story.same(readers, "after a window behind PyIceberg's append")
    delete(spark, story)
    REWRITE_DATA(spark, story)
    EXPIRE(spark, story)
    assert len(snapshots(served, "ns.t")) == 1
    with served.pyiceberg().load_table("ns.t").update_schema() as update:
        update.add_column("by others", StringType())
    story.model.profile = replace(COMMON, attributes=COMMON.attributes | {"by others": (STRING, text, 0.0)})
    story.apply(40)
    story.same(readers, "after a window behind Spark's DELETE and maintenance and PyIceberg's new column")


def test_pyiceberg_deletes_and_spark_rewrites(tool, served, readers, spark, seed):
    """On a table without lists, which PyIceberg would write differently, and Spark's procedure fails on."""
    story = Story(FLAT, seed, tool, served)
    story.load(80)
    story.apply(40)
    served.pyiceberg().load_table("ns.t").delete(EqualTo("line-no", -1))
    for key in [key for key in story.model.items if key[1] == -1]:
        story.model.remove(key)
    story.same(readers, "after PyIceberg's delete")
    story.apply(40)
    changed = [story.model.new_item() | story.model.keys_of(item) for item in list(story.model.items.values())[:7]]
    changed.append(story.model.new_item())
    table, rows = arrow(served, story, changed)
    done = table.upsert(rows)
    assert (done.rows_updated, done.rows_inserted) == (7, 1)
    for item in changed:
        story.model.put(item)
    story.apply(40, touch_some(changed))
    story.same(readers, "after a window behind PyIceberg's upsert")
    REWRITE_DELETES(spark, story)
    story.apply(40)
    story.same(readers, "after a window behind rewrite_position_delete_files")


class Types:
    """Types of columns, as PyIceberg and as Spark spell them."""

    pyiceberg = {STRING: StringType(), LONG: LongType(), DECIMAL: DecimalType(38, 9), BINARY: BinaryType(), BOOLEAN: BooleanType()}
    spark = {STRING: "string", LONG: "bigint", DECIMAL: "decimal(38, 9)", BINARY: "binary", BOOLEAN: "boolean"}


def made_by_pyiceberg(served, profile):
    """A table of the profile's columns."""
    ids = itertools.count(1)

    def of(shape):
        if isinstance(shape, Struct):
            return StructType(*[NestedField(next(ids), name, of(inner), required=False) for name, inner in shape.fields.items()])
        return Types.pyiceberg[shape]

    columns = profile.columns | {"_ddb_rescued": STRING}
    fields = [NestedField(next(ids), name, of(shape), required=name in profile.key) for name, shape in columns.items()]
    key = [field.field_id for field in fields if field.name in profile.key]
    catalog = served.pyiceberg()
    catalog.create_namespace("ns")
    return catalog.create_table("ns.t", Schema(*fields, identifier_field_ids=key), properties={"team": "analytics"})


def made_by_spark(served, spark, profile):
    """A table of the profile's columns without `_ddb_rescued`, partitioned, with no key."""
    def of(shape):
        if isinstance(shape, Struct):
            return "struct<" + ", ".join(f"`{name}`: {of(inner)}" for name, inner in shape.fields.items()) + ">"
        return Types.spark[shape]

    columns = [f"`{name}` {of(shape)}{' not null' * (name in profile.key)}" for name, shape in profile.columns.items()]
    spark.sql(served, "create namespace `default`.ns")
    spark.sql(served, f"create table {NAME} ({', '.join(columns)}) using iceberg partitioned by (bucket(3, `order`))")


def apply_first(story, window, folder, *more):
    """The first window of a table that nobody knows the watermark of."""
    result = story.tool.incremental(folder, "ns.t", story.warehouse, *more)
    assert result.exit == 4 and "no watermark" in result.stderr and "--allow-gap" in result.stderr, result
    result = story.tool.incremental(folder, "ns.t", story.warehouse, "--allow-gap", *more)
    report = assert_report(result, "incremental", "ns.t", "applied", story.warehouse, window.end)
    (one,) = report["windows"]
    assert_window(one, window, exports.arn(folder), snapshots(story.warehouse, "ns.t")[-1])
    (warning,) = report["warnings"]
    assert "no watermark" in warning


def test_windows_into_a_table_that_pyiceberg_made(tool, served, readers, spark, seed):
    story = Story(FLAT, seed, tool, served)
    story.model.fill(60)
    made_by_pyiceberg(served, FLAT)
    table, rows = arrow(served, story, story.model.items.values())
    table.append(rows)
    before = metadata(served, "ns.t")
    apply_first(story, *story.export_window(40))
    story.same(readers, "after the first window")
    story.apply(40, touch_some(append_by_pyiceberg(served, story)))
    story.apply(40, touch_some(merge(spark, story)))
    story.same(readers, "after windows behind both")
    after = metadata(served, "ns.t")
    assert after["schemas"] == before["schemas"] and after["properties"]["team"] == "analytics"


def test_a_table_that_pyiceberg_made_is_replaced(tool, served, readers, seed):
    story = Story(FLAT, seed, tool, served)
    story.model.fill(60)
    made_by_pyiceberg(served, FLAT)
    table, rows = arrow(served, story, list(story.model.items.values())[:20])
    table.append(rows)
    before = metadata(served, "ns.t")
    full = story.export_full()
    refused = tool.full_load(full, "ns.t", served, *keys(FLAT))
    assert refused.exit == 1 and "--if-exists replace" in refused.stderr, refused
    assert metadata(served, "ns.t") == before
    done = tool.full_load(full, "ns.t", served, *keys(FLAT), "--if-exists", "replace")
    assert_report(done, "full-load", "ns.t", "applied", served, START)
    after = metadata(served, "ns.t")
    ids = [{one["name"]: one["id"] for one in found["schemas"][-1]["fields"]} for found in (before, after)]
    assert ids[0] == ids[1] and after["properties"]["team"] == "analytics"
    assert len(snapshots(served, "ns.t")) == 2
    story.same(readers, "after the replacement")
    story.apply(40)
    story.same(readers, "after a window")


def test_windows_into_a_table_that_spark_made(tool, served, readers, spark, seed):
    story = Story(FLAT, seed, tool, served)
    story.model.fill(60)
    made_by_spark(served, spark, FLAT)
    spark.append(served, "ns.t", story.model.rows())

    window, folder = story.export_window(40)
    result = tool.incremental(folder, "ns.t", served, "--allow-gap")
    assert result.exit == 2 and "--key" in result.stderr, result
    apply_first(story, window, folder, *keys(FLAT))
    for name in readers.names:
        rows = [row | {"_ddb_rescued": None} for row in readers[name].rows(served, "ns.t")]
        assert differences(story.model, rows, readers.collapses(name)) == [], name

    # What fits no column has no place yet.
    item = story.model.new_item() | {"group by": s("not a number")}
    at = story.model.until
    misfit = story.bucket.incremental([[(at * 1000, story.model.keys_of(item), None, item)]], at, at + WINDOW, "NEW_IMAGE")
    before = metadata(served, "ns.t")
    result = tool.incremental(misfit, "ns.t", served, *keys(FLAT))
    assert result.exit == 3 and "_ddb_rescued" in result.stderr and "group by" in result.stderr, result
    assert metadata(served, "ns.t") == before
    spark.sql(served, f"alter table {NAME} add column _ddb_rescued string")
    spark.sql(served, f"alter table {NAME} set identifier fields `order`, `line-no`")
    result = tool.incremental(misfit, "ns.t", served)
    report = assert_report(result, "incremental", "ns.t", "applied", served, at + WINDOW)
    assert report["windows"][0]["rescued"] == {"group by": 1}
    (row,) = [row for row in spark.rows(served, "ns.t") if row["_ddb_rescued"] is not None]
    assert json.loads(row["_ddb_rescued"]) == {"group by": item["group by"]} and row["group by"] is None
    assert row["order"] == item["order"]["S"]

    story.model.until += WINDOW
    story.model.put(item)
    story.apply(40, lambda model: model.put(item | {"group by": n(7)}))
    story.same(readers, "after a window without misfits")
    story.apply(40, touch_some(merge(spark, story)))
    story.same(readers, "after a window behind Spark's MERGE")
