//! Input that is damaged, incomplete or of the wrong kind: exit 3, the place is named, the table is untouched.
//!
//! Each damage is in the last of three files, and is done to a load in two passes, to one in a single pass, and to an
//! increment.

#![allow(
    clippy::semicolon_if_nothing_returned,
    clippy::type_complexity,
    clippy::unwrap_used,
    reason = "a test that can't go on has failed"
)]

#[path = "common/exports.rs"]
mod exports;
#[path = "common/program.rs"]
mod program;
#[path = "common/reader.rs"]
mod reader;

use std::fs;
use std::path::{Path, PathBuf};

use exports::{ExportWriter, checksum, data_files};
use program::{Run, Site, at, change, full, gone, item, pairs, put, simple, window};
use serde_json::{Value, json};

/// Which command gets the damaged export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    TwoPasses,
    OnePass,
    Increment,
}

const WAYS: [Way; 3] = [Way::TwoPasses, Way::OnePass, Way::Increment];

impl Way {
    fn line(self, n: i64) -> String {
        let pk = format!("k{n}");
        if self == Self::Increment { put(&pk, n) } else { simple(&pk, n) }
    }

    /// An export of three files with 30 lines each, the last of which ends with `last`.
    fn export(self, last: Vec<String>) -> ExportWriter {
        let lines = |from: i64| (from..from + 30).map(|n| self.line(n)).collect::<Vec<_>>();
        let files = [lines(0), lines(100), [lines(200), last].concat()];
        if self == Self::Increment { window(5, 20).files(files) } else { full(0).files(files) }
    }

    /// An increment's table is complete up to 10:05.
    fn site(self) -> Site {
        let site = if self == Self::Increment {
            let site = Site::loaded(vec![simple("k0", 7), simple("z", 7)], &["pk"]);
            site.incremental(&[&site.window(0, 5, Vec::new())], &[]).expect(0);
            site
        } else {
            Site::new()
        };
        // With types in full there is nothing left to observe.
        let typed = r#"{"version":1,"key":["pk"],"attributes":{"pk":{"type":"string"},"v":{"type":"long"}}}"#;
        fs::write(site.path().join("schema.json"), typed).unwrap();
        site
    }

    fn run(self, site: &Site, export: &Path) -> Run {
        let path = export.to_str().unwrap();
        match self {
            Self::TwoPasses => site.run(&["full-load", path, "--key", "pk"]),
            Self::OnePass => site.run(&["full-load", path, "--schema", "schema.json"]),
            Self::Increment => site.run(&["incremental", path]),
        }
    }

    /// Runs it and makes sure that it is exit 3 and that no trace is left.
    #[track_caller]
    fn refused(self, site: &Site, export: &Path) -> Run {
        let before = site.files();
        let run = self.run(site, export).expect(3);
        let after = site.files();
        let new: Vec<_> = after.keys().filter(|name| !name.ends_with('/') && !before.contains_key(*name)).collect();
        assert!(new.is_empty(), "{self:?} left {new:?} behind");
        assert!(before.iter().all(|(name, bytes)| after.get(name) == Some(bytes)), "{self:?} changed a file");
        let windows = run.report["windows"].as_array().unwrap();
        assert!(windows.iter().all(|window| window["status"] == "failed"), "{self:?}: {windows:?}");
        assert!(run.stderr.contains(run.message()), "{self:?}: {}", run.stderr);
        run
    }
}

fn write(way: Way, site: &Site, last: Vec<String>, edit: impl FnOnce(ExportWriter) -> ExportWriter) -> PathBuf {
    edit(way.export(last)).write(site.bucket())
}

fn last_file(site: &Site, export: &Path) -> PathBuf {
    data_files(site.bucket(), export).pop().unwrap()
}

/// The name that messages have for the last file.
fn last_name(site: &Site, export: &Path) -> String {
    last_file(site, export).strip_prefix(site.bucket()).unwrap().to_str().unwrap().to_owned()
}

#[track_caller]
fn names_file(run: &Run, file: &str) {
    assert_eq!(run.report["error"]["file"], file, "{}", run.message());
    assert!(run.message().starts_with(&format!("{file}:")), "{}", run.message());
}

