//! The exports of `examples/exports`: twelve orders, then two windows of 15 minutes.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::layout::{Export, Kind, Listed, Result};

/// 2026-01-14T10:15:00Z: the full export's time, and where the first window starts.
const EXPORTED: i64 = 1_768_385_700_000;
const WINDOW: i64 = 15 * 60 * 1000;

/// Writes the three exports below `root`.
pub fn write(root: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let items = items();
    let item = |order: &str| -> Result<Value> {
        let found = items.iter().find(|item| item["order_id"]["S"] == order).cloned();
        found.ok_or_else(|| format!("no order {order}").into())
    };

    // A DynamoDB partition without items gives a file without lines; here it is the first one.
    let mut files: [Vec<String>; 3] = [vec![], vec![], vec![]];
    for (number, item) in items.iter().enumerate() {
        files[1 + number % 2].push(json!({ "Item": item }).to_string());
    }
    let full = export(root, Kind::Full { time: EXPORTED }, 0x5b0e_41c7, &files)?;

    // First window, NEW_IMAGE: an order is sent and paid, one is deleted, one is new.
    let shipped = with(item("O-1002")?, &[("status", json!({ "S": "SHIPPED" })), ("version", json!({ "N": "2" }))]);
    let paid = with(
        item("O-1007")?,
        &[
            ("status", json!({ "S": "PAID" })),
            ("total", json!({ "N": "249.9" })),
            ("version", json!({ "N": "2" })),
            ("tags", json!({ "SS": ["b2b", "priority"] })),
        ],
    );
    let new = json!({
        "customer_id": { "S": "C-205" }, "order_id": { "S": "O-1013" }, "status": { "S": "PENDING" },
        "created_at": { "N": "1768386120000" }, "total": { "N": "15" }, "currency": { "S": "EUR" },
        "version": { "N": "1" }, "gift": { "BOOL": true }, "gift-note": { "S": "Alles Gute! 🎉" },
        "items": { "L": [line("SKU-17", 1, "15", "Mug")] }, "address": address("Lindenweg 3", "Köln", "50667", None),
    });
    let files = [
        vec![
            change(EXPORTED + 61_000, &shipped, None, Some(&shipped)),
            change(EXPORTED + 184_512, &item("O-1004")?, None, None),
        ],
        vec![change(EXPORTED + 420_733, &new, None, Some(&new)), change(EXPORTED + 899_999, &paid, None, Some(&paid))],
    ];
    let window = Kind::Incremental { from: EXPORTED, to: EXPORTED + WINDOW, view: "NEW_IMAGE" };
    let first = export(root, window, 0x9d24_03fe, &files)?;

    // Second window, NEW_AND_OLD_IMAGES: the coupon is taken off an order, one is deleted, one is new.
    let without_coupon = without(
        with(item("O-1001")?, &[("total", json!({ "N": "64.98" })), ("version", json!({ "N": "2" }))]),
        "coupon",
    );
    let newest = json!({
        "customer_id": { "S": "C-206" }, "order_id": { "S": "O-1014" }, "status": { "S": "PAID" },
        "created_at": { "N": "1768387020000" }, "total": { "N": "1999.99" }, "currency": { "S": "USD" },
        "version": { "N": "1" }, "gift": { "BOOL": false }, "coupon": { "NULL": true },
        "items": { "L": [line("SKU-90", 1, "1999.99", "Bicycle \"Tourer\"")] },
        "address": address("5 Harbour St", "Portland", "04101", Some(("43.65737", "-70.2589"))),
        "signature": { "B": "3q2+7w==" },
    });
    let start = EXPORTED + WINDOW;
    let files = [
        vec![
            change(start + 1_250, &item("O-1001")?, Some(&item("O-1001")?), Some(&without_coupon)),
            change(start + 300_000, &newest, None, Some(&newest)),
        ],
        vec![],
        vec![change(start + 610_077, &new, Some(&new), None)],
    ];
    let window = Kind::Incremental { from: start, to: start + WINDOW, view: "NEW_AND_OLD_IMAGES" };
    let second = export(root, window, 0x03af_76b2, &files)?;
    Ok(vec![full, first, second])
}

fn export(root: &Path, kind: Kind, tag: u32, files: &[Vec<String>]) -> Result<(PathBuf, u64)> {
    let export = Export::start(root, kind, tag)?;
    let mut listed: Vec<Listed> = Vec::new();
    for (number, lines) in (0..).zip(files) {
        let mut file = export.data_file(number)?;
        for line in lines {
            file.line(line)?;
        }
        listed.push(file.finish()?);
    }
    export.finish(&listed)
}

/// A record of an incremental export; without a new image it is a delete.
fn change(at: i64, item: &Value, old: Option<&Value>, new: Option<&Value>) -> String {
    let mut record = json!({
        "Metadata": { "WriteTimestampMicros": { "N": (at * 1000).to_string() } },
        "Keys": { "customer_id": item["customer_id"], "order_id": item["order_id"] },
    });
    if let Some(old) = old {
        record["OldImage"] = old.clone();
    }
    if let Some(new) = new {
        record["NewImage"] = new.clone();
    }
    record.to_string()
}

