#!/usr/bin/env bash
# Real readers judge our tables. Usage: run.sh [--binary PATH] [--readers duckdb,pyiceberg,spark] [--seed S] [pytest arguments]
# Installs what it needs into ${DDB_ICEBERG_CACHE:-~/.cache/ddb-iceberg}/interop, once for each set of requirements.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=$("$here/install.sh")

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