#[track_caller]
fn names_line(run: &Run, file: &str, line: u64) {
    names_file(run, file);
    assert_eq!(run.report["error"]["line"], line, "{}", run.message());
    assert!(run.message().starts_with(&format!("{file}:{line}: ")), "{}", run.message());
}

/// Damages the last data file's bytes; the run names it.
fn damaged_bytes(damages: &[&dyn Fn(&mut Vec<u8>)], expected: &[&str]) {
    for way in WAYS {
        for damage in damages {
            let site = way.site();
            let export = write(way, &site, Vec::new(), |e| e);
            let file = last_file(&site, &export);
            let mut bytes = fs::read(&file).unwrap();
            damage(&mut bytes);
            fs::write(&file, bytes).unwrap();
            let run = way.refused(&site, &export);
            names_file(&run, &last_name(&site, &export));
            assert!(expected.iter().any(|text| run.message().contains(text)), "{}", run.message());
        }
    }
}

#[test]
fn a_flipped_byte() {
    damaged_bytes(
        &[
            &|bytes| bytes[1] ^= 1,
            &|bytes| bytes[4] ^= 1,
            &|bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 16;
            },
            &|bytes| {
                let crc = bytes.len() - 7;
                bytes[crc] ^= 128;
            },
        ],
        &["damaged", "MD5", "JSON", "gzip"],
    );
}

#[test]
fn a_truncated_gzip_file() {
    damaged_bytes(
        &[&|bytes| bytes.truncate(bytes.len() / 2), &|bytes| bytes.truncate(bytes.len() - 1), &|bytes| {
            bytes.truncate(5)
        }],
        &["truncated"],
    );
    damaged_bytes(&[&Vec::clear], &["MD5", "empty", "truncated"]);
}

/// The manifest's MD5 is that of the damaged file: gzip's own checksum still finds it.
#[test]
fn damage_from_before_the_manifest_was_written() {
    for way in WAYS {
        let site = way.site();
        let export = write(way, &site, Vec::new(), |e| e);
        let file = last_file(&site, &export);
        let mut bytes = fs::read(&file).unwrap();
        let crc = bytes.len() - 7;
        bytes[crc] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let list = export.join("manifest-files.json");
        let mut lines: Vec<Value> =
            fs::read_to_string(&list).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        lines.last_mut().unwrap()["md5Checksum"] = json!(checksum(&bytes));
        let text: String = lines.iter().flat_map(|line| [line.to_string(), "\n".to_owned()]).collect();
        fs::write(export.join("manifest-files.md5"), checksum(text.as_bytes())).unwrap();
        fs::write(&list, text).unwrap();
        let run = way.refused(&site, &export);
        names_file(&run, &last_name(&site, &export));
        assert!(run.message().contains("damaged"), "{}", run.message());
    }
}

#[test]
fn a_wrong_md5() {
    for way in WAYS {
        let site = way.site();
        let export = write(way, &site, Vec::new(), |e| {
            e.edit_files(|files| files.last_mut().unwrap()["md5Checksum"] = json!(checksum(b"another")))
        });
        let run = way.refused(&site, &export);
        names_file(&run, &last_name(&site, &export));
        assert!(run.message().contains("MD5"), "{}", run.message());
    }
}

#[test]
fn a_wrong_item_count() {
    for way in WAYS {
        for more in [1_i64, -1] {
            let change = move |value: &mut Value| *value = json!(value.as_i64().unwrap() + more);
            let site = way.site();
            let export = write(way, &site, Vec::new(), |e| {
                e.edit_files(move |files| change(&mut files.last_mut().unwrap()["itemCount"]))
                    .edit_summary(move |summary| change(&mut summary["itemCount"]))
            });
            let run = way.refused(&site, &export);
            names_file(&run, &last_name(&site, &export));
            assert!(
                run.message().contains("30") && run.message().contains(&(30 + more).to_string()),
                "{}",
                run.message()
            );
        }
        // The files' counts do not add up to the summary's: the list lacks a file, or has one too many, or is another export's.
        for said in [91, 89, 60, 0] {
            let site = way.site();
            let edit = move |summary: &mut Value| summary["itemCount"] = json!(said);
            let export = write(way, &site, Vec::new(), |e| e.edit_summary(edit));
            let run = way.refused(&site, &export);
            assert!(
                run.report["error"]["file"].as_str().unwrap().ends_with("/manifest-files.json"),
                "{}",
                run.message()
            );
            assert!(run.message().contains("90") && run.message().contains(&said.to_string()), "{}", run.message());
        }
    }
}

