//! Which exports are found below a prefix, and how many requests that takes.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::exports::{ExportWriter, IncrementalExport};
use super::s3_server::Request;
use super::{Place, full, record};

const FOLDER: &str = "s3://exports/backups/daily/";
const RUN: [&str; 4] = ["incremental", FOLDER, "--table", "shop.orders"];

fn at(minutes: u32) -> String {
    format!("2026-01-14T{:02}:{:02}:00.000Z", 10 + minutes / 60, minutes % 60)
}

fn quarter(n: u32) -> ExportWriter {
    IncrementalExport::new("orders")
        .prefix(super::PREFIX)
        .from(&at(15 * n))
        .to(&at(15 * n + 15))
        .files([vec![record("000-000", Some(100 + n as usize))]])
}

/// An id of an export that was asked for now.
fn id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    format!("{now:014}-0badcafe")
}

fn result(place: &Place, arguments: &[&str], code: i32) -> Value {
    let output = place.run(arguments);
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The objects of exports that were read or looked for.
fn read(place: &Place) -> Vec<String> {
    let requests = place.server.take_requests();
    let of_exports =
        requests.iter().filter(|request: &&Request| request.bucket == "exports" && !request.key.is_empty());
    of_exports.map(|request| request.key.clone()).filter(|key| key.contains("/AWSDynamoDB/")).collect()
}

fn ends(result: &Value) -> Vec<&str> {
    result["windows"].as_array().unwrap().iter().map(|window| window["to"].as_str().unwrap()).collect()
}

#[test]
fn manifests_from_before_a_recorded_gap_are_not_read_again() {
    let place = Place::new();
    let folder = place.upload(&full(1, 3));
    place.report(&["full-load", &folder, "--table", "shop.orders", "--key", "pk"]);
    let mut applied = Vec::new();
    for n in 1..5 {
        applied.push(place.upload(&quarter(n)));
    }
    let other = IncrementalExport::new("customers").prefix(super::PREFIX).from(&at(15)).to(&at(30)).files([[""; 0]]);
    applied.push(place.upload(&other));
    result(&place, &[&RUN[..], &["--allow-gap"]].concat(), 0);
    let is_old =
        |key: &String| applied[..3].iter().chain(&applied[4..]).any(|old| key.contains(&old[old.len() - 23..]));

    // Nothing is due; then, each run is of a window more.
    place.server.take_requests();
    for n in 5..8 {
        assert_eq!(result(&place, &RUN, 0)["status"], "nothing_to_do");
        let asked = read(&place);
        assert!(!asked.iter().any(is_old), "{asked:?}");
        assert!(asked.len() < 12, "{asked:?}");
        place.upload(&quarter(n));
        assert_eq!(ends(&result(&place, &RUN, 0)), [at(15 * n + 15)]);
        assert!(!read(&place).iter().any(is_old));
    }

    // What was missing comes late: it is told, whatever its id, and the rest goes on.
    for late in [quarter(0).id(&id()), quarter(0)] {
        let late = place.upload(&late);
        let told = result(&place, &RUN, 4);
        assert!(told["error"]["message"].as_str().unwrap().contains("touches the gap"), "{told}");
        let name = late.trim_start_matches("s3://");
        assert!(
            told["error"]["message"].as_str().unwrap().contains(name) || told["warnings"].to_string().contains(name)
        );
    }
    place.upload(&quarter(8));
    assert_eq!(ends(&result(&place, &RUN, 4))[0], at(135));
    read(&place);
    assert!(result(&place, &RUN, 4)["error"]["message"].as_str().unwrap().contains("touches the gap"));
    let asked = read(&place);
    assert!(!asked.iter().any(is_old), "only the late ones are read again: {asked:?}");
}

/// Listings begin at the watermark: that there are none since then is not that there are none.
#[test]
fn nothing_but_old_exports_is_nothing_to_do() {
    let place = Place::new();
    for n in 0..2 {
        place.upload(&quarter(n));
    }
    let folder = place.upload(&full(1, 3).prefix("elsewhere").time("2026-01-15T10:00:00.000Z"));
    place.report(&["full-load", &folder, "--table", "shop.orders", "--key", "pk"]);
    let run = result(&place, &RUN, 0);
    assert_eq!((run["status"].as_str(), ends(&run).len()), (Some("nothing_to_do"), 0), "{run}");
    // Where there is none at all, whoever typed it is told.
    let told = result(&place, &["incremental", "s3://exports/backups/weekly/", "--table", "shop.orders"], 3);
    assert!(told["error"]["message"].as_str().unwrap().contains("no DynamoDB export"), "{told}");
}

#[test]
fn prefixes_of_all_shapes_are_searched() {
    for prefix in ["AWSDynamoDB/incremental", "AWSDynamoDB/01-x", "a/AWSDynamoDB/b/c", "backups/"] {
        for argument in ["s3://exports", "s3://exports/", "s3a://exports//"] {
            let place = Place::new();
            let folder = place.upload(&full(1, 3).prefix("AWSDynamoDB"));
            place.report(&["full-load", &folder, "--table", "shop.orders", "--key", "pk"]);
            for n in 0..2 {
                // A local folder can't have names without characters.
                let export = quarter(n).prefix(prefix);
                let folder = tempfile::tempdir().unwrap();
                for (path, bytes) in export.made_below(folder.path()).1 {
                    let key = path.to_str().unwrap().strip_prefix(folder.path().to_str().unwrap()).unwrap();
                    place.server.put("exports", key.trim_start_matches('/'), bytes);
                }
                let run = result(&place, &["incremental", argument, "--table", "shop.orders"], 0);
                assert_eq!(run["watermark"], json!(at(15 * n + 15)), "{prefix} {argument}: {run}");
            }
            let asked = read(&place);
            assert!(
                !place.server.keys("exports").is_empty() && asked.iter().all(|key| !key.ends_with('/')),
                "{asked:?}"
            );
        }
    }
}
