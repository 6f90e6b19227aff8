use std::io::Read;
use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::error::Kind;
use crate::storage::read::chunks::CHUNK;
use crate::storage::store::Store;

fn at(folder: &tempfile::TempDir, name: &str) -> Location {
    Location::parse(folder.path().to_str().unwrap()).unwrap().join(name)
}

#[tokio::test]
async fn a_file_is_written_once_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let location = at(&folder, "new/deep/a.bin");
    let io = Store::local().file_io();
    let mut writer = io.new_output(location.as_str()).unwrap().writer().await.unwrap();
    writer.write(Bytes::from_static(b"hello ")).await.unwrap();
    writer.write(Bytes::from_static(b"world")).await.unwrap();
    writer.close().await.unwrap();
    assert!(writer.close().await.is_err());

    let input = io.new_input(location.as_str()).unwrap();
    assert_eq!(input.metadata().await.unwrap().size, 11);
    assert_eq!(input.read().await.unwrap(), "hello world");
    let reader = input.reader().await.unwrap();
    assert_eq!(reader.read(6..11).await.unwrap(), "world");
    assert!(reader.read(6..12).await.is_err());
    assert!(reader.read(Range { start: 3, end: 2 }).await.is_err());

    let again = io.new_output(location.as_str()).unwrap();
    assert!(again.writer().await.is_err());
    assert!(again.write(Bytes::from_static(b"x")).await.is_err());
    assert_eq!(input.read().await.unwrap(), "hello world", "a refused write must not touch the file");
}

#[tokio::test]
async fn deletes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::local();
    let io = store.file_io();
    for name in ["d/a", "d/e/b", "c"] {
        store.write(&at(&folder, name), Bytes::from_static(b"x")).await.unwrap();
    }
    let c = at(&folder, "c");
    io.delete(c.as_str()).await.unwrap();
    io.delete(c.as_str()).await.unwrap();
    assert!(!store.exists(&c).await.unwrap());
    assert!(!store.exists(&at(&folder, "d/a/below-a-file")).await.unwrap());
    io.delete_prefix(at(&folder, "d").as_str()).await.unwrap();
    io.delete_prefix(at(&folder, "d").as_str()).await.unwrap();
    assert!(!store.exists(&at(&folder, "d")).await.unwrap());
    assert!(io.delete_prefix("file:///").await.is_err());
}

