#!/usr/bin/env bash
# From DynamoDB exports to an Iceberg table, on the example exports beside this file. Needs nothing but Rust.
#
#   examples/quickstart.sh [FOLDER]      FOLDER: where the table goes; a temporary folder by default
#
# DDB_ICEBERG_PROFILE=ci builds quicker, for a slower program.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profile=${DDB_ICEBERG_PROFILE:-release}
full=examples/exports/AWSDynamoDB/01768385700000-5b0e41c7
columns=(customer_id order_id status total coupon gift-note tags)

folder=${1:-$(mktemp -d "${TMPDIR:-/tmp}/ddb-iceberg-quickstart.XXXXXX")}
mark=$folder/.ddb-iceberg-quickstart
if [ -e "$folder/warehouse" ] && [ ! -e "$mark" ]; then
    echo "error: $folder/warehouse is there already, and not from this script: name another folder" >&2
    exit 2
fi
mkdir -p "$folder"
touch "$mark"
rm -rf "$folder/warehouse" "$folder"/*.json
folder=$(cd "$folder" && pwd)

echo "Building (the first time takes some minutes)"
cargo build --locked --profile "$profile" --bin ddb-iceberg --example print_rows
target=$(cargo metadata --locked --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
bin=$target/$profile

# Settings of yours, which may name another catalog, must not lead the example there.
for name in $(compgen -e PYICEBERG_ || true); do unset "$name"; done
home=$folder/home
mkdir -p "$home"

ddb-iceberg() {
    {
        printf '\n$ ddb-iceberg'
        printf ' %q' "$@"
        printf '\n'
    } >&2
    HOME=$home "$bin/ddb-iceberg" "$@"
}

rows() {
    echo
    "$bin/examples/print_rows" "$1" "${columns[@]}"
}

ddb-iceberg detect-schema "$full" --key customer_id --key order_id --output "$folder/orders.schema.json"

ddb-iceberg full-load "$full" --table shop.orders --schema "$folder/orders.schema.json" \
    --warehouse "$folder/warehouse" --format json | tee "$folder/load.json"
rows "$folder/load.json"

ddb-iceberg incremental examples/exports --table shop.orders \
    --warehouse "$folder/warehouse" --format json | tee "$folder/windows.json"
rows "$folder/windows.json"

cat <<END

The table is in $folder/warehouse, its catalog in $folder/warehouse/catalog.db.
Run the last command again, and it has nothing to do.
END
