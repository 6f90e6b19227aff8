"""Options and fixtures of the interop suite."""

import os
from pathlib import Path

import pytest

pytest.register_assert_rewrite("claims", "judge", "s3", "story")

import readers as all_readers  # noqa: E402
from readers import Readers, Warehouse  # noqa: E402
from tool import Tool  # noqa: E402


def pytest_addoption(parser):
    target = os.environ.get("CARGO_TARGET_DIR") or Path.home() / ".cache/ddb-iceberg/target"
    parser.addoption("--binary", default=str(Path(target) / "ci/ddb-iceberg"), help="the ddb-iceberg to judge")
    parser.addoption("--readers", default=",".join(all_readers.ALL), help="a comma list of " + ", ".join(all_readers.ALL))
    parser.addoption("--seed", default="1", help="the seed of random histories")


def pytest_report_header(config):
    return [f"{name}: {config.getoption(name)}" for name in ("binary", "readers", "seed")]


@pytest.fixture(scope="session")
def seed(request):
    return request.config.getoption("seed")


@pytest.fixture(scope="session")
def readers(request):
    names = request.config.getoption("readers").split(",")
    if unknown := set(names) - set(all_readers.ALL):
        raise pytest.UsageError(f"--readers: no such reader: {', '.join(sorted(unknown))}")
    chosen = Readers(names)
    yield chosen
    chosen.close()


@pytest.fixture(scope="session")
def spark(readers):
    if "spark" not in readers.names:
        pytest.skip("needs Spark, which --readers leaves out")
    return readers["spark"]


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """An S3 server with a proxy before it."""
    from s3 import Server

    server = Server(tmp_path_factory.mktemp("s3") / "server.log")
    yield server
    server.close()


@pytest.fixture(scope="session")
def rest_classes(tmp_path_factory):
    """The classes of the REST catalog's server."""
    from served import compile_server

    return compile_server(tmp_path_factory.mktemp("rest"))


@pytest.fixture
def served(rest_classes, tmp_path, tool):
    """A warehouse on disk behind a REST catalog, which is the one that the tool is configured with."""
    from served import Served

    warehouse = Served(rest_classes, tmp_path / "served")
    own = {"type": "rest", "uri": warehouse.rest.address, "allowed-locations": f"file://{warehouse.folder}"}
    lines = "".join(f"    {name}: {value}\n" for name, value in own.items())
    (tool.home / ".pyiceberg.yaml").write_text(f"catalog:\n  default:\n{lines}")
    yield warehouse
    warehouse.close()


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path / "warehouse")


def make_tool(config, folder):
    binary = Path(os.environ.get("DDB_INTEROP_FROM", "."), config.getoption("binary"))
    if not binary.is_file():
        pytest.exit(f"no binary at {binary}: build it first, or say --binary PATH", returncode=3)
    return Tool(binary, folder)


@pytest.fixture
def tool(request, tmp_path):
    return make_tool(request.config, tmp_path)


@pytest.fixture(autouse=True)
def sandbox(tmp_path, monkeypatch):
    """No configuration of the user's is read."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PYICEBERG_HOME", str(home))
