#!/usr/bin/env bash
# Runs one command for each table of a list. Where one fails the others go on; the exit code is the first failure's.
#
#   examples/every_table.sh LIST COMMAND [ARGUMENT]...
#
# LIST: a file with a table on each line, # for comments. {} in an argument stands for the table. AT_ONCE: how many run side by side (1).
set -uo pipefail
[ $# -ge 2 ] || { sed -n '2,/^set/{s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

list=$1
shift
failed=$(mktemp)
trap 'rm -f "$failed"' EXIT
export failed
run() {
    local table=${*: -1} code=0
    set -- "${@:1:$#-1}"
    "${@//"{}"/"$table"}" || code=$?
    [ "$code" = 0 ] || { echo "$code $table" >>"$failed"; echo "error: $table: exit code $code" >&2; }
}
export -f run

sed 's/#.*//; s/[[:space:]]//g; /^$/d' "$list" | xargs -r -d '\n' -n 1 -P "${AT_ONCE:-1}" bash -c 'run "$@"' bash "$@" || exit 1
read -r code _ <"$failed" || code=0
exit "$code"
