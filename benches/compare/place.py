"""Where a comparison happens: the exports, a folder for each table, and what was measured so far."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Place:
    def __init__(self, given):
        self.given = given
        self.output = given.output
        self.output.mkdir(parents=True, exist_ok=True)
        self.tables = Path(tempfile.mkdtemp(prefix="tables-", dir=self.output))
        self.home = self.tables / "home"
        self.home.mkdir()
        self.environment = {**os.environ, "HOME": str(self.home), "DDB_INTEROP_JARS": str(given.jars), "LC_ALL": "C.UTF-8"}
        self.works = {}
        self.notes = {}
        self.schema = None
        self.read = set()

    # The exports.

    def full(self, items):
        return self.export(items, "full", "--files", 16)

    def window(self, items, changes, number):
        return self.export(items, f"window-{changes}-{number}", "--changes", changes, "--window", number)

    def export(self, items, name, *options):
        """The folder of an export, which is generated the first time."""
        root = self.output / "exports" / str(items) / name
        mark = root / "complete"
        if not mark.exists():
            print(f"generating {name} of {items}", file=sys.stderr)
            command = [self.given.examples / "make_exports", name.split("-")[0], root, "--items", str(items), *map(str, options)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            mark.write_text(Path(said.strip().rpartition(":")[0]).name, encoding="utf-8")
        folder = root / "AWSDynamoDB" / mark.read_text(encoding="utf-8")
        if folder not in self.read:
            # One of another day may be on the disk alone.
            self.read.add(folder)
            for path in folder.rglob("*.gz"):
                path.read_bytes()
        return folder

    def sizes(self):
        """Bytes of the export that the job is about, as gzip and as JSON."""
        files = list((self.full(self.given.items) / "data").glob("*.gz"))
        text = self.notes["inflate"]
        return {"items": self.given.items, "files": len(files), "gzip": sum(f.stat().st_size for f in files), "json": text}

    # The tables.

    def fresh(self, name):
        """An empty folder for a table; what it had is gone."""
        folder = self.tables / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def clear(self):
        shutil.rmtree(self.tables, ignore_errors=True)

    # The works.

    def run(self, work, command, environment=None):
        """Runs a command, notes what it took, and gives what it printed."""
        print(f"  {work}", file=sys.stderr, flush=True)
        taken = self.tables / "taken"
        taken.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-I", "-S", HERE / "measure.py", taken, *map(str, command)], cwd=self.tables,
            env=environment or self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(map(str, command))}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}")
        wall, user, system, peak = taken.read_text().split()
        sample = {"wall": float(wall), "cpu": float(user) + float(system), "peak": int(peak)}
        self.works.setdefault(work, []).append(sample)
        return done.stdout

    def ours(self, work, *arguments):
        return self.run(work, [self.given.binary, *arguments])

    def version(self):
        return subprocess.run([self.given.binary, "--version"], check=True, capture_output=True, text=True).stdout.strip()

    def detect(self, work, export):
        schema = self.tables / "schema.json"
        self.ours(work, "detect-schema", export, "--key", "customer_id", "--key", "order_id", "--output", schema, "-q")
        self.schema = schema
        return schema

    def load(self, work, warehouse, export, schema, items, *more):
        where = ("--warehouse", warehouse) if isinstance(warehouse, Path) else ()
        given = ("--table", "shop.orders", "--schema", schema, *where, "--format", "json", "-q")
        said = json.loads(self.ours(work, "full-load", export, *given, *more))
        if said["windows"][0]["rows"]["inserted"] != items:
            raise SystemExit(f"{work}: {said}")
        return said

    def increment(self, work, warehouse, window, changes, *more):
        given = ("--table", "shop.orders", "--warehouse", warehouse, "--format", "json", "-q")
        said = json.loads(self.ours(work, "incremental", window, *given, *more))
        rows = [one["rows"] for one in said["windows"] if one["status"] == "applied"]
        if sum(sum(one.values()) for one in rows) != changes:
            raise SystemExit(f"{work}: {said}")
        return said

    def scatter(self, name, count, layout):
        """Makes so many data files of a table that was just loaded."""
        command = [self.given.examples / "scatter_rows", self.tables / name, "shop.orders", str(count), layout]
        said = subprocess.run(command, check=True, capture_output=True, text=True, env=self.environment).stdout
        self.notes[name] = int(said.split()[0])

    def limit(self, work, name, folder, *options):
        said = self.run(work, [self.given.examples / "limits", name, folder, *options])
        self.notes[work] = int(said.split()[0])

    def peer(self, work, script, *arguments, rows):
        environment = self.environment | {"PYTHONPATH": str(self.given.duckdb)}
        said = self.run(work, [sys.executable, HERE / script, *arguments], environment)
        told = dict(line.split() for line in said.splitlines() if len(line.split()) == 2)
        if int(told["rows"]) != rows:
            raise SystemExit(f"{work}: {said}")
        # Without its start, which we do not want to win by.
        self.works[work][-1]["work"] = float(told["seconds"])

    @contextlib.contextmanager
    def s3(self, folder, delay):
        command = [self.given.examples / "s3_stand_in", folder, str(delay)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            try:
                yield S3(self, json.loads(server.stdout.readline()))
            finally:
                server.stdin.close()
                self.notes[f"requests, {delay} ms"] = int(server.stdout.readline() or 0)


class S3:
    """A warehouse on the stand-in; its catalog is a local file."""

    def __init__(self, place, properties):
        self.place, self.properties = place, properties

    def load(self, work, export, schema, items):
        properties = {"uri": f"sqlite:///{self.place.fresh('s3')}/catalog.db", **self.properties}
        given = [part for name, value in properties.items() for part in ("--catalog-property", f"{name}={value}")]
        self.place.load(work, "s3://lake/warehouse", export, schema, items, "--warehouse", "s3://lake/warehouse", *given)
