//! Reading exports: layouts, manifests, folders of exports, and every kind of damage.

#![allow(clippy::semicolon_if_nothing_returned, clippy::unwrap_used)]

#[path = "common/exports.rs"]
mod exports;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ddb_iceberg::error::{Error, Kind};
use ddb_iceberg::export;
use ddb_iceberg::export::{Export, ExportKind, LineReader, LookBack, Looked, MAX_LINE, Prefix, Resolved, View};
use ddb_iceberg::runtime::progress::Progress;
use ddb_iceberg::storage::Store;
use ddb_iceberg::time;
use exports::{FullExport, IncrementalExport, checksum, data_files, gzip, table_arn, table_id};
use serde_json::Value;
use tempfile::TempDir;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(future)
}

fn open(path: impl AsRef<Path>) -> Result<Export, Error> {
    run(export::open(&Store::local(), path.as_ref().to_str().unwrap()))
}

fn open_bare(path: impl AsRef<Path>) -> Result<Export, Error> {
    run(export::open_bare(&Store::local(), path.as_ref().to_str().unwrap()))
}

/// Every line of every file, with its file's place and its number.
fn read_all(export: &Export) -> Result<Vec<(u32, u64, String)>, Error> {
    read_counted(export, &Arc::default())
}

fn read_counted(export: &Export, progress: &Arc<Progress>) -> Result<Vec<(u32, u64, String)>, Error> {
    let (files, progress) = (export.files().to_vec(), Arc::clone(progress));
    run(async {
        let work = move || {
            let mut lines = Vec::new();
            for file in files {
                let mut reader = LineReader::open(&Store::local(), &file, Arc::clone(&progress))?;
                while let Some(line) = reader.next_line()? {
                    lines.push((file.position, line.number, String::from_utf8_lossy(line.bytes).into_owned()));
                }
                assert!(reader.next_line()?.is_none());
            }
            Ok(lines)
        };
        tokio::task::spawn_blocking(work).await.unwrap()
    })
}

fn texts(export: &Export) -> Vec<String> {
    read_all(export).unwrap().into_iter().map(|(_, _, text)| text).collect()
}

