"""The JSON Schemas in `schemas/` against files and results that the program writes and reads, by a real validator."""

import copy
import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, FormatChecker

import exports
from model import START, WINDOW, Model
from profiles import COMMON, FINE, FLAT
from tool import keys

ROOT = Path(__file__).resolve().parents[2]


def validator(name):
    schema = json.loads((ROOT / "schemas" / name).read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())


@pytest.fixture(scope="module")
def schema_file():
    return validator("schema-file.v1.json")


@pytest.fixture(scope="module")
def result():
    return validator("result.v1.json")


def examples(document):
    """JSON in fenced blocks of a document."""
    blocks = re.findall(r"^```json\n(.*?)^```", (ROOT / document).read_text(), re.S | re.M)
    return [json.loads(block.replace("…", "x")) for block in blocks]


def example_exports():
    return [one.parent for one in sorted((ROOT / "examples/exports").rglob("manifest-summary.json"))]


def is_full(folder):
    return "exportFromTime" not in (folder / "manifest-summary.json").read_text()


def test_examples_in_the_documents(schema_file, result):
    found = {"file": 0, "result": 0}
    for document in ("README.md", "schemas/README.md"):
        for one in examples(document):
            if one.get("command") == "catalog check":
                validator("catalog-check.v1.json").validate(one)
            elif "command" in one:
                result.validate(one)
                found["result"] += 1
            else:
                schema_file.validate(one)
                found["file"] += 1
    assert found["file"] >= 2 and found["result"] >= 1


def test_what_detect_schema_writes_for_the_examples(schema_file, tool, warehouse):
    fulls = [folder for folder in example_exports() if is_full(folder)]
    assert fulls
    for folder in fulls:
        for flat in ([], ["--flat"]):
            for key in ([], ["--key", "customer_id", "--key", "order_id"]):
                written = tool.run("detect-schema", folder, *flat, *key)
                assert written.exit == 0, written
                schema_file.validate(json.loads(written.stdout))


@pytest.mark.parametrize("profile", [COMMON, FLAT, FINE], ids=lambda profile: profile.name)
def test_what_detect_schema_writes_is_taken(profile, schema_file, result, tool, warehouse, seed):
    model = Model(profile, seed)
    model.fill(60)
    bucket = exports.Bucket(tool.folder / "bucket")
    folder = bucket.full(bucket.spread(model.items.values(), 2), START)
    for number, flat in enumerate(([], ["--flat"])):
        written = tool.run("detect-schema", folder, *flat, *([] if flat else keys(profile)))
        assert written.exit == 0, written
        schema_file.validate(json.loads(written.stdout))
        path = tool.folder / "schema.json"
        path.write_text(written.stdout)
        loaded = tool.full_load(folder, f"ns.t{number}", warehouse, "--schema", path, *keys(profile))
        assert loaded.exit == 0, loaded
        result.validate(loaded.json)
        if not flat:
            assert loaded.json["windows"][0]["rescued"] == model.rescued()


BASE = {
    "version": 1, "key": ["pk"], "items": 3,
    "attributes": {
        "pk": {"seen": {"S": 3}, "type": "string"},
        "a": {"seen": {"N": 2, "NULL": 1}, "column": "b", "type": "decimal(38,9)"},
        "m": {"type": {"struct": {"x": {"column": "y", "type": {"list": {"map": {"set": "long"}}}}, "z": {"type": "timestamp(seconds)"}}}},
        "gone": {"exclude": True},
    },
}

