//! Storage on S3, against a server in this process that checks signatures and digests, and fails as it is told.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "common/s3_server.rs"]
mod s3_server;

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ddb_iceberg::error::{Error, Kind};
use ddb_iceberg::storage::Store;
use ddb_iceberg::storage::{Location, S3Config};
use s3_server::{Fault, S3Server};

const B: &str = "bucket";

fn config(server: &S3Server) -> S3Config {
    let mut config = S3Config::from_properties(&server.properties()).unwrap();
    config.retry.base_backoff = Duration::from_millis(2);
    config.retry.max_backoff = Duration::from_millis(20);
    config.retry.attempts = 4;
    config.transfer.first_read = 1000;
    config.transfer.read_size = 10_000;
    config.transfer.part_size = 10_000;
    config
}

fn start() -> (S3Server, Store) {
    let server = S3Server::start(&[B]);
    let store = Store::routed(config(&server));
    (server, store)
}

fn at(key: &str) -> Location {
    Location::parse(&format!("s3://{B}/{key}")).unwrap()
}

/// Bytes without a period that a wrong order could hide in.
fn data(length: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(length)
    .collect()
}

async fn read_all(store: &Store, key: &str) -> Result<Vec<u8>, Error> {
    let mut file = store.open(&at(key)).await?;
    tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        while let Some(chunk) = file.next_chunk()? {
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    })
    .await
    .unwrap()
}

