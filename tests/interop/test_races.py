"""Others commit while we do: both have planned on the same snapshot, and the server says who is first."""

import re
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import Callable

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.expressions import EqualTo
from pyiceberg.manifest import DataFileContent
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from judge import snapshots
from profiles import FLAT
from readers import path
from story import Story
from test_other_writers import EXPIRE, REWRITE_DATA, REWRITE_DELETES
from test_rest import at_once

OURS = re.compile(r"\d{5}-[0-9a-f-]{36}-\d{5}(-deletes)?\.parquet")


@dataclass
class Race:
    """What another writer does: `prepare` gives the act on the table, and what it does to a model wherever it comes."""

    prepare: Callable
    refused: bool = False  # when we are first
    ours: tuple = ("incremental",)
    window: Callable = None  # what happens in it, in place of random changes


def put(model, items):
    for item in items:
        model.put(item)


def mixed(model, before):
    """Items of keys that are there, many of them in the window too, and items of new keys."""
    changed = [model.new_item() | model.keys_of(item) for item in list(before.values())[:12]]
    return changed + [model.new_item() for _ in range(4)]


def pyiceberg_table(story, items):
    table = story.warehouse.pyiceberg().load_table("ns.t")
    return table, pa.Table.from_pylist([story.model.row(item) for item in items], schema=table.schema().as_arrow())


def maintain(procedure):
    def prepare(story, spark, before):
        return lambda: procedure(spark(), story), lambda model: None

    return prepare


def spark_appends(story, spark, before):
    items = [story.model.new_item() for _ in range(5)]
    rows = [story.model.row(item) for item in items]
    return lambda: spark().append(story.warehouse, "ns.t", rows), lambda model: put(model, items)


def line_of_oldest(before):
    """A sort key that a third of the items have, one in the oldest file among them; and what it is to delete these."""
    number = next(iter(before))[1]

    def play(model):
        for key in [key for key in model.items if key[1] == number]:
            model.remove(key)

    return number, play


def spark_deletes(story, spark, before):
    number, play = line_of_oldest(before)
    name = spark().name(story.warehouse, "ns.t")
    return lambda: spark().sql(story.warehouse, f"delete from {name} where `line-no` = {number}"), play


def spark_merges(story, spark, before):
    items = mixed(story.model, before)
    name = spark().name(story.warehouse, "ns.t")
    spark().frame(story.warehouse, "ns.t", [story.model.row(item) for item in items]).createOrReplaceTempView("changes")
    statement = f"""merge into {name} t using changes c on t.`order` = c.`order` and t.`line-no` = c.`line-no`
        when matched then update set * when not matched then insert *"""
    return lambda: spark().sql(story.warehouse, statement), lambda model: put(model, items)


def pyiceberg_appends(story, spark, before):
    items = [story.model.new_item() for _ in range(5)]
    table, rows = pyiceberg_table(story, items)
    return lambda: table.append(rows), lambda model: put(model, items)


def pyiceberg_deletes(story, spark, before):
    number, play = line_of_oldest(before)
    table = story.warehouse.pyiceberg().load_table("ns.t")
    return lambda: table.delete(EqualTo("line-no", number)), play


def pyiceberg_upserts(story, spark, before):
    items = mixed(story.model, before)
    table, rows = pyiceberg_table(story, items)
    return lambda: table.upsert(rows), lambda model: put(model, items)


def only_removes(model):
    for key in list(model.items)[::2]:
        model.remove(key)


EXPIRES = maintain(EXPIRE)
COPIES = ("incremental", "--write-mode", "copy-on-write")
OLDER = ("expire", "--older-than", "0s")
RACES = {
    "rewrite_data_files": Race(maintain(REWRITE_DATA), refused=True),
    "rewrite_data_files, copy-on-write": Race(maintain(REWRITE_DATA), refused=True, ours=COPIES),
    "rewrite_position_delete_files": Race(maintain(REWRITE_DELETES)),
    "expire_snapshots": Race(EXPIRES),
    "DELETE": Race(spark_deletes, refused=True),
    "DELETE, copy-on-write": Race(spark_deletes, refused=True, ours=COPIES),
    "DELETE of the same rows": Race(spark_deletes, window=only_removes),
    "MERGE": Race(spark_merges, refused=True),
    "PyIceberg's append": Race(pyiceberg_appends),
    "PyIceberg's delete": Race(pyiceberg_deletes, refused=True),
    "PyIceberg's delete, copy-on-write": Race(pyiceberg_deletes, refused=True, ours=COPIES),
    "PyIceberg's upsert": Race(pyiceberg_upserts, refused=True),
    "PyIceberg's upsert, copy-on-write": Race(pyiceberg_upserts, refused=True, ours=COPIES),
    "our compact, append": Race(spark_appends, ours=("compact",)),
    "our compact, DELETE": Race(spark_deletes, refused=True, ours=("compact",)),
    "our expire, DELETE": Race(spark_deletes, ours=OLDER),
    "our expire, PyIceberg's append": Race(pyiceberg_appends, ours=OLDER),
}


