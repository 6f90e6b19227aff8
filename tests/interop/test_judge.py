"""The judge judged: writer, model and readers agree without the binary, and the judge sees what is wrong.

Rows are appended by Spark, since PyIceberg would write a null list of structs as an empty one.
"""

import copy

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.types import BinaryType, BooleanType, DecimalType, ListType, LongType, MapType, NestedField, StringType, StructType

import exports
from judge import assert_same, assert_schema, differences
from model import Model, replay
from profiles import COMMON, FINE
from readers import ODD_FOLDER, Warehouse
from shapes import ListOf, MapOf, Scalar

SCALARS = {"long": LongType(), "decimal": DecimalType(38, 9), "binary": BinaryType(), "boolean": BooleanType()}


def as_type(shape, ids):
    if isinstance(shape, Scalar):
        return SCALARS.get(shape.kind, StringType())
    if isinstance(shape, ListOf):
        return ListType(next(ids), as_type(shape.element, ids), False)
    if isinstance(shape, MapOf):
        return MapType(next(ids), StringType(), next(ids), as_type(shape.value, ids), False)
    return StructType(*(NestedField(next(ids), name, as_type(one, ids), False) for name, one in shape.fields.items()))


def create(warehouse, model, table, spark):
    """The model's table, created by PyIceberg and filled by Spark."""
    warehouse.folder.mkdir()
    catalog = SqlCatalog("default", uri=f"sqlite:///{warehouse.database}", warehouse=warehouse.uri)
    catalog.create_namespace(table.split(".")[0])
    ids = iter(range(1, 10_000))
    shapes = model.columns | {"_ddb_rescued": Scalar("string")}
    fields = [NestedField(next(ids), name, as_type(shape, ids), name in model.profile.key) for name, shape in shapes.items()]
    key = [one.field_id for one in fields if one.name in model.profile.key]
    catalog.create_table(table, Schema(*fields, identifier_field_ids=key))
    spark.append(warehouse, table, model.rows())


@pytest.mark.parametrize("profile", [COMMON, FINE], ids=lambda one: one.name)
def test_readers_read_what_was_written(profile, warehouse, readers, spark, seed):
    model = Model(profile, seed)
    model.fill(60)
    create(warehouse, model, "ns.t", spark)
    assert_schema(model, warehouse, "ns.t")
    assert_same(model, warehouse, "ns.t", readers, "after an append by Spark")


def test_readers_read_from_a_folder_with_an_odd_name(tmp_path, readers, spark, seed):
    model = Model(COMMON, seed)
    model.fill(10)
    warehouse = Warehouse(tmp_path / ODD_FOLDER)
    create(warehouse, model, "my_ns.select", spark)
    assert_same(model, warehouse, "my_ns.select", readers, "in a folder with an odd name")


@pytest.mark.parametrize("profile", [COMMON, FINE], ids=lambda one: one.name)
@pytest.mark.parametrize("view", exports.VIEWS)
def test_exports_tell_the_history(profile, view, tmp_path, seed):
    model = Model(profile, seed)
    model.fill(80)
    bucket = exports.Bucket(tmp_path / "bucket", prefix="some/prefix", seed=seed)
    full = bucket.full(bucket.spread(model.items.values(), 4, empty={0}), model.until)
    windows = [model.window(120) for _ in range(4)]
    folders = [bucket.incremental(bucket.spread(one.changes, 3), one.start, one.end, view) for one in windows]
    told = [exports.read(folder, bucket.root)[1] for folder in folders]
    for records, window in zip(told, windows, strict=True):
        assert len(records) == len(window.changes) == window.inserted + window.updated + window.deleted
        for record in records:
            assert ("OldImage" in record) <= (view == "NEW_AND_OLD_IMAGES")
    assert replay(profile, exports.read(full, bucket.root)[1], told) == model.items
    assert sum(one.deleted for one in windows) and sum(one.updated for one in windows)
    assert sum(one.inserted for one in windows)


def test_the_same_seed_tells_the_same_history(seed):
    def told(seed):
        model = Model(COMMON, seed)
        model.fill(20)
        return [model.window(30).changes for _ in range(2)], model.items

    assert told(seed) == told(seed)
    assert told(seed) != told(f"not {seed}")


def spoilt(rows):
    """Rows as a bad reader or writer might give them, with what must be noticed."""
    def change(name, value):
        wrong = copy.deepcopy(rows)
        at = next(at for at, row in enumerate(wrong) if row[name] not in (None, [], value))
        wrong[at][name] = value(wrong[at][name]) if callable(value) else value
        return wrong

    yield "no row in the table", rows[1:]
    yield "more than one row", [*rows, rows[0]]
    yield "no item in the model", [*rows, rows[0] | {"line-no": 77}]
    yield "columns", [{name: one for name, one in row.items() if name != "select"} for row in rows]
    yield "'select'", change("select", None)
    yield "'group by'", change("group by", float)
    yield "'big'", change("big", lambda value: value + 1)
    yield "'unit.price'", change("unit.price", str)
    yield "'unit.price'", change("unit.price", float)
    yield "'blob-data'", change("blob-data", lambda value: value + b"\0")
    yield "'🚀'", change("🚀", int)
    yield "'tags'", change("tags", lambda value: value * 2)
    yield "'scores'", change("scores", lambda value: [None, *value])
    yield "'lines'", change("lines", lambda value: value[:-1])
    yield "'address'", change("address", lambda value: value | {"geo.point": {"lat": None, "lon": 1}})
    yield "'_ddb_rescued'", [rows[0] | {"_ddb_rescued": "{}"}, *rows[1:]]


def test_the_judge_sees_every_wrong_value(seed):
    model = Model(COMMON, seed)
    model.fill(40)
    rows = model.rows()
    assert differences(model, rows) == []
    assert differences(model, rows[::-1]) == []
    for noticed, wrong in spoilt(rows):
        found = differences(model, wrong)
        assert found and any(noticed in text for text in found), (noticed, found)


def test_null_and_empty_are_told_apart(seed):
    model = Model(COMMON, seed)
    model.fill(40)
    rows = model.rows()
    for name, nothing in (("matrix", []), ("lines", []), ("address", {})):
        at = next(at for at, row in enumerate(rows) if row[name] is None)
        empty = [*rows[:at], rows[at] | {name: nothing}, *rows[at + 1 :]]
        assert differences(model, empty), name
        assert bool(differences(model, empty, collapse=True)) == (name != "lines"), name
