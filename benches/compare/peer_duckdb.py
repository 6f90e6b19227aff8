"""DuckDB in place of a full load: `peer_duckdb.py EXPORT OUTPUT [THREADS]` reads the export's JSON into Parquet.

The types are given, so that nothing has to be guessed, and the descriptors are taken away by hand. There is no Iceberg table, no
check of the files and no key in what comes out: it is less than the job. Prints the seconds without DuckDB's own start.
"""

import sys
import time
from pathlib import Path

import duckdb

TEXT, NUMBER = "struct(S varchar)", "struct(N varchar)"
GEO = f"struct(lat {NUMBER}, lon {NUMBER})"
ADDRESS = f"struct(street {TEXT}, city {TEXT}, zip {TEXT}, geo struct(M {GEO}))"
LINE = f"struct(sku {TEXT}, qty {NUMBER}, price {NUMBER}, name {TEXT})"
ITEM = f"""struct(customer_id {TEXT}, order_id {TEXT}, status {TEXT}, created_at {NUMBER}, total {NUMBER}, currency {TEXT},
    "version" {NUMBER}, gift struct(BOOL boolean), items struct(L struct(M {LINE})[]), address struct(M {ADDRESS}),
    tags struct(SS varchar[]), coupon struct(S varchar, "NULL" boolean), signature struct(B varchar), notes {TEXT})"""

COLUMNS = """
    i.customer_id.S as customer_id,
    i.order_id.S as order_id,
    {'street': i.address.M.street.S, 'city': i.address.M.city.S, 'zip': i.address.M.zip.S,
     'geo': {'lat': i.address.M.geo.M.lat.N::decimal(38, 9), 'lon': i.address.M.geo.M.lon.N::decimal(38, 9)}} as address,
    i.coupon.S as coupon,
    i.created_at.N::bigint as created_at,
    i.currency.S as currency,
    i.gift.BOOL as gift,
    [{'sku': one.M.sku.S, 'qty': one.M.qty.N::bigint, 'price': one.M.price.N::decimal(38, 9), 'name': one.M.name.S}
     for one in i.items.L] as items,
    i.notes.S as notes,
    from_base64(i.signature.B) as signature,
    i.status.S as status,
    i.tags.SS as tags,
    i.total.N::decimal(38, 9) as total,
    i."version".N::bigint as "version"
"""


def main(export, output, threads=2):
    connection = duckdb.connect()
    connection.execute(f"set threads = {int(threads)}")
    files = [str(path) for path in sorted(Path(export, "data").glob("*.json.gz"))]
    started = time.monotonic()
    read = connection.read_json(files, format="newline_delimited", columns={"Item": ITEM})
    written = connection.execute(
        f"copy (select {COLUMNS} from (select Item as i from read)) to '{output}' "
        "(format parquet, compression zstd, per_thread_output true)"
    )
    (rows,) = written.fetchone()
    print(f"rows {rows}")
    print(f"seconds {time.monotonic() - started:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
