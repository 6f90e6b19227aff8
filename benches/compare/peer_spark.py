"""Spark and Iceberg in place of a full load and of an increment, by the statements that AWS's samples are made of.

  peer_spark.py load  WAREHOUSE EXPORT [given]     a table of the export
  peer_spark.py merge WAREHOUSE EXPORT             a window of changes into that table, by a staging table and MERGE

As in the samples, Spark infers the types of the JSON, for which it reads it twice; with `given` they are given, and it reads it
once. Numbers stay text, descriptors stay inside of lists and maps, and nothing is checked: it is less than the job. Prints the
seconds of the work, without Spark's own start. $DDB_INTEROP_JARS is the folder of Iceberg's jars.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from pyspark.sql import SparkSession

KEY = ["customer_id", "order_id"]
TYPES = {
    "customer_id": "S", "order_id": "S", "status": "S", "created_at": "N", "total": "N", "currency": "S", "version": "N",
    "gift": "BOOL", "items": "L", "address": "M", "tags": "SS", "coupon": "S", "signature": "B", "notes": "S",
}
TEXT, NUMBER = "struct<S: string>", "struct<N: string>"
NESTED = {
    "L": f"array<struct<M: struct<sku: {TEXT}, qty: {NUMBER}, price: {NUMBER}, name: {TEXT}>>>",
    "M": f"struct<street: {TEXT}, city: {TEXT}, zip: {TEXT}, geo: struct<M: struct<lat: {NUMBER}, lon: {NUMBER}>>>",
    "SS": "array<string>", "BOOL": "boolean",
}


def session(warehouse, home):
    classpath = ":".join(str(path) for path in sorted(Path(os.environ["DDB_INTEROP_JARS"]).glob("*.jar")))
    options = {
        "spark.driver.extraClassPath": classpath,
        "spark.driver.memory": os.environ.get("DDB_BENCH_SPARK_MEMORY", "8g"),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={home}",
        "spark.local.dir": home,
        "spark.sql.warehouse.dir": f"{home}/spark-warehouse",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.type": "hadoop",
        "spark.sql.catalog.lake.warehouse": warehouse,
        "spark.ui.enabled": "false",
    }
    builder = SparkSession.builder.master("local[2]").appName("compare")
    for name, value in options.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def read(spark, export, is_given):
    """The export's data files, or those of an increment, which lie elsewhere: as its manifest lists them."""
    import json

    root = Path(export).parent.parent
    listed = Path(export, "manifest-files.json").read_text(encoding="utf-8").splitlines()
    files = [str(root / json.loads(line)["dataFileS3Key"]) for line in listed]
    if not is_given:
        return spark.read.json(files)
    item = ", ".join(f"{name}: struct<{kind}: {NESTED.get(kind, 'string')}>" for name, kind in TYPES.items())
    return spark.read.schema(f"Item struct<{item}>").json(files)


def load(spark, export, is_given):
    picked = [f"Item.{name}.{kind} as {name}" for name, kind in TYPES.items()]
    read(spark, export, is_given).selectExpr(*picked).writeTo("lake.shop.orders").using("iceberg").createOrReplace()


def merge(spark, export):
    picked = [f"Keys.{name}.S as key_{name}" for name in KEY]
    picked += [f"NewImage.{name}.{kind} as {name}" for name, kind in TYPES.items()]
    read(spark, export, False).selectExpr(*picked).writeTo("lake.shop.changes").using("iceberg").createOrReplace()
    same_key = " and ".join(f"old.{name} = new.key_{name}" for name in KEY)
    spark.sql(f"""
        merge into lake.shop.orders old using lake.shop.changes new on {same_key}
        when matched and new.{KEY[0]} is null then delete
        when matched then update set {", ".join(f"old.{name} = new.{name}" for name in TYPES)}
        when not matched and new.{KEY[0]} is not null then insert ({", ".join(TYPES)})
            values ({", ".join(f"new.{name}" for name in TYPES)})
    """)


def main(work, warehouse, export, given=""):
    with tempfile.TemporaryDirectory(prefix="compare-spark-") as home:
        spark = session(warehouse, home)
        started = time.monotonic()
        if work == "load":
            load(spark, export, given == "given")
        else:
            merge(spark, export)
        seconds = time.monotonic() - started
        (rows,) = spark.sql("select count(*) from lake.shop.orders").first()
        gateway = spark.sparkContext._gateway
        spark.stop()
        # Waited for, its memory and its time count as this process's.
        gateway.proc.stdin.close()
        gateway.proc.wait()
    print(f"rows {rows}")
    print(f"seconds {seconds:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
