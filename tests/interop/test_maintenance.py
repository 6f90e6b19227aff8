"""The table after compact, expire and orphans, and after the upkeep that incremental does by itself, read by the others."""

import pytest

from judge import snapshots
from profiles import COMMON, FLAT
from story import Story

MODES = [
    pytest.param((), id="merge-on-read"),
    pytest.param(("--write-mode", "copy-on-write"), id="copy-on-write"),
]


def run(tool, warehouse, command, *more):
    result = tool.run(command, "--table", "ns.t", "--warehouse", warehouse.folder, "--format", "json", *more)
    assert result.exit == 0, result
    (done,) = result.json["maintenance"]
    assert done["action"] == command and done["status"] == result.json["status"], result
    return done


@pytest.mark.parametrize("modes", MODES)
def test_compacted_and_expired(modes, tool, warehouse, readers, spark, seed):
    story = Story(COMMON, seed, tool, warehouse, modes=modes)
    story.load(150)
    for _ in range(6):
        story.apply(40)
    name = spark.name(warehouse, "ns.t")
    window = snapshots(warehouse, "ns.t")[-1]["snapshot-id"]

    done = run(tool, warehouse, "compact")
    assert done["status"] == "applied" and done["data_files_added"] == 1
    story.same(readers, "after compact")
    last = snapshots(warehouse, "ns.t")[-1]
    assert done["snapshot_id"] == str(last["snapshot-id"]) and last["summary"]["operation"] == "replace"
    files = spark.sql(warehouse, f"select content, file_path, record_count, spec_id, sort_order_id from {name}.files")
    assert [file["content"] for file in files] == [0]
    assert files[0]["record_count"] == len(story.model.items)
    seen = spark.sql(warehouse, f"select snapshot_id, operation from {name}.snapshots order by committed_at")
    assert seen[-1] == {"snapshot_id": last["snapshot-id"], "operation": "replace"}
    history = f"select count(*) as rows from {name} version as of {window}"
    assert spark.sql(warehouse, history) == [{"rows": len(story.model.items)}]
    story.apply(40)
    story.same(readers, "after a window behind compact")

    run(tool, warehouse, "compact")
    done = run(tool, warehouse, "expire", "--older-than", "0s")
    assert done["status"] == "applied" and done["files_deleted"] > 0
    story.same(readers, "after expire")
    seen = spark.sql(warehouse, f"select snapshot_id from {name}.snapshots")
    assert {row["snapshot_id"] for row in seen} == {one["snapshot-id"] for one in snapshots(warehouse, "ns.t")}
    assert len(seen) <= 2
    assert spark.sql(warehouse, f"select count(*) as files from {name}.all_data_files")[0]["files"] > 0
    assert run(tool, warehouse, "orphans")["status"] == "nothing_to_do"
    story.apply(40)
    story.same(readers, "after a window behind expire")


def test_twenty_windows_look_after_themselves(tool, warehouse, readers, seed):
    story = Story(FLAT, seed, tool, warehouse)
    story.load(100)
    compacted = 0
    for number in range(20):
        window, folder = story.export_window(20)
        result = tool.incremental(folder, "ns.t", warehouse)
        assert result.exit == 0 and result.json["status"] == "applied", result
        compacted += sum(one["action"] == "compact" and one["status"] == "applied" for one in result.json["maintenance"])
        if number in (15, 16, 19):
            story.same(readers, f"after window {number}")
    assert compacted == 1
