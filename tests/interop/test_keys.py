"""Keys: every one is found by an equality filter, and no bound of a file hides a row."""

import base64
import random

import pyarrow.parquet as parquet
import pytest
from pyiceberg.expressions import And, EqualTo

from judge import differences
from profiles import COMMON, Profile, whole
from shapes import BINARY, DECIMAL, DIGITS, LONG, STRING
from story import Story

PREFIX = "customer#" + "0123456789" * 19 + "/"  # 200 bytes that all long keys share


def text_keys():
    rnd = random.Random(4)
    long = [PREFIX + f"{number:06d}" + "".join(rnd.choices("abcäöü😀", k=2000)) for number in range(120)]
    long = [key.encode()[:2048].decode(errors="ignore") for key in long]
    last = ["\U0010ffff" * 20, "\U0010ffff" * 512, "\ud7ff" * 30, "a" * 15 + "\ud7ff" * 3, "z" * 64, "z" * 65, "~"]
    return [*long, *last, *(f"k{number}" for number in range(40)), PREFIX, "a", "é" * 16, "e\u0301" * 16]


def byte_keys():
    rnd = random.Random(4)
    shared = b"\x00\xff" * 100
    long = [shared + number.to_bytes(2, "big") + rnd.randbytes(2048 - 202) for number in range(100)]
    return [*long, b"\xff" * 16, b"\xff" * 17, b"\xff" * 2048, b"\x00", b"\x00" * 64, b"\x7f", b"\x80", shared]


def number_keys():
    return [0, -1, 1, 2**63 - 1, -(2**63), *random.Random(4).sample(range(-(10**12), 10**12), 60)]


def spelt(value, kind):
    if kind == "B":
        return {"B": base64.b64encode(value).decode()}
    return {kind: str(value)}


def scenario(shapes, values, seed, tool, warehouse):
    """A table with one item a key; `values` are tuples of plain key values."""
    kinds = ["N" if shape in (LONG, DECIMAL, DIGITS) else "B" if shape == BINARY else "S" for shape in shapes]
    names = ["pk", "sk"][: len(shapes)]
    profile = Profile("keys", {name: (shape, None) for name, shape in zip(names, shapes, strict=True)}, {"v": (LONG, whole, 1)})
    story = Story(profile, seed, tool, warehouse, "NEW_IMAGE")

    def item(key, number):
        return {name: spelt(part, kind) for name, part, kind in zip(names, key, kinds, strict=True)} | {"v": {"N": str(number)}}

    for number, key in enumerate(values):
        story.model.put(item(key, number))
    assert len(story.model.items) == len(values)
    story.load(0)
    return story, item


def assert_found(story, readers, keys):
    """An equality filter on each key gives its one row."""
    names = list(story.model.profile.key)
    condition = " and ".join(f'"{name}" = ?' for name in names)
    for reader in ("pyiceberg", "duckdb"):
        if reader not in readers.names:
            continue
        if reader == "pyiceberg":
            table = story.warehouse.pyiceberg().load_table(story.table)
        for key in keys:
            if reader == "pyiceberg":
                terms = [EqualTo(name, part) for name, part in zip(names, key, strict=True)]
                found = table.scan(row_filter=terms[0] if len(terms) == 1 else And(*terms)).to_arrow().to_pylist()
            else:
                found = readers["duckdb"].select(story.warehouse, story.table, condition, list(key))
            assert len(found) == 1, f"{reader} finds {len(found)} rows by {key!r}"
            expected = story.model.row(story.model.items[key])
            assert found[0] == expected, (reader, key, found[0])


CASES = {
    "S of 2048 bytes": ((STRING,), lambda: [(key,) for key in text_keys()]),
    "B of 2048 bytes": ((BINARY,), lambda: [(key,) for key in byte_keys()]),
    "N": ((LONG,), lambda: [(key,) for key in number_keys()]),
    "S and B": ((STRING, BINARY), lambda: [(PREFIX + key[-5:], value[:1024]) for key in text_keys()[:8] for value in byte_keys()[::11]]),
    "B and N": ((BINARY, LONG), lambda: [(key, number) for key in byte_keys()[::9] for number in (-1, 0, 2**40)]),
}


@pytest.mark.parametrize("case", CASES)
def test_every_key_is_found(case, tool, warehouse, readers, seed):
    shapes, values = CASES[case]
    values = list(dict.fromkeys(values()))
    story, item = scenario(shapes, values, seed, tool, warehouse)
    story.same(readers, "after the load")
    assert_found(story, readers, values)

    def act(model):
        for number, key in enumerate(values):
            if number % 3 == 0:
                model.put(item(key, number + 1000))
            elif number % 7 == 1:
                model.remove(key)

    window = story.apply(0, act)
    assert window.updated and window.deleted and not window.inserted
    story.same(readers, "after a window that touches a third of the keys")
    assert_found(story, readers, list(story.model.items)[::8])


