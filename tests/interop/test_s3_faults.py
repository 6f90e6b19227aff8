"""A bad network and a busy server, on purpose: each fault at each kind of request, once or for good.

A command ends right, or fails with the right exit code and leaves the table as it was; run again, it finishes. Either way
no upload is left.
"""

import base64
import itertools
import shutil

import pytest

import exports
from judge import differences
from model import Model
from profiles import FLAT, Profile, keyed, text
from proxy import FAULTS
from s3 import EXPORTS, LAKE, S3Story, S3Warehouse
from shapes import BINARY, STRING
from tool import keys

#: A request has four attempts.
QUICK = {"s3.retry.num-retries": "3", "s3.retry.min-wait-ms": "5", "s3.retry.max-wait-ms": "20"}
#: What one attempt may take where the server stalls, in seconds, and how long that is.
TIMEOUT, STALL = {"s3.request-timeout": "0.7"}, 1.0
#: A table whose data file is sent in parts of 8 MiB.
LARGE = Profile(
    "large items",
    {"id": (STRING, keyed("K"))},
    {
        "blob": (BINARY, lambda rnd, full=False: {"B": base64.b64encode(rnd.randbytes(290_000)).decode()}, 1.0),
        "word": (STRING, text, 0.5),
    },
)
SCENES = {"small": (FLAT, 40, 4, 30), "large": (LARGE, 30, 2, 2)}
READS, PARTS = ("GetObject", "HeadObject"), ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
#: Which kinds of requests a fault can happen to; all of them, if it is not listed.
ONLY = {"cut": READS[:1] + PARTS, "cut upload": ("PutObject", *PARTS[1:]), "flip": READS[:1], "503 in 200": PARTS[2:]}


class Scene:
    """A story told up to its first window: exports on S3, a table before the window, models before and after it."""

    def __init__(self, name, s3, tool, folder, seed):
        profile, items, files, operations = SCENES[name]
        self.s3, self.tool, self.folder, self.numbers = s3, tool, folder, itertools.count()
        self.name, self.profile = name, profile
        s3.proxy.patience = STALL
        self.base = S3Warehouse(s3, folder / "base", f"faults/{name}/base", QUICK)
        story = S3Story(profile, seed, tool, self.base)
        s3.proxy.take_log()
        story.load(items, files=files)
        self.load_log = s3.proxy.take_log()
        self.loaded = Model(profile, seed, dict(story.model.items))
        window, self.window_folder = story.export_window(operations)
        self.changed = story.model
        self.full, self.window = story.place(story.full), story.place(self.window_folder)
        self.base_keys = set(s3.keys(LAKE, self.base.prefix))
        self.window_log = self.logged(self.run("window", self.fresh("window")))

    def logged(self, result):
        assert result.exit == 0, result
        return self.s3.proxy.take_log()

    def fresh(self, command):
        """For a load a warehouse with nothing in it; for a window the table as it was, whose pointer is our own."""
        folder = self.folder / f"{command}-{next(self.numbers)}"
        if command == "load":
            return S3Warehouse(self.s3, folder, f"faults/{self.name}/{folder.name}", QUICK)
        warehouse = S3Warehouse(self.s3, folder, self.base.prefix, QUICK)
        shutil.copy(self.base.database, warehouse.database)
        return warehouse

    def run(self, command, warehouse):
        if command == "load":
            return self.tool.full_load(self.full, "ns.t", warehouse, *keys(self.profile), "--threads", "1")
        return self.tool.incremental(self.window, "ns.t", warehouse, "--threads", "1")

    def kinds(self, command):
        """The kinds of requests that a command makes, and how many of each."""
        log = self.load_log if command == "load" else self.window_log
        found = {}
        for one in log:
            found[one.kind] = one.number
        return found

    def keys_read(self, command):
        log = self.load_log if command == "load" else self.window_log
        return sorted({one.key for one in log if one.kind == ("GetObject", EXPORTS)})

    def assert_rows(self, command, warehouse, reader, about):
        model = self.loaded if command == "load" else self.changed
        wrong = differences(model, reader.rows(warehouse, "ns.t"), getattr(reader, "collapse", False))
        assert not wrong, f"{about}: {wrong[:3]}"

    def try_with(self, command, fault, hit, about, reader):
        """Runs the command with the fault at the requests for which `hit` holds; gives its exit code."""
        about = f"{command}, {fault!r} at {about}"
        warehouse = self.fresh(command)
        if fault == "stall":
            warehouse.more |= TIMEOUT
        proxy = self.s3.proxy
        proxy.take_log()
        proxy.fault = lambda request: fault if hit(request) else None
        result = self.run(command, warehouse)
        log = proxy.take_log()
        assert any(one.fault for one in log), f"{about}: never happened"
        assert self.s3.uploads() == [], f"{about}: uploads are left\n{result}"
        assert self.s3.overwritten(LAKE) == [], about
        if result.exit:
            assert "panicked" not in result.stderr and result.json["error"]["exit"] == result.exit, f"{about}\n{result}"
            said = result.json["error"]["message"] + str(result.json["error"].get("file"))
            hit = [one for one in log if one.fault]
            assert any((one.key or one.bucket) in said for one in hit), f"{about}: does not say where\n{result}"
            if command == "window":
                assert warehouse.metadata_location("ns.t") == self.base.metadata_location("ns.t"), about
                assert self.base_keys <= set(self.s3.keys(LAKE, self.base.prefix)), about
            else:
                assert not warehouse.database.exists() or not warehouse.query("select * from iceberg_tables"), about
            warehouse.more = QUICK
            again = self.run(command, warehouse)
            assert again.exit == 0, f"{about}, then again\n{again}"
        self.assert_rows(command, warehouse, reader, about)
        return result.exit


