//! Input made to do harm: exit 3 where it is none, within the least memory, and nothing outside of the export is read.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "common/exports.rs"]
mod exports;
#[path = "hostile_input/postgres.rs"]
mod postgres;
#[path = "common/postgres_server.rs"]
mod postgres_server;
#[path = "common/program.rs"]
mod program;
#[path = "common/random.rs"]
mod random;
#[path = "common/reader.rs"]
mod reader;
#[path = "common/s3_server.rs"]
mod s3_server;
#[path = "hostile_input/stores.rs"]
mod stores;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use exports::{ExportWriter, data_files, gzip};
use flate2::Compression;
use flate2::write::GzEncoder;
use program::{Run, Site, change, full, item, put, simple, window};
use serde_json::{Value, json};

/// MiB of the 512 MB that `--memory-limit` allows.
const LIMIT: u64 = 488;
const MIB: usize = 1 << 20;
/// Text in a file that must not be read.
const SECRET: &str = "do-not-read-me";

/// Which of the two kinds of exports, and commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Load,
    Increment,
}

const WAYS: [Way; 2] = [Way::Load, Way::Increment];

impl Way {
    fn site(self) -> Site {
        if self == Self::Load { Site::new() } else { Site::loaded(vec![simple("z", 7)], &["pk"]) }
    }

    fn line(self, pk: &str) -> String {
        if self == Self::Increment { put(pk, 1) } else { simple(pk, 1) }
    }

    /// A line in which this is the value of `v`.
    fn line_of(self, value: &str) -> String {
        let line = match self {
            Self::Increment => change(&json!({"pk": {"S": "a"}}), Some(&json!({"pk": {"S": "a"}, "v": "?"}))),
            Self::Load => item(&json!({"pk": {"S": "a"}, "v": "?"})),
        };
        line.replace("\"?\"", value)
    }

    /// An export of so many files of one line each.
    fn export(self, files: usize) -> ExportWriter {
        let files = (0..files).map(|n| vec![self.line(&format!("k{n}"))]);
        if self == Self::Increment { window(0, 15).files(files) } else { full(0).files(files) }
    }

    /// An export whose files hold these bytes, of which the manifest says nothing.
    fn of_bytes(self, site: &Site, files: &[Vec<u8>]) -> PathBuf {
        let export = self.export(files.len()).edit_summary(|summary| summary["itemCount"] = Value::Null);
        let export = export.edit_files(|files| {
            for file in files {
                file["itemCount"] = Value::Null;
                file["md5Checksum"] = Value::Null;
            }
        });
        let folder = export.write(site.bucket());
        for (path, bytes) in data_files(site.bucket(), &folder).into_iter().zip(files) {
            fs::write(path, bytes).unwrap();
        }
        folder
    }

    /// Runs the command within the least memory.
    fn run(self, site: &Site, export: &Path) -> Run {
        let path = export.to_str().unwrap();
        let (run, peak) = match self {
            Self::Load => site.measured(&["full-load", path, "--key", "pk"]),
            Self::Increment => site.measured(&["incremental", path]),
        };
        assert!(peak <= LIMIT, "{self:?}: {peak} MiB");
        run
    }

    /// It is exit 3 with such a message, and the table stays as it is.
    #[track_caller]
    fn refused(self, site: &Site, export: &Path, expected: &str) -> Run {
        let before = site.table_files();
        let run = self.run(site, export).expect(3);
        assert!(run.message().contains(expected), "{self:?}: {}", run.message());
        assert!(run.message().len() < 4000, "{self:?}: a message of {} bytes", run.message().len());
        assert_eq!(site.table_files(), before, "{self:?}");
        run
    }
}