async fn write(store: &Store, key: &str, bytes: Vec<u8>) -> Result<(), Error> {
    Ok(store.file_io().new_output(at(key).as_str())?.write(bytes.into()).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_all_sizes_come_back_as_they_were() {
    let (server, store) = start();
    for length in [0, 1, 999, 1000, 1001, 9_999, 10_000, 10_001, 20_000, 95_123] {
        let (key, bytes) = (format!("p/ä b+c%20/{length}.bin"), data(length));
        write(&store, &key, bytes.clone()).await.unwrap();
        assert_eq!(server.get(B, &key).unwrap().bytes, bytes, "{length}");
        assert_eq!(read_all(&store, &key).await.unwrap(), bytes, "{length}");
        let input = store.file_io().new_input(at(&key).as_str()).unwrap();
        assert_eq!(input.read().await.unwrap(), bytes, "{length}");
        assert_eq!(store.size(&at(&key)).await.unwrap(), length as u64);
        assert!(store.exists(&at(&key)).await.unwrap());
        assert_eq!(store.read(&at(&key), length as u64).await.unwrap(), bytes);
        if length > 0 {
            assert_eq!(store.read(&at(&key), length as u64 - 1).await.unwrap_err().kind(), Kind::Input);
        }
    }
    assert_eq!((server.uploads_begun(), server.open_uploads()), (3, 0), "parts only above the size of one");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges() {
    let (server, store) = start();
    let bytes = data(100_000);
    server.put(B, "k", bytes.clone());
    let reader = store.file_io().new_input(at("k").as_str()).unwrap().reader().await.unwrap();
    for range in [0..1, 0..100_000, 99_999..100_000, 500..500, 12_345..67_890] {
        let expected = &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert_eq!(reader.read(range.clone()).await.unwrap(), expected, "{range:?}");
    }
    assert!(reader.read(99_999..100_001).await.is_err());
    assert!(reader.read(std::ops::Range { start: 3, end: 2 }).await.is_err());
    // A long range is several requests at once, each pinned to the object that was seen first.
    let asked = server.take_requests();
    assert!(asked.len() > 12 && asked[1..].iter().all(|r| r.header("if-match").is_some()), "{}", asked.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_ahead_overlaps_and_keeps_the_order() {
    let (server, store) = start();
    let bytes = data(200_000);
    server.put(B, "k", bytes.clone());
    let mut late = 0_u64;
    server.fail(move |_| {
        // Every other answer is late: later ones overtake it.
        late += 1;
        late.is_multiple_of(2).then_some(Fault::Slow(Duration::from_millis(30)))
    });
    assert_eq!(read_all(&store, "k").await.unwrap(), bytes);
    assert!((3..=5).contains(&server.most_in_flight()), "{}", server.most_in_flight());
    let mut text = Vec::new();
    let mut file = store.open(&at("k")).await.unwrap();
    let file = tokio::task::spawn_blocking(move || file.read_to_end(&mut text).map(|_| text)).await.unwrap();
    assert_eq!(file.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_is_one_request() {
    let (server, store) = start();
    server.put(B, "k", data(900));
    read_all(&store, "k").await.unwrap();
    let lines: Vec<_> = server.take_requests().iter().map(s3_server::Request::line).collect();
    assert_eq!(lines, ["GET bucket/k"]);
    assert!(store.try_open(&at("missing")).await.unwrap().is_none());
    assert!(store.open(&at("missing")).await.unwrap_err().to_string().contains("s3://bucket/missing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_changes_while_it_is_read_is_an_error() {
    let (server, store) = start();
    server.put(B, "k", data(50_000));
    let mut file = store.open(&at("k")).await.unwrap();
    server.put(B, "k", data(50_001));
    let read = tokio::task::spawn_blocking(move || {
        while file.next_chunk()?.is_some() {}
        Ok::<_, Error>(())
    });
    let error = read.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("overwritten while it was read"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again() {
    let (server, store) = start();
    let bytes = data(35_000);
    server.put(B, "k", bytes.clone());
    for fault in [
        Fault::Answer(503, "SlowDown"),
        Fault::Answer(500, "InternalError"),
        Fault::Answer(503, "ServiceUnavailable"),
        Fault::Reset,
        Fault::Cut(123),
        Fault::Cut(0),
    ] {
        server.fail_times(3, fault.clone(), |request| request.method == "GET");
        assert_eq!(read_all(&store, "k").await.unwrap(), bytes, "{fault:?}");
        server.fail_times(2, fault.clone(), |_| true);
        assert_eq!(store.list(&at(""), None).await.unwrap().unwrap().files.len(), 1, "{fault:?}");
        let key = format!("w/{fault:?}");
        server.fail_times(3, fault.clone(), |_| true);
        write(&store, &key, bytes.clone()).await.unwrap();
        assert_eq!(server.get(B, &key).unwrap().bytes, bytes, "{fault:?}");
        server.fail_times(2, fault.clone(), |_| true);
        store.file_io().delete(at(&key).as_str()).await.unwrap();
        assert!(server.get(B, &key).is_none(), "{fault:?}");
    }
    server.fail(|_| Some(Fault::Answer(503, "SlowDown")));
    server.take_requests();
    let error = store.size(&at("k")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert_eq!(server.take_requests().len(), 4, "as the policy says");
    let error = read_all(&store, "k").await.unwrap_err();
    assert!(error.to_string().contains("503 SlowDown"), "{error}");
    server.fail(|_| Some(Fault::Cut(10)));
    let error = read_all(&store, "k").await.unwrap_err();
    assert!(error.to_string().contains("4 attempts"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_given_up() {
    let server = S3Server::start(&[B]);
    let mut config = config(&server);
    config.retry.attempt_timeout = Duration::from_millis(200);
    config.retry.total_timeout = Duration::from_secs(30);
    let store = Store::routed(config);
    server.put(B, "k", data(10));
    server.fail_times(2, Fault::Slow(Duration::from_secs(5)), |_| true);
    assert_eq!(read_all(&store, "k").await.unwrap(), data(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_down_inside_of_an_answer_of_status_200() {
    let (server, store) = start();
    for code in ["SlowDown", "InternalError"] {
        server.fail_times(2, Fault::Inside200(code), |r| r.method == "POST" && r.query.contains_key("uploadId"));
        let key = format!("complete/{code}");
        write(&store, &key, data(25_000)).await.unwrap();
        assert_eq!(server.get(B, &key).unwrap().bytes, data(25_000));
        server.fail_times(2, Fault::Inside200(code), |r| r.query.contains_key("delete"));
        let paths = futures::stream::iter(vec![at(&key).to_string()]);
        store.file_io().delete_stream(paths).await.unwrap();
        assert!(server.get(B, &key).is_none());
    }
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_overwritten_but_by_replace() {
    let (server, store) = start();
    for length in [10, 25_000] {
        let key = format!("{length}");
        server.put(B, &key, b"old");
        let error = write(&store, &key, data(length)).await.unwrap_err();
        assert!(
            error.to_string().contains(&format!("s3://bucket/{key}")) && error.to_string().contains("exists"),
            "{error}"
        );
        assert_eq!(server.get(B, &key).unwrap().bytes, b"old");
        store.write(&at(&key), Bytes::from_static(b"new")).await.unwrap();
        assert_eq!(server.get(B, &key).unwrap().bytes, b"new");
    }
    assert_eq!(server.open_uploads(), 0, "the refused upload was aborted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_was_lost_has_succeeded() {
    let (server, store) = start();
    for length in [10, 25_000] {
        let key = format!("{length}");
        let makes_it_visible = |r: &s3_server::Request| {
            (r.method == "PUT" || r.method == "POST")
                && !r.query.contains_key("uploads")
                && !r.query.contains_key("partNumber")
        };
        // The first attempt is applied; the second one is told that the object exists, or that the upload is gone.
        server.fail_times(1, Fault::Unanswered, makes_it_visible);
        server.take_requests();
        write(&store, &key, data(length)).await.unwrap();
        let attempts = server.take_requests().iter().filter(|r| makes_it_visible(r)).count();
        assert_eq!(attempts, 2, "{length}");
        assert_eq!(server.get(B, &key).unwrap().bytes, data(length));
        // No attempt is answered, but the last one was applied too.
        let key = format!("{length}-never");
        server.fail(move |r| makes_it_visible(r).then_some(Fault::Unanswered));
        write(&store, &key, data(length)).await.unwrap();
        server.heal();
    }
    assert_eq!(server.open_uploads(), 0);
    // Another writer's object of the same size and bytes is another writer's.
    server.put(B, "theirs", data(10));
    assert!(write(&store, "theirs", data(10)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_without_conditional_writes() {
    let (server, store) = start();
    server.without_conditions();
    for length in [10, 25_000] {
        let key = format!("{length}");
        write(&store, &key, data(length)).await.unwrap();
        assert!(write(&store, &key, data(length)).await.is_err());
    }
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_overlap_and_uploads_are_never_left_behind() {
    let (server, store) = start();
    let io = store.file_io();
    server.fail(|r| r.query.contains_key("partNumber").then_some(Fault::Slow(Duration::from_millis(20))));
    let mut writer = io.new_output(at("parts").as_str()).unwrap().writer().await.unwrap();
    for piece in data(123_456).chunks(777) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    assert!(server.get(B, "parts").is_none(), "visible at the end only");
    writer.close().await.unwrap();
    assert!(writer.close().await.is_err() && writer.write(Bytes::from_static(b"x")).await.is_err());
    assert_eq!(server.get(B, "parts").unwrap().bytes, data(123_456));
    assert!((2..=4).contains(&server.most_in_flight()), "{}", server.most_in_flight());

    // Dropped.
    let mut writer = io.new_output(at("dropped").as_str()).unwrap().writer().await.unwrap();
    writer.write(data(45_000).into()).await.unwrap();
    assert_eq!(server.open_uploads(), 1);
    drop(writer);
    for _ in 0..200 {
        if server.open_uploads() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(server.open_uploads(), 0);

    // A part is refused.
    server.fail(|r| {
        (r.query.get("partNumber").map(String::as_str) == Some("3")).then_some(Fault::Answer(403, "AccessDenied"))
    });
    let error = write(&store, "refused", data(95_000)).await.unwrap_err();
    assert!(error.to_string().contains("s3:PutObject on arn:aws:s3:::bucket/refused"), "{error}");
    store.close().await;
    assert_eq!(server.open_uploads(), 0);

    // The program ends: what is open is aborted, and nothing new begun.
    server.heal();
    let store = Store::routed(config(&server));
    let mut writer = store.file_io().new_output(at("open").as_str()).unwrap().writer().await.unwrap();
    writer.write(data(45_000).into()).await.unwrap();
    store.close().await;
    assert_eq!(server.open_uploads(), 0);
    assert!(writer.close().await.is_err());
    assert!(write(&store, "late", data(45_000)).await.is_err());
    assert_eq!((server.open_uploads(), server.get(B, "open").is_none()), (0, true));
}

/// An upload is aborted when none of its parts travels any more: what arrives later is stored, and paid for, for ever.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_aborted_when_none_of_its_parts_travels() {
    let server = S3Server::start(&[B]);
    let mut config = config(&server);
    config.transfer.parts = 4;
    // The first part is refused beside others that travel: as the object is closed, and before it is whole.
    for length in [35_000, 95_000] {
        let store = Store::routed(config.clone());
        server.fail(|r| match r.query.get("partNumber").map(String::as_str) {
            Some("1") => Some(Fault::Answer(403, "AccessDenied")),
            Some(_) => Some(Fault::Travels),
            None => None,
        });
        write(&store, &length.to_string(), data(length)).await.unwrap_err();
        store.close().await;
        assert_eq!((server.stray_parts(), server.open_uploads()), (0, 0), "{length}");
    }
    // Dropped while parts travel.
    server.fail(|r| r.query.contains_key("partNumber").then_some(Fault::Travels));
    let store = Store::routed(config);
    let mut writer = store.file_io().new_output(at("dropped").as_str()).unwrap().writer().await.unwrap();
    writer.write(data(35_000).into()).await.unwrap();
    drop(writer);
    for _ in 0..2000 {
        if server.open_uploads() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((server.stray_parts(), server.open_uploads()), (0, 0));
    assert!(server.keys(B).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_id_was_lost_is_found_and_aborted() {
    let (server, store) = start();
    // Somebody else's, of another key.
    let other = Store::routed(config(&server));
    let mut writer = other.file_io().new_output(at("lost-other").as_str()).unwrap().writer().await.unwrap();
    writer.write(data(25_000).into()).await.unwrap();

    server.fail_times(2, Fault::Unanswered, |r| r.query.contains_key("uploads"));
    write(&store, "lost", data(35_000)).await.unwrap();
    assert_eq!(server.get(B, "lost").unwrap().bytes, data(35_000));
    assert_eq!(server.open_uploads(), 3);

    // It never succeeds.
    server.fail_times(9, Fault::Unanswered, |r| r.query.contains_key("uploads") && r.key == "never");
    write(&store, "never", data(35_000)).await.unwrap_err();
    assert_eq!(server.open_uploads(), 3 + 4);

    server.take_requests();
    store.close().await;
    assert_eq!(server.open_uploads(), 1);
    writer.close().await.unwrap();
    assert_eq!(server.get(B, "lost-other").unwrap().bytes, data(25_000));

    // Where nothing was lost, nobody is asked.
    let (server, store) = start();
    write(&store, "fine", data(35_000)).await.unwrap();
    store.close().await;
    assert!(server.take_requests().iter().all(|r| r.method != "GET"));
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_page_by_page() {
    let (server, store) = start();
    server.page(7);
    for number in 0..50 {
        server.put(B, &format!("top/f{number:03}"), vec![1; number]);
        for part in ["a", "b"] {
            server.put(B, &format!("top/d{number:03}/{part}"), b"x");
        }
    }
    server.put(B, "top/", b"");
    server.put(B, "top/z ü+%/x", b"");
    server.put(B, "topmost", b"");
    let listing = store.list(&at("top"), None).await.unwrap().unwrap();
    assert_eq!((listing.folders.len(), listing.files.len()), (51, 50));
    assert!(listing.folders.is_sorted() && listing.files.is_sorted_by_key(|f| f.name.clone()));
    assert_eq!(listing.folders.last().unwrap(), "z ü+%");
    assert_eq!((listing.files[49].name.as_str(), listing.files[49].size), ("f049", 49));
    let asked = server.take_requests();
    assert!(asked.len() >= 15 && asked.iter().all(|r| r.query["prefix"] == "top/"), "{}", asked.len());

    let rest = store.list(&at("top"), Some("f040")).await.unwrap().unwrap();
    assert_eq!((rest.folders.len(), rest.files.len()), (1, 9));
    assert!(server.take_requests().len() <= 2, "old names are not listed");
    assert_eq!(store.list(&at("nothing"), None).await.unwrap(), None);
    assert_eq!(store.list(&at("topmost"), None).await.unwrap_err().kind(), Kind::Input);
    let root = store.list(&Location::parse("s3://bucket").unwrap(), None).await.unwrap().unwrap();
    assert_eq!((root.folders, root.files.len()), (vec!["top".to_owned()], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_listing_is_not_a_short_one() {
    let (server, store) = start();
    for number in 0..10 {
        server.put(B, &format!("d/{number}"), b"x");
    }
    for (from, to) in [("</Contents>", "<&"), ("<IsTruncated>", "<"), ("<EncodingType>", "&<&")] {
        server.fail_times(2, Fault::Garble(from, to), |_| true);
        assert_eq!(store.list(&at("d"), None).await.unwrap().unwrap().files.len(), 10, "{from}");
    }
    server.fail(|_| Some(Fault::Garble("</Contents>", "<&")));
    assert!(store.list(&at("d"), None).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes() {
    let (server, store) = start();
    let io = store.file_io();
    server.page(300);
    for number in 0..1100 {
        server.put(B, &format!("d/{number}<&>"), b"");
    }
    server.put(B, "dd", b"");
    io.delete_prefix("s3://bucket/d").await.unwrap();
    assert!(server.keys(B) == ["dd"]);
    assert!(io.delete_prefix("s3://bucket").await.is_err(), "not a whole bucket");
    io.delete(at("dd").as_str()).await.unwrap();
    io.delete(at("dd").as_str()).await.unwrap();
    for number in 0..1100 {
        server.put(B, &number.to_string(), b"");
    }
    server.take_requests();
    let paths: Vec<String> = (0..1100).map(|number| format!("s3a://bucket/{number}")).collect();
    io.delete_stream(futures::stream::iter(paths)).await.unwrap();
    assert!(server.keys(B).is_empty());
    assert_eq!(server.take_requests().len(), 2, "a thousand at a time");
}

/// S3 may not take an upload any more after a conflict: it is sent anew, from the beginning.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_conflict_a_multipart_upload_is_begun_anew() {
    let (server, store) = start();
    let mut refused = std::collections::BTreeSet::new();
    server.fail(move |request| {
        let id = request.query.get("uploadId").filter(|_| request.method == "POST")?.clone();
        // The first two uploads are refused, and gone from then on.
        if refused.len() < 2 && refused.insert(id.clone()) {
            return Some(Fault::Answer(409, "ConditionalRequestConflict"));
        }
        refused.contains(&id).then_some(Fault::Answer(404, "NoSuchUpload"))
    });
    write(&store, "large", data(25_000)).await.unwrap();
    assert_eq!(server.get(B, "large").unwrap().bytes, data(25_000));
    assert_eq!((server.open_uploads(), server.uploads_begun()), (0, 3));

    server.fail(|request| {
        let completes = request.method == "POST" && request.query.contains_key("uploadId");
        completes.then_some(Fault::Answer(409, "ConditionalRequestConflict"))
    });
    write(&store, "never", data(25_000)).await.unwrap_err();
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_is_wrong() {
    let (server, store) = start();
    server.put(B, "p/k", data(10));
    let k = at("p/k");
    for (fault, expected) in [
        (Fault::Answer(301, "PermanentRedirect"), "is in the region eu-west-3"),
        (Fault::Answer(403, "AccessDenied"), "bucket \"bucket\""),
        (Fault::Answer(403, "InvalidAccessKeyId"), "does not take the AWS credentials"),
        (Fault::Answer(400, "ExpiredToken"), "have expired"),
        (Fault::Answer(404, "NoSuchBucket"), "there is no bucket \"bucket\""),
    ] {
        let set = fault.clone();
        server.fail(move |_| Some(set.clone()));
        let mut errors = vec![
            store.list(&at("p"), None).await.unwrap_err(),
            store.open(&k).await.unwrap_err(),
            store.read(&k, 100).await.unwrap_err(),
            store.write(&k, Bytes::from_static(b"x")).await.unwrap_err(),
            write(&store, "w", data(25_000)).await.unwrap_err(),
        ];
        if fault != Fault::Answer(404, "NoSuchBucket") {
            errors.push(store.exists(&k).await.unwrap_err());
            errors.push(store.size(&k).await.unwrap_err());
        }
        for error in errors {
            assert_eq!(error.kind(), Kind::Failed, "{error}");
            let text = error.to_string();
            assert!(text.contains(expected) && text.starts_with("s3://bucket/"), "{fault:?}: {text}");
            assert!(!text.contains(s3_server::SECRET_KEY), "{text}");
        }
    }
    server.fail(|_| Some(Fault::Answer(403, "AccessDenied")));
    for (error, permission) in [
        (store.list(&at("p"), None).await.unwrap_err(), "s3:ListBucket on arn:aws:s3:::bucket"),
        (store.open(&k).await.unwrap_err(), "s3:GetObject on arn:aws:s3:::bucket/p/k"),
        (store.size(&k).await.unwrap_err(), "s3:ListBucket on arn:aws:s3:::bucket is missing"),
        (store.write(&k, Bytes::new()).await.unwrap_err(), "s3:PutObject on arn:aws:s3:::bucket/p/k"),
        (store.file_io().delete(k.as_str()).await.unwrap_err().into(), "s3:DeleteObject on arn:aws:s3:::bucket/p/k"),
    ] {
        assert!(error.to_string().contains(permission), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_and_no_right_key() {
    let server = S3Server::start(&[B]);
    let mut properties = server.properties();
    properties.insert("s3.secret-access-key".to_owned(), "hush-wrong".to_owned());
    let store = Store::routed(S3Config::from_properties(&properties).unwrap());
    let error = store.size(&at("k")).await.unwrap_err();
    assert!(error.to_string().contains("SignatureDoesNotMatch") && !error.to_string().contains("hush"), "{error}");

    properties.insert("s3.endpoint".to_owned(), "http://127.0.0.1:1".to_owned());
    let mut config = S3Config::from_properties(&properties).unwrap();
    config.retry.attempts = 2;
    config.retry.base_backoff = Duration::from_millis(1);
    let store = Store::routed(config);
    let error = store.size(&at("k")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    assert!(error.to_string().contains("not reached") && !error.to_string().contains("hush"), "{error}");
    assert!(!format!("{store:?}").contains("hush"), "{store:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_is_asked_for() {
    let server = S3Server::start(&[B]);
    let mut properties = server.properties();
    properties.insert("s3.sse.type".to_owned(), "kms".to_owned());
    properties.insert("s3.sse.key".to_owned(), "key-1".to_owned());
    let mut config = S3Config::from_properties(&properties).unwrap();
    config.transfer.part_size = 10_000;
    let store = Store::routed(config);
    for length in [10, 25_000] {
        write(&store, &length.to_string(), data(length)).await.unwrap();
        let headers = server.get(B, &length.to_string()).unwrap().headers;
        assert_eq!(headers["x-amz-server-side-encryption"], "aws:kms");
        assert_eq!(headers["x-amz-server-side-encryption-aws-kms-key-id"], "key-1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_of_pieces_in_flight_is_bounded() {
    let server = S3Server::start(&[B]);
    let mut config = config(&server);
    config.transfer.buffers = 0;
    let store = Store::routed(config);
    let bytes = data(80_000);
    server.fail(|_| Some(Fault::Slow(Duration::from_millis(5))));
    write(&store, "k", bytes.clone()).await.unwrap();
    assert_eq!(read_all(&store, "k").await.unwrap(), bytes, "slower, but right");
    assert_eq!(server.most_in_flight(), 1);
}

#[tokio::test]
async fn nothing_is_asked_before_it_is_needed() {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let (server, store) = start();
    server.fail(|_| {
        ASKED.store(true, Ordering::SeqCst);
        None
    });
    let folder = tempfile::tempdir().unwrap();
    let local = Location::parse(folder.path().to_str().unwrap()).unwrap().join("a");
    store.write(&local, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(store.read(&local, 1).await.unwrap(), "x");
    assert_eq!(store.resolve(&at("k")).await.unwrap(), Some(at("k")), "S3 has no links");
    store.close().await;
    assert!(!ASKED.load(Ordering::SeqCst));
}