@pytest.fixture(scope="module", params=SCENES)
def scene(request, s3, tmp_path_factory, seed):
    from conftest import make_tool

    folder = tmp_path_factory.mktemp(request.param)
    yield Scene(request.param, s3, make_tool(request.config, folder), folder, seed)
    s3.proxy.take_log()


@pytest.fixture(scope="module")
def reader(readers):
    return readers["duckdb" if "duckdb" in readers.names else readers.names[0]]


def cases(scene, fault):
    """Commands, kinds of requests and how many there are, which the fault can happen to."""
    found = list(all_cases(scene, fault))
    if not found:
        pytest.skip("what it happens to is in the other scene")
    return found


def all_cases(scene, fault):
    for command in ("load", "window"):
        for (operation, bucket), count in scene.kinds(command).items():
            if scene.name == "large" and (operation not in PARTS or fault == "stall"):
                continue  # as in the small one; large parts take their time
            if operation in ONLY.get(fault, (operation,)) and (fault != "flip" or bucket == EXPORTS):
                yield command, (operation, bucket), count


def at(kind, numbers):
    return lambda request: request.kind == kind and request.number in numbers


PASSING = [name for name in FAULTS if name not in ("403", "flip")]


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_changes_nothing(fault, scene, reader):
    for command, kind, count in cases(scene, fault):
        # Never four that follow each other: one request has four attempts.
        numbers = {1, 3, 6 + count // 2, 6 + count}
        assert scene.try_with(command, fault, at(kind, numbers), (kind, numbers), reader) == 0


@pytest.mark.parametrize("fault", PASSING)
def test_what_does_not_pass_leaves_the_table_as_it_was(fault, scene, reader):
    for command, kind, count in cases(scene, fault):
        for first in {1, count} if fault.startswith("close") else {count}:
            exit = scene.try_with(command, fault, at(kind, range(first, 10_000)), (kind, first), reader)
            # A write whose answer is lost can be seen to have succeeded.
            assert exit == 1 or (exit == 0 and fault in ("close after", "stall", "cut")), (command, kind, first)


def test_what_is_forbidden(scene, reader):
    for command, kind, count in cases(scene, "403"):
        for first in {1, count}:
            exit = scene.try_with(command, "403", at(kind, range(first, 10_000)), (kind, first), reader)
            assert exit == 1, (command, kind, first)


def test_a_wrong_bit_in_an_export_is_noticed(scene, reader):
    for command, kind, count in cases(scene, "flip"):
        for number in range(1, count + 1):  # once: S3's checksums may show it, and the object is read again
            scene.try_with(command, "flip", at(kind, {number}), (kind, number), reader)
        for key in scene.keys_read(command):
            exit = scene.try_with(command, "flip", lambda request, key=key: request.key == key, key, reader)
            assert exit in (1, 3), (command, key)
