#!/usr/bin/env bash
# Applies the windows that are there, then asks DynamoDB to export those that are still missing. Made for a scheduler; needs the AWS CLI.
#
#   examples/request_export.sh TABLE_ARN s3://BUCKET[/PREFIX] NAMESPACE.TABLE [OPTIONS OF ddb-iceberg incremental]
#
# STEP: seconds in a window, 900 to 86400 (15 minutes). MOST: windows asked for in one run (24). LAG: how far from now they stay (300 s).
# Asking twice for a window does no harm: within 8 hours DynamoDB knows it by its token, later the second export is skipped.
# But let no export be under way when you change STEP: windows of both lengths would overlap.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,/^set/{s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

arn=$1 exports=${2%/} table=$3 step=${STEP:-900} most=${MOST:-24} lag=${LAG:-300}
shift 3
place=${exports#s3://}/
bucket=${place%%/*} prefix=${place#*/}
prefix=${prefix%/}

# Its exit code is ours: a gap or damage must be looked at before more is asked for.
result=$(ddb-iceberg incremental "$exports/AWSDynamoDB" --table "$table" --format json "$@")
printf '%s\n' "$result"
mark=$(sed -n 's/.*"watermark":"\([^"]*\)".*/\1/p' <<<"$result")
[ -n "$mark" ] || { echo "error: $table has no watermark" >&2; exit 4; }

view=${VIEW:-NEW_AND_OLD_IMAGES}
from=$(date -u -d "$mark" +%s) until=$(($(date -u +%s) - lag))
for ((n = 0; n < most && from + step <= until; n++, from += step)); do
    token=$(printf '%s ' "$arn" "$exports" "$from" "$step" "$view" | sha256sum | cut -c 1-32)
    aws dynamodb export-table-to-point-in-time --table-arn "$arn" --s3-bucket "$bucket" ${prefix:+--s3-prefix "$prefix"} \
        --export-format DYNAMODB_JSON --export-type INCREMENTAL_EXPORT --incremental-export-specification \
        "ExportFromTime=$from,ExportToTime=$((from + step)),ExportViewType=$view" \
        --client-token "$token" --query ExportDescription.ExportArn --output text
done
