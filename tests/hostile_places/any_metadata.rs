//! Metadata files with anything in them: no panic, and nothing outside of the table's folder is touched.

use std::fs;
use std::path::Path;

use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::commands::{
    Compact, Context, Expire, Incremental, Maintenance, Orphans, Report, compact, expire, incremental, orphans,
};
use ddb_iceberg::merge::NewAttributes;
use ddb_iceberg::storage::S3Config;
use ddb_iceberg::storage::Store;
use iceberg::TableIdent;
use serde_json::{Value, json};

use super::Scene;
use crate::program::{TABLE, put};
use crate::random::Random;
use crate::rest_server::{Fault, RestServer};

/// Cases unless `DDB_ICEBERG_METADATA_CASES` says how many.
const CASES: u64 = 120;

/// One value somewhere in the document becomes another, goes, or is there twice.
fn mutate(random: &mut Random, value: &mut Value, words: &[Value]) {
    if random.percent(85) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                let n = random.below(fields.len());
                return mutate(random, fields.values_mut().nth(n).unwrap(), words);
            }
            Value::Array(list) if !list.is_empty() => {
                let n = random.below(list.len());
                return mutate(random, &mut list[n], words);
            }
            _ => {}
        }
    }
    match value {
        Value::Array(list) if random.percent(50) && !list.is_empty() => {
            let n = random.below(list.len());
            let one = list[n].clone();
            if random.percent(50) { list.push(one) } else { drop(list.remove(n)) }
        }
        Value::Object(fields) if random.percent(50) && !fields.is_empty() => {
            let n = random.below(fields.len());
            let name = fields.keys().nth(n).unwrap().clone();
            fields.remove(&name);
        }
        at => *at = random.pick(words).clone(),
    }
}

