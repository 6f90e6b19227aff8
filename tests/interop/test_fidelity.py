"""Nothing is lost: random items go through an export into a table, are read by real readers, and rebuilt from what these give.

The way back follows the documentation: a column by the attribute that the property `ddb-iceberg.schema` names, a value by its
conversion, `_ddb_rescued` before all columns. NULL and missing are alike in typed columns.
"""

import base64
import json
import random
from decimal import Decimal

import pytest

import exports
from judge import metadata
from model import START, WINDOW
from profiles import anything, big, blob, collected, extreme, flag, fraction, listed, n, null, respelled, s, text, whole

NAMES = [
    "v", "name", "Name", "PK", "a b", " ", "a", "a.b", "a.element", "select", "größe", "🚀", "_file", "_ddb_rescued",
    'quote"d', "back\\slash", "line\nbreak", "NULL", "__deleted", "`tick`", "x" * 255,
]
FIELDS = ["a", "A", "b", "S", "M", "SS", "c d", "e.f", "e", "element", "key", "value", "🚀", "_file"]
LEAVES = [
    text, whole, fraction, big, blob, flag, null, extreme, respelled, anything, collected("SS", text),
    collected("NS", whole), collected("NS", extreme), collected("BS", blob), lambda rnd: {"L": []}, lambda rnd: {"M": {}},
]


def noisy(make):
    """Now and then NULL, or something else altogether."""

    def of(rnd, full=False):
        chance = rnd.random()
        return null(rnd) if chance < 0.05 else anything(rnd) if chance < 0.08 else make(rnd)

    return of


def maker(rnd, depth=0):
    """Makes values of some shape; maps have fields that only come with windows."""
    if depth > 6 or rnd.random() < 0.4:
        return rnd.choice(LEAVES)
    if rnd.random() < 0.4:
        return listed(noisy(maker(rnd, depth + 1)), 3)
    fields = {name: noisy(maker(rnd, depth + 1)) for name in rnd.sample(FIELDS, rnd.randrange(1, 5))}
    return lambda rnd, full=False: {"M": {name: make(rnd) for name, make in fields.items() if rnd.random() < 0.7}}


def history(rnd):
    """Items of a full export, then changes by window: a new image, or None."""
    later = rnd.sample(NAMES, 12)
    makers = {name: noisy(maker(rnd)) for name in later}

    def item(number, names):
        made = {name: makers[name](rnd) for name in names if rnd.random() < 0.8}
        return made | {"pk": s(f"k{number}")}

    load = [item(number, later[:8]) for number in range(30)]
    windows = [
        {number: item(number, later) if rnd.random() < 0.85 else None for number in rnd.sample(range(45), 15)} for _ in range(2)
    ]
    return load, windows


# Back: what a reader gave, as an attribute's value. `None` is a null of a typed column.


class Back:
    def __init__(self, found):
        self.mapping = json.loads(found["properties"]["ddb-iceberg.schema"])["fields"]
        (schema,) = [one for one in found["schemas"] if one["schema-id"] == found["current-schema-id"]]
        self.fields = schema["fields"]

    def item(self, row):
        assert set(row) == {field["name"] for field in self.fields}
        rescued = json.loads(row["_ddb_rescued"] or "{}")
        item = {}
        for field in self.fields:
            source = self.mapping.get(str(field["id"]))
            if source is None:
                assert field["name"] == "_ddb_rescued"
            elif source["name"] not in rescued:
                item[source["name"]] = self.value(row[field["name"]], field["id"], field["type"])
        return item | {name: exact(value) for name, value in rescued.items()}

    def value(self, value, field_id, kind):
        if value is None:
            return None
        conversion = self.mapping[str(field_id)]["type"]
        if conversion == "set":
            inner = self.mapping[str(kind["element-id"])]["type"]
            return scalar_set(inner, value)
        if conversion == "list":
            return ("L", [self.value(one, kind["element-id"], kind["element"]) for one in value], nested(kind["element"]))
        if conversion == "map":
            pairs = value.items() if isinstance(value, dict) else value
            made = {name: self.value(one, kind["value-id"], kind["value"]) for name, one in pairs}
            return ("map", made, nested(kind["value"]))
        if conversion == "struct":
            names = {field["id"]: self.mapping[str(field["id"])]["name"] for field in kind["fields"]}
            return ("struct", {names[f["id"]]: self.value(value[f["name"]], f["id"], f["type"]) for f in kind["fields"]})
        return scalar(conversion, value)


def nested(kind):
    return not isinstance(kind, str)


def scalar_set(inner, values):
    if inner == "string":
        return ("SS", sorted(values))
    if inner == "binary":
        return ("BS", sorted(map(bytes, values)))
    return ("NS", sorted(map(Decimal, values)))


def scalar(conversion, value):
    if conversion == "string":
        assert isinstance(value, str)
        return ("S", value)
    if conversion == "binary":
        return ("B", bytes(value))
    if conversion == "boolean":
        assert isinstance(value, bool)
        return ("BOOL", value)
    if conversion == "json":
        return plain(json.loads(value, parse_int=Decimal, parse_float=Decimal, parse_constant=pytest.fail))
    assert isinstance(value, {"long": int, "decimal": Decimal, "number-string": str}[conversion])
    return ("N", Decimal(value))


