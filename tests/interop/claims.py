"""Counts again, from the files themselves, what manifests, metadata tables and snapshot summaries claim."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pyarrow.parquet as parquet
from pyarrow import types

from judge import EPOCH, metadata, snapshots
from readers import path
from shapes import EXACT

FILE_PATH, POS = 2147483546, 2147483545
FILE_COLUMNS = """content, file_path, file_format, spec_id, record_count, file_size_in_bytes, value_counts,
    null_value_counts, lower_bounds, upper_bounds, split_offsets, equality_ids, sort_order_id, referenced_data_file"""


def assert_claims(spark, warehouse, table, live):
    """All claims of the current snapshot; `live` is the number of rows it must have."""
    name = spark.name(warehouse, table)
    files = spark.sql(warehouse, f"select {FILE_COLUMNS} from {name}.data_files")
    deletes = spark.sql(warehouse, f"select {FILE_COLUMNS} from {name}.delete_files")
    entries = spark.sql(
        warehouse, f"select status, snapshot_id, sequence_number, file_sequence_number, data_file.* from {name}.entries"
    )
    found = metadata(warehouse, table)
    (schema,) = [one for one in found["schemas"] if one["schema-id"] == found["current-schema-id"]]
    for one in files:
        assert_data_file(one, schema)
    gone = sum(assert_delete_file(one) for one in deletes)
    assert_each_row_deleted_once(deletes, files)
    assert sum(one["record_count"] for one in files) - gone == live
    assert_entries(entries, files, deletes, snapshots(warehouse, table))
    assert_summary(snapshots(warehouse, table)[-1], entries, files, deletes)
    assert_manifests(spark, warehouse, name, files, deletes)


def leaves(fields, above=()):
    """Primitive columns that are not inside lists or maps: (field id, names, type)."""
    for field in fields:
        names = (*above, field["name"])
        if isinstance(field["type"], str):
            yield field["id"], names, field["type"]
        elif field["type"]["type"] == "struct":
            yield from leaves(field["type"]["fields"], names)


def columns(fields, above=()):
    """Columns of a Parquet file by field id, those within structs too: names in the file need not be the table's."""
    found = {}
    for field in fields:
        names = (*above, field.name)
        found[int(field.metadata[b"PARQUET:field_id"])] = names
        if types.is_struct(field.type):
            found |= columns(field.type, names)
    return found


def decoded(raw, kind):
    """A bound, by the Iceberg specification's single-value serialization."""
    raw = bytes(raw)
    if kind == "string":
        return raw.decode()
    if kind == "long":
        assert len(raw) == 8
        return int.from_bytes(raw, "little", signed=True)
    if kind.startswith("decimal"):
        scale = int(kind.rstrip(")").split(",")[1])
        return Decimal(int.from_bytes(raw, "big", signed=True)).scaleb(-scale, EXACT)
    if kind == "timestamptz":
        assert len(raw) == 8
        return EPOCH + timedelta(microseconds=int.from_bytes(raw, "little", signed=True))
    if kind == "boolean":
        assert raw in (b"\0", b"\1")
        return raw == b"\1"
    return raw


def ordered(value):
    return value.encode() if isinstance(value, str) else value


def assert_file(one):
    """What holds for data and delete files alike; gives the Parquet file."""
    where = path(one["file_path"])
    opened = parquet.ParquetFile(where)
    assert one["file_format"] == "PARQUET" and one["equality_ids"] is None
    assert one["file_size_in_bytes"] == where.stat().st_size
    assert one["record_count"] == opened.metadata.num_rows > 0
    if one["split_offsets"] is not None:
        starts = []
        for number in range(opened.metadata.num_row_groups):
            column = opened.metadata.row_group(number).column(0)
            starts.append(column.dictionary_page_offset or column.data_page_offset)
        assert one["split_offsets"] == starts
    return opened


def assert_data_file(one, schema):
    opened = assert_file(one)
    assert one["content"] == 0 and one["referenced_data_file"] is None
    assert one["split_offsets"], "no split offsets"
    rows = opened.read().to_pylist()
    file_columns = columns(opened.schema_arrow)
    keys = [file_columns[one["id"]] for one in schema["fields"] if one["id"] in schema["identifier-field-ids"]]
    for field_id, names, kind in leaves(schema["fields"]):
        if field_id not in file_columns:
            continue  # a column younger than the file
        values = [reached(row, file_columns[field_id]) for row in rows]
        there = [ordered(value) for value in values if value is not None]
        about = f"{one['file_path']}: column {'/'.join(names)}"
        assert_count(one["value_counts"], field_id, len(values), about)
        assert_count(one["null_value_counts"], field_id, len(values) - len(there), about)
        lower, upper = (one[side].get(field_id) for side in ("lower_bounds", "upper_bounds"))
        if not there:
            assert lower is None and upper is None, about
            continue
        if lower is not None:
            assert ordered(decoded(lower, kind)) <= min(there), f"{about}: lower bound too high"
        if upper is not None:
            assert ordered(decoded(upper, kind)) >= max(there), f"{about}: upper bound too low"
        if field_id in schema["identifier-field-ids"]:
            assert lower is not None, f"{about}: no lower bound"
            unbounded = kind in ("string", "binary") and max(there)[:1] in (b"\xff", b"\xf4")
            assert upper is not None or unbounded, f"{about}: no upper bound"
    assert [row_key(row, keys) for row in rows] == sorted(row_key(row, keys) for row in rows), f"{one['file_path']}: not sorted"


