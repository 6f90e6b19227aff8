//! Stores that repeat secrets, and files of a table that are made to take all memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

use crate::LIMIT;
use crate::program::{Run, Site, full, put, simple};
use crate::s3_server::{Fault, S3Server};

const KEY_ID: &str = "AKIAHUSHHUSHHUSHHUSH";
const SECRET: &str = "hush/Secret+Key/of=40/Characters/hush+1";
const TOKEN: &str = "hush//Token==+of/the+session==hush";

/// By properties in variables, by the variables of AWS, by a profile.
#[derive(Debug, Clone, Copy)]
enum Given {
    Properties,
    Variables,
    Profile,
}

impl Given {
    fn to(self, command: &mut Command, site: &Site) {
        let keys = [("ACCESS_KEY_ID", KEY_ID), ("SECRET_ACCESS_KEY", SECRET), ("SESSION_TOKEN", TOKEN)];
        match self {
            Self::Properties => {
                for (name, value) in keys {
                    command.env(format!("PYICEBERG_CATALOG__DEFAULT__S3__{name}"), value);
                }
            }
            Self::Variables => {
                for (name, value) in keys {
                    command.env(format!("AWS_{name}"), value);
                }
            }
            Self::Profile => {
                fs::create_dir_all(site.path().join(".aws")).unwrap();
                let lines = keys.map(|(name, value)| format!("aws_{} = {value}\n", name.to_lowercase()));
                fs::write(site.path().join(".aws/credentials"), format!("[default]\n{}", lines.concat())).unwrap();
            }
        }
    }
}

fn at(server: &S3Server, site: &Site, given: Given, arguments: &[&str]) -> Run {
    let mut command = site.command(arguments);
    command.env("PYICEBERG_CATALOG__DEFAULT__S3__ENDPOINT", server.endpoint());
    command.env("PYICEBERG_CATALOG__DEFAULT__S3__REGION", "eu-north-1");
    command.env("PYICEBERG_CATALOG__DEFAULT__URI", "sqlite:///c.db");
    command.env("PYICEBERG_CATALOG__DEFAULT__WAREHOUSE", "s3://lake/w");
    given.to(&mut command, site);
    Run::of(command.output().unwrap())
}

#[test]
fn keys_that_a_store_repeats_are_not_printed() {
    let server = S3Server::start(&["lake", "exports"]);
    let encoded = "hush%2F%2FToken%3D%3D%2Bof%2Fthe%2Bsession%3D%3Dhush";
    let echo = format!("{KEY_ID} {SECRET} {TOKEN} {encoded} {} {TOKEN}", "x".repeat(300 - 150));
    for given in [Given::Properties, Given::Variables, Given::Profile] {
        for (status, code) in [
            (403, "AccessDenied"),
            (403, "SignatureDoesNotMatch"),
            (400, "ExpiredToken"),
            (400, "AuthorizationHeaderMalformed"),
            (400, TOKEN),
        ] {
            let (code, message) = (code.to_owned(), echo.clone());
            server.fail(move |_| Some(Fault::Say(status, code.clone(), message.clone())));
            let site = Site::new();
            for command in [
                &["detect-schema", "s3://exports/AWSDynamoDB/01700000000000-abcdef12"][..],
                &[
                    "full-load",
                    "s3://exports/AWSDynamoDB/01700000000000-abcdef12",
                    "--table",
                    "shop.orders",
                    "--key",
                    "pk",
                ],
                &["catalog", "check", "--export", "s3://exports/x"],
            ] {
                for more in [&["--format", "json"][..], &["-vvv"]] {
                    let run = at(&server, &site, given, &[command, more].concat());
                    assert_eq!(run.code, 1, "{command:?}: {}", run.stderr);
                    let all = format!("{}{}", run.stdout, run.stderr);
                    assert!(all.contains("***"), "nothing is left of what it said: {all}");
                    assert!(!all.to_lowercase().contains("hush"), "{given:?} {status} {command:?}: {all}");
                }
            }
        }
    }
}

/// A name that a store gives is not printed either, if a key is in it.
#[test]
fn keys_in_names_are_not_printed() {
    let server = S3Server::start(&["exports"]);
    let listed = format!(
        "<ListBucketResult><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated>\
         <Contents><Key>AWSDynamoDB/01700000000000-abcdef12/manifest-{KEY_ID}.json</Key><Size>3</Size></Contents>\
         <CommonPrefixes><Prefix>{TOKEN}/</Prefix></CommonPrefixes></ListBucketResult>"
    );
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{listed}", listed.len());
    server.fail(move |_| Some(Fault::Bytes(answer.clone().into_bytes())));
    let site = Site::new();
    for given in [Given::Properties, Given::Variables] {
        for place in ["s3://exports".to_owned(), format!("s3://exports/{TOKEN}")] {
            let run = at(&server, &site, given, &["detect-schema", &place, "-vvv"]);
            let all = format!("{}{}", run.stdout, run.stderr);
            assert!(run.code != 0 && !all.contains(TOKEN) && !all.contains(KEY_ID), "{all}");
        }
    }
}