fn item(key: &str) -> String {
    format!(r#"{{"Item":{{"pk":{{"S":"{key}"}}}}}}"#)
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// It fails as damaged input does, and the message has these words.
fn assert_input<T: std::fmt::Debug>(result: Result<T, Error>, words: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Input, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is missing in: {error}");
    }
}

#[test]
fn a_full_export_with_and_without_prefix() {
    for prefix in [None, Some("backups/daily")] {
        let root = dir();
        let mut writer = FullExport::new("orders")
            .time("2026-01-14T10:18:50.622Z")
            .files([vec![item("1"), item("2")], vec![item("3")]]);
        if let Some(prefix) = prefix {
            writer = writer.prefix(prefix);
        }
        let folder = writer.write(&root);
        let slash = format!("{}/", folder.display());
        let summary = folder.join("manifest-summary.json");
        let files = folder.join("manifest-files.json");
        for arg in [folder.as_path(), Path::new(&slash), &summary, &files] {
            let export = open(arg).unwrap();
            assert_eq!(export.kind(), ExportKind::Full { time: time::parse("2026-01-14T10:18:50.622Z") });
            assert_eq!(export.arn(), Some(writer.arn().as_str()));
            assert_eq!(export.table_arn(), Some(table_arn("orders").as_str()));
            assert_eq!(export.table_id(), Some(table_id("orders").as_str()));
            assert_eq!(export.item_count(), Some(3));
            assert_eq!(export.files().len(), 2);
            assert_eq!(export.location().local_path().unwrap(), folder);
            let lines = read_all(&export).unwrap();
            assert_eq!(lines, [(0, 1, item("1")), (0, 2, item("2")), (1, 1, item("3"))]);
        }
    }
}

#[test]
fn an_incremental_export() {
    let root = dir();
    let folder = IncrementalExport::new("orders").view("NEW_IMAGES").files([vec!["{}"]]).write(&root);
    let export = open(&folder).unwrap();
    let window = (time::parse("2026-01-14T10:20:00Z").unwrap(), time::parse("2026-01-14T10:35:00Z").unwrap());
    assert_eq!(export.window(), Some((window.0, window.1, View::NewImage)));
    let name = &export.files()[0].name;
    assert!(name.starts_with("AWSDynamoDB/data/"), "{name}");
    assert_eq!(texts(&export), ["{}"]);
}

#[test]
fn copies_are_read_where_they_lie() {
    let root = dir();
    let full = FullExport::new("orders").prefix("p/q").files([[item("1")]]).write(&root);
    let window = IncrementalExport::new("orders").prefix("p/q").files([["{}"]]).write(&root);
    let id = |path: &Path| path.file_name().unwrap().to_owned();
    // The AWSDynamoDB folder elsewhere.
    let elsewhere = dir();
    copy(&root.path().join("p/q/AWSDynamoDB"), &elsewhere.path().join("x/AWSDynamoDB"));
    for folder in [&full, &window] {
        let copied = elsewhere.path().join("x/AWSDynamoDB").join(id(folder));
        let export = open(&copied).unwrap();
        assert_eq!(read_all(&export).unwrap().len(), 1);
        assert!(export.files()[0].location.local_path().unwrap().starts_with(elsewhere.path()));
    }
    // Only the full export's folder, also under another name.
    for name in [id(&full), "monday".into()] {
        let alone = dir();
        copy(&full, &alone.path().join(&name));
        assert_eq!(texts(&open(alone.path().join(&name)).unwrap()), [item("1")]);
    }
    // Through a link with another name.
    let link = elsewhere.path().join("latest");
    std::os::unix::fs::symlink(&window, &link).unwrap();
    assert_eq!(texts(&open(&link).unwrap()), ["{}"]);
    // An incremental export without the data beside it.
    let alone = dir();
    copy(&window, &alone.path().join(id(&window)));
    assert_input(read_all(&open(alone.path().join(id(&window))).unwrap()), &["listed in the manifest but missing"]);
}

#[test]
fn empty_files_and_several_members() {
    let root = dir();
    let lines: Vec<String> = (0..1000).map(|i| item(&i.to_string())).collect();
    let folder = FullExport::new("orders").members(7).files([vec![], lines.clone(), vec![]]).write(&root);
    let export = open(&folder).unwrap();
    assert_eq!(fs::metadata(export.files()[0].location.local_path().unwrap()).unwrap().len(), 20);
    let progress = Arc::default();
    let read = read_counted(&export, &progress).unwrap();
    assert_eq!(read.iter().map(|l| l.2.clone()).collect::<Vec<_>>(), lines);
    assert!(read.iter().zip(1..).all(|(line, number)| line.0 == 1 && line.1 == number));
    let bytes: u64 = data_files(&root, &folder).iter().map(|f| fs::metadata(f).unwrap().len()).sum();
    assert_eq!((progress.snapshot().items, progress.snapshot().bytes_read), (1000, bytes));

    let none = IncrementalExport::new("orders").files([Vec::<String>::new(), vec![]]).write(&root);
    assert_eq!(texts(&open(none).unwrap()), [""; 0]);
    let no_files = IncrementalExport::new("other").files(Vec::<Vec<String>>::new()).write(&root);
    assert_eq!(open(no_files).unwrap().files().len(), 0);
}

#[test]
fn large_files_cross_every_buffer() {
    let root = dir();
    // Lines of many lengths, some longer than the buffer; about 8 MiB that compress badly.
    let mut state = 1_u64;
    let mut text = |length: usize| -> String {
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap())
            })
            .collect()
    };
    let lines: Vec<String> = (0..60).map(|i| text(if i % 7 == 0 { 700_000 } else { 1 + i * 997 })).collect();
    let folder = FullExport::new("orders").members(3).files([lines.clone()]).write(&root);
    assert!(texts(&open(folder).unwrap()) == lines);
}

/// Writes one bare file and reads it.
fn bare(name: &str, bytes: &[u8]) -> Result<Vec<(u64, String)>, Error> {
    let root = dir();
    fs::write(root.path().join(name), bytes).unwrap();
    let export = open_bare(root.path())?;
    Ok(read_all(&export)?.into_iter().map(|(_, number, text)| (number, text)).collect())
}

