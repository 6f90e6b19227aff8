"""`verify` agrees with the readers: what they find equal it finds equal, and what another writer changed it names."""

from judge import snapshots
from profiles import COMMON
from story import Story
from test_other_writers import delete, merge


def verify(tool, story, *more):
    folder = story.export_full()
    return tool.run(
        "verify", folder, "--table", story.table, *story.warehouse.arguments, "--format", "json", *more
    )


def equal(tool, story):
    result = verify(tool, story)
    assert result.exit == 0, result
    found = result.json["comparison"]
    assert found["items"] == found["rows"] == found["equal"] == len(story.model.items)
    return found


def test_verify_sees_what_spark_sees(tool, warehouse, readers, spark, seed):
    story = Story(COMMON, seed, tool, warehouse)
    story.load(120)
    equal(tool, story)
    for _ in range(3):
        story.apply(60)
        equal(tool, story)
    story.same(readers, "before Spark's MERGE")

    # Spark writes what the model has too: still equal, of the newest snapshot, which has no watermark of its own.
    before, old = story.export_full(), dict(story.model.items)
    merge(spark, story)
    delete(spark, story)
    story.same(readers, "after Spark's MERGE and DELETE")
    found = equal(tool, story)
    assert found["snapshot_id"] == str(snapshots(warehouse, "ns.t")[-1]["snapshot-id"])

    # Against the export of before: exactly what Spark's two statements changed.
    result = tool.run("verify", before, "--table", "ns.t", *warehouse.arguments, "--format", "json", "--examples", "1000")
    assert result.exit == 1, result
    found = result.json["comparison"]
    new = story.model.items
    assert found["extra"] == len(new.keys() - old.keys()) > 0 and found["missing"] == len(old.keys() - new.keys()) > 0
    assert found["different"] == sum(new[key] != old[key] for key in new.keys() & old.keys()) > 0
    assert found["repeated"] == 0
    assert len(found["examples"]) == found["extra"] + found["missing"] + found["different"]

    # One value changed, one row deleted, one row twice.
    name = spark.name(warehouse, "ns.t")
    keys = sorted(story.model.items)[:3]
    where = [f"`order` = '{order}' and `line-no` = {line}" for order, line in keys]
    spark.sql(warehouse, f"update {name} set `_ddb_rescued` = '{{\"x\":{{\"S\":\"1\"}}}}' where {where[0]}")
    spark.sql(warehouse, f"delete from {name} where {where[1]}")
    spark.sql(warehouse, f"insert into {name} select * from {name} where {where[2]}")
    result = verify(tool, story)
    assert result.exit == 1, result
    found = result.json["comparison"]
    assert [found[kind] for kind in ("missing", "extra", "different", "repeated")] == [1, 0, 1, 1]
    by_kind = {example["difference"]: example for example in found["examples"]}
    lost = story.model.profile.rescued(story.model.items[keys[0]])
    assert by_kind["different"]["attributes"] == sorted({"x", *lost})
    story.apply(20)
    assert tool.run("status", "--table", "ns.t", *warehouse.arguments).exit == 0
