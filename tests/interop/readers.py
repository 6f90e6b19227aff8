"""Real readers of a table in a warehouse with the embedded catalog: each gives all rows as plain Python values."""

import os
import shutil
import sqlite3
import tempfile
import weakref
from pathlib import Path
from urllib.parse import quote

ALL = ("duckdb", "pyiceberg", "spark", "polars")
ODD_FOLDER = "wäre house + 100%"


def path(location):
    """The local path of a location; Java spells them `file:/…`, everyone else `file:///…`."""
    assert location.startswith("file:/"), location
    return Path("/" + location.removeprefix("file:").lstrip("/"))


class Warehouse:
    """A warehouse folder with `catalog.db` in it."""

    scheme = "file:///"
    properties = {}  # that reading its files takes, by PyIceberg's names
    server_address = None  # of a REST catalog

    @property
    def spark_properties(self):
        """Those of them that Spark is configured with."""
        return self.properties

    def __init__(self, folder, catalog="default"):
        self.folder = Path(folder).resolve()
        self.catalog = catalog

    @property
    def database(self):
        return self.folder / "catalog.db"

    @property
    def uri(self):
        return f"file://{self.folder}"

    @property
    def arguments(self):
        """The command's options."""
        return ["--warehouse", self.folder]

    def read(self, location):
        return path(location).read_bytes()

    def query(self, statement, *values):
        with sqlite3.connect(f"file:{quote(str(self.database))}?mode=ro", uri=True) as connection:
            return connection.execute(statement, values).fetchall()

    def metadata_location(self, table):
        namespace, name = table.split(".")
        ((location,),) = self.query(
            "select metadata_location from iceberg_tables where catalog_name = ? and table_namespace = ? and table_name = ?",
            self.catalog, namespace, name,
        )
        return location

    @property
    def jdbc(self):
        """Where Java's JdbcCatalog finds it."""
        # Without init-catalog-tables=false JdbcCatalog leaves a result set open, and so a lock that no other writer gets past
        # while the session lives.
        return {"uri": f"jdbc:sqlite:{self.database}", "jdbc.init-catalog-tables": "false"}

    def pyiceberg(self):
        from pyiceberg.catalog.sql import SqlCatalog

        return SqlCatalog(self.catalog, uri=f"sqlite:///{self.database}", warehouse=self.uri, **self.properties)

    def spark(self):
        """Options of Spark's catalog."""
        return {
            "type": "jdbc",
            **self.jdbc,
            "jdbc.schema-version": "V1",
            "warehouse": self.uri,
        }


class DuckDb:
    """DuckDB with the extensions that its packages carry; it reads the table by its metadata file, or through a REST catalog."""

    def __init__(self):
        import duckdb
        import duckdb_extension_avro
        import duckdb_extension_httpfs
        import duckdb_extension_iceberg

        self.home = tempfile.mkdtemp(prefix="ddb-interop-duckdb-")
        target = Path(self.home, f"v{duckdb.__version__}", "linux_amd64")
        target.mkdir(parents=True)
        for package in (duckdb_extension_avro, duckdb_extension_httpfs, duckdb_extension_iceberg):
            for found in Path(package.__file__).parent.rglob("*.duckdb_extension"):
                shutil.copy(found, target)
        self.connection = duckdb.connect(config={
            "extension_directory": self.home,
            "autoinstall_known_extensions": "false",
            "threads": "2",
        })
        for name in ("avro", "httpfs", "iceberg"):
            self.connection.execute(f"LOAD {name}")

    def rows(self, warehouse, table):
        if warehouse.server_address is None:
            return self.select(warehouse, table, "true", [])
        self.sign_in(warehouse)
        self.connection.execute(f"attach 'lake' (type iceberg, endpoint '{warehouse.server_address}', authorization_type 'none')")
        try:
            return self.fetch(f"select * from lake.{table}")
        finally:
            self.connection.execute("detach lake")

    def sign_in(self, warehouse):
        if given := warehouse.properties:
            host = given["s3.endpoint"].removeprefix("http://")
            self.connection.execute(
                f"""create or replace secret (type s3, key_id '{given["s3.access-key-id"]}', url_style 'path', use_ssl false,
                secret '{given["s3.secret-access-key"]}', region '{given["s3.region"]}', endpoint '{host}')"""
            )

    def select(self, warehouse, table, condition, values):
        """Rows for which a condition with `?` marks holds."""
        self.sign_in(warehouse)
        return self.fetch(f"select * from iceberg_scan(?) where {condition}", [warehouse.metadata_location(table), *values])

    def fetch(self, statement, values=()):
        found = self.connection.execute(statement, values)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def arrow(self, warehouse, table, condition="true", values=()):
        """As `select`, by way of Arrow: DuckDB's own way from timestamps with time zone to Python takes another package."""
        found = self.connection.execute(
            f"select * from iceberg_scan(?) where {condition}", [warehouse.metadata_location(table), *values]
        )
        return found.fetch_arrow_table().to_pylist()

    def close(self):
        self.connection.close()
        shutil.rmtree(self.home)


