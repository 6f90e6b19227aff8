"""A catalog in PostgreSQL: loads, windows, readers, races, and a server that goes away at the worst moment."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import exports
import postgres
from judge import snapshots
from profiles import COMMON
from readers import Warehouse
from story import Story
from tool import Tool

pytestmark = pytest.mark.skipif(postgres.programs() is None, reason="needs PostgreSQL's initdb and postgres")

# As it was before the sandbox of each test takes HOME away, where cargo finds its toolchains.
ENVIRONMENT = dict(os.environ)

COMMIT = b"Q" + struct.pack("!i", 11) + b"COMMIT\0"


@pytest.fixture(scope="module")
def server():
    running = postgres.Server()
    yield running
    running.close()


class Lake(Warehouse):
    """Local files, and the catalog in a database of its own."""

    def __init__(self, folder, server, database):
        super().__init__(folder)
        self.server, self.name = server, database
        server.query(f"create database {database}")

    def query(self, statement, *values):
        return self.server.query(statement.replace("?", "%s"), *values, database=self.name)

    @property
    def jdbc(self):
        return {
            "uri": f"jdbc:postgresql://127.0.0.1:{self.server.port}/{self.name}",
            "jdbc.user": "boss",
            "jdbc.password": postgres.PASSWORD,
        }

    def pyiceberg(self):
        from pyiceberg.catalog.sql import SqlCatalog

        return SqlCatalog(self.catalog, uri=self.server.uri(self.name, driver="+psycopg2"), warehouse=self.uri)


class AtAddress(Tool):
    """The tool, told where the catalog is."""

    def __init__(self, tool, uri):
        super().__init__(tool.binary, tool.folder)
        self.uri = uri

    def run(self, *arguments, timeout=180):
        result = super().run(*arguments, "--catalog-property", f"uri={self.uri}", "-vvv", timeout=timeout)
        for secret in (postgres.PASSWORD, "hush"):
            assert secret not in result.stdout + result.stderr, result
        return result


@pytest.fixture
def lake(tmp_path, server, request):
    number = abs(hash(request.node.nodeid))
    return Lake(tmp_path / "warehouse", server, f"lake_{number}")


@pytest.fixture
def story(lake, server, tool, seed):
    told = Story(COMMON, seed, AtAddress(tool, server.uri(lake.name)), lake)
    told.load(120)
    return told


def test_load_and_five_windows(story, readers):
    story.same(readers, "after the load")
    for number in range(1, 6):
        story.apply(60)
        story.same(readers, f"after window {number}")
    columns = [name for (name,) in story.warehouse.query(
        "select column_name::text from information_schema.columns where table_name = 'iceberg_tables' order by ordinal_position"
    )]
    assert columns == [
        "catalog_name", "table_namespace", "table_name", "metadata_location", "previous_metadata_location", "iceberg_type"
    ]
    assert story.warehouse.pyiceberg().list_tables("ns") == [("ns", "t")]


def test_other_clients_made_the_catalog_and_write_too(lake, server, tool, readers, spark, seed):
    import pyarrow as pa

    catalog = lake.pyiceberg()  # makes its tables
    catalog.create_namespace("ns")
    story = Story(COMMON, seed, AtAddress(tool, server.uri(lake.name, driver="+psycopg2")), lake)
    story.load(60)
    items = [story.model.new_item() for _ in range(8)]
    for item in items:
        item.setdefault("lines", {"L": []})
    table = catalog.load_table("ns.t")
    table.append(pa.Table.from_pylist([story.model.row(item) for item in items], schema=table.schema().as_arrow()))
    for item in items:
        story.model.put(item)
    story.apply(40)
    story.same(readers, "after a window behind PyIceberg's append")
    more = [story.model.new_item() for _ in range(5)]
    spark.append(lake, "ns.t", [story.model.row(item) for item in more])
    for item in more:
        story.model.put(item)
    story.apply(40)
    story.same(readers, "after a window behind Spark's append")


def at_once(*runs):
    with ThreadPoolExecutor(len(runs)) as threads:
        return [future.result() for future in [threads.submit(run) for run in runs]]


def ours(lake):
    """The exports whose snapshots are in the table, in order."""
    return [one["summary"]["ddb-iceberg.export-arn"] for one in snapshots(lake, "ns.t")]


def test_the_same_window_twice_at_once(story, readers):
    _, folder = story.export_window(60)
    run = lambda: story.tool.incremental(folder, "ns.t", story.warehouse)  # noqa: E731
    results = at_once(run, run, run)
    assert [result.exit for result in results] == [0, 0, 0], [str(result) for result in results]
    assert ours(story.warehouse) == story.arns
    statuses = sorted(result.json["status"] for result in results)
    assert statuses.count("applied") == 1, statuses
    story.same(readers, "after one window by three processes")


def test_neighbouring_windows_at_once(story, readers):
    folders = [story.export_window(60)[1] for _ in range(3)]
    results = at_once(*[lambda folder=folder: story.tool.incremental(folder, "ns.t", story.warehouse) for folder in folders])
    # A window whose turn has not come is a gap; nothing else may happen.
    assert all(result.exit in (0, 4) for result in results), [str(result) for result in results]
    assert results[0].exit == 0
    again = story.tool.incremental(story.bucket.home, "ns.t", story.warehouse)
    assert again.exit == 0, again
    assert ours(story.warehouse) == story.arns
    story.same(readers, "after neighbouring windows at once")


class Proxy:
    """Between the client and the server. At the first COMMIT it does `act(forward)` and cuts the connection."""

    def __init__(self, server, act):
        self.server, self.act, self.acted = server, act, threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                upstream = socket.create_connection(("127.0.0.1", self.server.port))
            except OSError:
                if self.listener.fileno() < 0:
                    return
                client.close()
                continue
            for ends in ((client, upstream, True), (upstream, client, False)):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source, target, to_server):
        try:
            while data := source.recv(65536):
                if to_server and COMMIT in data and not self.acted.is_set():
                    self.acted.set()
                    # Nobody reads the answer any more: it is lost.
                    source.shutdown(socket.SHUT_RDWR)
                    self.act(lambda: target.sendall(data))
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def close(self):
        self.listener.close()


def through(story, server, act):
    """The story's tool, with a proxy in between."""
    proxy = Proxy(server, act)
    uri = server.uri(story.warehouse.name).replace(f":{server.port}/", f":{proxy.port}/")
    return proxy, AtAddress(story.tool, uri)


