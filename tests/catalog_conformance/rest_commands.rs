//! The program over a REST catalog.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::storage::Store;

use crate::program::*;
use crate::reader::{self, Row};
use crate::rest_server::{Fault, Login, Request, RestServer, Staging};

/// A site that is configured for a server.
pub struct Shop {
    pub site: Site,
    pub server: RestServer,
}

impl Shop {
    fn new(staging: Staging) -> Self {
        let site = Site::new();
        let server = RestServer::start(&site.path().join("served"));
        server.staging(staging);
        let shop = Self { site, server };
        shop.configure(&[]);
        shop
    }

    fn configure(&self, more: &[(&str, &str)]) {
        let uri = self.server.uri();
        let mut text = "catalog:\n  default:\n    type: rest\n".to_owned();
        let served = self.served();
        let own = [("uri", uri.as_str()), ("allowed-locations", served.as_str())];
        for (key, value) in own.iter().filter(|(k, _)| more.iter().all(|(m, _)| m != k)).chain(more) {
            writeln!(text, "    {key}: {value:?}").unwrap();
        }
        fs::write(self.site.path().join(".pyiceberg.yaml"), text).unwrap();
    }

    /// Where the server has its tables, which the user has to allow.
    pub fn served(&self) -> String {
        self.site.path().join("served").display().to_string()
    }

    pub async fn rows(&self) -> Vec<Row> {
        let properties =
            BTreeMap::from([("uri".to_owned(), self.server.uri()), ("allowed-locations".to_owned(), self.served())]);
        let catalog = connect("default", &properties, Store::local()).await.unwrap();
        reader::rows_of(&crate::load(&*catalog).await).await
    }

    pub fn loaded(staging: Staging) -> Self {
        let shop = Self::new(staging);
        let export = full(0).files([vec![simple("a", 1), simple("b", 2)]]).write(shop.site.bucket());
        shop.site.load(&export, &["pk"]).expect(0);
        shop
    }

