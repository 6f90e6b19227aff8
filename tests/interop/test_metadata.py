"""What we say about our files is true: Iceberg's Java classes list them, and each claim is counted again from the files."""

import pytest

import exports
from claims import assert_claims
from judge import metadata, moment, snapshots
from model import START
from profiles import COMMON
from story import Story
from test_keys import byte_keys, scenario, text_keys
from shapes import BINARY, STRING


@pytest.mark.parametrize("view", exports.VIEWS)
def test_metadata_tables_agree_with_the_files(view, tool, warehouse, readers, spark, seed):
    story = Story(COMMON, seed, tool, warehouse, view)
    story.load(150, files=3)
    assert_claims(spark, warehouse, "ns.t", len(story.model.items))
    story.apply(80)
    assert_claims(spark, warehouse, "ns.t", len(story.model.items))
    story.apply(0)  # nothing changed
    assert_claims(spark, warehouse, "ns.t", len(story.model.items))
    story.apply(0, lambda model: [model.remove(key) for key in list(model.items)[::4]])
    assert_claims(spark, warehouse, "ns.t", len(story.model.items))
    story.apply(0, lambda model: [model.put(model.new_item()) for _ in range(10)])  # inserts only
    assert_claims(spark, warehouse, "ns.t", len(story.model.items))
    story.apply(150)
    assert_claims(spark, warehouse, "ns.t", len(story.model.items))
    story.same(readers, "at the end")

    chain = snapshots(warehouse, "ns.t")
    assert [one["sequence-number"] for one in chain] == list(range(1, 7))
    operations = [one["summary"]["operation"] for one in chain]
    assert [operations[at] for at in (0, 2, 4)] == ["append"] * 3
    assert operations[1] == operations[5] == "overwrite"
    assert operations[3] in ("delete", "overwrite")
    for at, (one, arn) in enumerate(zip(chain, story.arns, strict=True)):
        summary = one["summary"]
        assert summary["ddb-iceberg.export-arn"] == arn
        assert moment(summary["ddb-iceberg.window-to"]) == START + at * 900_000
        assert moment(summary["ddb-iceberg.watermark"]) == START + at * 900_000
        assert ("ddb-iceberg.window-from" in summary) == (at > 0)
        if at:
            assert moment(summary["ddb-iceberg.window-from"]) == START + (at - 1) * 900_000
    listed = spark.sql(warehouse, f"select * from {spark.name(warehouse, 'ns.t')}.snapshots order by committed_at")
    assert [one["snapshot_id"] for one in listed] == [one["snapshot-id"] for one in chain]
    assert [one["parent_id"] for one in listed] == [None, *(one["snapshot-id"] for one in chain[:-1])]
    found = metadata(warehouse, "ns.t")
    assert found["last-sequence-number"] == len(chain)
    assert [one["snapshot-id"] for one in found["snapshot-log"]] == [one["snapshot-id"] for one in chain]


def test_old_snapshots_stay_readable(tool, warehouse, spark, seed):
    story = Story(COMMON, seed, tool, warehouse)
    story.load(60)
    counts = [len(story.model.items)]
    for _ in range(3):
        story.apply(40)
        counts.append(len(story.model.items))
    name = spark.name(warehouse, "ns.t")
    for one, count in zip(snapshots(warehouse, "ns.t"), counts, strict=True):
        ((rows,),) = [row.values() for row in spark.sql(warehouse, f"select count(*) from {name} version as of {one['snapshot-id']}")]
        assert rows == count


@pytest.mark.parametrize("shape, values", [(STRING, text_keys), (BINARY, byte_keys)], ids=["S", "B"])
def test_bounds_of_long_keys(shape, values, tool, warehouse, spark, seed):
    story, item = scenario((shape,), [(key,) for key in values()], seed, tool, warehouse)
    assert_claims(spark, warehouse, "ns.t", len(story.model.items))
    story.apply(0, lambda model: [model.put(item((key,), 1)) for key in values()[::5]])
    assert_claims(spark, warehouse, "ns.t", len(story.model.items))