#[test]
fn lines_as_other_writers_end_them() {
    let expected = |lines: &[(u64, &str)]| lines.iter().map(|(n, t)| (*n, (*t).to_owned())).collect::<Vec<_>>();
    for (text, lines) in [
        ("a\nb\n", expected(&[(1, "a"), (2, "b")])),
        ("a\nb", expected(&[(1, "a"), (2, "b")])),
        ("a\r\n\r\nb\r\n", expected(&[(1, "a"), (3, "b")])),
        ("\n \t\na\n\n", expected(&[(3, "a")])),
        ("\u{FEFF}a\n\u{FEFF}b", expected(&[(1, "a"), (2, "\u{FEFF}b")])),
        ("\u{FEFF}\n", expected(&[])),
        ("\r", expected(&[])),
        ("", expected(&[])),
    ] {
        assert_eq!(bare("x.json", text.as_bytes()).unwrap(), lines, "{text:?}");
        assert_eq!(bare("x.json.gz", &gzip(text)).unwrap(), lines, "{text:?}");
        // The magic number decides, not the name.
        assert_eq!(bare("x.json", &gzip(text)).unwrap(), lines, "{text:?}");
    }
    assert_eq!(bare("x.json.gz", b"{\"Item\":{}}").unwrap().len(), 1);
    assert_eq!(bare("x.json.gz", b"").unwrap(), []);
    assert_input(bare("x.json.gz", b"\x1e\x8b\x08damaged"), &["x.json.gz", "not gzip"]);
}

#[test]
fn a_line_has_a_limit() {
    let mut text = vec![b'x'; MAX_LINE];
    text.push(b'\n');
    text.extend_from_slice(b"y\n");
    let lines = bare("x.json", &text).unwrap();
    assert_eq!((lines.len(), lines[0].1.len(), lines[1].1.as_str()), (2, MAX_LINE, "y"));
    text.splice(0..0, *b"a\nx");
    assert_input(bare("x.json", &text), &["x.json:2: ", "longer than 16 MiB"]);
}

/// An export of 1,000 items in one file, which `damage` changes.
fn damaged(damage: impl FnOnce(&Path, &Path)) -> Result<Vec<(u32, u64, String)>, Error> {
    let root = dir();
    let lines: Vec<String> = (0..1000).map(|i| item(&format!("{i}"))).collect();
    let folder = FullExport::new("orders").files([lines]).write(&root);
    let file = data_files(&root, &folder).remove(0);
    damage(&folder, &file);
    read_all(&open(&folder)?)
}

fn rewrite(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

#[test]
fn damaged_data_files() {
    assert_eq!(damaged(|_, _| {}).unwrap().len(), 1000);
    assert_input(
        damaged(|_, file| fs::remove_file(file).unwrap()),
        &[".json.gz: ", "listed in the manifest but missing"],
    );
    assert_input(
        damaged(|_, file| rewrite(file, |b| b.truncate(b.len() / 2))),
        &[".json.gz: ", "truncated after line"],
    );
    assert_input(damaged(|_, file| rewrite(file, |b| b.truncate(b.len() - 1))), &["truncated after line 1000"]);
    assert_input(damaged(|_, file| rewrite(file, |b| b.truncate(5))), &["truncated before"]);
    // In the CRC, and in the compressed data.
    assert_input(
        damaged(|_, file| {
            rewrite(file, |b| {
                let at = b.len() - 6;
                b[at] ^= 1;
            })
        }),
        &["damaged after line 1000"],
    );
    assert_input(
        damaged(|_, file| {
            rewrite(file, |b| {
                let at = b.len() / 2;
                b[at] ^= 0x10;
            })
        }),
        &[".json.gz: "],
    );
    assert_input(
        damaged(|_, file| rewrite(file, |b| b.extend_from_slice(b"garbage that is longer than a gzip header"))),
        &["damaged after line 1000"],
    );
    assert_input(damaged(|_, file| rewrite(file, |b| b.extend_from_slice(&[0; 64]))), &["damaged after line 1000"]);
    // Sound gzip, but another file.
    assert_input(damaged(|_, file| fs::write(file, gzip(item("1"))).unwrap()), &["not the one that DynamoDB wrote"]);
    assert_input(
        damaged(|_, file| rewrite(file, |b| b.extend_from_slice(&gzip("")))),
        &["not the one that DynamoDB wrote"],
    );
    assert_input(damaged(|_, file| rewrite(file, |b| b[4] ^= 1)), &["not the one that DynamoDB wrote"]);
    assert_input(damaged(|_, file| fs::write(file, "").unwrap()), &["not the one that DynamoDB wrote"]);
}

/// Every single flipped bit of a small file is found.
#[test]
fn no_flipped_bit_goes_unnoticed() {
    let root = dir();
    let folder = FullExport::new("orders").files([[item("1"), item("2")]]).write(&root);
    let file = data_files(&root, &folder).remove(0);
    let export = open(&folder).unwrap();
    let sound = fs::read(&file).unwrap();
    for bit in 0..sound.len() * 8 {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, bytes).unwrap();
        assert_input(read_all(&export), &[]);
    }
}

