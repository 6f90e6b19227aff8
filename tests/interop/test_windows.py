"""Load and windows: after each, every row of every reader equals the model."""

import sqlite3

import pytest

import exports
from judge import assert_report, assert_window, metadata, snapshots
from model import START
from profiles import COMMON, FINE
from story import Story

MODES = [
    pytest.param((), id="merge-on-read"),
    pytest.param(("--write-mode", "copy-on-write"), id="copy-on-write"),
]


@pytest.mark.parametrize("modes", MODES)
@pytest.mark.parametrize("view", exports.VIEWS)
def test_load_and_five_windows(view, modes, tool, warehouse, readers, seed):
    story = Story(COMMON, seed, tool, warehouse, view, modes=modes)
    story.load(200, empty={0})
    story.same(readers, "after the load")
    for number in range(1, 6):
        story.apply(90, files=3, empty={0} if number == 2 else ())
        story.same(readers, f"after window {number}")
    if modes:
        assert snapshots(warehouse, "ns.t")[-1]["summary"]["total-delete-files"] == "0"


def test_the_catalog_is_what_others_expect(tool, warehouse, seed):
    story = Story(COMMON, seed, tool, warehouse)
    story.load(20)
    columns = [name for _, name, *_ in warehouse.query("pragma table_info(iceberg_tables)")]
    assert columns == [
        "catalog_name", "table_namespace", "table_name", "metadata_location", "previous_metadata_location", "iceberg_type"
    ]
    ((catalog, namespace, name, location, previous, kind),) = warehouse.query("select * from iceberg_tables")
    assert (catalog, namespace, name, previous, kind) == ("default", "ns", "t", None, "TABLE")
    assert location.startswith(warehouse.uri + "/"), location
    properties = warehouse.query("select catalog_name, namespace, property_key from iceberg_namespace_properties")
    assert ("default", "ns", "exists") in properties
    assert warehouse.pyiceberg().list_tables("ns") == [("ns", "t")]
    found = metadata(warehouse, "ns.t")
    assert found["location"].startswith(warehouse.uri + "/") and "%" not in found["location"]
    assert found["properties"]["write.merge.mode"] == "merge-on-read"
    assert found["properties"]["ddb-iceberg.table-arn"] == story.bucket.table_arn
    assert found["properties"]["ddb-iceberg.table-id"] == story.bucket.table_id
    for name in ("ddb-iceberg.version", "ddb-iceberg.schema", "ddb-iceberg.watermark"):
        assert found["properties"][name], name
    with sqlite3.connect(warehouse.database) as database:
        assert database.execute("pragma integrity_check").fetchall() == [("ok",)]


def test_a_folder_of_exports_in_one_command(tool, warehouse, readers, seed):
    """Due windows are found among the full export, other tables' exports and incomplete ones, and applied in order."""
    story = Story(COMMON, seed, tool, warehouse)
    story.load(150)
    windows = [story.export_window(60, view=exports.VIEWS[number % 2]) for number in range(5)]
    other = exports.Bucket(story.bucket.root, "customers", "0f263806-6bf1-4e51-a242-7067dcdecc70", "copied/here")
    foreign = [(START * 1000 + 1, {"order": {"S": "x"}, "line-no": {"N": "1"}}, None, None)]
    other.incremental([foreign], START, START + 900_000, "NEW_IMAGE")
    other.full([[{"order": {"S": "x"}, "line-no": {"N": "1"}}]], START)
    result = tool.incremental(story.bucket.home, "ns.t", warehouse)
    report = assert_report(result, "incremental", "ns.t", "applied", warehouse, story.model.until)
    assert len(report["windows"]) == 5
    chain = snapshots(warehouse, "ns.t")
    assert len(chain) == 6
    for got, (window, folder), snapshot in zip(report["windows"], windows, chain[1:], strict=True):
        assert_window(got, window, exports.arn(folder), snapshot)
    story.same(readers, "after five windows in one command")

    before = warehouse.metadata_location("ns.t")
    again = tool.incremental(story.bucket.home, "ns.t", warehouse)
    assert again.exit == 0 and again.json["status"] in ("nothing_to_do", "already_applied"), again
    assert warehouse.metadata_location("ns.t") == before

    window, folder = story.export_window(60)
    result = tool.incremental(story.bucket.home, "ns.t", warehouse)
    report = assert_report(result, "incremental", "ns.t", "applied", warehouse, window.end)
    applied = [one for one in report["windows"] if one["status"] == "applied"]
    assert_window(applied[0], window, exports.arn(folder), snapshots(warehouse, "ns.t")[-1])
    assert len(applied) == 1
    story.same(readers, "after a sixth window in the same folder")


