"""The main job on S3: exports, schema file and warehouse there, the catalog's file local; what was asked of S3 on the way."""

import pytest

import exports
from judge import snapshots
from profiles import COMMON
from s3 import EXPORTS, LAKE, S3Story, S3Warehouse
from test_windows import MODES
from tool import keys


@pytest.fixture
def s3_warehouse(s3, tmp_path):
    return S3Warehouse(s3, tmp_path / "catalog", f"wäre house+{tmp_path.name}")


def assert_own(log, own, bucket=EXPORTS):
    """Requests for this bucket are for these keys only."""
    asked = [one for one in log if one.bucket == bucket]
    strangers = [str(one) for one in asked if one.operation != "ListObjectsV2" and one.key not in own]
    assert not strangers, strangers
    listed = [one.query.get("prefix", "") for one in asked if one.operation == "ListObjectsV2"]
    assert all(any(key.startswith(prefix) for key in own) and prefix.count("/") > 1 for prefix in listed), listed
    return asked


@pytest.mark.parametrize("modes", MODES)
def test_load_and_five_windows(modes, s3, s3_warehouse, tool, readers, seed):
    story = S3Story(COMMON, seed, tool, s3_warehouse, modes=modes)
    # Neighbours that are nobody's business.
    s3.put(f"{story.bucket.prefix}/AWSDynamoDB-other/secret", b"x")
    s3.put(f"{story.bucket.prefix}/AWSDynamoDB/secret", b"x")
    before = len(s3.overwritten(EXPORTS))

    story.model.fill(200)
    folder = story.export_full(empty={0})
    schema = f"{s3_warehouse.prefix}/schemas/orders.json"
    s3.proxy.take_log()
    detected = tool.run(
        "detect-schema", story.place(folder), *keys(COMMON), "--output", f"s3://{EXPORTS}/{schema}", *s3_warehouse.arguments
    )
    assert detected.exit == 0, detected
    assert_own(s3.proxy.take_log(), story.keys_of(folder) | {schema})
    story.load(0, empty={0}, more=("--schema", f"s3://{EXPORTS}/{schema}"))
    assert_own(s3.proxy.take_log(), story.keys_of(story.full) | {schema})
    story.same(readers, "after the load")
    for number in range(1, 6):
        story.apply(90, empty={0} if number == 2 else ())
        asked = assert_own(s3.proxy.take_log(), story.keys_of(story.exports[-1]))
        assert {one.operation for one in asked} <= {"GetObject", "HeadObject"}, asked
        story.same(readers, f"after window {number}")
    if modes:
        assert snapshots(s3_warehouse, "ns.t")[-1]["summary"]["total-delete-files"] == "0"
    assert s3.overwritten(LAKE) == [] and len(s3.overwritten(EXPORTS)) == before
    assert s3.uploads() == []


def test_a_folder_of_exports_is_listed_from_the_watermark_on(s3, s3_warehouse, tool, readers, seed):
    story = S3Story(COMMON, seed, tool, s3_warehouse)
    story.load(50)
    first, second = story.export_window(30), story.export_window(30)
    story.place(second[1])
    home = f"{story.bucket.prefix}/AWSDynamoDB/"
    result = tool.incremental(f"s3://{EXPORTS}/{home}", "ns.t", s3_warehouse)
    assert result.exit == 0 and len(result.json["windows"]) == 2, result
    story.same(readers, "after two windows")
    s3.proxy.take_log()
    result = tool.incremental(f"s3://{EXPORTS}/{home}", "ns.t", s3_warehouse)
    assert result.exit == 0 and result.json["status"] == "nothing_to_do", result
    asked = [one for one in s3.proxy.take_log() if one.bucket == EXPORTS]
    assert all((one.key or one.query["prefix"]).startswith(home) for one in asked), asked
    assert not any(one.key.startswith(f"{home}data/") for one in asked), asked
    old = story.keys_of(story.full) | story.keys_of(first[1])
    assert not any(one.key in old for one in asked), "manifests that lie behind the watermark are read again"


def test_one_file_of_a_hundred_is_forbidden(s3, s3_warehouse, tool, readers, seed):
    story = S3Story(COMMON, seed, tool, s3_warehouse)
    story.model.fill(300)
    folder = story.export_full(files=100)
    location = story.place(folder)
    forbid(s3, folder, 57)
    result = tool.full_load(location, "ns.t", s3_warehouse, *keys(COMMON))
    assert_forbidden(result, folder, 57)
    assert s3.keys(LAKE, s3_warehouse.prefix) == [] and s3.uploads() == []
    s3.proxy.take_log()
    story.load(0)

    window, folder = story.export_window(200, files=100)
    location = story.place(folder)
    before = s3_warehouse.metadata_location("ns.t"), s3.keys(LAKE, s3_warehouse.prefix)
    forbid(s3, folder, 99)
    assert_forbidden(tool.incremental(location, "ns.t", s3_warehouse), folder, 99)
    assert (s3_warehouse.metadata_location("ns.t"), s3.keys(LAKE, s3_warehouse.prefix)) == before
    assert s3.uploads() == []
    s3.proxy.take_log()
    story.apply_exported(window, folder)
    story.same(readers, "after the window")


def data_key(folder, number):
    return exports.files(folder)[number]["dataFileS3Key"]


def forbid(s3, folder, number):
    key = data_key(folder, number)
    s3.proxy.fault = lambda request: "403" if request.key == key else None


def assert_forbidden(result, folder, number):
    assert result.exit == 1, result
    for text in (result.stderr, result.json["error"]["message"] + str(result.json["error"].get("file"))):
        assert data_key(folder, number) in text and "s3:GetObject" in text, result