/// Whatever of a table's files is replaced by more than there is memory for, a command on it ends with an error that names
/// the file.
fn refused(site: &Site, file: &str, arguments: &[&str], expected: &str) {
    let (run, peak) = site.measured(arguments);
    let run = run.expect(1);
    assert!(peak <= LIMIT, "{file}: {peak} MiB");
    assert!(run.message().contains(expected), "{file}, {arguments:?}: {}", run.message());
    assert!(run.message().contains(file), "{file}, {arguments:?}: {}", run.message());
}

fn is_avro(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "avro")
}

/// A table of one snapshot, and its newest metadata file, list of manifests and manifest.
fn table() -> (Site, [PathBuf; 3]) {
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    let files = site.table_files();
    let newest = |is: &dyn Fn(&str) -> bool| site.warehouse().join(files.iter().filter(|name| is(name)).max().unwrap());
    let list = |name: &str| name.rsplit('/').next().unwrap().starts_with("snap-");
    let found = [
        newest(&|name| name.ends_with(".metadata.json")),
        newest(&|name| is_avro(name) && list(name)),
        newest(&|name| is_avro(name) && !list(name)),
    ];
    (site, found)
}

/// An Avro file of strings, one block of which says to have so many.
fn avro(codec: &str, count: u8, stored: &[u8]) -> Vec<u8> {
    fn number(number: usize) -> Vec<u8> {
        let mut bits = number << 1;
        let mut bytes = Vec::new();
        while bits >= 0x80 {
            bytes.push(u8::try_from(bits & 0x7f).unwrap() | 0x80);
            bits >>= 7;
        }
        bytes.push(u8::try_from(bits).unwrap());
        bytes
    }
    let sized = |bytes: &[u8]| [number(bytes.len()), bytes.to_vec()].concat();
    let schema = br#"{"type":"record","name":"e","fields":[{"name":"x","type":"string"}]}"#;
    let head =
        [&b"Obj\x01\x04"[..], &sized(b"avro.schema"), &sized(schema), &sized(b"avro.codec"), &sized(codec.as_bytes())];
    [&head.concat()[..], &[0], &[7; 16], &number(usize::from(count)), &sized(stored), &[7; 16]].concat()
}

fn deflated(mut encoder: impl std::io::Write, mib: usize) {
    (0..mib).for_each(|_| encoder.write_all(&vec![0; 1 << 20]).unwrap());
}

#[test]
fn files_of_a_table_that_inflate_to_gigabytes() {
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
    deflated(&mut deflate, 2048);
    let deflate = avro("deflate", 100, &deflate.finish().unwrap());
    let mut zstandard = zstd::Encoder::new(Vec::new(), 1).unwrap();
    deflated(&mut zstandard, 2048);
    let zstandard = avro("zstandard", 100, &zstandard.finish().unwrap());
    let snappy = avro("snappy", 100, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0]);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    deflated(&mut gzip, 2048);
    let gzip = gzip.finish().unwrap();
    let (site, [metadata, list, manifest]) = table();
    let window = site.window(0, 15, vec![put("a", 2)]);
    let commands = [&["incremental", window.to_str().unwrap()][..], &["compact"], &["expire"], &["orphans"]];
    for (path, bombs) in [
        (&metadata, vec![&gzip]),
        (&list, vec![&deflate, &zstandard, &snappy]),
        (&manifest, vec![&deflate, &zstandard, &snappy]),
    ] {
        let good = fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        for bomb in bombs {
            fs::write(path, bomb).unwrap();
            for command in &commands {
                if is_avro(name) && command[0] == "expire" {
                    // Nothing expires: no manifest is read.
                    continue;
                }
                refused(&site, name, command, "inflates to more");
            }
        }
        // Of any size, with nothing in it.
        fs::File::create(path).unwrap().set_len(1 << 35).unwrap();
        refused(&site, name, commands[0], "34359738368 bytes, and at most 64 MiB");
        fs::write(path, good).unwrap();
    }
    site.incremental(&[&window], &[]).expect(0);
}