#[tokio::test]
async fn replace_takes_the_place_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::local();
    let location = at(&folder, "schema.json");
    store.write(&location, Bytes::from_static(b"old")).await.unwrap();
    store.write(&location, Bytes::from_static(b"new!")).await.unwrap();
    assert_eq!(store.read(&location, 4).await.unwrap(), "new!");
    let listing = store.list(&at(&folder, ""), None).await.unwrap().unwrap();
    let modified = listing.files[0].modified;
    assert!(modified.is_some_and(|at| (chrono::Utc::now() - at).num_seconds().abs() < 60), "{modified:?}");
    assert_eq!(listing.files, [FileEntry { name: "schema.json".into(), size: 4, modified }]);
    // A folder in the way: the temporary file goes.
    fs::create_dir(folder.path().join("dir")).unwrap();
    assert!(store.write(&at(&folder, "dir"), Bytes::from_static(b"x")).await.is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// As a shell's `>` would have it.
#[tokio::test]
async fn replace_follows_links_and_keeps_modes_and_devices() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

    let folder = tempfile::tempdir().unwrap();
    let store = Store::local();
    let path = |name: &str| folder.path().join(name);
    let write = async |name: &str| store.write(&at(&folder, name), Bytes::from_static(b"new")).await;
    fs::create_dir(path("real")).unwrap();
    for (name, mode) in [("real/a", 0o600), ("real/b", 0o640), ("real/c", 0o444)] {
        fs::write(path(name), "old").unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        write(name).await.unwrap();
        assert_eq!(fs::metadata(path(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
        assert_eq!(fs::read(path(name)).unwrap(), b"new");
    }
    // A link, a link to a link, and one to what is not there yet.
    for (link, target, file) in [("l1", "real/a", "real/a"), ("l2", "l1", "real/a"), ("l3", "real/new", "real/new")] {
        symlink(target, path(link)).unwrap();
        write(link).await.unwrap();
        assert!(fs::symlink_metadata(path(link)).unwrap().is_symlink(), "{link}");
        assert_eq!(fs::read(path(file)).unwrap(), b"new");
    }
    symlink("round", path("round")).unwrap();
    assert!(write("round").await.unwrap_err().to_string().contains("links"));

    assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    let pipe = path("pipe");
    let reader = std::thread::spawn(move || fs::read(pipe).unwrap());
    write("pipe").await.unwrap();
    assert_eq!(reader.join().unwrap(), b"new");
    assert!(fs::symlink_metadata(path("pipe")).unwrap().file_type().is_fifo());
    let null = Location::parse("/dev/null").unwrap();
    store.write(&null, Bytes::from_static(b"new")).await.unwrap();
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    assert_eq!(fs::read_dir(path("real")).unwrap().count(), 4, "temporary files are gone");
}

#[tokio::test]
async fn errors_name_the_path_and_keep_their_kind() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::local();
    let missing = at(&folder, "missing");
    let error = store.size(&missing).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert!(error.to_string().starts_with(&missing.to_string()), "{error}");
    assert!(error.to_string().contains("No such file"), "{error}");
    let s3 = Location::parse("s3://bucket/key").unwrap();
    for error in [
        store.size(&s3).await.unwrap_err(),
        store.list(&s3, None).await.unwrap_err(),
        store.exists(&s3).await.unwrap_err(),
        store.write(&s3, Bytes::new()).await.unwrap_err(),
        store.resolve(&s3).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains("local files only: s3://bucket/key"), "{error}");
    }
    store.write(&at(&folder, "big"), Bytes::from(vec![b'x'; 11])).await.unwrap();
    assert_eq!(store.read(&at(&folder, "big"), 10).await.unwrap_err().kind(), Kind::Input);
    assert_eq!(store.read(&at(&folder, "big"), 11).await.unwrap().len(), 11);
    assert!(store.size(&at(&folder, "")).await.is_err(), "a folder has no size");
}

#[tokio::test]
async fn listings_are_sorted_and_one_level() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::local();
    for name in ["b/x", "a/y", "10", "9", "Z", "é"] {
        store.write(&at(&folder, name), Bytes::from_static(b"1")).await.unwrap();
    }
    let listing = store.list(&at(&folder, ""), None).await.unwrap().unwrap();
    assert_eq!(listing.folders, ["a", "b"]);
    let names: Vec<_> = listing.files.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["10", "9", "Z", "é"]);
    assert!(listing.has_file("Z") && !listing.has_file("a"));
    let rest = store.list(&at(&folder, ""), Some("Z")).await.unwrap().unwrap();
    assert_eq!((rest.folders.len(), rest.files.len()), (2, 1));
    assert_eq!(store.list(&at(&folder, "nothing"), None).await.unwrap(), None);
    assert_eq!(store.list(&at(&folder, "Z"), None).await.unwrap_err().kind(), Kind::Input);
}

#[tokio::test]
async fn links_resolve() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::local();
    store.write(&at(&folder, "real/a"), Bytes::from_static(b"1")).await.unwrap();
    std::os::unix::fs::symlink(folder.path().join("real"), folder.path().join("link")).unwrap();
    let real = store.resolve(&at(&folder, "real/a")).await.unwrap();
    assert_eq!(store.resolve(&at(&folder, "link/a")).await.unwrap(), real);
    assert!(real.is_some());
    assert_eq!(store.resolve(&at(&folder, "link/b")).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_ahead_gives_every_byte_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::local();
    let chunk = usize::try_from(CHUNK).unwrap();
    for size in [0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk + 7] {
        let bytes: Vec<u8> = (0..size).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let location = at(&folder, &format!("f{size}"));
        store.write(&location, Bytes::from(bytes.clone())).await.unwrap();
        let mut reader = store.open(&location).await.unwrap();
        let counter = reader.bytes_read();
        let read = tokio::task::spawn_blocking(move || {
            let mut head = vec![0; 10.min(size)];
            reader.read_exact(&mut head).unwrap();
            while let Some(chunk) = reader.next_chunk().unwrap() {
                head.extend_from_slice(&chunk);
            }
            assert_eq!(reader.read(&mut [0; 4]).unwrap(), 0);
            head
        });
        assert!(read.await.unwrap() == bytes, "{size}");
        assert_eq!(counter.load(Relaxed), size as u64);
    }
}

#[test]
fn read_ahead_works_below_a_single_threaded_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let text = runtime.block_on(async {
        let store = Store::local();
        store.write(&at(&folder, "f"), Bytes::from(vec![b'x'; 3 << 20])).await.unwrap();
        let mut reader = store.open(&at(&folder, "f")).await.unwrap();
        tokio::task::spawn_blocking(move || {
            let mut text = Vec::new();
            reader.read_to_end(&mut text).map(|_| text)
        })
        .await
        .unwrap()
        .unwrap()
    });
    assert_eq!(text.len(), 3 << 20);
}
