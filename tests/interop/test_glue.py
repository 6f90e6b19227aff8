"""Tables in Glue on S3: a load and windows, read through Glue by PyIceberg and Spark, and by DuckDB from the metadata file.

moto stands in for both services. It ignores `VersionId`, so races are not tried here: `tests/catalog_conformance/glue.rs`
tries them, against a server that enforces it. What only AWS shows stands in `docs/aws-checklist.md`.
"""

import json
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pyiceberg.catalog import load_catalog
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField, StringType

import exports
from judge import differences
from model import Model
from profiles import COMMON
from tool import keys

REGION = "eu-north-1"
KEY, SECRET = "AKIDTEST", "not-a-secret"
WAREHOUSE = "s3://lake/warehouse"


class Aws:
    """Glue and S3, empty but for the bucket."""

    def __init__(self):
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        host, port = self.server.get_host_and_port()
        self.address = f"{host}:{port}"
        self.url = f"http://{self.address}"
        urlopen(Request(f"{self.url}/moto-api/reset", method="POST")).close()  # moto's state is the process's
        self.client("s3").create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": REGION})

    def client(self, service):
        return boto3.client(
            service, endpoint_url=self.url, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=SECRET
        )

    @property
    def properties(self):
        """Catalog properties, ours and PyIceberg's."""
        found = {"type": "glue", "warehouse": WAREHOUSE}
        for service in ("glue", "s3"):
            found |= {
                f"{service}.endpoint": self.url,
                f"{service}.region": REGION,
                f"{service}.access-key-id": KEY,
                f"{service}.secret-access-key": SECRET,
            }
        return found

    @property
    def options(self):
        return [part for key, value in self.properties.items() for part in ("--catalog-property", f"{key}={value}")]

    def pyiceberg(self):
        return load_catalog("lake", **self.properties)

    def entry(self, table):
        database, name = table.split(".")
        return self.client("glue").get_table(DatabaseName=database, Name=name)["Table"]


@pytest.fixture
def aws():
    aws = Aws()
    yield aws
    aws.server.stop()


def read_pyiceberg(aws, readers, table):
    return aws.pyiceberg().load_table(table).scan().to_arrow().to_pylist()


def read_duckdb(aws, readers, table):
    connection = readers["duckdb"].connection
    connection.execute(
        f"create or replace secret (type s3, key_id '{KEY}', secret '{SECRET}', region '{REGION}', "
        f"endpoint '{aws.address}', url_style 'path', use_ssl false)"
    )
    found = connection.execute("select * from iceberg_scan(?)", [aws.entry(table)["Parameters"]["metadata_location"]])
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def spark_session(aws, readers):
    spark = readers["spark"].spark
    system = spark.sparkContext._jvm.java.lang.System
    for name, value in {"aws.accessKeyId": KEY, "aws.secretAccessKey": SECRET, "aws.region": REGION}.items():
        system.setProperty(name, value)
    session = spark.newSession()
    session.conf.set("spark.sql.catalog.lake", "org.apache.iceberg.spark.SparkCatalog")
    for name, value in {
        "type": "glue",
        "warehouse": WAREHOUSE,
        "glue.endpoint": aws.url,
        "s3.endpoint": aws.url,
        "s3.path-style-access": "true",
        "client.region": REGION,
        "cache-enabled": "false",
    }.items():
        session.conf.set(f"spark.sql.catalog.lake.{name}", value)
    return session


def read_spark(aws, readers, table):
    rows = spark_session(aws, readers).sql(f"select * from lake.{table}").collect()
    return [row.asDict(recursive=True) for row in rows]


READ = {"pyiceberg": read_pyiceberg, "duckdb": read_duckdb, "spark": read_spark}


class Story:
    def __init__(self, aws, tool, readers, seed):
        self.aws, self.tool, self.readers = aws, tool, readers
        self.model = Model(COMMON, seed)
        self.bucket = exports.Bucket(tool.folder / "bucket", seed=seed)

    def run(self, *arguments):
        result = self.tool.run(*arguments, "--table", "shop.orders", "--format", "json", *self.aws.options)
        assert result.exit == 0, result
        assert SECRET not in result.stdout + result.stderr
        assert result.json["status"] == "applied", result
        entry = self.aws.entry("shop.orders")
        assert result.json["metadata_location"] == entry["Parameters"]["metadata_location"]
        return result.json

    def load(self, *more):
        folder = self.bucket.full(self.bucket.spread(self.model.items.values(), 3, ()), self.model.until)
        return self.run("full-load", folder, *keys(self.model.profile), *more)

    def apply(self):
        window = self.model.window(60)
        folder = self.bucket.incremental(
            self.bucket.spread(window.changes, 2, ()), window.start, window.end, "NEW_AND_OLD_IMAGES"
        )
        (one,) = self.run("incremental", folder)["windows"]
        assert one["rows"] == {"inserted": window.inserted, "updated": window.updated, "deleted": window.deleted}

    def same(self, when):
        for name in self.readers.names:
            if name in READ:
                rows = READ[name](self.aws, self.readers, "shop.orders")
                wrong = differences(self.model, rows, self.readers.collapses(name))
                assert not wrong, f"{when}: {name}: {wrong[:5]}"