def assert_count(counts, field_id, expected, about):
    assert counts.get(field_id) == expected, f"{about}: {counts.get(field_id)} in place of {expected}"


def row_key(row, keys):
    return tuple(ordered(reached(row, names)) for names in keys)


def reached(row, names):
    for name in names:
        if row is None:
            return None
        row = row[name]
    return row


def assert_delete_file(one):
    """Position deletes; gives their number."""
    opened = assert_file(one)
    assert one["content"] == 1 and one["sort_order_id"] is None
    schema = opened.schema_arrow
    ids = {field.name: int(field.metadata[b"PARQUET:field_id"]) for field in schema}
    assert ids == {"file_path": FILE_PATH, "pos": POS}
    rows = [(row["file_path"], row["pos"]) for row in opened.read().to_pylist()]
    assert rows == sorted(rows), f"{one['file_path']}: not sorted by path and position"
    names = {name for name, _ in rows}
    lower, upper = (bytes(one[side][FILE_PATH]).decode() for side in ("lower_bounds", "upper_bounds"))
    assert (lower, upper) == (min(names), max(names)), "bounds of file_path must be whole"
    if POS in one["lower_bounds"]:
        assert decoded(one["lower_bounds"][POS], "long") <= min(pos for _, pos in rows)
        assert decoded(one["upper_bounds"][POS], "long") >= max(pos for _, pos in rows)
    assert one["referenced_data_file"] == (next(iter(names)) if len(names) == 1 else None)
    return len(rows)


def assert_each_row_deleted_once(deletes, files):
    """No delete dangles, none is said twice, and spec ids agree."""
    by_path = {one["file_path"]: one for one in files}
    seen = Counter()
    for one in deletes:
        for row in parquet.read_table(path(one["file_path"])).to_pylist():
            target = by_path[row["file_path"]]
            assert 0 <= row["pos"] < target["record_count"]
            assert one["spec_id"] == target["spec_id"]
            seen[row["file_path"], row["pos"]] += 1
    assert not seen or max(seen.values()) == 1, seen.most_common(3)


def assert_entries(entries, files, deletes, chain):
    """Live entries are the listed files; what this snapshot added bears its sequence number; deletes come after data."""
    sequence = {one["snapshot-id"]: one["sequence-number"] for one in chain}
    live = {one["file_path"]: one for one in entries if one["status"] in (0, 1)}
    assert sorted(live) == sorted(one["file_path"] for one in (*files, *deletes))
    for one in live.values():
        assert one["sequence_number"] == one["file_sequence_number"] == sequence[one["snapshot_id"]], one["file_path"]
    for one in deletes:
        for row in parquet.read_table(path(one["file_path"]), columns=["file_path"]).to_pylist():
            assert live[one["file_path"]]["sequence_number"] >= live[row["file_path"]]["sequence_number"]


def assert_summary(snapshot, entries, files, deletes):
    """Totals equal what the metadata tables count, and what was added is what the entries say."""
    summary, here = snapshot["summary"], snapshot["snapshot-id"]
    added = [one for one in entries if one["status"] == 1 and one["snapshot_id"] == here]
    added_data = [one for one in added if one["content"] == 0]
    added_deletes = [one for one in added if one["content"] == 1]
    totals = {
        "total-records": sum(one["record_count"] for one in files),
        "total-data-files": len(files),
        "total-delete-files": len(deletes),
        "total-position-deletes": sum(one["record_count"] for one in deletes),
        "total-equality-deletes": 0,
        "total-files-size": sum(one["file_size_in_bytes"] for one in (*files, *deletes)),
    }
    changes = {
        "added-data-files": len(added_data),
        "added-records": sum(one["record_count"] for one in added_data),
        "added-delete-files": len(added_deletes),
        "added-position-deletes": sum(one["record_count"] for one in added_deletes),
    }
    assert {name: summary.get(name) for name in totals} == {name: str(value) for name, value in totals.items()}
    assert {name: int(summary.get(name, 0)) for name in changes} == changes
    assert summary["operation"] != "append" or not added_deletes


def assert_manifests(spark, warehouse, name, files, deletes):
    live = Counter()
    for one in spark.sql(warehouse, f"select * from {name}.manifests"):
        assert one["length"] == path(one["path"]).stat().st_size
        for kind in ("data", "delete"):
            live[kind] += one[f"added_{kind}_files_count"] + one[f"existing_{kind}_files_count"]
    assert (live["data"], live["delete"]) == (len(files), len(deletes))