    fn files(&self) -> usize {
        self.site.files().keys().filter(|name| name.starts_with("served/") && !name.ends_with('/')).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn load_windows_and_replace_over_rest() {
    for staging in [Staging::Yes, Staging::Refused(400)] {
        let shop = Shop::loaded(staging);
        let first = shop.site.window(0, 15, vec![put("a", 10), gone("b"), put("c", 3)]);
        let second = shop.site.window(15, 30, vec![put("d", 4)]);
        let run = shop.site.incremental(&[&first, &second], &[]).expect(0);
        assert_eq!(run.statuses(), ("applied", vec!["applied", "applied"]));
        assert_eq!(pairs(&shop.rows().await), [("a", 10), ("c", 3), ("d", 4)]);
        let again = shop.site.incremental(&[&first, &second], &[]).expect(0);
        assert_eq!(again.statuses().0, "already_applied");

        let export = full(60).files([vec![simple("z", 9)]]).write(shop.site.bucket());
        let arguments = ["full-load", export.to_str().unwrap(), "--key", "pk"];
        assert!(shop.site.run(&arguments).expect(1).message().contains("exists"));
        shop.site.run(&[&arguments[..], &["--if-exists", "replace"]].concat()).expect(0);
        assert_eq!(pairs(&shop.rows().await), [("z", 9)]);
        let table = shop.server.table(&["shop"], "orders").unwrap().metadata;
        assert_eq!(table.snapshots().len(), 4);
        assert!(!table.properties().contains_key("ddb-iceberg.loading"));
        assert!(!shop.site.warehouse().exists(), "no catalog of another kind was made");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_load_is_gone_on_with_and_nothing_is_merged_into_it() {
    let shop = Shop::new(Staging::Refused(400));
    let export = full(0).files([vec![simple("a", 1)]]).write(shop.site.bucket());
    shop.server.fail(|request| request.is_commit().then_some(Fault::Answer(403)));
    let run = shop.site.load(&export, &["pk"]).expect(1);
    assert!(run.message().contains("403"), "{}", run.message());
    assert_eq!(shop.files(), 1, "more than the empty table's metadata is left");
    shop.server.heal();
    let window = shop.site.window(0, 15, vec![put("a", 10)]);
    let run = shop.site.incremental(&[&window], &[]).expect(1);
    assert!(run.message().contains("has not finished"), "{}", run.message());
    shop.site.load(&export, &["pk"]).expect(0);
    shop.site.incremental(&[&window], &[]).expect(0);
    assert_eq!(pairs(&shop.rows().await), [("a", 10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_apply_each_window_once() {
    for staging in [Staging::Yes, Staging::Refused(400)] {
        let shop = Shop::new(staging);
        let export = full(0).files([vec![simple("a", 1), simple("b", 2)]]).write(shop.site.bucket());
        let arguments = ["full-load", export.to_str().unwrap(), "--key", "pk"];
        let loads = [shop.site.start(&arguments), shop.site.start(&arguments)];
        let mut statuses: Vec<String> =
            loads.map(|load| Run::of(load.wait_with_output().unwrap()).expect(0).statuses().0.to_owned()).into();
        statuses.sort();
        assert_eq!(statuses, ["already_applied", "applied"], "{staging:?}");

        let first = shop.site.window(0, 15, vec![put("a", 10), gone("b")]);
        let second = shop.site.window(15, 30, vec![put("a", 11), put("c", 3)]);
        let (first, second) = (first.to_str().unwrap(), second.to_str().unwrap());
        let runs = [
            shop.site.start(&["incremental", first]),
            shop.site.start(&["incremental", first, second]),
            shop.site.start(&["incremental", first, second]),
        ];
        for run in runs {
            Run::of(run.wait_with_output().unwrap()).expect(0);
        }
        assert_eq!(pairs(&shop.rows().await), [("a", 11), ("c", 3)]);
        assert_eq!(shop.server.table(&["shop"], "orders").unwrap().metadata.snapshots().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_ends_as_applied() {
    let shop = Shop::loaded(Staging::Yes);
    let window = shop.site.window(0, 15, vec![put("a", 10)]);
    shop.server.fail_times(1, Fault::Unanswered, Request::is_commit);
    let run = shop.site.incremental(&[&window], &[]).expect(0);
    assert_eq!(run.statuses(), ("applied", vec!["applied"]));
    assert_eq!(pairs(&shop.rows().await), [("a", 10), ("b", 2)]);
    assert_eq!(shop.server.table(&["shop"], "orders").unwrap().metadata.snapshots().len(), 2);
}

#[test]
fn what_keeps_a_server_from_answering_is_one_clear_message_and_nothing_half_made() {
    let shop = Shop::new(Staging::Yes);
    let export = full(0).files([vec![simple("a", 1)]]).write(shop.site.bucket());
    let fails = |more: &[(&str, &str)], said: &[&str]| {
        shop.configure(more);
        let started = Instant::now();
        let run = shop.site.load(&export, &["pk"]);
        assert!(started.elapsed() < Duration::from_secs(30), "{more:?}");
        let run = run.expect(1);
        for said in said {
            assert!(run.message().contains(said), "{said:?} is not in {}", run.message());
        }
        assert!(!run.message().contains("hush") && !run.stderr.contains("hush"), "{}", run.stderr);
        assert_eq!(shop.files(), 0);
    };
    shop.server.login(Login::OAuth("me".to_owned(), "right-one".to_owned(), None));
    fails(&[("credential", "me:hush-hush")], &["refused the sign-in"]);
    fails(&[], &["401"]);
    shop.server.login(Login::Token("right-one".to_owned()));
    fails(&[("token", "hush-hush")], &["401"]);
    shop.server.login(Login::Open);
    fails(&[("warehouse", "missing")], &["no warehouse", "404"]);
    fails(&[("uri", "http://127.0.0.1:1/api")], &["can't be reached"]);
    fails(&[("uri", &format!("{}/elsewhere", shop.server.uri()))], &["404"]);
    shop.server.fail(|_| Some(Fault::Text(200, "<html>".to_owned())));
    fails(&[], &["configuration"]);
    shop.server.fail(|_| Some(Fault::Answer(302)));
    fails(&[], &["302"]);
    shop.server.fail(|request| (request.method == "POST").then_some(Fault::Answer(403)));
    fails(&[], &["403", "create namespace"]);
    shop.server.fail(|request| request.is_creation().then_some(Fault::Answer(403)));
    fails(&[], &["403", "create table"]);
}

#[test]
fn no_secret_is_in_any_output() {
    let secrets = ["hush-token", "hush-secret", "hush-header", "hush-key"];
    let shop = Shop::new(Staging::Yes);
    let export = full(0).files([vec![simple("a", 1)]]).write(shop.site.bucket());
    shop.server.login(Login::OAuth("me".to_owned(), "hush-secret".to_owned(), None));
    let all = [
        ("credential", "me:hush-secret"),
        ("token", "hush-token"),
        ("header.X-Key", "hush-header"),
        ("s3.access-key-id", "hush-key"),
        ("s3.secret-access-key", "hush-key"),
    ];
    shop.configure(&all);
    let arguments = ["full-load", export.to_str().unwrap(), "--key", "pk", "-vvv"];
    let check = |run: &Run| {
        for secret in secrets {
            assert!(!run.stdout.contains(secret) && !run.stderr.contains(secret), "{secret}: {}", run.stderr);
        }
        assert!(!run.stderr.contains("token-"), "{}", run.stderr);
    };
    // A server that repeats whatever it gets.
    shop.server.fail(|request| {
        let heard = format!("{:?} {}", request.headers, String::from_utf8_lossy(&request.body));
        let text = serde_json::json!({"error": {"message": heard, "type": "Echo", "code": 400}}).to_string();
        request.target.contains("/tables").then_some(Fault::Text(400, text))
    });
    check(&shop.site.run(&arguments).expect(1));
    shop.server.heal();
    let run = shop.site.run(&arguments).expect(0);
    assert!(run.stderr.contains("POST"), "requests are logged: {}", run.stderr);
    check(&run);
}