#[test]
fn wrong_counts() {
    let write = |items: u64, sum: u64| {
        let root = dir();
        let folder = FullExport::new("orders")
            .files([[item("1"), item("2")]])
            .edit_files(move |files| files[0]["itemCount"] = items.into())
            .edit_summary(move |summary| summary["itemCount"] = sum.into())
            .write(&root);
        open(folder).and_then(|export| read_all(&export))
    };
    assert_eq!(write(2, 2).unwrap().len(), 2);
    assert_input(write(2, 3), &["manifest-files.json: ", "2 items", "summary says 3"]);
    assert_input(write(3, 3), &[".json.gz: ", "has 2 items", "says 3"]);
    assert_input(write(1, 1), &[".json.gz: ", "has 2 items", "says 1"]);
}

#[test]
fn damaged_manifests() {
    let file = |folder: &Path, name: &str| folder.join(name);
    let flip = |path: PathBuf| {
        rewrite(&path, |b| {
            let at = b.len() / 2;
            b[at] ^= 1;
        })
    };
    let drop_checksums = |folder: &Path| {
        fs::remove_file(folder.join("manifest-files.md5")).unwrap();
        fs::remove_file(folder.join("manifest-summary.md5")).unwrap();
    };
    assert_input(damaged(|f, _| flip(file(f, "manifest-summary.json"))), &["manifest-summary.json: ", "md5 differs"]);
    assert_input(damaged(|f, _| flip(file(f, "manifest-files.json"))), &["manifest-files.json"]);
    assert_input(damaged(|f, _| fs::write(file(f, "manifest-files.md5"), "?").unwrap()), &["manifest-files.md5: "]);
    assert!(damaged(|f, _| drop_checksums(f)).is_ok());
    assert!(
        damaged(|f, _| {
            let text = fs::read(file(f, "manifest-files.md5")).unwrap();
            drop_checksums(f);
            fs::write(file(f, "manifest-files.checksum"), text).unwrap();
        })
        .is_ok()
    );
    let wrong = checksum(b"other");
    assert_input(
        damaged(|f, _| {
            drop_checksums(f);
            fs::write(file(f, "manifest-summary.checksum"), wrong).unwrap();
        }),
        &["manifest-summary.checksum differs"],
    );
    // Incomplete exports.
    assert_input(damaged(|f, _| fs::remove_file(file(f, "manifest-summary.json")).unwrap()), &["incomplete"]);
    assert_input(
        damaged(|f, _| fs::remove_file(file(f, "manifest-files.json")).unwrap()),
        &["incomplete", "manifest-files.json"],
    );
    let root = dir();
    fs::write(root.path().join("_started"), "").unwrap();
    assert_input(open(root.path()), &["incomplete"]);
    // What is no manifest at all.
    let replace = |name: &'static str, text: Vec<u8>| {
        damaged(move |f, _| {
            drop_checksums(f);
            fs::write(f.join(name), text).unwrap();
        })
    };
    assert_input(replace("manifest-summary.json", vec![b' '; 2 << 20]), &["manifest-summary.json", "at most"]);
    assert_input(replace("manifest-summary.json", vec![]), &["manifest-summary.json"]);
    assert_input(replace("manifest-files.json", b"\n{}\n".to_vec()), &["manifest-files.json:2: "]);
    assert_input(replace("manifest-files.json", vec![b' '; 1 << 20]), &["manifest-files.json:1: ", "too long"]);
    assert_input(replace("manifest-files.json", vec![]), &["0 items", "1000"]);
}

