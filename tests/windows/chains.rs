//! Of windows that overlap, the chain that reaches furthest is applied; what it does not need is skipped, and told.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::program::Run;
use super::{Site, at, gone, location, pairs, put, site, window};

/// The spans of what was skipped, and that a reason is given.
fn skipped(run: &Run) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = run.report["skipped"].as_array().cloned().unwrap_or_default();
    assert!(all.iter().all(|one| !text(&one["reason"]).is_empty() && one["export_arn"].is_string()), "{}", run.stdout);
    all.iter().map(|one| (text(&one["from"]), text(&one["to"]))).collect()
}

fn spans(run: &Run) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    run.report["windows"].as_array().unwrap().iter().map(|one| (text(&one["from"]), text(&one["to"]))).collect()
}

fn span(from: u32, to: u32) -> (String, String) {
    (at(from), at(to))
}

/// An export of any table that has begun so many hours ago and has not completed.
fn pending(site: &Site, hours: u128) -> std::path::PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let folder = site.bucket().join(format!("AWSDynamoDB/{:014}-0badcafe", now - hours * 3_600_000));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("_started"), "").unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daily_export_beside_short_ones_blocks_nothing() {
    let site = site();
    // It begins before the watermark and ends after it, and so do shifted ones.
    super::IncrementalExport::new(super::SOURCE)
        .from("2026-01-14T00:00:00Z")
        .to("2026-01-15T00:00:00Z")
        .files([vec![put("a", 99), put("daily", 1)]])
        .write(site.bucket());
    super::IncrementalExport::new(super::SOURCE)
        .from("2026-01-14T09:52:00Z")
        .to(&at(7))
        .files([vec![put("a", 98)]])
        .write(site.bucket());
    site.window(7, 22, vec![put("a", 97)]);
    site.window(0, 15, vec![put("a", 2)]);
    site.window(15, 30, vec![put("a", 3)]);
    for arguments in [&["status"][..], &["incremental", "--dry-run"]] {
        let bucket = site.bucket();
        let run = site.run(&[arguments, &[bucket.to_str().unwrap()]].concat()).expect(0);
        assert_eq!(skipped(&run).len(), 3, "{}", run.stdout);
        if arguments[0] == "status" {
            let due = run.report["state"]["due"].as_array().unwrap();
            assert!(due.len() == 2 && due.iter().all(|due| due["problem"].is_null()), "{due:?}");
        } else {
            assert_eq!(spans(&run), [span(0, 15), span(15, 30)]);
        }
    }
    let run = site.incremental(&[&site.bucket()], &[]).expect(0);
    assert_eq!((run.statuses(), spans(&run)), (("applied", vec!["applied"; 2]), vec![span(0, 15), span(15, 30)]));
    assert_eq!(skipped(&run).len(), 3, "{}", run.stdout);
    // With more behind it.
    site.window(30, 45, vec![put("a", 4)]);
    let bucket = site.bucket();
    let run = site.plain(&["incremental", bucket.to_str().unwrap(), "--table", "shop.orders"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("skipped: 2026-01-14T00:00:00.000Z to 2026-01-15"), "{}", run.stdout);
    assert_eq!(pairs(&site.rows().await), [("a", 4)]);
    // Nothing continues: the window to export is named, and the command for it.
    let run = site.incremental(&[&site.bucket()], &[]).expect(4);
    let told = run.message();
    assert!(told.contains("overlap") && told.contains(&format!("{} to 2026-01-15T00:00:00.000Z", at(45))), "{told}");
    assert!(told.contains("ExportFromTime=2026-01-14T10:45:00Z,ExportToTime=2026-01-15T00:00:00Z"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_window_at_the_watermark_takes_the_place_of_short_ones() {
    for named in [false, true] {
        let site = site();
        let mut all = vec![
            site.window(0, 15, vec![put("a", 2)]),
            site.window(0, 60, vec![put("a", 5), gone("b")]),
            site.window(15, 30, vec![put("a", 3), put("b", 1)]),
            site.window(60, 75, vec![put("a", 6)]),
        ];
        // The same window again, with another view.
        all.push(
            window(60, 75).id("01768390000000-00000000").view("NEW_IMAGE").files([[put("a", 6)]]).write(site.bucket()),
        );
        let bucket = site.bucket();
        let arguments: Vec<&Path> =
            if named { all.iter().rev().map(std::path::PathBuf::as_path).collect() } else { vec![&bucket] };
        let run = site.incremental(&arguments, &["--allow-gap", "--allow-overlap"]).expect(0);
        assert_eq!((spans(&run), run.warnings()), (vec![span(0, 60), span(60, 75)], "[]".to_owned()));
        assert_eq!(skipped(&run), [span(0, 15), span(15, 30), span(60, 75)]);
        assert_eq!(pairs(&site.rows().await), [("a", 6)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_that_stops_is_in_the_result_and_named() {
    let site = site();
    site.window(0, 15, vec![put("a", 2)]);
    let far = window(30, 45).files([vec![put("a", 3)]]);
    let (arn, folder) = (far.arn(), far.write(site.bucket()));
    site.window(45, 60, vec![put("a", 4)]);
    for flags in [&["--dry-run"][..], &[]] {
        let run = site.incremental(&[&site.bucket()], flags).expect(4);
        let first = if flags.is_empty() { "applied" } else { "dry_run" };
        assert_eq!(run.statuses(), ("failed", vec![first, "failed"]));
        let failed = &run.report["windows"][1];
        assert_eq!((&failed["export_arn"], &failed["from"]), (&json!(arn), &json!(at(30))));
        assert!(failed["snapshot_id"].is_null());
        assert!(run.message().contains(folder.to_str().unwrap()), "{}", run.message());
        let told = run.message();
        assert!(told.contains("ExportFromTime=2026-01-14T10:15:00Z,ExportToTime=2026-01-14T10:30:00Z"), "{told}");
    }
    let bucket = site.bucket();
    let run = site.run(&["status", bucket.to_str().unwrap()]).expect(0);
    let state = &run.report["state"];
    assert_eq!((&state["next"]["from"], &state["next"]["to"]), (&json!(at(15)), &json!(at(30))), "as incremental says");
    let problems: Vec<_> =
        state["due"].as_array().unwrap().iter().map(|due| due["problem"].as_str().unwrap()).collect();
    assert!(problems[0].contains("gap") && problems[1].contains(&at(30)) && problems.len() == 2, "{problems:?}");
    // A window whose data can't be read is in the result too, and what is damaged is named.
    site.incremental(&[&folder], &["--allow-gap"]).expect(0);
    let broken = site.window(45, 75, vec!["{".to_owned()]);
    let run = site.incremental(&[&broken], &[]).expect(3);
    assert_eq!(run.statuses(), ("failed", vec!["failed"]));
    assert_eq!(run.report["windows"][0]["to"], at(75));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_gap_is_not_gone_over_while_a_pending_export_may_fill_it() {
    let site = site();
    site.window(0, 15, vec![put("a", 2)]);
    site.window(30, 45, vec![put("a", 4)]);
    let begun = pending(&site, 1);
    for _ in 0..2 {
        let run = site.incremental(&[&site.bucket()], &["--allow-gap"]).expect(4);
        assert_eq!(run.report["watermark"], at(15));
        assert!(run.message().contains("1 export that has not completed yet may fill it"), "{}", run.message());
        assert!(run.message().contains(&format!("{} to {}", at(15), at(30))), "{}", run.message());
    }
    assert!(!site.table().await.unwrap().metadata.properties().contains_key("ddb-iceberg.gaps"));
    // It completes, and is what was missing.
    fs::remove_dir_all(begun).unwrap();
    site.window(15, 30, vec![put("a", 3), put("b", 1)]);
    let run = site.incremental(&[&site.bucket()], &["--allow-gap"]).expect(0);
    assert_eq!(spans(&run), [span(15, 30), span(30, 45)]);
    assert_eq!(pairs(&site.rows().await), [("a", 4), ("b", 1)]);

    // One that never completes holds nothing back for longer than a day, nor if the exports are named one by one.
    let far = site.window(60, 75, vec![put("a", 5)]);
    pending(&site, 25);
    site.incremental(&[&site.bucket()], &["--allow-gap"]).expect(0);
    site.window(90, 105, vec![put("a", 6)]);
    let named = site.window(120, 135, vec![put("a", 7)]);
    pending(&site, 2);
    site.incremental(&[&site.bucket()], &["--allow-gap"]).expect(4);
    site.incremental(&[&named, &far], &["--allow-gap"]).expect(0);
    assert_eq!(pairs(&site.rows().await), [("a", 7), ("b", 1)]);
}

/// No watermark: an earlier window may be under way, which would come too late.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_window_waits_for_pending_exports() {
    let site = Site::new();
    let items = site.path().join("items");
    fs::create_dir(&items).unwrap();
    fs::write(items.join("a.json"), super::simple("a", 1)).unwrap();
    site.run(&["full-load", items.to_str().unwrap(), "--without-manifest", "--key", "pk"]).expect(0);
    site.window(15, 30, vec![put("a", 2)]);
    let begun = pending(&site, 0);
    let run = site.incremental(&[&site.bucket()], &["--allow-gap"]).expect(4);
    assert!(run.message().contains("no watermark") && run.message().contains("not completed"), "{}", run.message());
    fs::remove_dir_all(begun).unwrap();
    site.incremental(&[&site.bucket()], &["--allow-gap"]).expect(0);
    assert_eq!(pairs(&site.rows().await), [("a", 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_window_of_a_gap_is_told_each_time_and_stops_nothing_else() {
    let site = site();
    site.window(15, 30, vec![put("a", 2)]);
    site.incremental(&[&site.bucket()], &["--allow-gap"]).expect(0);
    site.window(0, 15, vec![put("a", 7)]);
    // It overlaps the gap, and was never what was missing.
    super::IncrementalExport::new(super::SOURCE)
        .from("2026-01-14T00:00:00Z")
        .to(&at(600))
        .files([vec![put("a", 8)]])
        .write(site.bucket());
    for n in 2..5_u32 {
        let folder = site.window(15 * n, 15 * n + 15, vec![put("a", i64::from(n) + 10)]);
        let run = site.incremental(&[&site.bucket()], &["--allow-gap", "--allow-overlap"]).expect(4);
        assert_eq!((spans(&run)[0].clone(), run.statuses().1[0]), (span(15 * n, 15 * n + 15), "applied"), "{folder:?}");
        assert!(run.message().contains("touches the gap") && run.message().contains("full-load"), "{}", run.message());
        assert_eq!(run.report["windows"][1]["from"], at(0));
        assert_eq!(pairs(&site.rows().await), [("a", i64::from(n) + 10)]);
    }
    let before = location(&site).await;
    site.incremental(&[&site.bucket()], &[]).expect(4);
    assert_eq!(location(&site).await, before);
}
