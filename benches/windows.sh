#!/usr/bin/env bash
# Many windows one after the other, as a schedule brings them, with upkeep on: what each took and what the table is then.
#
#   benches/windows.sh [WINDOWS=500] [FOLDER=a temporary one]
#
# Prints CSV: window, milliseconds, bytes of the table's metadata file, data and delete files on disk, files of metadata.
# Commits follow each other within seconds, so no snapshot is old enough to expire: 500 are what 5 days of them leave.
set -euo pipefail

windows=${1:-500}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build --release --locked --quiet --bin ddb-iceberg --example make_exports
target=$(cargo metadata --locked --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release
folder=${2:-$(mktemp -d)}
mkdir -p "$folder"
cd "$folder"

"$target/examples/make_exports" full all --items 200000 --files 4 >&2
"$target/ddb-iceberg" full-load all/AWSDynamoDB/*-* --table shop.orders --warehouse lake --key customer_id --key order_id -q >&2
for ((n = 1; n <= windows; n++)); do
    rm -rf one
    "$target/examples/make_exports" window one --items 200000 --changes 500 --window "$n" >/dev/null
    started=$(date +%s%N)
    "$target/ddb-iceberg" incremental one --table shop.orders --warehouse lake -q >/dev/null
    took=$((($(date +%s%N) - started) / 1000000))
    newest=$(find lake/shop/orders/metadata -name '*.metadata.json' | sort | tail -n 1)
    echo "$n,$took,$(stat -c %s "$newest"),$(find lake/shop/orders/data -type f | wc -l),$(find lake/shop/orders/metadata -type f | wc -l)"
done
"$target/ddb-iceberg" status --table shop.orders --warehouse lake >&2