/// One gzip member of `text` and `chunk` so many times.
fn inflated(text: &str, chunk: &[u8], times: usize, end: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    (0..times).for_each(|_| encoder.write_all(chunk).unwrap());
    encoder.write_all(end.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// 1 GiB in one line: of zeros, spaces, a string, in one gzip member or in many.
#[test]
fn gzip_bombs_of_one_line() {
    for way in WAYS {
        let (before, after) = {
            let line = way.line_of("\"?\"");
            let (before, after) = line.split_once("\"?\"").unwrap();
            (format!("{before}{{\"S\":\""), format!("\"}}{after}\n"))
        };
        let mut bombs = vec![
            gzip([b' '; MIB]).repeat(1024),
            [gzip(&before), gzip([b'x'; MIB]).repeat(1024), gzip(&after)].concat(),
        ];
        // One member takes long to make.
        if way == Way::Load {
            bombs.push(inflated("", &vec![0; MIB], 1024, ""));
        } else {
            bombs.push(inflated(&before, &vec![b'x'; MIB], 1024, &after));
        }
        for bytes in bombs {
            let site = way.site();
            let export = way.of_bytes(&site, &[bytes]);
            let run = way.refused(&site, &export, "the line is longer than 16 MiB");
            assert_eq!(run.report["error"]["line"], 1);
        }
    }
}

/// Harmless, however much it is: blank lines, and gzip members without any text.
#[tokio::test(flavor = "multi_thread")]
async fn gzip_bombs_of_nothing() {
    for way in WAYS {
        let site = way.site();
        let line = format!("{}\n", way.line("a"));
        let files = [inflated(&line, &vec![b'\n'; MIB], 128, ""), [gzip("").repeat(1_000_000), gzip(&line)].concat()];
        let files = if way == Way::Load { vec![files[0].clone()] } else { files.to_vec() };
        let export = way.of_bytes(&site, &files);
        way.run(&site, &export).expect(0);
        assert!(site.rows().await.iter().any(|row| row["pk"] == "a" && row["v"] == 1));
    }
}

/// Twice as long as two images of the largest item can be: taken, many at once, within the memory.
#[tokio::test(flavor = "multi_thread")]
async fn the_longest_lines_that_are_read() {
    for way in WAYS {
        let site = way.site();
        let files: Vec<_> = (0..12)
            .map(|n| {
                let value = if n % 2 == 0 {
                    json!({"S": "x".repeat(15 * MIB)})
                } else {
                    json!({"L": vec![json!({"S": ""}); 15 * MIB / 9]})
                };
                gzip(way.line_of(&value.to_string()).replacen("\"S\":\"a\"", &format!("\"S\":\"a{n}\""), 2))
            })
            .collect();
        let export = way.of_bytes(&site, &files);
        way.run(&site, &export).expect(0);
        assert_eq!(site.rows().await.iter().filter(|row| row["pk"] != "z").count(), 12);
    }
}

#[test]
fn values_nested_100_000_deep() {
    let deep = |open: &str, close: &str| format!("{}{{\"S\":\"x\"}}{}", open.repeat(100_000), close.repeat(100_000));
    let values =
        [deep("{\"L\":[", "]}"), deep("{\"M\":{\"a\":", "}}"), "[".repeat(100_000), "{\"L\":[".repeat(100_000)];
    for way in WAYS {
        let mut lines: Vec<_> = values.iter().map(|value| way.line_of(value)).collect();
        if way == Way::Increment {
            for value in &values {
                let good = way.line("a");
                lines.push(good.replacen('{', &format!("{{\"OldImage\":{{\"v\":{value}}},"), 1));
                lines.push(good.replacen('{', &format!("{{\"New\":{value},"), 1));
                lines.push(good.replacen("\"Keys\":{", &format!("\"Keys\":{{\"x\":{value},"), 1));
                lines.push(good.replacen("\"Metadata\":{", &format!("\"Metadata\":{{\"x\":{value},"), 1));
            }
        }
        for line in lines {
            let site = way.site();
            let export = way.of_bytes(&site, &[gzip(&line)]);
            let run = way.refused(&site, &export, "");
            assert_eq!(run.report["error"]["line"], 1, "{}", run.message());
        }
    }
}

/// A list of `files` files with keys of `length` bytes that are all missing.
fn long_list(export: &Path, files: usize, length: usize) {
    fs::remove_file(export.join("manifest-files.md5")).unwrap();
    let text = fs::read_to_string(export.join("manifest-files.json")).unwrap();
    let mut entry: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let key = entry["dataFileS3Key"].as_str().unwrap().to_owned();
    let folder = key.rsplit_once('/').unwrap().0;
    entry["dataFileS3Key"] = json!("?");
    let (before, after) = entry.to_string().split_once('?').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let mut list = std::io::BufWriter::new(File::create(export.join("manifest-files.json")).unwrap());
    // Segments that a file system takes.
    let middle = "/long".repeat(length.saturating_sub(folder.len() + 20) / 5);
    for n in 0..files {
        writeln!(list, "{before}{folder}{middle}/{n:010}.json.gz{after}").unwrap();
    }
}

#[test]
fn manifests_of_a_million_files() {
    for way in WAYS {
        for (files, length, line, expected) in [
            (1_000_000, 80, Some(250_001), "more files than an export can have"),
            (400_000, 1000, Some(1), "longer together than"),
            // As many as are taken.
            (250_000, 80, None, "missing"),
            (33_000, 1000, None, "missing"),
        ] {
            let site = way.site();
            let export = way.export(1).edit_summary(|summary| summary["itemCount"] = Value::Null).write(site.bucket());
            long_list(&export, files, length);
            let run = way.refused(&site, &export, expected);
            if let Some(least) = line {
                assert!(run.report["error"]["line"].as_u64().unwrap() >= least, "{}", run.message());
            }
        }
    }
}

/// Files of 1 GiB where a kilobyte is expected.
#[test]
fn manifests_of_a_gigabyte() {
    for way in WAYS {
        for name in ["manifest-summary.json", "manifest-files.json", "manifest-summary.md5", "manifest-files.md5"] {
            let site = way.site();
            let export = way.export(1).write(site.bucket());
            File::options().write(true).open(export.join(name)).unwrap().set_len(1 << 30).unwrap();
            let expected = if name == "manifest-files.json" { "too long" } else { "at most" };
            let run = way.refused(&site, &export, expected);
            assert!(run.report["error"]["file"].as_str().unwrap().ends_with(name), "{}", run.message());
        }
    }
}

#[test]
fn counts_and_checksums_that_cannot_be() {
    for way in WAYS {
        let two_to_64 = 18_446_744_073_709_551_616.0;
        for (count, sum) in [
            (json!(-1), json!(null)),
            (json!(u64::MAX), json!(null)),
            (json!(u64::MAX), json!(u64::MAX)),
            (json!(two_to_64), json!(null)),
            (json!(1.5), json!(null)),
            (json!("1"), json!(null)),
            (json!([1]), json!(null)),
            (json!(1), json!(-1)),
            (json!(1), json!(u64::MAX)),
            (json!(1), json!(two_to_64)),
        ] {
            let site = way.site();
            let export = way.export(2).edit_files(move |files| files[1]["itemCount"] = count.clone());
            let export = export.edit_summary(move |summary| summary["itemCount"] = sum.clone()).write(site.bucket());
            let run = way.refused(&site, &export, "");
            let file = run.report["error"]["file"].as_str().unwrap();
            assert!(file.contains("manifest-"), "before any data is read: {}", run.message());
        }
        for md5 in
            ["", "AAAA", "c2c8Ly/xdhzeH92qunsAvQ", "c2c8Ly/xdhzeH92qunsAvQ==AAAA", "*", "c2c8Ly_xdhzeH92qunsAvQ=="]
        {
            let site = way.site();
            let export = way.export(2).edit_files(move |files| files[1]["md5Checksum"] = json!(md5));
            let run = way.refused(&site, &export.write(site.bucket()), "md5Checksum");
            assert_eq!(run.report["error"]["line"], 2, "{}", run.message());
        }
        let site = way.site();
        let export = way.export(2).edit_files(|files| files.push(files[0].clone())).write(site.bucket());
        let run = way.refused(&site, &export, "this file twice");
        assert_eq!(run.report["error"]["line"], 3, "{}", run.message());
    }
}

/// Good data that lies elsewhere, by every name that might lead there.
#[test]
fn nothing_outside_of_the_export_is_read() {
    for way in WAYS {
        let site = way.site();
        let secret = gzip(way.line(SECRET));
        for place in ["secret.gz", "bucket/secret.gz", "bucket/AWSDynamoDB/secret.gz", "bucket/other/data/secret.gz"] {
            let path = site.path().join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &secret).unwrap();
        }
        let other = full(30).files([vec![way.line(SECRET)]]).write(site.bucket());
        let other = data_files(site.bucket(), &other).remove(0);
        let other = other.strip_prefix(site.bucket()).unwrap().to_str().unwrap().to_owned();
        // Folders that only begin as the export's own do.
        let id = way.export(3).export_id();
        let beside = [format!("AWSDynamoDB/{id}x/data/secret.gz"), "AWSDynamoDB/datax/secret.gz".to_owned()];
        for key in &beside {
            let path = site.bucket().join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &secret).unwrap();
        }
        let absolute = site.path().join("secret.gz").to_str().unwrap().to_owned();
        for key in [
            &*beside[0],
            &*beside[1],
            "secret.gz",
            "AWSDynamoDB/secret.gz",
            "other/data/secret.gz",
            "../secret.gz",
            "AWSDynamoDB/../secret.gz",
            "AWSDynamoDB/data/../../secret.gz",
            "AWSDynamoDB/data/%2e%2e/%2e%2e/secret.gz",
            "AWSDynamoDB/data/..%2f../secret.gz",
            "AWSDynamoDB/data/..\\..\\secret.gz",
            "AWSDynamoDB/data/x\0/../../../secret.gz",
            "AWSDynamoDB/data/secret.gz\0",
            "AWSDynamoDB/data//secret.gz",
            "AWSDynamoDB/data/./secret.gz",
            "s3://other/AWSDynamoDB/data/secret.gz",
            "//other/AWSDynamoDB/data/secret.gz",
            "~/secret.gz",
            "$HOME/secret.gz",
            &other,
            &absolute,
            &format!("file://{absolute}"),
        ] {
            let listed = key.to_owned();
            let export = way.export(3).edit_files(move |files| files[2]["dataFileS3Key"] = json!(listed));
            let export = export.write(site.bucket());
            let run = way.refused(&site, &export, "");
            assert!(!run.stdout.contains(SECRET) && !run.stderr.contains(SECRET), "{key}");
            let error = &run.report["error"];
            // Refused by its name, or looked for under just this name inside of the export.
            assert!(error["line"] == 3 || error["file"] == key, "{key}: {}", run.message());
        }
    }
}