def plain(value):
    """Parsed JSON text of a column of type `json`."""
    if value is None:
        return ("NULL",)
    if isinstance(value, bool):
        return ("BOOL", value)
    if isinstance(value, str):
        return ("S", value)
    if isinstance(value, Decimal):
        return ("N", value)
    if isinstance(value, list):
        return ("L", [plain(one) for one in value])
    if len(value) == 1:
        ((name, one),) = value.items()
        if name in ("B", "SS", "NS", "BS"):
            return exact(value)
        if name == "M":
            value = one
        else:
            assert name not in ("S", "N", "BOOL", "NULL", "L"), f"{value} can be taken for a descriptor"
    return ("M", {name: plain(one) for name, one in value.items()})


def exact(descriptor):
    """A value of DynamoDB JSON, comparable."""
    ((kind, value),) = descriptor.items()
    if kind == "N":
        return (kind, Decimal(value))
    if kind == "B":
        return (kind, base64.b64decode(value))
    if kind == "NULL":
        return (kind,)
    if kind == "SS":
        return (kind, sorted(value))
    if kind == "NS":
        return (kind, sorted(map(Decimal, value)))
    if kind == "BS":
        return (kind, sorted(map(base64.b64decode, value)))
    if kind == "L":
        return (kind, [exact(one) for one in value])
    if kind == "M":
        return (kind, {name: exact(one) for name, one in value.items()})
    return (kind, value)


def same(back, original, collapse):
    """Whether the original can be this; `collapse`: the reader gives null lists and maps of nested types as empty ones."""
    if back is None:
        return original in (None, ("NULL",))
    if collapse and len(back) == 3 and back[2] and not back[1] and original in (None, ("NULL",)):
        return True
    if original is None:
        return False
    if back[0] == "L" and len(back) == 3:
        if original[0] != "L" or len(back[1]) != len(original[1]):
            return False
        return all(same(*pair, collapse) for pair in zip(back[1], original[1], strict=True))
    if back[0] == "map":
        if original[0] != "M" or set(back[1]) != set(original[1]):
            return False
        return all(same(one, original[1][name], collapse) for name, one in back[1].items())
    if back[0] == "struct":
        # NULL alone makes no field.
        named = {name for name, one in original[1].items() if one != ("NULL",)} if original[0] == "M" else set()
        if original[0] != "M" or not named <= set(back[1]):
            return False
        return all(same(one, original[1].get(name), collapse) for name, one in back[1].items())
    return back == original


def assert_back(items, warehouse, readers, when):
    back = Back(metadata(warehouse, "ns.t"))
    rescued = 0
    for name in readers.names:
        rows = readers[name].rows(warehouse, "ns.t")
        found = {}
        for row in rows:
            rescued += row["_ddb_rescued"] is not None
            item = back.item(row)
            assert found.setdefault(item["pk"][1], item) is item, f"{when}: {name} gives a key twice"
        assert set(found) == {item["pk"]["S"] for item in items}
        for item in items:
            made = found[item["pk"]["S"]]
            for attribute in {*item, *made}:
                original = exact(item[attribute]) if attribute in item else None
                collapse = readers.collapses(name)
                assert same(made.get(attribute), original, collapse), (
                    f"{when}: {name} gives {made.get(attribute)!r} for {attribute!r} in place of {original!r}"
                )
    return rescued


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("sampled", [False, True], ids=["observed", "by a sample's schema"])
def test_readers_give_back_every_item(number, sampled, tool, warehouse, readers, seed):
    rnd = random.Random(f"fidelity {seed} {number}")
    load, windows = history(rnd)
    bucket = exports.Bucket(tool.folder / "bucket", seed=seed)
    more = ["--key", "pk", "--max-struct-fields", "3" if number % 2 else "256"]
    if sampled:
        sample = exports.Bucket(tool.folder / "sample", seed=seed).full([load[:6]], START)
        schema = tool.folder / "schema.json"
        assert tool.run("detect-schema", sample, "--output", schema, *more).exit == 0
        more = ["--schema", schema, "--key", "pk"]
    done = tool.full_load(bucket.full([load[:15], load[15:]], START), "ns.t", warehouse, *more)
    assert done.exit == 0, done
    items = {item["pk"]["S"]: item for item in load}
    rescued = assert_back(items.values(), warehouse, readers, "after the load")
    assert not sampled or rescued
    at = START
    for window in windows:
        changes = []
        for count, item in window.items():
            key = f"k{count}"
            if item is None:
                changes.append((at * 1000, {"pk": s(key)}, items.pop(key, {"pk": s(key)}), None))
            else:
                changes.append((at * 1000, {"pk": s(key)}, items.get(key), item))
                items[key] = item
        folder = bucket.incremental([changes], at, at + WINDOW, "NEW_IMAGE")
        at += WINDOW
        done = tool.incremental(folder, "ns.t", warehouse)
        assert done.exit == 0, done
        assert_back(items.values(), warehouse, readers, "after a window")