/// A store that never stops, and one that says that a file has 2^60 bytes.
#[test]
fn files_of_a_table_that_never_end() {
    let server = S3Server::start(&["lake"]);
    let site = Site::new();
    let properties = server
        .properties()
        .into_iter()
        .chain([("uri".to_owned(), "sqlite:///c.db".to_owned()), ("warehouse".to_owned(), "s3://lake/w".to_owned())]);
    let lines = properties.map(|(key, value)| format!("    {key}: {value:?}\n"));
    fs::write(site.path().join(".pyiceberg.yaml"), format!("catalog:\n  default:\n{}", lines.collect::<String>()))
        .unwrap();
    let export = full(0).files([vec![simple("a", 1)]]).write(site.bucket());
    site.load(&export, &["pk"]).expect(0);
    let window = site.window(0, 15, vec![put("a", 2)]);
    let arguments = ["incremental", window.to_str().unwrap()];
    for ending in [".metadata.json", "snap-", ".avro", ".parquet"] {
        for (status, size) in [(206, 1 << 60), (206, 100), (200, 1 << 60), (403, 0)] {
            if status == 403 && ending != "snap-" {
                // Asked for again and again, which takes its time.
                continue;
            }
            server.fail(move |request| {
                let name = request.key.rsplit('/').next().unwrap_or_default();
                let is_it = request.method == "GET"
                    && (name.ends_with(ending) && !name.starts_with("snap-")
                        || ending == "snap-" && name.starts_with("snap-"));
                is_it.then_some(Fault::Endless(status, size))
            });
            let (run, peak) = site.measured(&arguments);
            assert!(peak <= LIMIT, "{ending} {status} {size}: {peak} MiB");
            let run = run.expect(1);
            assert!(run.message().contains("s3://lake/w/"), "{ending} {status} {size}: {}", run.message());
        }
        server.heal();
    }
    site.incremental(&[&window], &[]).expect(0);
}

/// Any bytes, and answers made of parts of right ones, in any order.
#[test]
fn any_answer_of_a_store_is_an_error() {
    const PARTS: [&str; 24] = [
        "<?xml version=\"1.0\"?>",
        "<ListBucketResult>",
        "</ListBucketResult>",
        "<IsTruncated>true</IsTruncated>",
        "<NextContinuationToken>x</NextContinuationToken>",
        "<KeyCount>18446744073709551616</KeyCount>",
        "<Contents>",
        "</Contents>",
        "<Key>AWSDynamoDB/01700000000000-abcdef12/manifest-summary.json</Key>",
        "<Key>../../etc/passwd</Key>",
        "<Key></Key>",
        "<Size>-1</Size>",
        "<Size>9223372036854775807</Size>",
        "<LastModified>+292277026596-12-04T15:30:07Z</LastModified>",
        "<CommonPrefixes><Prefix>",
        "AWSDynamoDB/",
        "</Prefix></CommonPrefixes>",
        "<Error><Code>",
        "</Code></Error>",
        "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]>",
        "&b;&b;",
        "<a><a><a><a><a><a><a><a>",
        "\u{0}\u{7f}",
        "<![CDATA[",
    ];
    let server = S3Server::start(&["exports"]);
    let site = Site::new();
    for seed in 0..60 {
        let mut random = crate::random::Random::new(seed);
        server.fail(move |_| {
            let noise: Vec<u8> = (0..random.below(400)).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
            let parts: String = (0..random.below(30)).map(|_| *random.pick(&PARTS)).collect();
            let status = *random.pick(&[200, 206, 301, 400, 403, 404, 416, 503, 999]);
            let range = *random.pick(&["0-9/10", "0-9/18446744073709551615", "5-1/2", "x", "0-0/*"]);
            let length = *random.pick(&["", "content-length: 99999999999999999999\r\n", "content-length: 5\r\n"]);
            let head =
                format!("HTTP/1.1 {status} X\r\ncontent-range: bytes {range}\r\n{length}connection: close\r\n\r\n");
            Some(Fault::Bytes(match random.below(3) {
                0 => noise,
                1 => [head.into_bytes(), noise].concat(),
                _ => [head, parts].concat().into_bytes(),
            }))
        });
        let retries = ["--catalog-property", "s3.retry.num-retries=1", "--catalog-property", "s3.retry.max-wait-ms=1"];
        for place in ["s3://exports/AWSDynamoDB/01700000000000-abcdef12", "s3://exports/AWSDynamoDB"] {
            let run = at(&server, &site, Given::Properties, &[&["detect-schema", place], &retries[..]].concat());
            assert!(run.code == 1 || run.code == 3, "{seed}: {} {}", run.code, run.stderr);
            assert!(!run.stderr.contains("a bug") && !run.stderr.contains("panicked"), "{seed}: {}", run.stderr);
        }
    }
}
