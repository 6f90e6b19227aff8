"""Runs the whole job beside its limits and its peers, in rounds, and tells the medians. `benches/compare.sh` prepares and starts it."""

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import distributions, version
from pathlib import Path

import chart
import report
from place import Place

PEERS = ("duckdb", "spark")
# Each window deletes items that none before it deleted. Of half of all items, the generator has such items for the fifth
# window at most, and the large window is the one after those of 10,000 changes.
LARGE_ROUNDS = 4


def arguments():
    parser = argparse.ArgumentParser(prog="benches/compare.sh", allow_abbrev=False)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--changes", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--large-items", type=int, default=0)
    parser.add_argument("--large-changes", type=int, default=0)
    parser.add_argument("--data-files", default="")
    parser.add_argument("--s3-latency", type=int)
    parser.add_argument("--only", choices=["data-files"])
    for name in ("binary", "examples", "jars", "duckdb", "output"):
        parser.add_argument(f"--{name}", type=lambda text: Path(text).resolve(), required=True)
    given = parser.parse_args()
    given.peers = [peer for peer in given.peers.split(",") if peer not in ("", "none")]
    if wrong := [peer for peer in given.peers if peer not in PEERS]:
        parser.error(f"--peers takes {', '.join(PEERS)} and none, not {wrong[0]}")
    given.data_files = [int(count) for count in given.data_files.split(",") if count]
    if given.runs < 1 or given.items < 1000:
        parser.error("--runs must be at least 1, and --items at least 1000")
    if given.only and not given.data_files:
        parser.error(f"--only {given.only} needs --data-files 10,1000")
    if given.large_changes > given.large_items // 2:
        parser.error("--large-changes takes half of --large-items at most")
    given.changes = min(given.changes, given.items // 10)
    return given


def round_of_the_job(place, given):
    """Each work once. What a work needs was made by one before it."""
    export, window = place.full(given.items), place.window(given.items, given.changes, 1)
    tenth = place.full(given.items // 10)

    place.limit("inflate", "inflate", export)
    schema = place.detect("detect-schema", export)
    place.load("full-load, 1 thread", place.fresh("one"), export, schema, given.items, "--threads", "1")
    place.load("full-load, a tenth of the items", place.fresh("tenth"), tenth, schema, given.items // 10)
    warehouse = place.fresh("ours")
    place.load("full-load", warehouse, export, schema, given.items)
    if "duckdb" in given.peers:
        place.peer("DuckDB, load", "peer_duckdb.py", export, place.fresh("duckdb"), rows=given.items)
    if "spark" in given.peers:
        lake = place.fresh("spark")
        place.peer("Spark, load, types given", "peer_spark.py", "load", lake, export, "given", rows=given.items)
        lake = place.fresh("spark")
        place.peer("Spark, load", "peer_spark.py", "load", lake, export, rows=given.items)
        place.peer("Spark, merge", "peer_spark.py", "merge", lake, window, rows=given.items)

    place.limit("keys", "keys", warehouse / "shop/orders", "--key", "customer_id", "--key", "order_id")
    place.increment("incremental", warehouse, window, given.changes)
    place.increment("incremental, already applied", warehouse, window, 0)
    for _ in range(5):
        place.ours("--help", "--help")


def round_of_s3(place, given):
    export = place.full(given.items)
    schema = place.schema
    for delay in (0, given.s3_latency):
        with place.s3(export.parent.parent, delay) as stand_in:
            stand_in.load(f"full-load on S3, {delay} ms", f"s3://exports/AWSDynamoDB/{export.name}", schema, given.items)


def large_table(place, given, number):
    if number > LARGE_ROUNDS:
        return
    export = place.full(given.large_items)
    warehouse = place.tables / "large"
    if number == 1:
        place.load("full-load, large", place.fresh("large"), export, place.schema, given.large_items)
    table = warehouse / "shop/orders"
    place.limit("keys, large", "keys", table, "--key", "customer_id", "--key", "order_id")
    window = place.window(given.large_items, 10_000, number)
    place.increment("incremental, large", warehouse, window, 10_000, "--maintenance", "off")
    if given.large_changes and number == min(given.runs, LARGE_ROUNDS):
        window = place.window(given.large_items, given.large_changes, number + 1)
        place.increment("incremental, large window", warehouse, window, given.large_changes, "--maintenance", "off")


def many_files(place, given, number):
    """Windows into tables of the same rows in more and more data files: with any key in each, and sorted by key, where most files
    surely have none of the window's keys."""
    items, changes = 50_000, 100
    if place.schema is None:
        place.detect("detect-schema", place.full(items))
    for count in given.data_files:
        for layout in ("any", "sorted"):
            name = f"{count} files, {layout}"
            if number == 1:
                place.load(f"full-load, {name}", place.fresh(name), place.full(items), place.schema, items)
                place.scatter(name, count, layout)
            window = place.window(items, changes, number)
            place.increment(f"incremental, {name}", place.tables / name, window, changes, "--maintenance", "off")


def machine():
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0] if names else cpu
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu": cpu, "cores": os.cpu_count(), "memory": pages, "system": platform.platform()}


def main():
    given = arguments()
    place = Place(given)
    (duckdb,) = distributions(name="duckdb", path=[str(given.duckdb)])
    busy = os.getloadavg()[0]
    if busy > 0.5:
        print(f"warning: the machine is busy (load {busy:.1f}): what is measured now is worth little", file=sys.stderr)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False).stdout.strip()
    measured = {
        "machine": machine(),
        "load_at_start": busy,
        "program": place.version(),
        "commit": commit or None,
        "peers": {"duckdb": duckdb.version, "spark": version("pyspark")},
        "options": {name: value for name, value in vars(given).items() if not isinstance(value, Path)},
    }
    try:
        for number in range(1, given.runs + 1):
            print(f"round {number} of {given.runs}", file=sys.stderr)
            if not given.only:
                round_of_the_job(place, given)
                measured["sizes"] = place.sizes()
            if given.s3_latency is not None and not given.only:
                round_of_s3(place, given)
            if given.large_items and not given.only:
                large_table(place, given, number)
            if given.data_files:
                many_files(place, given, number)
            measured |= {"notes": place.notes, "works": place.works}
            (place.output / "performance.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    finally:
        place.clear()
    text = report.markdown(measured)
    (place.output / "performance.md").write_text(text, encoding="utf-8")
    print(text)
    if not given.only:
        (place.output / "performance.svg").write_text(chart.svg(measured), encoding="utf-8")
    print(f"{place.output}: performance.md{'' if given.only else ', performance.svg'}, performance.json", file=sys.stderr)


if __name__ == "__main__":
    main()