#[test]
fn a_file_that_is_listed_but_missing() {
    for way in WAYS {
        let site = way.site();
        let export = write(way, &site, Vec::new(), |e| e);
        let name = last_name(&site, &export);
        fs::remove_file(last_file(&site, &export)).unwrap();
        let run = way.refused(&site, &export);
        names_file(&run, &name);
        assert!(run.message().contains("missing"), "{}", run.message());
    }
}

#[test]
fn a_missing_summary_is_an_incomplete_export() {
    for way in WAYS {
        for removed in [
            &["manifest-summary.json"][..],
            &["manifest-summary.json", "manifest-summary.md5"],
            &["manifest-summary.json", "manifest-summary.md5", "manifest-files.json", "manifest-files.md5"],
            &["manifest-summary.json", "manifest-summary.md5", "_started"],
        ] {
            let site = way.site();
            let export = write(way, &site, Vec::new(), |e| e);
            for name in removed {
                fs::remove_file(export.join(name)).unwrap();
            }
            let run = way.refused(&site, &export);
            assert!(run.message().contains("incomplete"), "{way:?} without {removed:?}: {}", run.message());
            assert!(run.message().contains("manifest-summary.json"), "{}", run.message());
        }
        let site = way.site();
        let export = write(way, &site, Vec::new(), |e| e);
        fs::remove_file(export.join("manifest-files.json")).unwrap();
        let run = way.refused(&site, &export);
        assert!(run.report["error"]["file"].as_str().unwrap().ends_with("/manifest-files.json"), "{}", run.message());
    }
}

#[test]
fn a_damaged_manifest() {
    for way in WAYS {
        for name in ["manifest-summary.json", "manifest-files.json"] {
            for damage in [
                &(|text: &str| text.replacen("itemCount", "itemcount", 1)) as &dyn Fn(&str) -> String,
                &|text| text[..text.len() / 2].to_owned(),
                &|_| String::new(),
            ] {
                let site = way.site();
                let export = write(way, &site, Vec::new(), |e| e);
                let path = export.join(name);
                fs::write(&path, damage(&fs::read_to_string(&path).unwrap())).unwrap();
                let run = way.refused(&site, &export);
                assert!(run.report["error"]["file"].as_str().unwrap().ends_with(name), "{}", run.message());
                // And so for a copy without the checksum files, where its text alone betrays it.
                if !fs::read_to_string(&path).unwrap().contains("itemcount") {
                    fs::remove_file(path.with_extension("md5")).unwrap();
                    way.refused(&site, &export);
                }
            }
        }
    }
}

