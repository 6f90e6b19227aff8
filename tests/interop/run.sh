#!/usr/bin/env bash
# Real readers judge our tables. Usage: run.sh [--binary PATH] [--readers duckdb,pyiceberg,spark] [--seed S] [pytest arguments]
# Installs what it needs into ${DDB_ICEBERG_CACHE:-~/.cache/ddb-iceberg}/interop, once for each set of requirements.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${DDB_ICEBERG_CACHE:-$HOME/.cache/ddb-iceberg}/interop
python=${PYTHON:-python3}

need() {
    command -v "$1" >/dev/null || { echo "tests/interop needs $1 ($2)" >&2; exit 3; }
}
need "$python" "Python 3.11 or newer with venv"
need java "Java 17, for Spark"

key=$({ cat "$here/requirements.txt" "$here/jars.txt"; "$python" -VV; } | sha256sum | cut -c1-16)
home=$cache/$key
if [ ! -e "$home/complete" ]; then
    need mvn "Maven, which fetches the jars for Spark"
    echo "installing readers into $home" >&2
    rm -rf "$home"
    mkdir -p "$home/jars"
    "$python" -m venv "$home/venv"
    "$home/venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
    while read -r artifact; do
        mvn --quiet --batch-mode org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
            "-Dartifact=$artifact" "-DoutputDirectory=$home/jars"
    done < "$here/jars.txt"
    touch "$home/complete"
fi

# pytest would take a path that follows an option of ours for a test to run: join them.
arguments=()
while [ $# -gt 0 ]; do
    case $1 in
        --binary | --readers | --seed) arguments+=("$1=${2:?$1 needs a value}"); shift 2 ;;
        *) arguments+=("$1"); shift ;;
    esac
done

export DDB_INTEROP_JARS=$home/jars DDB_INTEROP_FROM=$PWD PYTHONDONTWRITEBYTECODE=1 SPARK_LOCAL_IP=127.0.0.1
cd "$here"
exec "$home/venv/bin/python" -m pytest "${arguments[@]}"
