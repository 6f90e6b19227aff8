//! The real program where it can't write: on a full disk, for which a limit on the size of files stands, and in a warehouse
//! that may only be read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::program::{Run, Site, TABLE, full, gone, pairs, put, simple, window};

/// Runs the command with no file growing past so many blocks of 512 (dash) or 1,024 bytes (bash).
fn limited(site: &Site, arguments: &[&str], blocks: usize) -> Run {
    let program = site.command(&[arguments, &["--table", TABLE, "--format", "json", "--threads", "2"]].concat());
    let script = "trap '' XFSZ; ulimit -f \"$1\" || exit 99; shift; exec \"$@\"";
    Run::of(wrapped(&program, &["sh", "-c", script, "sh", &blocks.to_string()]).output().unwrap())
}

/// The same command behind another program's arguments.
fn wrapped(program: &Command, by: &[&str]) -> Command {
    let mut command = Command::new(by[0]);
    command.args(&by[1..]).arg(program.get_program()).args(program.get_args());
    command.current_dir(program.get_current_dir().unwrap()).stdin(std::process::Stdio::null());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// It says what failed, where, once.
fn told(run: &Run, what: &[&str]) {
    assert_eq!(run.report["error"]["exit"], 1, "{}", run.stdout);
    let errors = run.stderr.lines().filter(|line| line.starts_with("error:")).count();
    assert_eq!(errors, 1, "one message: {}", run.stderr);
    assert!(what.iter().any(|what| run.stderr.contains(what)), "{}", run.stderr);
    assert!(run.report["error"]["file"].as_str().is_some_and(|file| file.contains("warehouse")), "{}", run.stdout);
}

/// A load, windows by deletes and by rewriting, a compaction: on ever larger disks, until there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_the_table_as_it_was() {
    let site = Site::new();
    let load = full(0).files([(0..4_000).map(|n| simple(&format!("k{n:05}"), n)).collect::<Vec<_>>()]);
    let load = load.write(site.bucket());
    let changes = |value: i64| {
        (0..4_000).filter(|n| n % 3 < 2).map(move |n| {
            let key = format!("k{n:05}");
            if n % 3 == 0 { gone(&key) } else { put(&key, value) }
        })
    };
    let first = window(0, 15).files([changes(-1).collect::<Vec<_>>()]).write(site.bucket());
    let second = window(15, 30).files([changes(-2).collect::<Vec<_>>()]).write(site.bucket());
    let (load, first, second) = (load.to_str().unwrap(), first.to_str().unwrap(), second.to_str().unwrap());
    let steps: [&[&str]; 4] = [
        &["full-load", load, "--key", "pk"],
        &["incremental", first],
        &["incremental", second, "--write-mode", "copy-on-write"],
        &["compact"],
    ];
    let mut before = Vec::new();
    let (mut refused, mut places) = (0, std::collections::BTreeSet::new());
    for step in steps {
        let files = site.table_files();
        let mut done = false;
        for blocks in [0, 1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 192, 256, 512, 1024] {
            let run = limited(&site, step, blocks);
            if run.code == 0 {
                done = true;
                break;
            }
            assert_eq!(run.code, 1, "{step:?} with {blocks} blocks: {}", run.stderr);
            told(&run, &["File too large", "disk I/O error", "disk is full"]);
            refused += 1;
            let place = run.report["error"]["file"].as_str().unwrap();
            places.insert(place.rsplit('.').next().unwrap().to_owned());
            assert_eq!(site.table_files(), files, "{step:?} with {blocks} blocks left files behind: {}", run.stderr);
            let now = if site.table().await.is_some() { site.rows().await } else { Vec::new() };
            assert!(now == before, "{step:?} with {blocks} blocks changed the table");
        }
        assert!(done, "{step:?} needs files that large?");
        before = site.rows().await;
    }
    println!("{refused} runs without room, at {places:?}");
    assert!(refused >= 12, "{refused}");
    assert_eq!(before.len(), 4_000 - 1_334);
    assert_eq!(pairs(&before).iter().filter(|(_, value)| *value == -2).count(), 1_333);
}

/// Takes the right to write away, below a folder too.
fn set_mode(folder: &Path, writable: bool) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_dir() {
            set_mode(&entry.path(), writable);
        } else {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(if writable { 0o644 } else { 0o444 }))
                .unwrap();
        }
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(if writable { 0o755 } else { 0o555 })).unwrap();
}

/// Runs the command as somebody whom such rights bind. Root is not, unless it gives its own up.
fn bound(site: &Site, arguments: &[&str]) -> Run {
    let program = site.command(&[arguments, &["--table", TABLE, "--format", "json"]].concat());
    let probe = site.path().join("warehouse").join("probe");
    let mut program = if fs::write(&probe, "").is_ok() {
        fs::remove_file(&probe).unwrap();
        wrapped(&program, &["setpriv", "--bounding-set=-all", "--inh-caps=-all"])
    } else {
        program
    };
    Run::of(program.output().expect("setpriv, of util-linux, where tests run as root"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_warehouse_is_only_read() {
    let site = Site::loaded((0..40).map(|n| simple(&format!("k{n}"), n)).collect(), &["pk"]);
    for n in 0..6 {
        let window = site.window(n, n + 1, vec![put("k1", i64::from(n)), put(&format!("n{n}"), 1)]);
        site.incremental(&[&window], &["--maintenance", "off"]).expect(0);
    }
    let load = full(60).files([[simple("x", 1)]]).write(site.bucket());
    let window = site.window(6, 7, vec![put("k2", 2), gone("k3")]);
    let bucket = site.bucket();
    let (load, window, bucket) = (load.to_str().unwrap(), window.to_str().unwrap(), bucket.to_str().unwrap());
    let before = site.files();
    set_mode(&site.warehouse(), false);
    let commands: [&[&str]; 6] = [
        &["incremental", window],
        &["incremental", window, "--write-mode", "copy-on-write"],
        &["full-load", load, "--key", "pk", "--if-exists", "replace"],
        &["compact"],
        &["expire", "--older-than", "0s", "--retain-last", "1"],
        &["incremental", bucket],
    ];
    let runs: Vec<_> = commands.iter().map(|arguments| bound(&site, arguments)).collect();
    let read: Vec<_> = [&["status"][..], &["incremental", window, "--dry-run"]]
        .iter()
        .map(|arguments| bound(&site, arguments))
        .collect();
    set_mode(&site.warehouse(), true);
    for (run, arguments) in runs.iter().zip(commands) {
        assert_eq!(run.code, 1, "{arguments:?}: {}", run.stderr);
        told(run, &["Permission denied", "readonly database"]);
    }
    assert!(read.iter().all(|run| run.code == 0), "{read:?}");
    assert!(site.files() == before, "something was written");
    site.incremental(&[Path::new(window)], &[]).expect(0);
}

/// No rights are needed to see that a folder can't be made where a file is.
#[test]
fn a_file_in_place_of_the_warehouse() {
    for place in ["warehouse", "warehouse/shop", "warehouse/shop/orders"] {
        let site = Site::new();
        let file = site.path().join(place);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "not a folder").unwrap();
        let before = site.files();
        let load = full(0).files([[simple("x", 1)]]).write(site.bucket());
        let run = site.load(&load, &["pk"]).expect(1);
        told(&run, &["Not a directory", "File exists"]);
        let after: Vec<_> = site.files().into_keys().filter(|name| !name.starts_with("bucket/")).collect();
        let before: Vec<_> = before.into_keys().filter(|name| !name.starts_with("bucket/")).collect();
        assert_eq!(after, before, "{place}");
    }
}
