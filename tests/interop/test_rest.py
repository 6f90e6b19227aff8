"""Through a REST catalog of Apache Iceberg's own Java classes; Spark and PyIceberg go through that same server."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyspark
import pytest

import pyarrow as pa
from judge import snapshots
from profiles import COMMON
from readers import Warehouse
from story import Story
from test_other_writers import merge, others_items, touch_some
from tool import keys


class Served(Warehouse):
    """A warehouse that everybody reaches through a server."""

    scheme = "file:/"  # as Java spells it

    def __init__(self, folder, port):
        super().__init__(folder)
        self.address = f"http://127.0.0.1:{port}"

    def pyiceberg(self):
        from pyiceberg.catalog.rest import RestCatalog

        return RestCatalog(self.catalog, uri=self.address)

    def spark(self):
        return {"type": "rest", "uri": self.address}


@pytest.fixture
def served(tmp_path, tool):
    folder = tmp_path / "served"
    folder.mkdir()
    jars = [*sorted(Path(os.environ["DDB_INTEROP_JARS"]).glob("*.jar")), *sorted(Path(pyspark.__file__).parent.glob("jars/*.jar"))]
    command = [
        "java", "-cp", ":".join(map(str, jars)), Path(__file__).parent / "rest/RestServer.java",
        f"jdbc:sqlite:{folder}/catalog.db", f"file://{folder}",
    ]
    log = tmp_path / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, text=True)
    try:
        port = server.stdout.readline().strip()
        assert port, log.read_text()
        warehouse = Served(folder, port)
        (tool.home / ".pyiceberg.yaml").write_text(f"catalog:\n  default:\n    type: rest\n    uri: {warehouse.address}\n")
        yield warehouse
    finally:
        server.kill()
        server.wait()


MODES = [
    pytest.param((), id="merge-on-read"),
    pytest.param(("--write-mode", "copy-on-write"), id="copy-on-write"),
]


@pytest.mark.parametrize("modes", MODES)
def test_load_and_five_windows(modes, tool, served, readers, seed):
    story = Story(COMMON, seed, tool, served, modes=modes)
    story.load(150)
    story.same(readers, "after the load")
    for number in range(1, 6):
        story.apply(60)
        story.same(readers, f"after window {number}")
    found = served.pyiceberg().load_table("ns.t")
    assert "ddb-iceberg.loading" not in found.properties
    assert len(found.metadata.snapshots) == 6


def test_others_write_through_the_same_server(tool, served, readers, spark, seed):
    story = Story(COMMON, seed, tool, served)
    story.load(80)
    items = merge(spark, story)
    story.same(readers, "after Spark's MERGE")
    story.apply(40, touch_some(items))
    story.same(readers, "after a window behind Spark's MERGE")

    items = others_items(story.model, 12)
    table = served.pyiceberg().load_table("ns.t")
    table.append(pa.Table.from_pylist([story.model.row(item) for item in items], schema=table.schema().as_arrow()))
    for item in items:
        story.model.put(item)
    story.apply(40, touch_some(items))
    story.same(readers, "after a window behind PyIceberg's append")


def test_at_once(tool, served, readers, seed):
    """Two loads, then three increments on the same and on neighbouring windows: each is done once."""
    story = Story(COMMON, seed, tool, served)
    story.model.fill(60)
    export = story.export_full()
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(tool.full_load, export, "ns.t", served, *keys(COMMON)) for _ in range(2)]
        results = [run.result() for run in runs]
    assert [result.exit for result in results] == [0, 0], "\n".join(map(str, results))
    assert sorted(result.json["status"] for result in results) == ["already_applied", "applied"]

    folders = [story.export_window(30)[1] for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(tool.incremental, folders[:count], "ns.t", served) for count in (1, 2, 2)]
        results = [run.result() for run in runs]
    assert [result.exit for result in results] == [0, 0, 0], "\n".join(map(str, results))
    assert len(snapshots(served, "ns.t")) == 3
    story.same(readers, "after increments at once")


def test_a_table_that_is_there_is_not_loaded_over(tool, served, readers, seed):
    story = Story(COMMON, seed, tool, served)
    story.load(30)
    before = served.metadata_location("ns.t")
    again = tool.full_load(story.full, "ns.t", served, *keys(COMMON))
    assert (again.exit, again.json["status"]) == (0, "already_applied"), again
    assert served.metadata_location("ns.t") == before
    story.model.window(40)
    result = tool.full_load(story.export_full(), "ns.t", served, *keys(COMMON), "--if-exists", "replace")
    assert result.exit == 0, result
    story.same(readers, "after the replacement")