/// Lines that are none, by way; each is the 31st and last of the last file.
fn wrong_lines(lines: impl Fn(Way) -> Vec<(String, &'static str)>) {
    for way in WAYS {
        for (line, expected) in lines(way) {
            let site = way.site();
            let export = write(way, &site, vec![line.clone()], |e| e);
            let run = way.refused(&site, &export);
            names_line(&run, &last_name(&site, &export), 31);
            assert!(run.message().contains(expected), "{way:?} {line}: {}", run.message());
        }
    }
}

#[test]
fn a_line_that_is_not_json() {
    wrong_lines(|way| {
        let good = way.line(900);
        let mut wrong = vec!["hello".to_owned(), "{".to_owned(), good[..good.len() - 1].to_owned()];
        wrong.extend([format!("{good}{good}"), format!("{good},"), good.replace("\"k900\"", "k900")]);
        wrong.into_iter().map(|line| (line, "")).collect()
    });
}

#[test]
fn a_line_that_is_not_an_item_or_not_a_change() {
    wrong_lines(|way| {
        let mut wrong: Vec<_> = ["[]", "\"text\"", "17", "null", "{}", r#"{"other":{"pk":{"S":"a"}}}"#].into();
        if way == Way::Increment {
            wrong.extend([r#"{"Item":{"pk":{"S":"a"}}}"#, r#"{"Keys":{"pk":{"S":"a"}}}"#]);
            wrong.extend([r#"{"Metadata":{"WriteTimestampMicros":{"N":"1"}}}"#]);
            wrong.extend([r#"{"Metadata":{"WriteTimestampMicros":{"S":"x"}},"Keys":{"pk":{"S":"a"}}}"#]);
        } else {
            wrong.extend([
                r#"{"Item":[]}"#,
                r#"{"Item":"a"}"#,
                r#"{"Item":{"pk":"a"}}"#,
                r#"{"Item":{"pk":{"S":"a","N":"1"}}}"#,
                r#"{"Item":{"pk":{"S":"a"},"v":{"Q":"1"}}}"#,
                r#"{"Item":{"pk":{"S":"a"},"v":{"N":"one"}}}"#,
                r#"{"Metadata":{"WriteTimestampMicros":{"N":"1"}},"Keys":{"pk":{"S":"a"}}}"#,
            ]);
        }
        wrong.into_iter().map(|line| (line.to_owned(), "")).collect()
    });
}

#[test]
fn an_item_without_its_key() {
    wrong_lines(|way| {
        let lacking = json!({"v": {"N": "1"}, "PK": {"S": "a"}});
        let null = json!({"v": {"N": "1"}, "pk": {"NULL": true}});
        let lines = match way {
            Way::Increment => vec![
                change(&json!({"pk": {"S": "a"}}), Some(&lacking)),
                change(&json!({"pk": {"S": "a"}}), Some(&null)),
                change(&json!({}), Some(&json!({"pk": {"S": "a"}}))),
                change(&json!({}), None),
            ],
            _ => vec![item(&lacking), item(&json!({}))],
        };
        lines.into_iter().map(|line| (line, "\"pk\"")).collect()
    });
}

/// A wrong `--key` would delete whole collections.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_the_tables_key() {
    let both = json!({"pk": {"S": "k1"}, "sk": {"S": "x"}});
    wrong_lines(|way| match way {
        Way::Increment => vec![
            (change(&both, None), "\"sk\""),
            (change(&json!({"sk": {"S": "x"}}), None), "sk\""),
            (change(&json!({"pk": {"S": "k1"}}), Some(&json!({"pk": {"S": "k2"}}))), "disagree"),
        ],
        _ => vec![],
    });
    // The table has the sort key in its key, the export has not.
    let site = Site::loaded(vec![item(&both)], &["pk", "sk"]);
    let export = site.window(0, 15, vec![gone("k1")]);
    let run = Way::Increment.refused(&site, &export);
    names_line(&run, &last_name(&site, &export), 1);
    assert!(run.message().contains("\"sk\""), "{}", run.message());
    assert_eq!(site.rows().await.len(), 1);
    // A table that was loaded by its partition key alone.
    let site = Site::loaded(vec![item(&both)], &["pk"]);
    let export = site.window(0, 15, vec![change(&both, None)]);
    let run = Way::Increment.refused(&site, &export);
    assert!(run.message().contains("--key"), "{}", run.message());
    assert_eq!(site.rows().await.len(), 1);
}

#[test]
fn a_full_export_given_to_incremental() {
    let site = Way::Increment.site();
    let export = full(10).files([vec![simple("a", 1)]]).write(site.bucket());
    let run = Way::Increment.refused(&site, &export);
    assert!(run.message().contains("full export") && run.message().contains("full-load"), "{}", run.message());
}

#[test]
fn an_incremental_export_given_to_full_load() {
    for way in [Way::TwoPasses, Way::OnePass] {
        let site = way.site();
        let export = window(0, 15).files([vec![put("a", 1)]]).write(site.bucket());
        let run = way.refused(&site, &export);
        assert!(run.message().contains("incremental"), "{}", run.message());
    }
    let site = Site::new();
    let export = window(0, 15).files([vec![put("a", 1)]]).write(site.bucket());
    let run = site.plain(&["detect-schema", export.to_str().unwrap(), "--format", "json"]).expect(3);
    assert!(run.message().contains("incremental"), "{}", run.message());
}

#[test]
fn an_ion_export_is_refused_by_name() {
    for way in WAYS {
        let site = way.site();
        let export = write(way, &site, Vec::new(), |e| e.edit_summary(|s| s["outputFormat"] = json!("ION")));
        let run = way.refused(&site, &export);
        assert!(run.message().contains("Ion") && run.message().contains("DYNAMODB_JSON"), "{}", run.message());
        // And by its files, where a writer left the format out.
        let site = way.site();
        let export = write(way, &site, Vec::new(), |e| {
            e.edit_summary(|s| s["outputFormat"] = Value::Null).edit_files(|files| {
                let key = files[2]["dataFileS3Key"].as_str().unwrap().replace(".json.gz", ".ion.gz");
                files[2]["dataFileS3Key"] = json!(key);
            })
        });
        let run = way.refused(&site, &export);
        assert!(run.message().contains("Ion"), "{}", run.message());
        assert_eq!(run.report["error"]["line"], 3, "{}", run.message());
    }
}

#[test]
fn a_data_pipeline_export_is_refused_by_name() {
    for way in WAYS {
        let site = way.site();
        let folder = site.path().join("pipeline");
        fs::create_dir(&folder).unwrap();
        let entry =
            r#"{"name":"DynamoDB-export","version":3,"entries":[{"url":"s3://b/p/92dd1414","mandatory":true}]}"#;
        fs::write(folder.join("manifest"), entry).unwrap();
        fs::write(folder.join("92dd1414"), r#"{"pk":{"s":"a"},"v":{"n":"1"}}"#).unwrap();
        fs::write(folder.join("_SUCCESS"), "").unwrap();
        let run = way.refused(&site, &folder);
        assert!(run.message().contains("Data Pipeline"), "{way:?}: {}", run.message());
    }
}

#[test]
fn a_folder_without_any_export() {
    for way in WAYS {
        let site = way.site();
        let folder = site.path().join("nothing");
        fs::create_dir(&folder).unwrap();
        way.refused(&site, &folder);
        way.refused(&site, &site.path().join("absent"));
    }
}

/// The manifest is untrusted: nothing outside of the export is read.
#[test]
fn a_manifest_that_leads_out_of_the_export() {
    for way in WAYS {
        for key in ["../secret.json.gz", "/etc/hostname", "AWSDynamoDB/../../secret.json.gz", "AWSDynamoDB/data/..", ""]
        {
            let site = way.site();
            fs::write(site.path().join("secret.json.gz"), exports::gzip(way.line(1))).unwrap();
            let export =
                write(way, &site, Vec::new(), |e| e.edit_files(move |files| files[2]["dataFileS3Key"] = json!(key)));
            let run = way.refused(&site, &export);
            assert_eq!(run.report["error"]["line"], 3, "{key}: {}", run.message());
        }
    }
}

/// Windows before the damaged one stay applied and are told.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_second_window_leaves_the_first_applied() {
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    site.window(0, 15, vec![put("a", 2)]);
    let damaged = site.window(15, 30, vec![put("a", 3), "oops".to_owned()]);
    site.window(30, 45, vec![put("a", 4)]);
    let run = site.incremental(&[&site.bucket()], &[]).expect(3);
    names_line(&run, &last_name(&site, &damaged), 2);
    assert_eq!(run.statuses(), ("failed", vec!["applied", "failed"]));
    assert_eq!((&run.report["windows"][1]["from"], &run.report["watermark"]), (&json!(at(15)), &json!(at(15))));
    assert_eq!(run.report["metadata_location"], site.table().await.unwrap().metadata_location);
    assert_eq!(pairs(&site.rows().await), [("a", 2)]);
    // The way out: the export is copied again.
    fs::remove_dir_all(&damaged).unwrap();
    site.window(15, 30, vec![put("a", 3)]);
    let run = site.incremental(&[&site.bucket()], &[]).expect(0);
    assert_eq!(run.statuses(), ("applied", vec!["applied", "applied"]));
    assert_eq!(pairs(&site.rows().await), [("a", 4)]);
}

#[test]
fn detect_schema_verifies_what_it_reads() {
    let site = Site::new();
    let export = full(0).files([vec![simple("a", 1)], vec![simple("b", 1)]]).write(site.bucket());
    let file = last_file(&site, &export);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&file, bytes).unwrap();
    let before = site.files();
    let arguments = ["detect-schema", export.to_str().unwrap(), "--output", "schema.json", "--format", "json"];
    let run = site.plain(&arguments).expect(3);
    names_file(&run, &last_name(&site, &export));
    assert!(site.files() == before, "nothing was written");
}
