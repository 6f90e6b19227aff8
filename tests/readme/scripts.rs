//! The scripts among the examples, with programs that stand in for `aws`, `date` and `curl`.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::root;

const LOAD: &str = "examples/exports/AWSDynamoDB/01768385700000-5b0e41c7";

/// A bash in a folder, with the program in its path and no settings of the user's.
pub fn bash(folder: &Path) -> Command {
    let mut command = Command::new("bash");
    let built = Path::new(env!("CARGO_BIN_EXE_ddb-iceberg")).parent().unwrap().display().to_string();
    let path = format!("{}/bin:{built}:{}", folder.display(), std::env::var("PATH").unwrap());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PYICEBERG_") || name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).env("PATH", path).env("HOME", folder);
    command
}

/// A folder with a table of the example exports' first window, and programs that stand in for others.
pub fn site(programs: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("bin")).unwrap();
    for (name, text) in programs {
        let path = folder.path().join("bin").join(name);
        fs::write(&path, format!("#!/usr/bin/env bash\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let load = root().join(LOAD);
    let load = format!("{} --table shop.orders --key customer_id --key order_id -q", load.display());
    let output = Command::new(env!("CARGO_BIN_EXE_ddb-iceberg"))
        .args(["full-load"].into_iter().chain(load.split(' ')))
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    folder
}

/// The example's full export, as of a day later.
pub fn newer_export(folder: &Path) -> PathBuf {
    let (old, new) = (root().join(LOAD), folder.join("newer/AWSDynamoDB/01768472100000-5b0e41c7"));
    copy(&old, &new);
    for name in fs::read_dir(&new).unwrap().map(|entry| entry.unwrap().file_name()) {
        // Checksums of the manifests may be missing.
        if Path::new(&name).extension().is_some_and(|extension| extension == "md5") {
            fs::remove_file(new.join(name)).unwrap();
        }
    }
    for name in ["manifest-summary.json", "manifest-files.json"] {
        let text = fs::read_to_string(new.join(name)).unwrap();
        let text = text.replace("01768385700000-5b0e41c7", "01768472100000-5b0e41c7");
        fs::write(new.join(name), text.replace("\"exportTime\":\"2026-01-14", "\"exportTime\":\"2026-01-15")).unwrap();
    }
    new
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_owned()).unwrap()
}

/// Runs `examples/request_export.sh`. It is 11:34 on the day of the example exports, which are complete up to 10:45;
/// `ddb-iceberg` finds them in place of a bucket.
fn request(options: &[(&str, &str)], aws: &str) -> (Output, String) {
    let program = env!("CARGO_BIN_EXE_ddb-iceberg");
    let exports = root().join("examples/exports");
    let exports = exports.display();
    let folder = site(&[
        ("aws", aws),
        ("date", "case $* in '-u +%s') echo 1768390440 ;; *) exec /bin/date \"$@\" ;; esac"),
        (
            "ddb-iceberg",
            &format!(
                "[ \"$1 $2\" = 'incremental s3://my-exports/a/b/AWSDynamoDB' ] || exit 99\n\
                 shift 2; exec {program} incremental {exports} \"$@\""
            ),
        ),
    ]);
    let mut command = bash(folder.path());
    command.arg(root().join("examples/request_export.sh"));
    command.args(["arn:aws:dynamodb:eu-west-1:123456789012:table/orders", "s3://my-exports/a/b/"]);
    command.args(options.iter().filter(|(name, _)| *name == "table").map(|(_, table)| *table));
    command.envs(options.iter().filter(|(name, _)| *name != "table").copied());
    let output = command.output().unwrap();
    (output, fs::read_to_string(folder.path().join("asked")).unwrap_or_default())
}

const AWS: &str = "echo \"$*\" >> asked; echo arn:new";

#[test]
fn exports_are_asked_for_from_the_watermark_on_in_windows_that_join() {
    let (output, asked) = request(&[("table", "shop.orders")], AWS);
    assert!(output.status.success(), "{output:?}");
    // 10:45 to 11:00 and 11:00 to 11:15; at 11:34 the next window's end would be less than five minutes ago.
    let windows: Vec<&str> = asked.lines().collect();
    assert_eq!(windows.len(), 2, "{asked}");
    for (window, (from, to)) in windows.iter().zip([(1_768_387_500, 1_768_388_400), (1_768_388_400, 1_768_389_300)]) {
        let spec = format!("ExportFromTime={from},ExportToTime={to},ExportViewType=NEW_AND_OLD_IMAGES");
        let expected = format!(
            "dynamodb export-table-to-point-in-time --table-arn arn:aws:dynamodb:eu-west-1:123456789012:table/orders \
             --s3-bucket my-exports --s3-prefix a/b --export-format DYNAMODB_JSON --export-type INCREMENTAL_EXPORT \
             --incremental-export-specification {spec} --client-token "
        );
        assert!(window.starts_with(&expected), "{window}");
    }
    let printed = text(&output.stdout);
    assert!(printed.contains("\"watermark\":\"2026-01-14T10:45:00.000Z\""), "{printed}");
    assert!(printed.ends_with("arn:new\narn:new\n"), "{printed}");

    let tokens = |asked: &str| -> Vec<String> {
        let after = |line: &str| line.split("--client-token ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        asked.lines().map(after).collect()
    };
    let first = tokens(&asked);
    assert_ne!(first[0], first[1]);
    assert_eq!(first, tokens(&request(&[("table", "shop.orders")], AWS).1), "the same window has the same token");
    let other = request(&[("table", "shop.orders"), ("VIEW", "NEW_IMAGE")], AWS).1;
    assert!(!first.contains(&tokens(&other)[0]), "another view is another request");
}

#[test]
fn no_more_exports_are_asked_for_than_are_whole_or_wanted() {
    let (output, asked) = request(&[("table", "shop.orders"), ("STEP", "3600")], AWS);
    assert!(output.status.success() && asked.is_empty(), "{asked}");
    let (_, asked) = request(&[("table", "shop.orders"), ("MOST", "1")], AWS);
    assert_eq!(asked.lines().count(), 1, "{asked}");
}

#[test]
fn a_failure_keeps_its_exit_code_and_asks_for_nothing_more() {
    let (output, asked) = request(&[("table", "shop.missing")], AWS);
    assert_eq!((output.status.code(), asked.as_str()), (Some(1), ""), "{output:?}");
    let (output, asked) = request(&[("table", "shop.orders")], "echo \"$*\" >> asked; exit 254");
    assert_eq!((output.status.code(), asked.lines().count()), (Some(254), 1), "{output:?}");
    let (output, _) = request(&[], AWS);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("request_export.sh TABLE_ARN"), "{output:?}");
}

#[test]
fn every_table_goes_on_after_a_failure_and_tells_of_it() {
    let folder = site(&[]);
    fs::write(folder.path().join("tables.txt"), "shop.missing # gone\n\n# ours\n  shop.orders\n").unwrap();
    let exports = root().join("examples/exports").display().to_string();
    for at_once in ["1", "2"] {
        let output = bash(folder.path())
            .arg(root().join("examples/every_table.sh"))
            .args(["tables.txt", "ddb-iceberg", "incremental", &exports, "--table", "{}"])
            .env("AT_ONCE", at_once)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains("error: shop.missing: exit code 1"), "{output:?}");
        assert!(text(&output.stdout).contains("Complete up to 2026-01-14T10:45"), "{output:?}");
    }
    fs::write(folder.path().join("tables.txt"), "shop.orders\n").unwrap();
    let output = bash(folder.path())
        .arg(root().join("examples/every_table.sh"))
        .args(["tables.txt", "ddb-iceberg", "incremental", &exports, "--table", "{}"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// `curl` stands in for Lambda: some events, then the end.
#[test]
fn lambda_gets_the_result_or_the_exit_code_and_lets_nobody_choose_the_catalog() {
    let exports = root().join("examples/exports").display().to_string();
    let folder = site(&[(
        "curl",
        r#"log=$HOME/calls; touch "$log"; n=$(grep -c next "$log" 2>/dev/null); echo "$*" >>"$log"
case "$*" in
*/next) printf 'HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: id-%s\r\n' "$n" >headers
    [ "$n" -lt "$(wc -l <"$HOME/events")" ] || exit 22; sed -n "$((n + 1))p" "$HOME/events" ;;
*@result*) cat result >>"$log" ;;
esac"#,
    )]);
    let warehouse = folder.path().join("warehouse").display().to_string();
    let above = format!("{exports}/../exports");
    let refused: [&[&str]; 9] = [
        &["incremental", &exports, "--table", "shop.orders", "--catalog-property", "s3.endpoint=http://127.0.0.1:1"],
        &["incremental", &exports, "--table", "shop.orders", "--warehouse=/elsewhere"],
        &["incremental", &exports, "--config", "x", "--table", "shop.orders"],
        &["incremental", &exports, "--table", "--warehouse", "/elsewhere"],
        &["incremental", "/etc", "--table", "shop.orders"],
        &["incremental", &above, "--table", "shop.orders"],
        &["detect-schema", &exports, "--output", "/etc/passwd"],
        &["orphans", "--table", "shop.orders", "--delete"],
        &[],
    ];
    let taken: [&[&str]; 2] = [
        &["incremental", &format!("{exports}/AWSDynamoDB"), "--table", "shop.orders"],
        &["incremental", &format!("{exports}/AWSDynamoDB"), "--table=shop.missing"],
    ];
    let events: Vec<String> =
        taken.iter().chain(&refused).map(|event| serde_json::to_string(event).unwrap() + "\n").collect();
    fs::write(folder.path().join("events"), events.concat()).unwrap();
    let output = bash(folder.path())
        .arg(root().join("examples/lambda/bootstrap"))
        .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
        .env("TMPDIR", folder.path())
        .env("EXPORTS", &exports)
        .env("PYICEBERG_CATALOG__DEFAULT__WAREHOUSE", &warehouse)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "the end of the interface ends it: {output:?}");
    let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
    let api = "http://127.0.0.1:9001/2018-06-01/runtime/invocation";
    assert!(calls.contains(&format!("{api}/id-0/response\n{{\"version\":1")), "{calls}");
    assert!(calls.contains("\"status\":\"applied\""), "{calls}");
    assert!(calls.contains("\"errorType\":\"Exit1\"") && calls.contains(&format!("{api}/id-1/error")), "{calls}");
    assert_eq!(calls.matches("\"errorType\":\"Refused\"").count(), refused.len(), "{calls}");
}