def test_several_arguments_in_any_order(tool, warehouse, readers, seed):
    story = Story(COMMON, seed, tool, warehouse)
    story.load(60)
    windows = [story.export_window(40) for _ in range(3)]
    folders = [folder for _, folder in windows]
    result = tool.incremental([folders[2], folders[0], folders[1], folders[0]], "ns.t", warehouse)
    report = assert_report(result, "incremental", "ns.t", "applied", warehouse, story.model.until)
    for got, (window, folder) in zip(report["windows"], windows, strict=True):
        assert_window(got, window, exports.arn(folder))
    story.same(readers, "after three windows given out of order")


def test_a_gap_stops_and_an_overlap_too(tool, warehouse, readers, seed):
    story = Story(COMMON, seed, tool, warehouse)
    story.load(60)
    first = story.export_window(30)
    second = story.export_window(30)
    before = warehouse.metadata_location("ns.t")
    result = tool.incremental(second[1], "ns.t", warehouse)
    assert result.exit == 4 and result.json["status"] == "failed", result
    assert warehouse.metadata_location("ns.t") == before
    story.apply_exported(*first)
    story.apply_exported(*second)
    story.same(readers, "after both windows in order")
    late = story.bucket.incremental([[]], second[0].start, second[0].end + 900_000, story.view)
    result = tool.incremental(late, "ns.t", warehouse)
    assert result.exit == 4, result
    story.same(readers, "after a refused overlap")


def test_a_dry_run_writes_nothing(tool, warehouse, readers, seed):
    story = Story(COMMON, seed, tool, warehouse)
    story.load(30)
    _, folder = story.export_window(30)
    files = sorted(path for path in warehouse.folder.rglob("*") if path.is_file())
    before = warehouse.metadata_location("ns.t")
    result = tool.incremental(folder, "ns.t", warehouse, "--dry-run")
    assert result.exit == 0 and result.json["status"] == "dry_run", result
    assert warehouse.metadata_location("ns.t") == before
    assert sorted(path for path in warehouse.folder.rglob("*") if path.is_file()) == files


@pytest.mark.parametrize("view", exports.VIEWS)
def test_the_fine_print_of_types(view, tool, warehouse, readers, seed):
    """JSON text, maps past 256 fields, numbers beyond decimal(38), numbers spelt in other ways."""
    story = Story(FINE, seed, tool, warehouse, view)
    story.load(60)
    story.same(readers, "after the load")
    story.apply(60)
    story.same(readers, "after window 1")


def test_copy_on_write_leaves_other_files_alone(tool, warehouse, readers, seed):
    """A window whose keys lie in one data file writes that file again; the others stay, by their paths."""
    story = Story(COMMON, seed, tool, warehouse, modes=("--write-mode", "copy-on-write"))
    story.load(40)
    for _ in range(4):
        story.apply(0, lambda model: [model.put(model.new_item()) for _ in range(10)])
    before = data_files(warehouse)
    assert len(before) == 5
    story.apply(0, lambda model: [model.remove(key) for key in list(model.items)[-3:]])
    after = data_files(warehouse)
    assert len(after) == 5 and len(before & after) == 4
    story.same(readers, "after one file was written again")


def data_files(warehouse):
    return {one["file_path"] for one in warehouse.pyiceberg().load_table("ns.t").inspect.files().to_pylist()}