@pytest.mark.parametrize("name", RACES)
def test_races(name, tool, served, readers, request, seed):
    """Twice on one table: once they are first, once we are."""
    story = Story(FLAT, seed, tool, served, modes=RACES[name].ours[1:] if RACES[name].ours == COPIES else ())
    story.load(60)
    for first in ("them", "us"):
        story.apply(30)
        race(RACES[name], story, lambda: request.getfixturevalue("spark"), first)
        story.same(readers, f"after {name}, {first} first")
        assert_no_leftovers(served)
    story.apply(30)
    story.same(readers, "after the next window")


def refusal(act):
    """The writer's own exception, if it says that its commit was refused."""
    try:
        act()
    except (CommitFailedException, ValidationException, PySparkException, Py4JError) as error:
        shown = f"{error!r} {error}"
        assert "ValidationException" in shown or "CommitFailedException" in shown, shown
        return shown
    return None


def race(this, story, spark, first):
    served, model, (command, *more) = story.warehouse, story.model, this.ours
    before, window, folders = dict(model.items), None, []
    if command == "incremental":
        window, folder = story.export_window(0 if this.window else 30, this.window)
        folders = [folder]
    act, play = this.prepare(story, spark, before)
    base = snapshots(served, "ns.t")[-1]["snapshot-id"]
    arguments = [command, *folders, "--table", "ns.t", *served.arguments, "--format", "json", *more]

    served.rest.together(2, first)
    result, refused = at_once(lambda: story.tool.run(*arguments), lambda: refusal(act))
    assert_met(served.rest.commits(), first, base)
    assert result.exit == 0 and result.json["status"] == "applied", result
    assert bool(refused) == (this.refused and first == "us"), refused

    # Both are in the table's history, unless refused, in this order.
    (done,) = result.json["windows"] if window else result.json["maintenance"]
    chain = snapshots(served, "ns.t")
    since = chain[[one["snapshot-id"] for one in chain].index(base) + 1 :]
    authors = ["us" if str(one["snapshot-id"]) == done["snapshot_id"] else "them" for one in since]
    order = [who for who, _ in groupby(authors)]
    without = {"us"} if command == "expire" else {"them"} if refused or this.prepare is EXPIRES else set()
    assert order == [who for who in (first, "us" if first == "them" else "them") if who not in without]
    model.items = before
    for who in order:
        if who == "them":
            play(model)
        elif window:
            assert done["rows"] == replayed(model, window)
    for who, one in zip(authors, since, strict=True):
        assert_deletes_aim(served, one["snapshot-id"], who)


def assert_met(commits, first, base):
    """One commit of each, on the same snapshot and in this order, before either tried again."""
    one, other = commits[:2]
    assert {one["by"], other["by"]} == {"us", "them"} and (one["by"], one["status"]) == (first, 200), commits
    assert {one.get("base", base), other.get("base", base)} == {base}, commits


def replayed(model, window):
    """Plays a window, and counts what the command should count."""
    rows = {"inserted": 0, "updated": 0, "deleted": 0}
    for _, keys, _, new in window.changes:
        there = model.key(keys) in model.items
        if new is not None:
            rows["updated" if there else "inserted"] += 1
            model.put(new)
        else:
            rows["deleted"] += there
            model.remove(model.key(keys))
    return rows


def assert_deletes_aim(served, snapshot_id, by):
    """Files of a snapshot are there, and deletes that it added are of rows that it has; ours of rows that nobody else deleted."""
    table = served.pyiceberg().load_table("ns.t")
    rows, deletes = {}, {True: Counter(), False: Counter()}
    for manifest in table.snapshot_by_id(snapshot_id).manifests(table.io):
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            file = entry.data_file
            where = path(file.file_path)
            assert where.exists()
            if file.content == DataFileContent.DATA:
                rows[file.file_path] = file.record_count
            else:
                found = [(row["file_path"], row["pos"]) for row in parquet.read_table(where).to_pylist()]
                deletes[entry.snapshot_id == snapshot_id].update(found)
    for file, position in deletes[True]:
        assert position < rows[file]
    if by == "us":
        assert deletes[True].total() == len(deletes[True]) and not deletes[True].keys() & deletes[False].keys()


def assert_no_leftovers(served):
    """Of files that we wrote; refused writers of others may leave theirs."""
    known = {path(one) for one in served.pyiceberg().load_table("ns.t").inspect.all_files()["file_path"].to_pylist()}
    found = {one for one in served.folder.rglob("*.parquet") if OURS.fullmatch(one.name)}
    assert found and found <= known, found - known