#[test]
fn a_truncated_list_of_files_is_noticed() {
    let root = dir();
    let folder = FullExport::new("orders")
        .files([[item("1")], [item("2")]])
        .edit_files(|files| {
            files.pop();
        })
        .write(&root);
    assert_input(open(folder), &["1 items", "summary says 2"]);
    let folder = FullExport::new("b").files([[item("1")]]).edit_files(|f| f.push(f[0].clone())).write(&root);
    assert_input(open(folder), &["manifest-files.json:2: ", "twice"]);
}

#[test]
fn nothing_outside_of_the_export_is_read() {
    let secret = dir();
    fs::write(secret.path().join("x.json"), item("secret")).unwrap();
    for key in [
        "/etc/passwd",
        "../x.json",
        "AWSDynamoDB/../../x.json",
        "AWSDynamoDB/data/..\\x.json",
        "AWSDynamoDB//x.json",
        "other/AWSDynamoDB/data/x.json",
        "s3://other/AWSDynamoDB/data/x.json",
        "AWSDynamoDB/data/x\0.json",
    ] {
        let root = dir();
        let folder = FullExport::new("orders")
            .files([[item("1")]])
            .edit_files(move |files| files[0]["dataFileS3Key"] = Value::from(key))
            .write(&root);
        assert_input(open(folder), &["manifest-files.json:1: ", "refused"]);
    }
    for key in ["../manifest-files.json", "/x/manifest-files.json", "manifest-files.json", "x/../y/manifest-files.json"]
    {
        let root = dir();
        let folder = FullExport::new("orders")
            .edit_summary(move |summary| summary["manifestFilesS3Key"] = Value::from(key))
            .write(&root);
        assert_input(open(folder), &["manifest-summary.json: ", "refused"]);
    }
    // A link out of the export.
    let root = dir();
    let folder = FullExport::new("orders").files([[item("1")]]).write(&root);
    let file = data_files(&root, &folder).remove(0);
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(secret.path().join("x.json"), &file).unwrap();
    assert_input(open(&folder), &["leads out of the export"]);
    let bare = dir();
    std::os::unix::fs::symlink(secret.path(), bare.path().join("link")).unwrap();
    assert_input(open_bare(bare.path()), &["leads out of the folder"]);
    fs::remove_file(bare.path().join("link")).unwrap();
    fs::write(bare.path().join("a.json"), item("1")).unwrap();
    std::os::unix::fs::symlink(bare.path(), bare.path().join("loop")).unwrap();
    assert_input(open_bare(bare.path()), &["twice"]);
}

