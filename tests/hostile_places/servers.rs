//! REST servers that want to be trusted with more than a catalog.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::program::{Run, Site, full, put, simple};
use crate::rest_server::{RestServer, Staging};
use crate::s3_server::{self, S3Server};

struct Shop {
    site: Site,
    server: RestServer,
}

impl Shop {
    fn new() -> Self {
        let site = Site::new();
        let server = RestServer::start(&site.path().join("served"));
        Self { site, server }
    }

    fn configure(&self, more: &[(&str, &str)]) {
        let mut text = format!("catalog:\n  default:\n    type: rest\n    uri: {:?}\n", self.server.uri());
        for (key, value) in more {
            writeln!(text, "    {key}: {value:?}").unwrap();
        }
        fs::write(self.site.path().join(".pyiceberg.yaml"), text).unwrap();
    }

    fn load(&self) -> Run {
        let export = full(0).files([[simple("a", 1)]]).write(self.site.bucket());
        self.site.load(&export, &["pk"])
    }

    /// What was sent to the server that could change something.
    fn commits(&self) -> usize {
        self.server.take_requests().iter().filter(|request| request.is_commit()).count()
    }
}

#[test]
fn a_new_table_goes_only_where_the_user_has_it() {
    let shop = Shop::new();
    let served = shop.site.path().join("served");
    let inside = served.join("lake");
    fs::create_dir_all(&inside).unwrap();
    shop.configure(&[("allowed-locations", inside.to_str().unwrap())]);
    let victim = shop.site.path().join("victim");
    fs::create_dir(&victim).unwrap();
    std::os::unix::fs::symlink(&victim, inside.join("link")).unwrap();
    let export = full(0).files([[simple("a", 1)]]).write(shop.site.bucket());
    let before = shop.site.files();
    for staging in [Staging::Yes, Staging::Refused(400)] {
        for warehouse in [
            format!("file://{}", victim.display()),
            format!("{}", victim.display()),
            format!("file://{}", served.display()),
            format!("file://{}/../victim", inside.display()),
            format!("file://{}/link", inside.display()),
            format!("file://{}-2", inside.display()),
            "file:///".to_owned(),
            "relative".to_owned(),
            "s3://bucket".to_owned(),
            "s3:/".to_owned(),
            "gs://bucket/x".to_owned(),
        ] {
            // A server that makes an empty table writes its metadata itself.
            if staging != Staging::Yes && !warehouse.contains("://bucket") {
                continue;
            }
            shop.server.forget();
            shop.server.staging(staging);
            shop.server.warehouse(&warehouse);
            let run = shop.site.load(&export, &["pk"]).expect(1);
            assert!(run.message().contains("is said to lie at"), "{warehouse:?}: {}", run.stdout);
            assert!(shop.site.files() == before, "{warehouse:?}");
            assert_eq!(shop.commits(), 0, "{warehouse:?}");
        }
    }
    shop.server.forget();
    shop.server.staging(Staging::Yes);
    shop.server.warehouse(&format!("file://{}", inside.display()));
    shop.site.load(&export, &["pk"]).expect(0);
}

#[test]
fn a_location_that_the_server_changes_later_is_refused() {
    let shop = Shop::new();
    let served = shop.site.path().join("served");
    shop.configure(&[("allowed-locations", served.to_str().unwrap())]);
    shop.load().expect(0);
    let victim = shop.site.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("x.parquet"), "precious").unwrap();
    let window = shop.site.window(0, 15, vec![put("a", 2)]);
    for location in [victim.to_str().unwrap(), "", "/", "s3://bucket/x"] {
        shop.server.edit_table(&["shop"], "orders", |metadata| metadata["location"] = json!(location));
        let before = shop.site.files();
        for command in [
            &["incremental", window.to_str().unwrap()][..],
            &["expire", "--older-than", "0s"],
            &["orphans", "--delete"],
            &["compact"],
        ] {
            let run = shop.site.run(command).expect(1);
            assert!(run.message().contains("is said to lie at"), "{location:?} {command:?}: {}", run.stdout);
            assert!(shop.site.files() == before, "{location:?} {command:?}");
        }
    }
    assert_eq!(shop.commits(), 1, "the load's own");
}

/// Local files are read for local tables only, and only where the user has tables.
#[test]
fn files_of_this_machine_are_not_read_for_a_server() {
    let shop = Shop::new();
    let served = shop.site.path().join("served");
    shop.configure(&[("allowed-locations", served.to_str().unwrap())]);
    shop.load().expect(0);
    let outside = shop.site.path().join("outside.avro");
    let list =
        shop.server.table(&["shop"], "orders").unwrap().metadata.current_snapshot().unwrap().manifest_list().to_owned();
    fs::copy(list.trim_start_matches("file://"), &outside).unwrap();
    shop.server.edit_table(&["shop"], "orders", |metadata| {
        metadata["snapshots"][0]["manifest-list"] = json!(outside.display().to_string());
    });
    let window = shop.site.window(0, 15, vec![put("a", 2)]);
    for command in [&["incremental", window.to_str().unwrap()][..], &["compact"]] {
        let run = shop.site.run(command).expect(1);
        assert!(run.stdout.contains("outside of its place"), "{command:?}: {}", run.stdout);
    }
}

/// Two places that speak S3, and the keys of the user for one of them.
struct Lake {
    shop: Shop,
    honest: S3Server,
    evil: S3Server,
}