def test_a_lost_answer_of_a_commit_that_was_applied(story, server, readers):
    def act(forward):
        forward()
        time.sleep(0.5)

    _, folder = story.export_window(60)
    proxy, tool = through(story, server, act)
    result = tool.incremental(folder, "ns.t", story.warehouse)
    assert proxy.acted.is_set()
    assert result.exit == 0 and result.json["status"] == "applied", result
    assert ours(story.warehouse) == story.arns
    story.same(readers, "after a lost answer")
    proxy.close()


def test_a_commit_that_never_arrived(story, server, readers):
    _, folder = story.export_window(60)
    proxy, tool = through(story, server, lambda forward: None)
    result = tool.incremental(folder, "ns.t", story.warehouse)
    assert proxy.acted.is_set()
    assert result.exit == 6, result
    again = tool.incremental(folder, "ns.t", story.warehouse)
    assert again.exit == 0, again
    assert ours(story.warehouse) == story.arns
    story.same(readers, "after a commit that never arrived, and once more")
    proxy.close()


def test_a_server_that_is_killed_at_the_commit(story, server, readers):
    def act(forward):
        forward()
        server.stop(signal.SIGQUIT)
        server.start()

    _, folder = story.export_window(60)
    proxy, tool = through(story, server, act)
    result = tool.incremental(folder, "ns.t", story.warehouse)
    assert proxy.acted.is_set()
    assert result.exit in (0, 6), result
    assert (result.exit == 0) == (ours(story.warehouse) == story.arns), result
    again = tool.incremental(folder, "ns.t", story.warehouse)
    assert again.exit == 0, again
    assert ours(story.warehouse) == story.arns
    story.same(readers, "after a crash of the server")
    proxy.close()


def test_each_failure_has_one_clear_message(story, server, tool):
    lake, port = story.warehouse, server.port
    server.query("create role guest login password 'hush'")
    _, folder = story.export_window(10)
    before = sorted(lake.folder.rglob("*"))
    cases = [
        (server.uri(lake.name, password="hush"), "refused the sign-in"),
        (server.uri(lake.name, user="nobody", password="hush"), "refused the sign-in"),
        (server.uri("no_such_database"), 'database "no_such_database" does not exist'),
        (server.uri(lake.name, user="guest", password="hush"), "iceberg_tables"),
        (server.uri(lake.name) + "?sslmode=require", "TLS"),
        (server.uri(lake.name).replace(f":{port}/", ":1/"), "can't be reached"),
        ("postgresql://boss:hush@no-such-host.invalid/lake", "can't be reached"),
    ]
    try:
        for uri, message in cases:
            for command in (["incremental", folder, "--table", "ns.t"], ["catalog", "check", "--table", "ns.t"]):
                started = time.monotonic()
                result = AtAddress(tool, uri).run(*command, "--warehouse", lake.folder, "--format", "json")
                assert time.monotonic() - started < 30
                assert result.exit == 1 and message in result.json["error"]["message"], result
                assert result.stderr.count("error:") == 1, result
        assert sorted(lake.folder.rglob("*")) == before
    finally:
        server.query("drop role guest")


def test_the_check_of_a_good_catalog(story):
    story.export_window(10)
    result = story.tool.run("catalog", "check", "--table", "ns.t", "--export", story.bucket.home,
                            "--warehouse", story.warehouse.folder, "--format", "json")
    assert result.exit == 0, result
    parts = [(step["part"], step["status"]) for step in result.json["steps"]]
    assert parts == [(part, "ok") for part in ("configuration", "reach", "sign_in", "list", "table", "warehouse", "export")]


@pytest.mark.skipif("DDB_INTEROP_CARGO" not in os.environ or not shutil.which("cargo"), reason="DDB_INTEROP_CARGO is not set")
def test_the_suite_of_all_catalogs(server):
    """The conformance tests of the crate, on a real server."""
    done = subprocess.run(
        ["cargo", "test", "--profile", "ci", "--locked", "--test", "catalog_conformance", "on_postgres"],
        cwd=Path(__file__).parents[2], env=ENVIRONMENT | {"DDB_ICEBERG_TEST_POSTGRES": server.uri("postgres")},
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