#[test]
fn what_is_no_export_is_refused_by_name() {
    let root = dir();
    let ion = FullExport::new("ion").edit_summary(|s| s["outputFormat"] = "ION".into()).write(&root);
    assert_input(open(ion), &["Amazon Ion exports are not supported", "DYNAMODB_JSON"]);
    let by_name =
        FullExport::new("ion2").edit_files(|f| f[0]["dataFileS3Key"] = "AWSDynamoDB/a.ion.gz".into()).write(&root);
    assert_input(open(by_name), &["Amazon Ion exports are not supported"]);
    let emr = dir();
    fs::write(emr.path().join("manifest"), r#"{"name":"DynamoDB-export","version":3,"entries":[]}"#).unwrap();
    assert_input(open(emr.path()), &["AWS Data Pipeline and EMR"]);
    assert_input(open_bare(emr.path()), &["AWS Data Pipeline and EMR"]);
    let empty = dir();
    assert_input(open(empty.path()), &["manifest-summary.json", "--without-manifest"]);
    assert_input(open(empty.path().join("nothing")), &["no such folder"]);
    fs::write(empty.path().join("file"), "").unwrap();
    assert_input(open(empty.path().join("file")), &["a file, not a folder"]);
    // A folder above an export names one.
    let above = dir();
    let folder = FullExport::new("orders").prefix("a/b").write(&above);
    assert_input(open(above.path()), &[folder.to_str().unwrap()]);
    let s3 = run(export::open(&Store::local(), "s3://bucket/AWSDynamoDB/x")).unwrap_err();
    assert_eq!(s3.kind(), Kind::Usage);
}

#[test]
fn bare_files_are_read_in_path_order() {
    let root = dir();
    for (name, text) in [("b.json", "3\n"), ("a/z.json.gz", "2\n"), ("a/b/x.json", "1\n"), ("notes.txt", "no\n")] {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, if name.ends_with("gz") { gzip(text) } else { text.into() }).unwrap();
    }
    let export = open_bare(root.path()).unwrap();
    let names: Vec<_> = export.files().iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["a/b/x.json", "a/z.json.gz", "b.json"]);
    assert_eq!(texts(&export), ["1", "2", "3"]);
    assert_eq!((export.arn(), export.kind()), (None, ExportKind::Full { time: None }));
    // Manifests vouch for files: they are not passed over.
    let folder = FullExport::new("orders").write(&root);
    for arg in [folder.as_path(), root.path()] {
        assert_eq!(open_bare(arg).unwrap_err().kind(), Kind::Usage);
    }
    assert!(open_bare(folder.join("data")).is_ok());
    let empty = dir();
    assert_input(open_bare(empty.path()), &["no *.json"]);
    fs::write(empty.path().join("a.ion.gz"), "").unwrap();
    assert_input(open_bare(empty.path()), &["Amazon Ion"]);
}

fn resolve(path: &Path, table: Option<&str>, watermark: Option<&str>) -> Result<Resolved, Error> {
    let (arn, id) = (table.map(table_arn), table.map(table_id));
    let hint = Prefix {
        table_arn: arn.as_deref(),
        table_id: id.as_deref(),
        watermark: watermark.map(|w| time::parse(w).unwrap()),
        now: time::parse("2026-01-14T12:00:00Z").unwrap(),
    };
    run(export::resolve(&Store::local(), path.to_str().unwrap(), &hint))
}

fn starts(resolved: &Resolved) -> Vec<String> {
    resolved.exports.iter().map(|e| time::format(e.window().unwrap().0)[11..16].to_owned()).collect()
}

/// Three tables in one bucket: `orders` has a full export and three windows.
fn bucket() -> TempDir {
    let root = dir();
    FullExport::new("orders").prefix("p").time("2026-01-14T10:00:00Z").write(&root);
    FullExport::new("users").time("2026-01-14T10:00:00Z").write(&root);
    for (from, to) in [("10:15", "10:30"), ("10:30", "10:45"), ("10:00", "10:15")] {
        let [from, to] = [from, to].map(|t| format!("2026-01-14T{t}:00Z"));
        IncrementalExport::new("orders").prefix("p").from(&from).to(&to).files([["{}"]]).write(&root);
        IncrementalExport::new("users").from(&from).to(&to).files([["{}"]]).write(&root);
    }
    IncrementalExport::new("ion").edit_summary(|s| s["outputFormat"] = "ION".into()).write(&root);
    root
}

/// Exports that were looked at before and are as old as the watermark are not read again, but counted.
#[test]
fn what_was_looked_at_before_is_counted() {
    let root = bucket();
    let (arn, id) = (table_arn("orders"), table_id("orders"));
    let at = |time: &str| time::parse(&format!("2026-01-14T{time}:00Z")).unwrap();
    let hint = Prefix { table_arn: Some(&arn), table_id: Some(&id), watermark: Some(at("10:40")), now: at("12:00") };
    let look = |known: Option<&Looked>| {
        let back = LookBack { since: at("10:20"), known };
        run(export::resolve_back(&Store::local(), root.path().to_str().unwrap(), &hint, Some(back))).unwrap()
    };
    let first = look(None);
    assert_eq!(starts(&first), ["10:15", "10:30"]);
    let again = look(first.looked.as_ref());
    assert_eq!(starts(&again), ["10:30"]);
    // One window of each table, and one of another format.
    assert_eq!(again.older, first.older + 3);
}

