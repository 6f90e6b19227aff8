"""Names that need care: every reader finds every column, by the name that the schema file says."""

import json

import pytest

import exports
from judge import assert_report, metadata
from model import START, WINDOW

NAMES = [
    " ", "😀", "a.b", "a.element", "rows.element", "name", "Name", "NAME", "k", "\u212a", "s", "ſ", "ß", "SS", "µ", "μ", "_ddb_rescued",
    "_file", "_pos", "`", "'", '"', "\\", "\n", "\t", "\x1b[0m", "order by", "select", "1", "-", "%", "a/b", "a,b", "ΑΣ", "ας.β",
    "é", "e\u0301", "n" * 255, "_partition", "__deleted", "__line",
]
FIELDS = ["b", "B", "", " ", "b.c", "_file", "`", '"', "\n", "😀", "\u212a", "K", "element"]


def s(value):
    return {"S": value}


def item(pk):
    made = {name: s(f"{pk} {number}") for number, name in enumerate(NAMES)}
    fields = {name: s(f"{pk} field {number}") for number, name in enumerate(FIELDS)}
    return {"pk": s(pk), "a": {"M": fields}, "rows": {"L": [{"M": fields}]}} | made


def columns_of(file, names):
    return {name: file[name].get("column", name) for name in names}


def check(rows, pks, top, inner, reader):
    assert len(rows) == len(pks), reader
    for row in rows:
        pk = row["pk"]
        for number, name in enumerate(NAMES):
            assert row[top[name]] == f"{pk} {number}", (reader, name)
        fields = {inner[name]: f"{pk} field {number}" for number, name in enumerate(FIELDS)}
        assert row["a"] == fields, reader
        assert row["rows"] == [fields], reader
        assert row["_ddb_rescued"] is None, reader
        assert len(row) == len(NAMES) + 4, reader


def test_every_name_is_read_back(tool, warehouse, readers):
    bucket = exports.Bucket(tool.folder / "bucket")
    full = bucket.full([[item("one")], [item("two")]], START)
    written = [tool.run("detect-schema", full, "--key", "pk") for _ in range(2)]
    assert written[0].exit == 0, written[0]
    assert written[0].stdout == written[1].stdout
    file = json.loads(written[0].stdout)["attributes"]
    top = columns_of(file, NAMES)
    inner = columns_of(file["a"]["type"]["struct"], FIELDS)
    assert file["rows"]["type"]["list"] == file["a"]["type"]
    assert all(name == column or column.startswith(name + "__") and len(column) == len(name) + 10 for name, column in (top | inner).items())
    path = tool.folder / "schema.json"
    path.write_text(written[0].stdout)
    assert_report(tool.full_load(full, "ns.t", warehouse, "--schema", path), "full-load", "ns.t", "applied", warehouse, START)
    found = metadata(warehouse, "ns.t")
    (schema,) = [one for one in found["schemas"] if one["schema-id"] == found["current-schema-id"]]
    assert {one["name"] for one in schema["fields"]} == set(top.values()) | {"pk", "a", "rows", "_ddb_rescued"}
    lowered = [name.lower() for name in top.values()]
    assert len(set(lowered)) == len(lowered)
    for name in readers.names:
        check(readers[name].rows(warehouse, "ns.t"), {"one", "two"}, top, inner, name)
    # The same names in a window, and rows that were rewritten.
    for number, mode in enumerate(("merge-on-read", "copy-on-write")):
        at = START + number * WINDOW
        new = item("three")
        folder = bucket.incremental([[(at * 1000, {"pk": s("three")}, None, new)]], at, at + WINDOW, "NEW_IMAGE")
        done = tool.incremental(folder, "ns.t", warehouse, "--write-mode", mode)
        report = assert_report(done, "incremental", "ns.t", "applied", warehouse, at + WINDOW)
        assert report["windows"][0]["columns_added"] == [] and report["windows"][0]["rescued"] == {}
    for name in readers.names:
        check(readers[name].rows(warehouse, "ns.t"), {"one", "two", "three"}, top, inner, name)


def test_each_column_is_found_by_its_name(tool, warehouse, spark):
    """Spark looks names up without regard to case: none is ambiguous."""
    bucket = exports.Bucket(tool.folder / "bucket")
    full = bucket.full([[item("one")]], START)
    assert tool.full_load(full, "ns.t", warehouse, "--key", "pk").exit == 0
    file = json.loads(tool.run("detect-schema", full, "--key", "pk").stdout)["attributes"]
    quoted = {name: "`" + column.replace("`", "``") + "`" for name, column in columns_of(file, NAMES).items()}
    names = [name for name in NAMES if name != "n" * 255]
    chosen = ", ".join(f"{quoted[name]} AS c{number}" for number, name in enumerate(names))
    (row,) = spark.sql(warehouse, f"SELECT {chosen} FROM {spark.name(warehouse, 'ns.t')}")
    assert [row[f"c{number}"] for number in range(len(names))] == [f"one {NAMES.index(name)}" for name in names]


@pytest.mark.parametrize("length", [1000, 60_000])
def test_long_names(length, tool, warehouse, readers):
    name = "long-" + "n" * (length - 5)
    bucket = exports.Bucket(tool.folder / "bucket")
    full = bucket.full([[{"pk": s("one"), name: s("x"), name.upper(): s("y")}]], START)
    assert tool.full_load(full, "ns.t", warehouse, "--key", "pk").exit == 0
    for reader in readers.names:
        (row,) = readers[reader].rows(warehouse, "ns.t")
        assert row[name.upper()] == "y", reader
        (other,) = [column for column in row if column.startswith(name + "__")]
        assert row[other] == "x", reader


def test_nul(tool, warehouse, readers):
    """A name with NUL in it is kept.

    DuckDB ends a name at the NUL, and makes one up where nothing is left. So does Polars' `scan_iceberg`, but for the made-up
    name: PyIceberg's schema comes to it through Arrow's C interface, where names are C strings. (Of a Parquet file it reads
    the whole names itself.) The values are there.
    """
    bucket = exports.Bucket(tool.folder / "bucket")
    full = bucket.full([[{"pk": s("one"), "a\0b": s("x"), "\0": s("y")}]], START)
    assert tool.full_load(full, "ns.t", warehouse, "--key", "pk").exit == 0
    for reader in readers.names:
        (row,) = readers[reader].rows(warehouse, "ns.t")
        names = {"duckdb": ("a", "C1"), "polars": ("a", "")}.get(reader, ("a\0b", "\0"))
        assert row == dict(zip(("pk", *names, "_ddb_rescued"), ("one", "x", "y", None), strict=True)), reader