@pytest.fixture
def story(aws, tool, readers, seed):
    story = Story(aws, tool, readers, seed)
    story.model.fill(80)
    return story


def test_a_load_and_windows_through_glue(story, aws):
    story.load()
    entry = aws.entry("shop.orders")
    assert entry["TableType"] == "EXTERNAL_TABLE" and entry["Parameters"]["table_type"] == "ICEBERG"
    assert entry["StorageDescriptor"]["Location"] == f"{WAREHOUSE}/shop.db/orders"
    assert [one["Name"] for one in entry["StorageDescriptor"]["Columns"]][-1] == "_ddb_rescued"
    story.same("after the load")
    for number in range(1, 4):
        story.apply()
        story.same(f"after window {number}")


def test_the_columns_are_those_that_pyiceberg_shows(story, aws):
    """PyIceberg commits, and writes the entry anew: name by name the types are those that we had written."""
    story.load()
    columns = {one["Name"]: one for one in aws.entry("shop.orders")["StorageDescriptor"]["Columns"]}
    with aws.pyiceberg().load_table("shop.orders").transaction() as transaction:
        transaction.set_properties({"by": "others"})
    assert {one["Name"]: one for one in aws.entry("shop.orders")["StorageDescriptor"]["Columns"]} == columns


def test_pyiceberg_and_we_take_turns(story, aws):
    story.load()
    with aws.pyiceberg().load_table("shop.orders").transaction() as transaction:
        transaction.set_properties({"team": "analytics"})
    # It has copied all of the table's properties; ours that change must not stay as they were.
    copied = aws.entry("shop.orders")["Parameters"]["ddb-iceberg.watermark"]
    story.apply()
    parameters = aws.entry("shop.orders")["Parameters"]
    table = aws.pyiceberg().load_table("shop.orders")
    assert parameters["team"] == "analytics" and table.properties["team"] == "analytics"
    assert copied != parameters["ddb-iceberg.watermark"] == table.properties["ddb-iceberg.watermark"]
    story.same("after a window behind PyIceberg's commit")


def test_a_table_that_pyiceberg_made(story, aws):
    """Its database has a location; its rows are replaced, and windows go on from there."""
    catalog = aws.pyiceberg()
    catalog.create_namespace("shop", {"location": "s3://lake/elsewhere"})
    name = next(iter(COMMON.key))
    schema = Schema(NestedField(1, name, StringType(), required=True))
    catalog.create_table("shop.orders", schema, properties={"team": "analytics"})
    refused = story.tool.run(
        "full-load", story.bucket.full(story.bucket.spread(story.model.items.values(), 1, ()), story.model.until),
        "--table", "shop.orders", *keys(COMMON), *aws.options,
    )
    assert refused.exit == 1, refused
    story.load("--if-exists", "replace")
    entry = aws.entry("shop.orders")
    assert entry["StorageDescriptor"]["Location"] == "s3://lake/elsewhere/orders"
    assert entry["Parameters"]["team"] == "analytics"
    story.same("after the load")
    story.apply()
    story.same("after a window")


def test_spark_writes_through_glue(story, aws, spark):
    story.load()
    story.apply()
    session = spark_session(aws, story.readers)
    column, value = next(iter(COMMON.key)), next(iter(story.model.items))[0]
    doomed = [key for key in story.model.items if key[0] == value]
    session.sql(f"delete from lake.shop.orders where `{column}` = '{value}'")
    for one in doomed:
        story.model.remove(one)
    story.same("after Spark's delete")
    story.apply()
    story.same("after a window behind it")


def test_a_taken_name_is_refused(story, aws):
    """A Hive table of that name is left as it is."""
    glue = aws.client("glue")
    glue.create_database(DatabaseInput={"Name": "shop"})
    glue.create_table(DatabaseName="shop", TableInput={"Name": "orders", "Parameters": {"classification": "csv"}})
    before = json.dumps(aws.entry("shop.orders"), default=str)
    result = story.tool.run(
        "full-load", story.bucket.full(story.bucket.spread(story.model.items.values(), 1, ()), story.model.until),
        "--table", "shop.orders", *keys(COMMON), "--if-exists", "replace", *aws.options,
    )
    assert result.exit == 1 and "not an Iceberg table" in result.stderr, result
    assert json.dumps(aws.entry("shop.orders"), default=str) == before