#[test]
fn a_folder_of_exports() {
    let root = bucket();
    for arg in [root.path().to_path_buf(), root.path().join("p"), root.path().join("p/AWSDynamoDB")] {
        let all = resolve(&arg, Some("orders"), None).unwrap();
        assert_eq!(starts(&all), ["10:00", "10:15", "10:30"]);
        assert_eq!((all.full, all.older, all.pending, all.explicit), (1, 0, 0, false));
        assert_eq!(all.foreign, if arg == root.path() { 5 } else { 0 });
        assert!(all.warnings.is_empty());
        assert_eq!(texts(&all.exports[0]), ["{}"]);
    }
    let some = resolve(root.path(), Some("orders"), Some("2026-01-14T10:15:00Z")).unwrap();
    assert_eq!(starts(&some), ["10:15", "10:30"]);
    // A window that straddles the watermark is the caller's to judge.
    let straddling = resolve(root.path(), Some("orders"), Some("2026-01-14T10:40:00Z")).unwrap();
    assert_eq!(starts(&straddling), ["10:30"]);
    // All old is not the same as none.
    let done = resolve(root.path(), Some("orders"), Some("2026-01-14T10:45:00Z")).unwrap();
    assert_eq!(starts(&done), [""; 0]);
    assert!(done.older > 0);
    let long_done = resolve(&root.path().join("p"), Some("orders"), Some("2027-01-01T00:00:00Z")).unwrap();
    assert_eq!((starts(&long_done).len(), long_done.older), (0, 4));
    let none = dir();
    fs::create_dir(none.path().join("AWSDynamoDB")).unwrap();
    assert_input(resolve(none.path(), Some("orders"), None), &["no DynamoDB export"]);
    assert_input(
        resolve(&none.path().join("x"), Some("orders"), Some("2026-01-14T10:45:00Z")),
        &["no DynamoDB export"],
    );
    // Only other tables' exports: exports there are.
    assert_eq!(resolve(&root.path().join("p"), Some("carts"), None).unwrap().foreign, 4);
}

#[test]
fn old_manifests_are_not_read_again() {
    let root = dir();
    let old = IncrementalExport::new("orders").from("2026-01-14T10:00:00Z").to("2026-01-14T10:15:00Z").write(&root);
    IncrementalExport::new("orders").from("2026-01-14T10:15:00Z").to("2026-01-14T10:30:00Z").write(&root);
    // Ids of 13 digits sort after all of 14.
    let short = IncrementalExport::new("orders")
        .from("2026-01-14T09:45:00Z")
        .to("2026-01-14T10:00:00Z")
        .id("1768384824000-00000001")
        .write(&root);
    IncrementalExport::new("orders")
        .from("2026-01-14T10:30:00Z")
        .to("2026-01-14T10:45:00Z")
        .id("1768387524000-00000002")
        .write(&root);
    for (n, folder) in [&old, &short].into_iter().enumerate() {
        fs::write(folder.join("manifest-summary.json"), "damaged").unwrap();
        let resolved = resolve(root.path(), Some("orders"), None).unwrap();
        assert_eq!((resolved.damaged.len(), resolved.exports.len()), (n + 1, 3 - n));
    }
    let mut resolved = resolve(root.path(), Some("orders"), Some("2026-01-14T10:15:00Z")).unwrap();
    assert_eq!(starts(&resolved), ["10:15", "10:30"]);
    // The old one's id (10:15:24) is not before 10:15:00, so it is read, and named.
    assert_input::<()>(Err(resolved.damaged.remove(0)), &[old.to_str().unwrap(), "manifest-summary.json"]);
    assert!(resolved.damaged.is_empty());
    let resolved = resolve(root.path(), Some("orders"), Some("2026-01-14T10:16:00Z")).unwrap();
    assert_eq!(starts(&resolved), ["10:15", "10:30"]);
    assert!(resolved.damaged.is_empty());
}