impl Lake {
    fn new(more: &[(&str, &str)]) -> Self {
        let lake = Self { shop: Shop::new(), honest: S3Server::start(&["lake"]), evil: S3Server::start(&["lake"]) };
        lake.shop.server.warehouse("s3://lake/w");
        let endpoint = lake.honest.endpoint();
        let own = [
            ("s3.endpoint", endpoint.as_str()),
            ("s3.region", s3_server::REGION),
            ("s3.access-key-id", s3_server::ACCESS_KEY),
            ("s3.secret-access-key", s3_server::SECRET_KEY),
            ("s3.retry.num-retries", "1"),
        ];
        lake.shop.configure(&[&own[..], more].concat());
        lake
    }
}

#[test]
fn the_users_keys_go_to_no_server_that_the_catalog_names() {
    let lake = Lake::new(&[("allowed-locations", "s3://lake/w")]);
    let endpoint = lake.evil.endpoint();
    lake.shop.server.override_with("s3.endpoint", &endpoint);
    lake.shop.server.override_with("client.region", "x.example/");
    lake.shop.server.lend(json!({"s3.endpoint": endpoint, "s3.proxy-uri": endpoint, "s3.region": "us-east-9"}), None);
    let run = lake.shop.load().expect(0);
    assert!(run.stderr.contains("s3.endpoint") && run.stderr.contains("your own configuration"), "{}", run.stderr);
    let window = lake.shop.site.window(0, 15, vec![put("a", 2)]);
    lake.shop.site.incremental(&[&window], &[]).expect(0);
    assert_eq!(lake.evil.take_requests().len(), 0);
    assert!(!lake.honest.take_requests().is_empty());
}

/// With keys of its own the server may say where they are good.
#[test]
fn keys_that_are_lent_come_with_their_endpoint_and_vouch_for_their_place() {
    let lake = Lake::new(&[]);
    let run = lake.shop.load().expect(1);
    assert!(run.stdout.contains("allowed-locations=s3://lake/w"), "{}", run.stdout);
    assert_eq!((lake.honest.keys("lake").len(), lake.shop.commits()), (0, 0));
    lake.shop.server.lend(
        json!({"s3.endpoint": lake.evil.endpoint(), "s3.access-key-id": s3_server::ACCESS_KEY,
            "s3.secret-access-key": s3_server::SECRET_KEY}),
        None,
    );
    // Half a key, below a prefix in between, takes nobody back to the user's.
    lake.shop.server.lend_below(json!([{"prefix": "s3://lake/w/", "config": {"s3.access-key-id": ""}},
        {"prefix": "s3://lake/w/shop", "config": {"s3.access-key-id": "X", "s3.session-token": "t"}}]));
    lake.honest.take_requests();
    lake.shop.load().expect(0);
    assert_eq!(lake.honest.take_requests().len(), 0);
    assert!(!lake.evil.keys("lake").is_empty());
    assert_eq!(lake.honest.keys("lake").len(), 0);
}

#[test]
fn programs_of_the_users_profiles_are_not_run_for_a_server() {
    let lake = Lake::new(&[("allowed-locations", "s3://lake/w")]);
    let home = lake.shop.site.path();
    let (script, trace) = (home.join("keys.sh"), home.join("was-run"));
    fs::write(&script, format!("#!/bin/sh\ntouch {}\necho '{{}}'\n", trace.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(home.join(".aws")).unwrap();
    fs::write(home.join(".aws/config"), format!("[profile p]\ncredential_process = {}\n", script.display())).unwrap();
    for key in ["s3.profile-name", "client.profile-name", "s3.role-arn"] {
        lake.shop.server.override_with(key, "p");
    }
    lake.shop.server.lend(json!({"s3.profile-name": "p", "client.profile-name": "p"}), None);
    lake.shop.load().expect(0);
    assert!(!trace.exists());
}

#[test]
fn a_server_that_names_another_is_not_followed() {
    let shop = Shop::new();
    let evil = Shop::new();
    let served = shop.site.path().join("served");
    shop.configure(&[("allowed-locations", served.to_str().unwrap()), ("token", "hush-hush")]);
    shop.server.override_with("uri", &evil.server.uri());
    let run = shop.load().expect(1);
    assert!(run.message().contains("names another server"), "{}", run.stdout);
    assert!(run.stdout.contains("as the catalog's uri") && !run.stdout.contains("hush"), "{}", run.stdout);
    shop.server.override_with("uri", &shop.server.uri());
    for (key, value) in [("oauth2-server-uri", evil.server.uri()), ("header.Host", "evil".into())] {
        shop.server.override_with(key, &value);
    }
    shop.server.override_with("rest.sigv4-enabled", "true");
    let run = shop.load().expect(0);
    assert!(run.stderr.contains("header.*, oauth2-server-uri, rest.*"), "{}", run.stderr);
    assert_eq!(evil.server.take_requests().len(), 0);
    assert!(shop.server.take_requests().iter().all(|request| request.header("host") != Some("evil")));
}

/// A REST server's S3 tables whose data lies in a second bucket.
#[test]
fn a_second_bucket_takes_one_setting() {
    let lake = Lake::new(&[("allowed-locations", "s3://lake/w")]);
    lake.shop.load().expect(0);
    lake.shop.server.edit_table(&["shop"], "orders", |metadata| {
        metadata["properties"]["write.data.path"] = json!("s3://lake/second/orders");
    });
    let window = lake.shop.site.window(0, 15, vec![put("b", 2)]);
    let before = lake.honest.keys("lake");
    lake.shop.site.incremental(&[&window], &[]).expect(1);
    assert_eq!(lake.honest.keys("lake"), before);
    let both = ["--catalog-property", "allowed-locations=s3://lake/w,s3a://lake/second/"];
    lake.shop.site.incremental(&[&window], &both).expect(0);
    assert!(lake.honest.keys("lake").iter().any(|key| key.starts_with("second/orders/")));
}
