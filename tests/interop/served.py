"""A REST catalog of Apache Iceberg's own Java classes (`rest/RestServer.java`), and warehouses that everybody reaches through it."""

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pyspark

from readers import Warehouse
from s3 import KEY_ID, LAKE, REGION, S3Warehouse

JARS = [Path(os.environ.get("DDB_INTEROP_JARS", "."), "*"), Path(pyspark.__file__).parent / "jars/*"]


def compile_server(folder):
    """The server's classes, made once; `folder` is where they lie then."""
    source = Path(__file__).parent / "rest/RestServer.java"
    subprocess.run(["javac", "-proc:none", "-d", folder, "-cp", ":".join(map(str, JARS)), source], check=True)
    return folder


class Server:
    """A server whose catalog is `catalog.db` in a folder. `given` are its arguments besides, by name."""

    def __init__(self, classes, folder, warehouse, given=()):
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            "java", "-XX:TieredStopAtLevel=1", "-cp", ":".join(map(str, (classes, *JARS))), "RestServer",
            f"jdbc:sqlite:{folder}/catalog.db", warehouse, *(f"{name}={value}" for name, value in dict(given).items()),
        ]
        log = folder.parent / f"{folder.name}-server.log"
        with log.open("w") as output:
            # Java takes its arguments' bytes as the locale says.
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=output, text=True, env={**os.environ, "LC_ALL": "C.UTF-8"}
            )
        port = self.process.stdout.readline().strip()
        assert port, log.read_text()
        self.address = f"http://127.0.0.1:{port}"

    def together(self, commits, first=None):
        """The next so many commits wait for each other: all of them know the same table, and one wins.

        `first`: "us" or "them" (everybody but ddb-iceberg), if that is not to be left to chance.
        """
        order = f"&{first}" if first else ""
        urlopen(Request(f"{self.address}/together?{commits}{order}", method="POST")).close()

    def commits(self):
        """Commits that were answered since then: `by` whom, on which `base` (if that matters to them), with which `status`."""
        with urlopen(f"{self.address}/commits") as answer:
            return json.load(answer)

    def close(self):
        self.process.kill()
        self.process.wait()


class Served(Warehouse):
    """A warehouse on disk."""

    scheme = "file:/"  # as Java spells it

    def __init__(self, classes, folder):
        super().__init__(folder)
        self.rest = Server(classes, self.folder, f"file://{self.folder}")
        self.server_address = self.rest.address

    def pyiceberg(self):
        from pyiceberg.catalog.rest import RestCatalog

        return RestCatalog(self.catalog, uri=self.rest.address)

    def spark(self):
        return {"type": "rest", "uri": self.rest.address}

    def close(self):
        self.rest.close()


class S3Served(S3Warehouse):
    """A warehouse on S3. The server has keys of its own, and goes to S3 directly.

    `lend`: for how many seconds the keys are good that it lends; then nobody else needs any for the warehouse, and everybody
    but Polars, which reads by the metadata file, goes to S3 through the proxy. Else all have the same keys.
    """

    def __init__(self, classes, s3, folder, prefix, lend=None):
        super().__init__(s3, folder, prefix)
        self.lend = lend
        given = {
            "io-impl": "org.apache.iceberg.aws.s3.S3FileIO", "s3.path-style-access": "true", "client.region": REGION,
            **self.properties,
        }
        if lend:
            place = {"s3.endpoint": s3.proxy.endpoint, "s3.path-style-access": "true", "client.region": REGION, "s3.region": REGION}
            given |= {"lend": round(lend * 1000), **{f"table.{name}": value for name, value in place.items()}}
        self.rest = Server(classes, self.folder, self.uri, given)
        self.server_address = self.rest.address

    @property
    def own(self):
        """What others are configured with."""
        return {} if self.lend else self.properties

    spark_properties = own

    @property
    def arguments(self):
        endpoint = self.server.proxy.endpoint
        keys = {f"export.{name}": value for name, value in self.s3(endpoint).items()} if self.lend else self.s3(endpoint)
        given = {"type": "rest", "uri": self.rest.address, **keys}
        if not self.lend:
            given["allowed-locations"] = self.uri
        return [part for name, value in given.items() for part in ("--catalog-property", f"{name}={value}")]

    def pyiceberg(self):
        from pyiceberg.catalog.rest import RestCatalog

        return RestCatalog(self.catalog, uri=self.rest.address, **self.own)

    def spark(self):
        return {"type": "rest", "uri": self.rest.address}

    def close(self):
        self.rest.close()


def lent_only(request):
    """A fault for each request to the lake without keys that the server lent for that object's table, or too late."""
    if request.bucket != LAKE:
        return None if request.key_id == KEY_ID else "403"
    try:
        key_id, until, location = base64.b64decode(request.token or "").decode().split("\n")
    except ValueError:
        return "403"
    key = request.key or request.query.get("prefix", "")
    inside = f"s3://{request.bucket}/{key}".startswith(f"{location}/")
    return None if inside and request.key_id == key_id and time.time() * 1000 < int(until) else "403"