#[test]
fn incomplete_exports_are_pending_for_a_day() {
    let root = dir();
    // Now is 2026-01-14T12:00 (1768392000000).
    let pending = root.path().join("AWSDynamoDB/01768391000000-aaaaaaaa");
    fs::create_dir_all(&pending).unwrap();
    fs::write(pending.join("_started"), "").unwrap();
    let resolved = resolve(root.path(), Some("orders"), None).unwrap();
    assert_eq!((resolved.pending, resolved.warnings.len(), resolved.exports.len()), (1, 0, 0));
    let stale = root.path().join("AWSDynamoDB/01768300000000-bbbbbbbb");
    fs::create_dir_all(&stale).unwrap();
    fs::write(stale.join("manifest-files.json"), "").unwrap();
    let resolved = resolve(root.path(), Some("orders"), None).unwrap();
    assert_eq!((resolved.pending, resolved.warnings.len()), (1, 1));
    assert!(resolved.warnings[0].contains("01768300000000-bbbbbbbb"), "{:?}", resolved.warnings);
    // Named itself, it is an error.
    assert_input(resolve(&pending, Some("orders"), None), &["incomplete"]);
}

#[test]
fn a_table_made_again_under_its_name() {
    let root = dir();
    let folder = IncrementalExport::new("orders").table_id("another").write(&root);
    assert_input(resolve(root.path(), Some("orders"), None), &[folder.to_str().unwrap(), "another", "full-load"]);
    // Another table's new id is its own business.
    assert_eq!(resolve(root.path(), Some("users"), None).unwrap().foreign, 1);
}

#[test]
fn an_explicit_export_is_taken_as_it_is() {
    let root = dir();
    let full = FullExport::new("users").write(&root);
    let resolved = resolve(&full, Some("orders"), Some("2027-01-14T10:15:00Z")).unwrap();
    assert!(resolved.explicit);
    assert_eq!((resolved.exports.len(), resolved.exports[0].window()), (1, None));
}

#[test]
fn without_a_known_table_all_exports_must_be_of_one() {
    let root = bucket();
    let error = resolve(root.path(), None, None).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.to_string().contains("3 tables"), "{error}");
    assert_eq!(starts(&resolve(&root.path().join("p"), None, None).unwrap()).len(), 3);
}

/// Front ends run commands as tasks of their own.
#[test]
fn the_futures_can_travel_between_threads() {
    let root = bucket();
    let arg = root.path().join("p").to_str().unwrap().to_owned();
    run(async move {
        let task = async move {
            let (store, arn) = (Store::local(), table_arn("orders"));
            let now = time::parse("2026-01-14T12:00:00Z").unwrap();
            let hint = Prefix { table_arn: Some(&arn), table_id: None, watermark: None, now };
            let resolved = export::resolve(&store, &arg, &hint).await?;
            let opened = export::open(&store, resolved.exports[0].location().as_str()).await?;
            let bare = export::open_bare(&store, &arg).await;
            Ok::<_, Error>((opened.arn() == resolved.exports[0].arn(), bare.is_err()))
        };
        assert_eq!(tokio::spawn(task).await.unwrap().unwrap(), (true, true));
    });
}

#[test]
fn exports_in_odd_places() {
    let root = dir();
    // A prefix named `data`, ids without their AWSDynamoDB folder, and a renamed export.
    IncrementalExport::new("orders").prefix("data").files([["{}"]]).write(&root);
    let other = dir();
    IncrementalExport::new("orders")
        .from("2026-01-14T10:35:00Z")
        .to("2026-01-14T10:50:00Z")
        .files([["{}"]])
        .write(&other);
    copy(&other.path().join("AWSDynamoDB"), &root.path().join("copied"));
    let third = dir();
    let renamed = FullExport::new("orders").write(&third);
    copy(&renamed, &root.path().join("weekly"));
    let resolved = resolve(root.path(), Some("orders"), None).unwrap();
    assert_eq!(starts(&resolved), ["10:20", "10:35"]);
    assert_eq!(resolved.full, 1);
    assert!(resolved.exports.iter().all(|e| texts(e) == ["{}"]));
}