/// Links that lead out, pipes, devices and folders in place of any of the export's files.
#[test]
fn links_and_files_that_are_none() {
    type Make = fn(&Site, &Path);
    let makes: [(&str, Make); 6] = [
        ("pipe", |_, path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success())),
        ("folder", |_, path| fs::create_dir(path).unwrap()),
        ("device", |_, path| symlink("/dev/zero", path).unwrap()),
        ("link to a device", |site, path| {
            symlink("/dev/zero", site.path().join("zero")).unwrap();
            symlink(site.path().join("zero"), path).unwrap();
        }),
        ("dangling link", |_, path| symlink("/no/such/file", path).unwrap()),
        ("link out", |site, path| symlink(site.path().join("secret.gz"), path).unwrap()),
    ];
    for way in WAYS {
        for (what, make) in makes {
            for name in ["manifest-summary.json", "manifest-files.json", "manifest-files.md5", "data"] {
                // A dangling link is a file that is missing; a manifest may be a link to a file.
                if (what.contains("link ") || what.contains(" link")) && name != "data" {
                    continue;
                }
                let site = way.site();
                fs::write(site.path().join("secret.gz"), gzip(way.line(SECRET))).unwrap();
                let export =
                    way.export(2).edit_files(|files| files[1]["md5Checksum"] = Value::Null).write(site.bucket());
                let data = data_files(site.bucket(), &export).remove(1);
                let path = if name == "data" { data } else { export.join(name) };
                fs::remove_file(&path).unwrap();
                make(&site, &path);
                let run = way.refused(&site, &export, "");
                assert!(!run.stdout.contains(SECRET) && !run.stderr.contains(SECRET), "{what} for {name}");
                let file = run.report["error"]["file"].as_str().unwrap_or_default();
                let its_name = path.file_name().unwrap().to_str().unwrap();
                assert!(file.ends_with(its_name), "{what} for {name}: {}", run.message());
            }
        }
        // The whole folder of data is elsewhere.
        let site = way.site();
        let export = way.export(2).write(site.bucket());
        let data = data_files(site.bucket(), &export)[0].parent().unwrap().to_owned();
        fs::rename(&data, site.path().join("elsewhere")).unwrap();
        symlink(site.path().join("elsewhere"), &data).unwrap();
        way.refused(&site, &export, "leads out of the export");
    }
}