def test_numbers_are_keys_by_value(tool, warehouse, readers, seed):
    """`1`, `1.0` and `1E0` are one key, in whichever record they come."""
    story, item = scenario((LONG,), [("1",), ("2",), ("300",)], seed, tool, warehouse)
    for spelling in ("1.0", "1E0", "10E-1", "0.1E1", "1"):
        window = story.apply(0, lambda model, spelling=spelling: model.put(item((spelling,), len(spelling))))
        assert (window.inserted, window.updated) == (0, 1)
        story.same(readers, f"after an update that spells the key {spelling}")
    window = story.apply(0, lambda model: [model.put(item(("3E2",), 5)), model.remove((2,)), model.remove((1,))])
    assert (window.updated, window.deleted) == (1, 2)
    story.same(readers, "after deletes")


def test_fractions_are_keys_by_value(tool, warehouse, readers, seed):
    story, item = scenario((DECIMAL,), [("0.5",), ("-12.25",), ("100",)], seed, tool, warehouse)
    for spelling in ("0.50", "5E-1", "1E2", "-12.250", "0.0500E1"):
        window = story.apply(0, lambda model, spelling=spelling: model.put(item((spelling,), len(spelling))))
        assert (window.inserted, window.updated) == (0, 1), spelling
    story.same(readers, "after five updates")


def test_numbers_beyond_decimals_are_keys_by_value(tool, warehouse, readers, seed):
    """A key that no decimal holds is text in a canonical form."""
    story, item = scenario((DIGITS,), [("1E+100",), ("1E-100",), ("7",)], seed, tool, warehouse)
    for spelling in ("10E99", "0.1E+101", "1E-100", "7.0", "10.0E-101"):
        window = story.apply(0, lambda model, spelling=spelling: model.put(item((spelling,), len(spelling))))
        assert (window.inserted, window.updated) == (0, 1), spelling
        for name in readers.names:
            rows = readers[name].rows(warehouse, "ns.t")
            assert differences(story.model, rows) == [], name
    keys = {row["pk"] for row in readers[readers.names[0]].rows(warehouse, "ns.t")}
    assert len(keys) == 3


def test_a_wrong_key_is_refused(tool, warehouse, readers, seed):
    """A table loaded by half of its key would lose whole collections to one delete."""
    story = Story(COMMON, seed, tool, warehouse)
    story.model.fill(20)
    full = story.export_full()
    loaded = tool.full_load(full, "ns.t", warehouse, "--key", "order")
    assert loaded.exit == 0, loaded
    before = warehouse.metadata_location("ns.t")
    _, folder = story.export_window(20)
    result = tool.incremental(folder, "ns.t", warehouse)
    assert result.exit == 3 and result.json["error"]["line"], result
    assert warehouse.metadata_location("ns.t") == before


def test_long_keys_in_several_row_groups(tool, warehouse, readers, seed):
    """Row groups of short keys have exact statistics, those of long ones have not: the file's bounds must cover both."""
    rnd = random.Random(4)
    long = [PREFIX + f"{number:06d}" + base64.b64encode(rnd.randbytes(1380)).decode() for number in range(68_000)]
    short = [f"{side}{number:05d}" for side in "az" for number in range(10_000)]
    profile = Profile("keys", {"pk": (STRING, None)}, {"v": (LONG, whole, 1)})
    story = Story(profile, seed, tool, warehouse, "NEW_IMAGE")
    for number, key in enumerate([*long, *short]):
        story.model.put({"pk": {"S": key}, "v": {"N": str(number)}})
    story.load(0, files=1, more=("--threads", "1", "--memory-limit", "4GiB"))
    assert max(parquet.ParquetFile(one).num_row_groups for one in warehouse.folder.rglob("data/*.parquet")) > 1
    asked = [(key,) for key in (long[0], long[-1], *rnd.sample(long, 4), "a00000", "z09999")]
    assert_found(story, readers, asked)
    window = story.apply(0, lambda model: [model.put({"pk": {"S": key}, "v": {"N": "-1"}}) for (key,) in asked])
    assert window.updated == len(asked)
    assert_found(story, readers, asked)
    (name, *_) = readers.names
    assert sorted(row["pk"] for row in readers[name].rows(warehouse, "ns.t")) == sorted([*long, *short])
