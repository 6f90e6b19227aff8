//! `catalog check`: each step says what works and what to mend, and nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "common/exports.rs"]
mod exports;
#[path = "common/program.rs"]
mod program;
#[path = "common/reader.rs"]
mod reader;
#[path = "catalog_check/secrets.rs"]
mod secrets;

use std::net::TcpListener;
use std::time::{Duration, Instant};
use std::{fs, thread};

use program::{Run, Site, at, put, simple, window};
use serde_json::Value;

fn check(site: &Site, more: &[&str]) -> Run {
    site.plain(&[&["catalog", "check", "--format", "json"], more].concat())
}

/// Part and status of every step.
fn steps(run: &Run) -> Vec<(&str, &str)> {
    let steps = run.report["steps"].as_array().unwrap_or_else(|| panic!("{}{}", run.stdout, run.stderr));
    steps.iter().map(|step| (step["part"].as_str().unwrap(), step["status"].as_str().unwrap())).collect()
}

fn message<'a>(run: &'a Run, part: &str) -> &'a str {
    let step = run.report["steps"].as_array().unwrap().iter().find(|step| step["part"] == part);
    step.unwrap_or_else(|| panic!("no {part}: {}", run.stdout))["message"].as_str().unwrap()
}

#[test]
fn with_nothing_configured_it_works_and_makes_nothing() {
    let site = Site::new();
    let before = site.files();
    let run = check(&site, &[]).expect_check(0);
    assert_eq!(steps(&run), [("configuration", "ok"), ("reach", "ok"), ("list", "ok"), ("warehouse", "ok")]);
    assert!(message(&run, "reach").contains("no catalog yet"), "{}", run.stdout);
    assert_eq!(run.report["catalog"], "default");
    assert!(site.files() == before, "{:?}", site.files().keys());
}

#[test]
fn a_loaded_table_and_its_exports() {
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    window(0, 15).files([vec![put("a", 2)]]).write(site.bucket());
    let before = site.files();
    let bucket = site.bucket();
    let arguments = ["--table", "shop.orders", "--export", bucket.to_str().unwrap()];
    let run = check(&site, &arguments).expect_check(0);
    let parts = ["configuration", "reach", "list", "table", "warehouse", "export"];
    assert_eq!(steps(&run), parts.map(|part| (part, "ok")));
    assert!(message(&run, "list").contains("1 table in 1 namespace"), "{}", run.stdout);
    assert!(message(&run, "table").contains(&at(0)), "{}", run.stdout);
    assert!(message(&run, "warehouse").contains("/shop/orders/data"), "{}", run.stdout);
    assert!(message(&run, "export").contains("1 data files"), "{}", run.stdout);
    assert!(site.files() == before, "something was left");

    let dry = check(&site, &["--table", "shop.orders", "--dry-run"]).expect_check(0);
    assert_eq!(steps(&dry).last(), Some(&("warehouse", "skipped")));
    let absent = check(&site, &["--table", "shop.absent"]).expect_check(0);
    assert!(message(&absent, "table").contains("full-load makes it"), "{}", absent.stdout);

    let damaged = window(15, 30).files([vec![put("a", 3)]]).write(site.bucket());
    std::fs::write(damaged.join("manifest-summary.json"), "{}").unwrap();
    let run = check(&site, &arguments).expect_check(3);
    assert_eq!(steps(&run).last(), Some(&("export", "failed")), "{}", run.stdout);
    std::fs::remove_dir_all(damaged).unwrap();

    let text = site.plain(&["catalog", "check", "--table", "shop.orders"]);
    assert_eq!((text.code, text.stderr.as_str()), (0, ""));
    for line in ["catalog default", "reach          ok", "table          ok       shop.orders is complete up to"] {
        assert!(text.stdout.lines().any(|found| found.starts_with(line)), "{line}: {}", text.stdout);
    }
}

#[test]
fn each_failure_is_its_own_step_and_the_rest_is_tried() {
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    fs::write(site.path().join("a file"), "not a database ".repeat(100)).unwrap();
    let export = site.bucket().join("nowhere");
    let run = check(
        &site,
        &[
            "--warehouse",
            "a file/w",
            "--catalog-property",
            "uri=sqlite:///a file",
            "--export",
            export.to_str().unwrap(),
        ],
    );
    let run = run.expect_check(1);
    assert_eq!(
        steps(&run),
        [("configuration", "ok"), ("reach", "failed"), ("warehouse", "failed"), ("export", "failed")]
    );
    assert!(run.message().contains("no SQLite file"), "the first failure is the error: {}", run.stdout);

    let wrong = check(&site, &["--catalog-property", "tpye=rest"]).expect_check(2);
    assert_eq!(steps(&wrong), [("configuration", "failed")]);
    assert!(wrong.message().contains("did you mean \"type\"?"), "{}", wrong.stdout);
}

#[test]
fn a_server_that_is_not_there_and_one_that_says_nothing() {
    let site = Site::new();
    let run = check(&site, &["--warehouse", "w", "--catalog-property", "uri=postgresql://me:hush@127.0.0.1:1/db"])
        .expect_check(1);
    assert_eq!(steps(&run)[..2], [("configuration", "ok"), ("reach", "failed")]);
    assert!(run.message().contains("can't be reached"), "{}", run.stdout);

    // It takes connections, and that is all.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("uri=postgresql://me:hush@{}/db?connect_timeout=1", silent.local_addr().unwrap());
    thread::spawn(move || silent.incoming().map(Result::unwrap).collect::<Vec<_>>());
    let started = Instant::now();
    let run = check(&site, &["--warehouse", "w", "--catalog-property", &uri]).expect_check(1);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(run.message().contains("no connection within 1 s"), "{}", run.stdout);
    assert!(!run.stdout.contains("hush") && !run.stderr.contains("hush"), "{}", run.stdout);
    let load = site.plain(&["incremental", "x", "--table", "a.t", "--warehouse", "w", "--catalog-property", &uri]);
    assert_eq!(load.code, 1, "{}", load.stderr);
    assert!(load.stderr.contains("no connection within 1 s"), "{}", load.stderr);
}

/// Every field is described in the published schema, and every one that must be there is.
#[test]
fn the_result_is_what_the_schema_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/catalog-check.v1.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    let good = check(&site, &["--warehouse", "warehouse"]).expect_check(0);
    let bad = check(&site, &["--catalog-property", "type=nonsense"]).expect_check(2);
    for run in [good, bad] {
        for (described, object) in [
            (&schema, &run.report),
            (&schema["$defs"]["step"], &run.report["steps"][0]),
            (&schema["$defs"]["setting"], &run.report["settings"][0]),
        ] {
            let names =
                |value: &Value| value.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
            assert_eq!(names(object), names(&described["properties"]), "{}", run.stdout);
        }
        for step in run.report["steps"].as_array().unwrap() {
            for name in ["part", "status"] {
                let allowed = schema["$defs"]["step"]["properties"][name]["enum"].as_array().unwrap();
                assert!(allowed.contains(&step[name]), "{step}");
            }
        }
    }
}
