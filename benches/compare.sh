#!/usr/bin/env bash
# The whole job, measured beside the machine's limits and beside what people would use instead.
#
#   benches/compare.sh [--items 1000000] [--runs 5] [--peers duckdb,spark] [--output DIR] [--binary PATH] [--profile release]
#                      [--large-items N] [--large-changes N] [--data-files 10,100,1000,10000] [--s3-latency MS] [--only data-files]
#
# Builds what is not there, generates exports, runs everything in turn, and writes performance.md, performance.svg and
# performance.json into DIR (target/comparison by default). Exports are kept there, and used again by the next run.
#
#   --items        items of the full export, in 16 files; also a tenth of them is loaded, for the memory
#   --runs         rounds; a round runs each work once, and what is told is the median
#   --peers        none, duckdb, spark or both: what to compare with; Spark as the interop suite installs it, DuckDB's newest release
#   --binary       the program to measure, rather than one that is built
#   --profile      cargo's profile for what is built
#   --large-items  in at most four rounds, also windows of 10,000 changes into a table of so many rows, 20000000 for example
#                  (3 GB of exports)
#   --large-changes  with it: in the last of these rounds, a window of so many changes into it
#   --data-files   also windows into tables of about so many data files
#   --only         data-files: nothing but the windows into tables of so many data files
#   --s3-latency   also a load from and to a stand-in for S3 that answers so many milliseconds late
set -euo pipefail

from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
profile=release
binary=
output=
arguments=()
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 0 ;;
        --binary) binary=$(cd "$from" && realpath "${2:?$1 needs a value}"); shift 2 ;;
        --output) output=$(cd "$from" && realpath -m "${2:?$1 needs a value}"); shift 2 ;;
        --profile) profile=${2:?$1 needs a value}; shift 2 ;;
        --*) arguments+=("$1" "${2:?$1 needs a value}"); shift 2 ;;
        *) echo "error: what is $1? See benches/compare.sh --help" >&2; exit 2 ;;
    esac
done

readers=$(tests/interop/install.sh)
build=(--example make_exports --example limits --example s3_stand_in --example scatter_rows)
[ -n "$binary" ] || build+=(--bin ddb-iceberg)
cargo build --profile "$profile" --locked "${build[@]}"
target=$(cargo metadata --locked --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')

# The readers' DuckDB is the last one whose Iceberg extension can be installed: the newest reads JSON in half the time.
version=2.0.0
duckdb=$target/peers/duckdb-$version
if [ ! -d "$duckdb" ]; then
    rm -rf "$duckdb.new"
    "$readers/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$duckdb.new" "duckdb==$version"
    mv "$duckdb.new" "$duckdb"
fi

# Settings of yours must not lead the program elsewhere.
for name in $(compgen -e PYICEBERG_ || true) $(compgen -e AWS_ || true); do unset "$name"; done
export PYTHONDONTWRITEBYTECODE=1 SPARK_LOCAL_IP=127.0.0.1
exec "$readers/venv/bin/python" benches/compare/compare.py \
    --binary "${binary:-$target/$profile/ddb-iceberg}" --examples "$target/$profile/examples" --jars "$readers/jars" --duckdb "$duckdb" \
    --output "${output:-$target/comparison}" "${arguments[@]}"
