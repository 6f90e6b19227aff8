"""The judge: a table against the model, row by row and value by value, in every reader; and the command's own report."""

import json
from datetime import datetime, timedelta, timezone

from shapes import Mismatch, canonical, stored

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def differences(model, rows, collapse=False):
    """What rows differ in from the model's; an empty list when they are equal. Order of rows and columns is free."""
    shapes = model.columns
    names = set(shapes) | {"_ddb_rescued"}
    found, wrong = {}, []
    for row in rows:
        if set(row) != names:
            return [f"columns {sorted(set(row) ^ names)} are there in the table only or in the model only"]
        try:
            key = tuple(canonical(row[name], shapes[name]) for name in model.profile.key)
        except Mismatch as error:
            return [f"key of {row}: {error}"]
        if key in found:
            wrong.append(f"key {key!r}: more than one row")
        found[key] = row
    for key in found.keys() - model.items.keys():
        wrong.append(f"key {key!r}: a row in the table, no item in the model")
    for key, item in model.items.items():
        if key not in found:
            wrong.append(f"key {key!r}: no row in the table")
            continue
        expected = model.row(item)
        for name in expected:
            shape = shapes.get(name)
            if shape is None:  # _ddb_rescued
                want, got = (one and json.loads(one) for one in (expected[name], found[key][name]))
            else:
                want = canonical(expected[name], shape, collapse)
                try:
                    got = canonical(found[key][name], shape, collapse)
                except Mismatch as error:
                    got = error
            if isinstance(got, Mismatch) or got != want:
                wrong.append(f"key {key!r}, column {name!r}: {got!r} in place of {want!r}")
    return wrong


def assert_same(model, warehouse, table, readers, when):
    """All rows equal the model in every reader."""
    for name in readers.names:
        wrong = differences(model, readers[name].rows(warehouse, table), readers.collapses(name))
        if wrong:
            shown = "\n  ".join(text if len(text) < 600 else text[:600] + "…" for text in wrong[:8])
            raise AssertionError(
                f"{when}: {name} reads other rows than the model has (seed {model.seed!r}), {len(wrong)} differences:\n  {shown}"
            )


def metadata(warehouse, table):
    return json.loads(warehouse.read(warehouse.metadata_location(table)))


def assert_schema(model, warehouse, table):
    """The current schema is the model's: types, key, required columns, order."""
    found = metadata(warehouse, table)
    assert found["format-version"] == 2
    (schema,) = [one for one in found["schemas"] if one["schema-id"] == found["current-schema-id"]]
    assert {one["name"]: stored(one["type"]) for one in schema["fields"]} == model.types()
    key = list(model.profile.key)
    ids = {one["id"]: one["name"] for one in schema["fields"]}
    assert sorted(ids[one] for one in schema["identifier-field-ids"]) == sorted(key)
    assert {one["name"] for one in schema["fields"] if one["required"]} == set(key)
    order = [one["name"] for one in schema["fields"]]
    assert order[: len(key)] == key
    return order


def moment(text):
    """An instant of a report or summary in milliseconds."""
    instant = datetime.fromisoformat(text)
    assert instant.tzinfo is not None, f"{text}: no time zone"
    return (instant - EPOCH) // timedelta(milliseconds=1)


def assert_window(got, window, arn, snapshot=None):
    """One element of `windows` in a report."""
    assert got["status"] == "applied", got
    assert got["export_arn"] == arn
    assert moment(got["from"]) == window.start
    assert moment(got["to"]) == window.end
    assert got["rows"] == {"inserted": window.inserted, "updated": window.updated, "deleted": window.deleted}
    assert got["rescued"] == window.rescued and got["columns_added"] == []
    assert isinstance(got["snapshot_id"], str)
    if snapshot is not None:
        assert got["snapshot_id"] == str(snapshot["snapshot-id"])
        assert_files(got, snapshot)


def assert_files(got, snapshot):
    summary = snapshot["summary"]
    assert got["files"] == {
        "data_added": int(summary.get("added-data-files", 0)),
        "data_removed": int(summary.get("deleted-data-files", 0)),
        "deletes_added": int(summary.get("added-delete-files", 0)),
    }


def assert_report(result, command, table, status, warehouse, watermark):
    """What a report says besides its windows."""
    report = result.json
    assert result.exit == 0, result
    assert report["version"] == 1 and report["command"] == command and report["table"] == table
    assert report["status"] == status, result
    assert report.get("error") is None
    assert moment(report["watermark"]) == watermark
    assert isinstance(report["lag_seconds"], int) and report["lag_seconds"] >= 0
    assert report["pending"] == 0
    assert report["metadata_location"] == warehouse.metadata_location(table)
    assert report["metadata_location"].startswith(warehouse.scheme) or status != "applied"
    assert isinstance(report["seconds"], (int, float)) and report["seconds"] >= 0
    assert isinstance(report["warnings"], list)
    return report


def snapshots(warehouse, table):
    """Snapshots on main, oldest first."""
    found = metadata(warehouse, table)
    by_id = {one["snapshot-id"]: one for one in found.get("snapshots", [])}
    chain, at = [], found.get("current-snapshot-id")
    assert found["refs"]["main"]["snapshot-id"] == at
    while at in by_id:
        chain.append(by_id[at])
        at = by_id[at].get("parent-snapshot-id")
    return chain[::-1]
