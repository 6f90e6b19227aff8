#!/usr/bin/env bash
# Installs the readers, once for each set of requirements, and prints the folder that they are in: `venv` and `jars`.
# It lies in ${DDB_ICEBERG_CACHE:-~/.cache/ddb-iceberg}/interop.
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
    "$python" -m venv "$home/venv" >&2
    "$home/venv/bin/pip" install --quiet --requirement "$here/requirements.txt" >&2
    while read -r artifact; do
        mvn --quiet --batch-mode org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
            "-Dartifact=$artifact" "-DoutputDirectory=$home/jars" >&2
    done < "$here/jars.txt"
    touch "$home/complete"
fi
echo "$home"