# Where, what is put there (or taken away), and whether the file is good after it.
REMOVED = object()
MUTATIONS = [
    ((), [], False),
    ((), "x", False),
    ((), None, False),
    ((), {}, False),
    ((), {"pk": "S"}, True),
    ((), {"pk": "S", "b": "X"}, False),
    ((), {"pk": "S", "b": "NULL", "c": "BS"}, True),
    ((), {"pk": "S", "b": 1}, False),
    (("version",), REMOVED, False),
    (("version",), 2, False),
    (("version",), "1", False),
    (("more",), 1, False),
    (("key",), REMOVED, True),
    (("key",), [], True),
    (("key",), "pk", False),
    (("key",), ["pk", "pk"], False),
    (("key",), ["pk", "a", "m"], False),
    (("key",), [1], False),
    (("key",), None, False),
    (("items",), REMOVED, True),
    (("items",), -1, False),
    (("items",), "3", False),
    (("items",), None, False),
    (("attributes",), REMOVED, False),
    (("attributes",), [], False),
    (("attributes", "pk"), "string", False),
    (("attributes", "a"), {}, False),
    (("attributes", "a"), {"exclude": False}, False),
    (("attributes", "a", "exclude"), False, True),
    (("attributes", "a", "exclude"), True, True),
    (("attributes", "a", "exclude"), "true", False),
    (("attributes", "a", "exclude"), None, False),
    (("attributes", "a", "seen"), {"X": 1}, False),
    (("attributes", "a", "seen"), {"N": -1}, False),
    (("attributes", "a", "seen"), {"N": "1"}, False),
    (("attributes", "a", "seen"), [], False),
    (("attributes", "a", "seen"), {}, True),
    (("attributes", "a", "column"), "", False),
    (("attributes", "a", "column"), 1, False),
    (("attributes", "a", "colum"), "x", False),
    (("attributes", ""), {"column": "empty", "type": "string"}, True),
    (("attributes", "m", "type"), {}, False),
    (("attributes", "m", "type"), {"list": "long", "map": "long"}, False),
    (("attributes", "m", "type"), {"array": "long"}, False),
    (("attributes", "m", "type"), ["long"], False),
    (("attributes", "m", "type"), None, False),
    (("attributes", "m", "type"), {"struct": {}}, False),
    (("attributes", "m", "type"), {"struct": {"x": "long"}}, False),
    (("attributes", "m", "type"), {"struct": {"x": {}}}, False),
    (("attributes", "m", "type"), {"struct": {"x": {"type": "long", "exclude": True}}}, False),
    (("attributes", "m", "type"), {"struct": {"x": {"type": "long", "column": ""}}}, False),
    (("attributes", "m", "type"), {"struct": [{"type": "long"}]}, False),
    (("attributes", "m", "type"), {"set": "json"}, False),
    (("attributes", "m", "type"), {"set": "boolean"}, False),
    (("attributes", "m", "type"), {"set": {"list": "long"}}, False),
    (("attributes", "m", "type"), {"list": {"list": {"list": "json"}}}, True),
    (("attributes", "m", "type"), {"list": "undecided"}, False),
    (("attributes", "m", "type"), {"set": "undecided"}, False),
    (("attributes", "m", "type"), {"map": "undecided"}, False),
    (("attributes", "m", "type"), {"struct": {"x": {"type": "undecided"}}}, False),
    (("attributes", "m", "type"), {"list": {"struct": {"x": {"column": "y", "type": "undecided"}, "z": {"type": "long"}}}}, True),
]
TYPES = {
    True: [
        "string", "long", "double", "number-string", "boolean", "binary", "json", "decimal(1,0)", "decimal(38,38)", "decimal(10, 2)",
        "timestamp(seconds)", "timestamp(milliseconds)", "timestamp(iso-8601)", "undecided",
    ],
    False: [
        "", "String", "text", "int", "decimal", "decimal(0,0)", "decimal(39,1)", "decimal(1)", "decimal(01,0)", "decimal(+1,0)",
        "decimal(1,0) ", " long", "decimal(10,  2)", "timestamp", "timestamp(s)", "timestamp(ISO-8601)", "list", "struct", "N", 1, True,
    ],
}
MUTATIONS += [(("attributes", "a", "type"), one, good) for good, types in TYPES.items() for one in types]
MUTATIONS += [
    (("attributes", "m", "type"), {"set": one}, good)
    for one, good in [("string", True), ("binary", True), ("decimal(3,1)", True), ("timestamp(iso-8601)", True), ("bool", False)]
]


@pytest.mark.parametrize("number", range(len(MUTATIONS)))
def test_parser_and_schema_agree(number, schema_file, tool, warehouse):
    """What one refuses, the other refuses: a file is mutated in one place."""
    path, value, good = MUTATIONS[number]
    mutated = {"": copy.deepcopy(BASE)}
    place = mutated
    for step in ("", *path)[:-1]:
        place = place[step]
    last = ("", *path)[-1]
    if value is REMOVED:
        del place[last]
    else:
        place[last] = value
    text = json.dumps(mutated[""])
    wrong = [error.message for error in schema_file.iter_errors(mutated[""])]
    assert (not wrong) == good, (text, wrong)
    file = tool.folder / "schema.json"
    file.write_text(text)
    bucket = exports.Bucket(tool.folder / "bucket")
    folder = bucket.full([[{"pk": {"S": "1"}, "b": {"NULL": True}}]], START)
    loaded = tool.full_load(folder, "ns.t", warehouse, "--schema", file, "--key", "pk")
    assert (loaded.exit == 0) == good, (text, loaded)
    if not good:
        assert loaded.exit == 2, loaded
        assert "schema file" in loaded.stderr


def test_results(result, tool, warehouse):
    bucket = exports.Bucket(tool.folder / "bucket")
    full = bucket.full([[{"pk": {"S": "1"}, "v": {"N": "1"}}]], START)
    one = bucket.incremental([[(START * 1000, {"pk": {"S": "1"}}, None, {"pk": {"S": "1"}, "v": {"S": "x"}, "n": {"S": "y"}})]], START, START + WINDOW, "NEW_IMAGE")
    gap = bucket.incremental([[]], START + 2 * WINDOW, START + 3 * WINDOW, "NEW_IMAGE")
    out = tool.folder / "schema.json"
    ran = [
        (0, tool.run("detect-schema", full, "--key", "pk", "--output", out, "--format", "json")),
        (3, tool.run("detect-schema", one, "--format", "json")),
        (2, tool.full_load(full, "ns.t", warehouse)),
        (1, tool.incremental(one, "ns.t", warehouse)),
        (0, tool.full_load(full, "ns.t", warehouse, "--key", "pk", "--dry-run")),
        (0, tool.full_load(full, "ns.t", warehouse, "--key", "pk")),
        (0, tool.full_load(full, "ns.t", warehouse, "--key", "pk")),
        (0, tool.incremental(one, "ns.t", warehouse, "--dry-run")),
        (0, tool.incremental(one, "ns.t", warehouse)),
        (0, tool.incremental(one, "ns.t", warehouse)),
        (4, tool.incremental(gap, "ns.t", warehouse)),
        (0, tool.incremental(gap, "ns.t", warehouse, "--allow-gap")),
        (3, tool.incremental(tool.folder / "nothing", "ns.t", warehouse)),
    ]
    for code, done in ran:
        assert done.exit == code, done
        assert done.json is not None, done
        result.validate(done.json)
        assert (done.json["error"] is None) == (code == 0)
        assert (done.json["status"] == "failed") == (code != 0)
