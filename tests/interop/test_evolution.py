"""Attributes and fields that the table does not know yet, and values that do not fit: nothing is lost, nothing is wrong."""

import json

import pytest

import exports
from judge import assert_report, assert_window
from model import START, WINDOW, Window


def s(value):
    return {"S": value}


def n(value):
    return {"N": value}


def m(**fields):
    return {"M": fields}


def l(*elements):  # noqa: E743
    return {"L": list(elements)}


# attribute `a` of the loaded item `old`, then of the item `new` in a window; what both rows hold in column `a`;
# columns and fields that the window adds; is the new value rescued whole
CASES = {
    "a struct gains a field": (m(x=n("1")), m(x=n("2"), y=s("new")), {"x": 1, "y": None}, {"x": 2, "y": "new"}, ["a.y"], False),
    "a struct in a struct gains a field": (
        m(x=m(p=n("1"))), m(x=m(q=s("2"))), {"x": {"p": 1, "q": None}}, {"x": {"p": None, "q": "2"}}, ["a.x.q"], False,
    ),
    "a struct in a list gains a field": (
        l(m(x=n("1"))), l(m(y=s("new")), m()), [{"x": 1, "y": None}], [{"x": None, "y": "new"}, {"x": None, "y": None}], ["a.element.y"], False,
    ),
    "a fraction among integers": (n("1"), n("1.5"), 1, None, [], True),
    "an integer beyond 64 bits": (n("1"), n("9223372036854775808"), 1, None, [], True),
    "the smallest integer": (n("1"), n("-9223372036854775808"), 1, -(2**63), [], False),
    "an integer spelt as a fraction": (n("1"), n("12.000E1"), 1, 120, [], False),
    "text among numbers": (n("1"), s("1"), 1, None, [], True),
    "a number among texts": (s("1"), n("1"), "1", None, [], True),
    "a map among texts": (s("1"), m(x=n("1")), "1", None, [], True),
    "one element of a list": (l(n("1")), l(n("1"), s("x"), n("2")), [1], [1, None, 2], [], True),
    "one field of a struct": (m(x=n("1"), y=n("1")), m(x=s("?"), y=n("2")), {"x": 1, "y": 1}, {"x": None, "y": 2}, [], True),
}


@pytest.mark.parametrize("case", CASES)
def test_values_new_to_the_schema(case, tool, warehouse, readers):
    old, new, old_value, new_value, added, rescued = CASES[case]
    bucket = exports.Bucket(tool.folder / "bucket")
    full = bucket.full([[{"pk": s("old"), "a": old}]], START)
    assert_report(tool.full_load(full, "ns.t", warehouse, "--key", "pk"), "full-load", "ns.t", "applied", warehouse, START)
    item = {"pk": s("new"), "a": new}
    folder = bucket.incremental([[(START * 1000, {"pk": s("new")}, None, item)]], START, START + WINDOW, "NEW_IMAGE")
    result = tool.incremental(folder, "ns.t", warehouse)
    report = assert_report(result, "incremental", "ns.t", "applied", warehouse, START + WINDOW)
    (window,) = report["windows"]
    assert window["columns_added"] == added
    assert window["rescued"] == ({"a": 1} if rescued else {})
    assert_window(
        window | {"columns_added": [], "rescued": {}}, Window(START, START + WINDOW, [], inserted=1), exports.arn(folder)
    )
    expected = [
        {"pk": "new", "a": new_value, "_ddb_rescued": {"a": new} if rescued else None},
        {"pk": "old", "a": old_value, "_ddb_rescued": None},
    ]
    for name in readers.names:
        rows = sorted(readers[name].rows(warehouse, "ns.t"), key=lambda row: row["pk"])
        for row in rows:
            row["_ddb_rescued"] = row["_ddb_rescued"] and json.loads(row["_ddb_rescued"])
        assert rows == expected, name


def test_names_that_differ_by_case_only(tool, warehouse, readers):
    bucket = exports.Bucket(tool.folder / "bucket")
    full = bucket.full([[{"pk": s("old"), "name": s("a"), "Name": s("b"), "_file": s("c"), "a.b": s("d"), "a": m(b=s("e"))}]], START)
    assert_report(tool.full_load(full, "ns.t", warehouse, "--key", "pk"), "full-load", "ns.t", "applied", warehouse, START)
    item = {"pk": s("new"), "NAME": s("f"), "name": s("g"), "_pos": s("h")}
    folder = bucket.incremental([[(START * 1000, {"pk": s("new")}, None, item)]], START, START + WINDOW, "NEW_IMAGE")
    assert_report(tool.incremental(folder, "ns.t", warehouse), "incremental", "ns.t", "applied", warehouse, START + WINDOW)
    older = {"Name": "b", "name__82a3537f": "a", "_file__62e9b8e5": "c", "a.b__2e7336dc": "d", "a": {"b": "e"}}
    younger = {"NAME__eaa58932": "f", "_pos__02d8def1": "h"}
    expected = [
        dict.fromkeys(older) | younger | {"pk": "new", "name__82a3537f": "g", "_ddb_rescued": None},
        older | dict.fromkeys(younger) | {"pk": "old", "_ddb_rescued": None},
    ]
    for name in readers.names:
        rows = sorted(readers[name].rows(warehouse, "ns.t"), key=lambda row: row["pk"])
        assert rows == expected, name
