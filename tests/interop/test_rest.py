"""Through a REST catalog of Apache Iceberg's own Java classes; Spark and PyIceberg go through that same server."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

import exports
from judge import snapshots
from model import WINDOW, Model, replay
from profiles import COMMON, Profile
from readers import path
from story import Story
from test_other_writers import others_items, touch_some
from tool import keys

MODES = [
    pytest.param((), id="merge-on-read"),
    pytest.param(("--write-mode", "copy-on-write"), id="copy-on-write"),
]


@pytest.mark.parametrize("modes", MODES)
def test_load_and_five_windows(modes, tool, served, readers, seed):
    story = Story(COMMON, seed, tool, served, modes=modes)
    story.load(150)
    story.same(readers, "after the load")
    for number in range(1, 6):
        story.apply(60)
        story.same(readers, f"after window {number}")
    found = served.pyiceberg().load_table("ns.t")
    assert "ddb-iceberg.loading" not in found.properties
    assert len(found.metadata.snapshots) == 6


def at_once(*acts):
    with ThreadPoolExecutor() as pool:
        return [run.result() for run in [pool.submit(act) for act in acts]]


def assert_truth(results, warehouse, arns):
    """Each window was applied by one of the processes, and all say the same of it."""
    said = [window for result in results for window in result.json["windows"]]
    held = {one["summary"]["ddb-iceberg.export-arn"]: str(one["snapshot-id"]) for one in snapshots(warehouse, "ns.t")[1:]}
    assert list(held) == arns
    for arn, snapshot in held.items():
        of_it = [window for window in said if window["export_arn"] == arn]
        assert {window["snapshot_id"] for window in of_it} == {snapshot}
        assert [window["status"] for window in of_it].count("applied") == 1, of_it
        assert {window["status"] for window in of_it} <= {"applied", "already_applied"}, of_it


def assert_no_leftovers(warehouse):
    """The losers have taken back what they had written."""
    known = {path(one) for one in warehouse.pyiceberg().load_table("ns.t").inspect.all_files()["file_path"].to_pylist()}
    assert set(warehouse.folder.rglob("*.parquet")) == known


def test_at_once(tool, served, readers, seed):
    """Two loads, then three increments on the same and on neighbouring windows: each is done once."""
    story = Story(COMMON, seed, tool, served)
    story.model.fill(60)
    export = story.export_full()
    results = at_once(*[lambda: tool.full_load(export, "ns.t", served, *keys(COMMON))] * 2)
    assert [result.exit for result in results] == [0, 0], "\n".join(map(str, results))
    assert sorted(result.json["status"] for result in results) == ["already_applied", "applied"]

    folders = [story.export_window(30)[1] for _ in range(2)]
    served.rest.together(3)  # all of them want to commit the first window
    results = at_once(*[lambda count=count: tool.incremental(folders[:count], "ns.t", served) for count in (1, 2, 2)])
    assert [result.exit for result in results] == [0, 0, 0], "\n".join(map(str, results))
    assert_truth(results, served, story.arns[-2:])
    assert_no_leftovers(served)
    story.same(readers, "after increments at once")


def test_neighbouring_windows_at_once(tool, served, readers, seed):
    story = Story(COMMON, seed, tool, served)
    story.load(60)
    folders = [story.export_window(30)[1] for _ in range(2)]
    results = at_once(*[lambda folder=folder: tool.incremental(folder, "ns.t", served) for folder in folders])
    # The second's turn may not have come: that is a gap, and nothing else may happen.
    assert results[0].exit == 0 and results[1].exit in (0, 4), "\n".join(map(str, results))
    again = tool.incremental(folders, "ns.t", served)
    assert again.exit == 0, again
    held = [one["summary"]["ddb-iceberg.export-arn"] for one in snapshots(served, "ns.t")]
    assert held == story.arns
    story.same(readers, "after neighbouring windows at once")


def test_a_gap_that_is_allowed_while_its_window_is_applied(tool, served, readers, seed):
    """Both reach the commit. Either the first window came first, and there is no gap, or it comes too late and is refused."""
    story = Story(COMMON, seed, tool, served)
    story.load(60)
    full = [{"Item": item} for item in story.model.items.values()]
    folders = [story.export_window(30)[1] for _ in range(2)]
    served.rest.together(2)
    first, second = at_once(
        lambda: tool.incremental(folders[0], "ns.t", served),
        lambda: tool.incremental(folders[1], "ns.t", served, "--allow-gap"),
    )
    assert second.exit == 0, second
    gaps = served.pyiceberg().load_table("ns.t").properties.get("ddb-iceberg.gaps")
    if first.exit == 0:
        assert gaps is None
        assert_truth([first, second], served, story.arns[-2:])
    else:
        assert first.exit == 4 and gaps is not None, first
        story.model.items = replay(COMMON, full, [exports.read(folders[1], story.bucket.root)[1]])
    assert_no_leftovers(served)
    story.same(readers, "after a gap was allowed")


def test_another_writers_commit_in_between(tool, served, readers, spark, seed):
    """Spark appends and we apply a window: both have planned on the same table when they commit."""
    story = Story(COMMON, seed, tool, served)
    story.load(60)
    window, folder = story.export_window(40)
    items = others_items(story.model, 5)
    rows = [story.model.row(item) for item in items]
    spark.rows(served, "ns.t")
    served.rest.together(2)
    at_once(lambda: story.apply_exported(window, folder), lambda: spark.append(served, "ns.t", rows))
    for item in items:
        story.model.put(item)
    story.same(readers, "after both")
    assert len(snapshots(served, "ns.t")) == 3
    assert_no_leftovers(served)
    story.apply(40, touch_some(items))
    story.same(readers, "after the next window")


def test_a_table_that_is_there_is_not_loaded_over(tool, served, readers, seed):
    story = Story(COMMON, seed, tool, served)
    story.load(30)
    before = served.metadata_location("ns.t")
    again = tool.full_load(story.full, "ns.t", served, *keys(COMMON))
    assert (again.exit, again.json["status"]) == (0, "already_applied"), again
    assert served.metadata_location("ns.t") == before
    story.model.window(40)
    result = tool.full_load(story.export_full(), "ns.t", served, *keys(COMMON), "--if-exists", "replace")
    assert result.exit == 0, result
    story.same(readers, "after the replacement")


def test_columns_come_and_go(tool, served, readers, seed):
    """Rows are replaced by such with other columns and back again, by those that the table has, and by such of another key."""
    story = Story(COMMON, seed, tool, served)
    story.load(30)
    narrow = Profile("narrow", COMMON.key, {name: COMMON.attributes[name] for name in ("select", "lines", "address")})
    turned = replace(COMMON, name="turned", key=dict(reversed(COMMON.key.items())))
    for number, profile in enumerate([COMMON, narrow, COMMON, turned, narrow, COMMON]):
        story.model = Model(profile, f"{seed} {number}", until=story.model.until + WINDOW)
        story.model.fill(20)
        # Without a schema file the table's own columns and key would stay.
        folder, schema = story.export_full(), tool.folder / f"{number}.schema.json"
        assert tool.run("detect-schema", folder, *keys(profile), "--output", schema).exit == 0
        result = tool.full_load(folder, "ns.t", served, "--schema", schema, "--if-exists", "replace")
        assert result.exit == 0, result
    found = served.pyiceberg().load_table("ns.t").metadata
    # Columns that come back have new ids; those that stayed all the time make the narrow schema the same one twice.
    assert (len(found.schemas), len(found.sort_orders)) == (5, 2)
    story.same(readers, "after replacements")
    story.apply(30)
    story.same(readers, "after a window")