async fn run(properties: &[(&str, String)], window: &Path, which: usize) {
    let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let store = Store::routed(S3Config::from_properties(&properties).unwrap());
    // A server may refuse.
    let Ok(catalog) = connect("default", &properties, store).await else { return };
    let context = Context {
        exports: Store::local(),
        catalog: Some(catalog),
        threads: 1,
        memory_limit: 64 << 20,
        progress: std::sync::Arc::default(),
    };
    let table = TableIdent::from_strs(TABLE.split('.')).unwrap();
    let mut report = Report::new("test", Some(TABLE.to_owned()));
    let now = chrono::Utc::now();
    // Whether it is taken or refused: both are right.
    let _ = match which {
        0 => {
            let request = Expire { table, older_than: Some(now), retain_last: Some(1), dry_run: false };
            expire(&context, &request, &mut report).await
        }
        1 => {
            let older_than = now - chrono::TimeDelta::days(2);
            orphans(&context, &Orphans { table, older_than, delete: true, dry_run: false }, &mut report).await
        }
        2 => compact(&context, &Compact { table, dry_run: false }, &mut report).await,
        _ => {
            let request = Incremental {
                exports: vec![window.to_str().unwrap().to_owned()],
                table,
                key: Vec::new(),
                write_mode: None,
                new_attributes: NewAttributes::Add,
                allow_gap: false,
                allow_overlap: false,
                maintenance: Maintenance::Auto,
                dry_run: false,
            };
            incremental(&context, &request, &mut report).await
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn any_metadata_leaves_everything_else_alone() {
    let scene = Scene::new();
    let window = scene.site.window(3, 4, vec![put("a", 7)]);
    let words = words(&scene);
    // A table that deletes what it can.
    let table = scene.table().display().to_string();
    scene.rewrite(|metadata| {
        super::statistics(metadata, &format!("{table}/metadata/none.puffin"));
        let properties = &mut metadata["properties"];
        properties["write.metadata.delete-after-commit.enabled"] = json!("true");
        properties["write.metadata.previous-versions-max"] = json!("1");
        properties["write.data.path"] = json!(format!("{table}/data"));
        properties["write.metadata.path"] = json!(format!("{table}/metadata"));
    });
    let original: Value = serde_json::from_slice(&fs::read(scene.newest()).unwrap()).unwrap();
    let files = scene.site.files();
    let others = scene.others();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("DDB_ICEBERG_FUZZ_SEED").unwrap_or(1);
    for case in 0..number("DDB_ICEBERG_METADATA_CASES").unwrap_or(CASES) {
        let mut random = Random::new(seed.wrapping_mul(1_000_003) + case);
        let mut metadata = original.clone();
        for _ in 0..=random.below(3) {
            mutate(&mut random, &mut metadata, &words);
        }
        let path = scene.newest();
        fs::write(&path, metadata.to_string()).unwrap();
        run(&[("warehouse", scene.site.warehouse().display().to_string())], &window, random.below(4)).await;
        assert!(scene.others() == others, "case {case} of seed {seed}: {metadata}");
        restore(&scene, &files);
    }
}

/// What a value may become.
fn words(scene: &Scene) -> Vec<Value> {
    let (victim, table) = (scene.victim().display().to_string(), scene.table().display().to_string());
    let words = vec![
        json!(victim),
        json!(format!("{victim}/a.parquet")),
        json!(format!("file://{victim}/metadata/c.avro")),
        json!(format!("{table}/../../../victim/data/b.parquet")),
        json!(scene.site.warehouse().display().to_string()),
        json!("/"),
        json!(""),
        json!("file:///"),
        json!("s3://bucket"),
        json!("true"),
        json!("1"),
        json!("\u{0}"),
        json!("x".repeat(100_000)),
        json!(0),
        json!(-1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(null),
        json!([]),
        json!({}),
        json!(["a"]),
    ];
    words
}

/// The same through a REST server, which says more than metadata.
#[tokio::test(flavor = "multi_thread")]
async fn any_answer_of_a_server_leaves_everything_else_alone() {
    let scene = Scene::new();
    let window = scene.site.window(3, 4, vec![put("a", 7)]);
    let (server, other) = (RestServer::start(&scene.victim()), RestServer::start(&scene.victim()));
    let mut words = words(&scene);
    words.extend([json!(other.uri()), json!("s3://bucket/x"), json!({"s3.endpoint": other.uri()})]);
    let metadata: Value = serde_json::from_slice(&fs::read(scene.newest()).unwrap()).unwrap();
    let keys = json!({"s3.access-key-id": "A", "s3.region": "r", "s3.profile-name": "p", "token": "t"});
    let table = json!({"metadata-location": scene.newest().display().to_string(), "metadata": metadata, "config": keys,
        "storage-credentials": [{"prefix": "s3://bucket", "config": keys}]});
    let config = json!({"defaults": {"uri": other.uri(), "prefix": "p", "s3.endpoint": other.uri()},
        "overrides": {"oauth2-server-uri": other.uri(), "header.x": "y", "namespace-separator": "."},
        "endpoints": ["GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials"]});
    let (files, others) = (scene.site.files(), scene.others());
    let properties = [
        ("uri", server.uri()),
        ("credential", "me:a-secret-of-mine".to_owned()),
        ("s3.access-key-id", "MINE".to_owned()),
        ("s3.secret-access-key", "another-secret".to_owned()),
        ("s3.retry.num-retries", "0".to_owned()),
        // Nobody is there.
        ("s3.endpoint", "http://127.0.0.1:1".to_owned()),
        ("s3.region", "us-east-1".to_owned()),
        ("allowed-locations", scene.site.warehouse().display().to_string()),
    ];
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("DDB_ICEBERG_FUZZ_SEED").unwrap_or(1);
    for case in 0..number("DDB_ICEBERG_METADATA_CASES").unwrap_or(CASES / 2) {
        let mut random = Random::new(seed.wrapping_mul(1_000_003) + case);
        let (mut table, mut config) = (table.clone(), config.clone());
        for _ in 0..=random.below(3) {
            let what = if random.percent(70) { &mut table } else { &mut config };
            mutate(&mut random, what, &words);
        }
        let (table, config) = (table.to_string(), config.to_string());
        let said = format!("case {case} of seed {seed}: {config} {table}");
        server.fail(move |request| {
            Some(if request.is_commit() {
                // What it did is looked for as long as it may be under way; what it refused is not.
                Fault::Answer(403)
            } else if request.target.ends_with("/oauth/tokens") {
                Fault::Text(200, json!({"access_token": "token-of-mine"}).to_string())
            } else if request.target.contains("/config") {
                Fault::Text(200, config.clone())
            } else {
                Fault::Text(200, table.clone())
            })
        });
        run(&properties, &window, random.below(4)).await;
        assert!(scene.others() == others, "{said}");
        assert_eq!(other.take_requests().len(), 0, "{said}");
        restore(&scene, &files);
    }
}

/// The files are as they were.
pub fn restore(scene: &Scene, files: &super::Files) {
    for name in scene.site.files().into_keys().filter(|name| !files.contains_key(name) && !name.ends_with('/')) {
        fs::remove_file(scene.site.path().join(name)).unwrap();
    }
    for (name, bytes) in files.iter().filter(|(name, _)| !name.ends_with('/')) {
        let path = scene.site.path().join(name);
        if fs::read(&path).ok().as_ref() != Some(bytes) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    scene.age();
}
