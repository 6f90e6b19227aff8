"""Bugs of the AWS sample script that this tool replaces, each by name."""

import json

import pytest

import exports
from judge import assert_report, metadata, snapshots
from model import START, WINDOW, Window
from profiles import COMMON, Profile, keyed, maybe, text, whole
from readers import ODD_FOLDER, Warehouse
from shapes import LONG, STRING
from story import Story

SMALL = Profile("small", {"pk": (STRING, keyed("P"))}, {"v": (LONG, whole, 1), "w": (STRING, maybe(text), 0.8)})


@pytest.fixture
def story(tool, warehouse, seed):
    return Story(SMALL, seed, tool, warehouse, "NEW_IMAGE")


def test_first_file_empty(story, readers):
    story.load(30, files=4, empty={0})
    story.same(readers, "after a load whose first file is empty")
    story.apply(20, files=3, empty={0})
    story.same(readers, "after a window whose first file is empty")


def test_all_files_of_a_window_empty(story, readers):
    story.load(30)
    before = metadata(story.warehouse, story.table)
    story.apply(0, files=3)
    story.same(readers, "after an empty window")
    after = metadata(story.warehouse, story.table)
    assert len(after["snapshots"]) == len(before["snapshots"]) + 1
    last = snapshots(story.warehouse, story.table)[-1]["summary"]
    assert last["operation"] == "append" and last["total-records"] == "30"
    story.apply(20)
    story.same(readers, "after a window behind an empty one")


def test_a_window_without_any_file(story, readers):
    story.load(30)
    story.apply(0, files=0)
    story.same(readers, "after a window without files")


def test_all_files_of_a_load_empty(tool, warehouse, readers, seed):
    profile = Profile("texts", SMALL.key, {"w": (STRING, maybe(text), 0.8)})
    story = Story(profile, seed, tool, warehouse)
    schema = tool.folder / "schema.json"
    schema.write_text(json.dumps({"pk": "S", "w": "S"}))
    story.load(0, files=3, more=("--schema", schema))
    story.same(readers, "after an empty load")
    story.apply(30)
    story.same(readers, "after a window on an empty table")


def test_delete_of_an_absent_key(story, readers):
    """Only hand-made exports have it; the sample inserted a row of NULLs."""
    story.load(30)
    changes = [(START * 1000 + at, {"pk": {"S": f"absent {at}"}}, None, None) for at in range(3)]
    folder = story.bucket.incremental([changes], START, START + WINDOW, "NEW_IMAGE")
    story.apply_exported(Window(START, START + WINDOW, changes), folder)
    story.same(readers, "after deletes of absent keys")


def test_update_of_an_absent_key_inserts(story, readers):
    story.load(30)
    item = {"pk": {"S": "unknown before"}, "v": {"N": "5"}}
    changes = [(START * 1000, {"pk": item["pk"]}, item | {"v": {"N": "4"}}, item)]
    folder = story.bucket.incremental([changes], START, START + WINDOW, "NEW_AND_OLD_IMAGES")
    story.model.put(item)
    story.apply_exported(Window(START, START + WINDOW, changes, inserted=1), folder)
    story.same(readers, "after an update of an absent key")


def test_deletes_only_in_the_new_image_view(story, readers):
    story.load(30)

    def some(model):
        for key in list(model.items)[::3]:
            model.remove(key)

    window = story.apply(0, some)
    assert window.deleted == 10
    story.same(readers, "after a window of deletes only")

    def rest(model):
        model.items.clear()

    story.apply(0, rest)
    story.same(readers, "after the last item is gone")
    story.apply(20)
    story.same(readers, "after new items in an emptied table")


def test_attribute_missing_from_every_new_image(story, readers):
    story.load(30)

    def act(model):
        for key, item in list(model.items.items())[::2]:
            model.items[key] = {name: value for name, value in item.items() if name != "w"}

    story.apply(0, act)
    story.same(readers, "after all changed items lost an attribute")


def test_odd_names(tool, warehouse, readers, seed):
    """Dashes, dots, spaces, reserved words, accents, emoji; the key too."""
    story = Story(COMMON, seed, tool, warehouse, "NEW_IMAGE")
    story.load(30)
    story.apply(30)
    story.same(readers, "with odd names")


def test_odd_table_and_folder_names(tool, tmp_path, readers, seed):
    warehouse = Warehouse(tmp_path / ODD_FOLDER)
    story = Story(SMALL, seed, tool, warehouse, table="my_ns.select")
    story.load(20)
    story.apply(20)
    story.same(readers, "in a folder with an odd name")


def test_rerun(story, readers, tool, warehouse):
    story.load(30)
    before = warehouse.metadata_location("ns.t")
    result = tool.full_load(story.full, "ns.t", warehouse, "--key", "pk")
    report = assert_report(result, "full-load", "ns.t", "already_applied", warehouse, START)
    assert all(one["status"] == "already_applied" for one in report["windows"])
    assert warehouse.metadata_location("ns.t") == before
    story.apply(30)
    before = warehouse.metadata_location("ns.t")
    result = tool.incremental(story.exports[-1], "ns.t", warehouse)
    report = assert_report(result, "incremental", "ns.t", "already_applied", warehouse, story.model.until)
    assert all(one["status"] == "already_applied" for one in report["windows"])
    assert warehouse.metadata_location("ns.t") == before
    story.same(readers, "after running both again")


def test_another_export_does_not_replace_the_table(story, readers, tool, warehouse):
    story.load(30)
    other = story.bucket.full(story.bucket.spread([{"pk": {"S": "x"}}], 1), START + 60_000)
    before = warehouse.metadata_location("ns.t")
    result = tool.full_load(other, "ns.t", warehouse, "--key", "pk")
    assert result.exit == 1 and result.json["error"]["exit"] == 1, result
    assert warehouse.metadata_location("ns.t") == before
    story.same(readers, "after a refused load")


def test_newest_change_of_a_repeated_key_wins(story, readers):
    """Hand-made or merged exports may repeat a key."""
    story.load(30)
    keys = {"pk": {"S": "twice"}}
    versions = [keys | {"v": {"N": str(at)}} for at in range(4)]
    at = START * 1000
    changes = [(at + 3, keys, None, versions[3]), (at + 1, keys, None, versions[1]), (at + 2, keys, None, None)]
    folder = story.bucket.incremental([changes[:1], changes[1:]], START, START + WINDOW, "NEW_IMAGE")
    story.model.put(versions[3])
    story.apply_exported(Window(START, START + WINDOW, changes, inserted=1), folder)
    story.same(readers, "after a key given three times")


@pytest.mark.parametrize("attribute", ["plain", "with a-dash.and dot"])
def test_new_attribute_becomes_a_column(attribute, story, readers, tool, warehouse):
    story.load(20)
    profile = Profile("grown", SMALL.key, SMALL.attributes | {attribute: (LONG, whole, 1)})

    def act(model):
        model.profile = profile
        for _ in range(5):
            model.put(model.new_item())
        key, item = next(iter(model.items.items()))
        model.items[key] = item | {attribute: {"N": "7"}}

    window, folder = story.export_window(0, act)
    result = tool.incremental(folder, "ns.t", warehouse)
    report = assert_report(result, "incremental", "ns.t", "applied", warehouse, window.end)
    assert report["windows"][0]["columns_added"] == [attribute]
    story.same(readers, "after an attribute appeared")
    story.apply(20)
    story.same(readers, "after one more window")
