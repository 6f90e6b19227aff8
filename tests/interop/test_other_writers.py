"""Others write to our table, and our next window is right after that: PyIceberg appends; Spark merges, deletes, maintains."""

import json
from dataclasses import replace

import pyarrow as pa
import pytest
from pyiceberg.types import StringType

from judge import snapshots
from profiles import COMMON, FLAT, text
from shapes import STRING
from story import Story


def others_items(model, count):
    """Items that another writer adds; a list of structs is never missing, since PyIceberg would write it as empty."""
    items = [model.new_item() for _ in range(count)]
    for item in items:
        item.setdefault("lines", {"L": []})
    return items


def touch_some(items):
    """A change that updates and deletes some of these items, beside others."""
    def act(model):
        keys = [model.key(item) for item in items]
        model.put(model.new_item(number=0) | model.keys_of(items[0]))
        model.remove(keys[1])
        model.put(model.new_item())
        for key in list(model.items)[:10]:
            if key not in keys:
                model.remove(key)

    return act


def test_pyiceberg_appends(tool, warehouse, readers, seed):
    story = Story(COMMON, seed, tool, warehouse)
    story.load(80)
    story.apply(40)
    items = others_items(story.model, 12)
    table = warehouse.pyiceberg().load_table("ns.t")
    rows = [story.model.row(item) for item in items]
    table.append(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))
    for item in items:
        story.model.put(item)
    story.same(readers, "after PyIceberg's append")
    story.apply(40, touch_some(items))
    story.same(readers, "after a window behind PyIceberg's append")

    with warehouse.pyiceberg().load_table("ns.t").update_schema() as update:
        update.add_column("by others", StringType())
    story.model.profile = replace(COMMON, attributes=COMMON.attributes | {"by others": (STRING, text, 0.0)})
    story.same(readers, "after PyIceberg added a column")
    story.apply(40)
    story.same(readers, "after a window behind PyIceberg's new column")


def merge(spark, story):
    model, name = story.model, spark.name(story.warehouse, "ns.t")
    changed = [model.new_item() | model.keys_of(item) for item in list(model.items.values())[:9]]
    added = [model.new_item() for _ in range(6)]
    rows = [model.row(item) for item in (*changed, *added)]
    spark.frame(story.warehouse, "ns.t", rows).createOrReplaceTempView("changes")
    spark.sql(
        story.warehouse,
        f"""merge into {name} t using changes c on t.`order` = c.`order` and t.`line-no` = c.`line-no`
        when matched then update set * when not matched then insert *""",
    )
    for item in (*changed, *added):
        model.put(item)
    return [*added, *changed]


def delete(spark, story):
    model = story.model
    lines = {item["line-no"]["N"] for item in model.items.values()}
    assert "-1" in lines and len(lines) > 1
    spark.sql(story.warehouse, f"delete from {spark.name(story.warehouse, 'ns.t')} where `line-no` = -1 and `order` < 'C05'")
    for key in [key for key in model.items if key[1] == -1 and key[0] < "C05"]:
        model.remove(key)


def call(procedure, **options):
    def run(spark, story):
        given = "".join(f", {name} => {value}" for name, value in options.items())
        return spark.sql(story.warehouse, f"call `default`.system.{procedure}(table => 'ns.t'{given})")

    return run


ALL = "map('rewrite-all', 'true')"
REWRITE_DATA = call("rewrite_data_files", options=ALL)
REWRITE_DELETES = call("rewrite_position_delete_files", options=ALL)
EXPIRE = call("expire_snapshots", older_than="timestamp '2100-01-01 00:00:00'", retain_last="1")
MODES = [
    pytest.param((), id="merge-on-read"),
    pytest.param(("--write-mode", "copy-on-write"), id="copy-on-write"),
]


@pytest.mark.parametrize("modes", MODES)
def test_spark_writes_and_maintains(modes, tool, warehouse, readers, spark, seed):
    story = Story(COMMON, seed, tool, warehouse, modes=modes)
    story.load(120)
    story.apply(60)

    items = merge(spark, story)
    story.same(readers, "after Spark's MERGE")
    story.apply(40, touch_some(items))
    story.same(readers, "after a window behind Spark's MERGE")

    delete(spark, story)
    story.apply(40)
    story.same(readers, "after a window behind Spark's DELETE")

    (rewritten,) = REWRITE_DATA(spark, story)
    assert rewritten["rewritten_data_files_count"] > 0
    story.apply(40)
    story.same(readers, "after a window behind rewrite_data_files")

    EXPIRE(spark, story)
    assert len(snapshots(warehouse, "ns.t")) == 1
    story.apply(40)
    story.same(readers, "after a window behind expire_snapshots")

    # The snapshot of the last window expires too: only the table's property still knows the watermark.
    REWRITE_DATA(spark, story)
    EXPIRE(spark, story)
    (only,) = snapshots(warehouse, "ns.t")
    assert "ddb-iceberg.watermark" not in only["summary"], json.dumps(only)
    story.apply(40)
    story.same(readers, "after the watermark's snapshot expired")


def test_spark_rewrites_position_deletes(tool, warehouse, readers, spark, seed):
    """On a table without lists: Iceberg 1.10's procedure fails on any that has one (apache/iceberg issue 14619)."""
    story = Story(FLAT, seed, tool, warehouse)
    story.load(80)
    for _ in range(3):
        story.apply(40)
    before = snapshots(warehouse, "ns.t")[-1]
    (rewritten,) = REWRITE_DELETES(spark, story)
    assert rewritten["rewritten_delete_files_count"] > 0
    assert snapshots(warehouse, "ns.t")[-1]["snapshot-id"] != before["snapshot-id"]
    story.same(readers, "after rewrite_position_delete_files")
    story.apply(40)
    story.same(readers, "after a window behind rewrite_position_delete_files")


def test_a_rolled_back_table_is_refused(tool, warehouse, readers, spark, seed):
    story = Story(COMMON, seed, tool, warehouse)
    story.load(40)
    story.apply(20)
    first = snapshots(warehouse, "ns.t")[0]["snapshot-id"]
    window, folder = story.export_window(20)
    call("rollback_to_snapshot", snapshot_id=str(first))(spark, story)
    result = tool.incremental(folder, "ns.t", warehouse)
    assert result.exit == 4, result
    assert snapshots(warehouse, "ns.t")[-1]["snapshot-id"] == first
