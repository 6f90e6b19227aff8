"""`--if-exists replace`: a newer full export in one commit, with history, properties and field ids kept."""

import exports
from judge import assert_report, differences, metadata, moment, snapshots
from model import START, WINDOW
from profiles import COMMON
from story import Story
from tool import keys


def field_ids(warehouse):
    found = metadata(warehouse, "ns.t")
    (schema,) = [one for one in found["schemas"] if one["schema-id"] == found["current-schema-id"]]
    return {one["name"]: one["id"] for one in schema["fields"]}


def test_replace(tool, warehouse, readers, seed):
    story = Story(COMMON, seed, tool, warehouse)
    story.load(60)
    story.apply(40)
    with warehouse.pyiceberg().load_table("ns.t").transaction() as change:
        change.set_properties({"owner": "someone else"})
    before, ids, at = metadata(warehouse, "ns.t"), field_ids(warehouse), story.model.until
    old_items = dict(story.model.items)

    story.model.window(60)  # no window is exported for this time: the full export tells what it led to
    folder = story.export_full()
    result = tool.full_load(folder, "ns.t", warehouse, *keys(COMMON), "--if-exists", "replace")
    report = assert_report(result, "full-load", "ns.t", "applied", warehouse, at + WINDOW)
    assert report["windows"][0]["export_arn"] == exports.arn(folder)
    story.same(readers, "after replacing")
    after = metadata(warehouse, "ns.t")
    assert after["table-uuid"] == before["table-uuid"]
    assert after["properties"]["owner"] == "someone else"
    assert field_ids(warehouse) == ids
    chain = snapshots(warehouse, "ns.t")
    assert len(chain) == 3 and chain[-1]["summary"]["operation"] == "overwrite"
    assert int(chain[-1]["summary"]["total-records"]) == len(story.model.items)
    assert moment(chain[-1]["summary"]["ddb-iceberg.watermark"]) == at + WINDOW
    story.apply(40)
    story.same(readers, "after a window behind replacing")

    if "spark" in readers.names:
        table = readers["spark"].name(warehouse, "ns.t")
        rows = readers["spark"].sql(warehouse, f"select * from {table} version as of {before['current-snapshot-id']}")
        story.model.items = old_items
        assert differences(story.model, rows) == []


def test_an_older_export_does_not_replace(tool, warehouse, readers, seed):
    story = Story(COMMON, seed, tool, warehouse)
    story.load(30)
    old = story.bucket.full(story.bucket.spread(story.model.items.values(), 2), START + 60_000)
    story.apply(20)
    at = warehouse.metadata_location("ns.t")
    result = tool.full_load(old, "ns.t", warehouse, *keys(COMMON), "--if-exists", "replace")
    assert result.exit == 4, result
    assert warehouse.metadata_location("ns.t") == at
    story.same(readers, "after a refused replacement")