fn with(mut item: Value, attributes: &[(&str, Value)]) -> Value {
    for (name, value) in attributes {
        item[*name] = value.clone();
    }
    item
}

fn without(mut item: Value, attribute: &str) -> Value {
    if let Some(attributes) = item.as_object_mut() {
        attributes.shift_remove(attribute);
    }
    item
}

fn line(sku: &str, qty: u32, price: &str, name: &str) -> Value {
    json!({ "M": {
        "sku": { "S": sku }, "qty": { "N": qty.to_string() }, "price": { "N": price }, "name": { "S": name },
    } })
}

fn address(street: &str, city: &str, zip: &str, geo: Option<(&str, &str)>) -> Value {
    let mut address = json!({ "M": { "street": { "S": street }, "city": { "S": city }, "zip": { "S": zip } } });
    if let Some((lat, lon)) = geo {
        address["M"]["geo"] = json!({ "M": { "lat": { "N": lat }, "lon": { "N": lon } } });
    }
    address
}

/// An order with what every order has; the rest is added by `with`.
fn order(customer: &str, id: &str, status: &str, total: &str, items: Vec<Value>, address: Value) -> Value {
    let number: i64 = id.trim_start_matches("O-").parse().unwrap_or_default();
    let mut order = json!({
        "customer_id": { "S": customer }, "order_id": { "S": id }, "status": { "S": status },
        "created_at": { "N": (EXPORTED - (1020 - number) * 7_260_000).to_string() }, "total": { "N": total },
        "currency": { "S": if number % 3 == 0 { "USD" } else { "EUR" } }, "version": { "N": "1" },
        "gift": { "BOOL": false },
    });
    order["items"]["L"] = Value::Array(items);
    order["address"] = address;
    order
}

fn items() -> Vec<Value> {
    let berlin = || address("Hauptstraße 12", "Berlin", "10827", Some(("52.4851", "13.35297")));
    let lyon = || address("8 rue Mercière", "Lyon", "69002", Some(("45.76389", "4.83417")));
    let austin = || address("410 W 6th St", "Austin", "78701", None);
    let osaka = || address("梅田1-2-3", "大阪", "530-0001", Some(("34.70248", "135.49595")));
    vec![
        with(
            order("C-201", "O-1001", "PAID", "59.98", vec![line("SKU-11", 2, "32.49", "Lamp")], berlin()),
            &[("coupon", json!({ "S": "WINTER5" })), ("tags", json!({ "SS": ["home", "sale"] }))],
        ),
        order("C-201", "O-1002", "PAID", "12.5", vec![line("SKU-17", 1, "12.5", "Mug")], berlin()),
        with(
            order("C-201", "O-1003", "DELIVERED", "1200", vec![line("SKU-42", 1, "1200", "Desk")], austin()),
            &[("signature", json!({ "B": "aGVsbG8gd29ybGQ=" })), ("ratings", json!({ "NS": ["4", "5", "4.5"] }))],
        ),
        order("C-202", "O-1004", "CANCELLED", "7.25", vec![line("SKU-03", 1, "7.25", "Notebook")], lyon()),
        with(
            order(
                "C-202",
                "O-1005",
                "DELIVERED",
                "88.4",
                vec![line("SKU-03", 4, "7.25", "Notebook"), line("SKU-08", 1, "59.4", "Fountain pen")],
                lyon(),
            ),
            &[
                ("gift", json!({ "BOOL": true })),
                ("gift-note", json!({ "S": "Bon anniversaire,\nmaman" })),
                ("ratings", json!({ "NS": ["5"] })),
            ],
        ),
        with(
            order("C-202", "O-1006", "PENDING", "0", vec![], lyon()),
            &[("coupon", json!({ "NULL": true })), ("tags", json!({ "SS": ["draft"] }))],
        ),
        with(
            order("C-203", "O-1007", "PENDING", "259.9", vec![line("SKU-55", 10, "25.99", "Chair \"Nora\"")], osaka()),
            &[("tags", json!({ "SS": ["b2b"] }))],
        ),
        with(
            order("C-203", "O-1008", "SHIPPED", "19.99", vec![line("SKU-21", 1, "19.99", "Kettle")], osaka()),
            &[("scans", json!({ "BS": ["AAEC", "/v8="] })), ("coupon", json!({ "S": "ÜBER10" }))],
        ),
        order("C-203", "O-1009", "PAID", "45", vec![line("SKU-30", 3, "15", "Socks")], osaka()),
        with(
            order("C-204", "O-1010", "DELIVERED", "3.1", vec![line("SKU-02", 1, "3.1", "Pencil")], austin()),
            &[("signature", json!({ "B": "AP8Q" })), ("scans", json!({ "BS": ["c2Nhbg=="] }))],
        ),
        order("C-204", "O-1011", "PAID", "310.75", vec![line("SKU-60", 1, "310.75", "Bookcase")], austin()),
        with(
            order("C-204", "O-1012", "SHIPPED", "99", vec![line("SKU-61", 1, "99", "Shelf")], austin()),
            &[("gift", json!({ "BOOL": true })), ("coupon", json!({ "S": "FREESHIP" }))],
        ),
    ]
}