class PyIceberg:
    """PyIceberg through its own SQL catalog. It reads null lists and maps of structs as empty ones."""

    collapse = True

    def rows(self, warehouse, table):
        return warehouse.pyiceberg().load_table(table).scan().to_arrow().to_pylist()

    def close(self):
        pass


class Polars:
    """Polars by the metadata file."""

    collapse = True

    def rows(self, warehouse, table):
        os.environ["POLARS_ICEBERG_PLANNER"] = "pyiceberg"  # as it does anyhow, but with a warning
        import polars

        location, options = warehouse.metadata_location(table), warehouse.properties or None
        return polars.scan_iceberg(location, storage_options=options).collect().to_dicts()

    def close(self):
        pass


class Spark:
    """Spark with Iceberg's Java classes, through JdbcCatalog on the same catalog file."""

    def __init__(self):
        from pyspark.sql import SparkSession

        jars = os.environ["DDB_INTEROP_JARS"]
        self.home = tempfile.mkdtemp(prefix="ddb-interop-spark-")
        classpath = ":".join(str(path) for path in sorted(Path(jars).glob("*.jar")))
        options = {
            "spark.driver.extraClassPath": classpath,
            "spark.driver.memory": "1g",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.extraJavaOptions": f"-Dderby.system.home={self.home} -XX:+UseSerialGC",
            "spark.local.dir": self.home,
            "spark.sql.warehouse.dir": f"{self.home}/spark-warehouse",
            "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.session.timeZone": "UTC",
            "spark.ui.enabled": "false",
        }
        builder = SparkSession.builder.master("local[2]").appName("interop")
        for name, value in options.items():
            builder = builder.config(name, value)
        self.spark = builder.getOrCreate()
        self.spark.sparkContext.setLogLevel("ERROR")
        self.sessions = weakref.WeakKeyDictionary()  # folders are not unique: a passed test's is removed, and used again

    def session(self, warehouse):
        """A session whose catalog of that name is the warehouse's."""
        if warehouse not in self.sessions:
            session = self.spark.newSession()
            name = f"spark.sql.catalog.{warehouse.catalog}"
            session.conf.set(name, "org.apache.iceberg.spark.SparkCatalog")
            for option, value in warehouse.spark().items():
                session.conf.set(f"{name}.{option}", value)
            session.conf.set(f"{name}.cache-enabled", "false")
            if given := warehouse.spark_properties:
                session.conf.set(f"{name}.io-impl", "org.apache.iceberg.aws.s3.S3FileIO")
                session.conf.set(f"{name}.s3.path-style-access", "true")
                session.conf.set(f"{name}.client.region", given["s3.region"])
                for option, value in given.items():
                    session.conf.set(f"{name}.{option}", value)
            self.sessions[warehouse] = session
        return self.sessions[warehouse]

    def sql(self, warehouse, statement):
        return [row.asDict(recursive=True) for row in self.session(warehouse).sql(statement).collect()]

    def name(self, warehouse, table):
        return f"`{warehouse.catalog}`." + ".".join(f"`{part}`" for part in table.split("."))

    def frame(self, warehouse, table, rows):
        """Rows of the model as a data frame of the table's schema."""
        session = self.session(warehouse)
        schema = session.table(self.name(warehouse, table)).schema
        return session.createDataFrame([[row[column] for column in schema.names] for row in rows], schema)

    def append(self, warehouse, table, rows):
        self.frame(warehouse, table, rows).writeTo(self.name(warehouse, table)).append()

    def rows(self, warehouse, table):
        return self.sql(warehouse, f"select * from {self.name(warehouse, table)}")

    def close(self):
        self.spark.stop()
        shutil.rmtree(self.home, ignore_errors=True)


MAKERS = {"duckdb": DuckDb, "pyiceberg": PyIceberg, "spark": Spark, "polars": Polars}


class Readers:
    """The chosen readers, each started when first used."""

    def __init__(self, names):
        self.names = names
        self._open = {}

    def __getitem__(self, name):
        if name not in self._open:
            self._open[name] = MAKERS[name]()
        return self._open[name]

    def collapses(self, name):
        return getattr(self[name], "collapse", False)

    def close(self):
        for reader in self._open.values():
            reader.close()
