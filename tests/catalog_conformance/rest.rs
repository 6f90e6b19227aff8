//! What only a REST catalog does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::catalog::settle::{Outcome, commit_and_settle, create_and_settle};
use ddb_iceberg::catalog::{Catalog, Commit, LOADING, is_unfinished};
use ddb_iceberg::error::{Kind, Result};
use ddb_iceberg::storage::S3Config;
use ddb_iceberg::storage::Store;
use serde_json::json;
use tempfile::TempDir;

use crate::catalogs::*;
use crate::rest_server::{self, Fault, Login, RestServer, Staging};
use crate::s3_server::S3Server;
use crate::{Place, wait};

/// A server, its tables in a folder that is removed in the end.
pub struct Rest {
    folder: TempDir,
    pub server: RestServer,
    staging: Staging,
}

impl Rest {
    pub fn fresh(staging: Staging) -> Self {
        let folder = TempDir::new().unwrap();
        let server = RestServer::start(folder.path());
        server.staging(staging);
        Self { folder, server, staging }
    }

    pub async fn connect(&self, more: &[(&str, &str)]) -> Result<Arc<dyn Catalog>> {
        let mut properties = BTreeMap::from([("uri".to_owned(), format!("{}/", self.server.uri()))]);
        properties.insert("allowed-locations".to_owned(), self.folder.path().display().to_string());
        properties.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        let store = Store::routed(S3Config::from_properties(&properties)?);
        connect("rest", &properties, store).await
    }
}

impl Place for Rest {
    fn open(&self) -> Arc<dyn Catalog> {
        wait(self.connect(&[])).unwrap()
    }

    /// The empty table's own.
    fn files_before(&self) -> usize {
        usize::from(self.staging != Staging::Yes)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_not_there_before_its_first_snapshot() {
    let place = Rest::fresh(Staging::Yes);
    let catalog = place.open();
    let table = placed(&*catalog, &orders(), &[("owner", "me")]).await.unwrap();
    assert!(place.server.table(&["shop"], "orders").is_none(), "staged only");
    done(catalog.create(&orders(), table).await.unwrap());
    let made = place.server.table(&["shop"], "orders").unwrap().metadata;
    assert_eq!(made.snapshots().len(), 1);
    assert!(!made.properties().contains_key(LOADING));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_staged_an_unfinished_table_is_taken_over_and_one_load_wins() {
    for staging in [Staging::Refused(400), Staging::Refused(406), Staging::Refused(501), Staging::Ignored] {
        let place = Rest::fresh(staging);
        let (first, second) = (place.open(), place.open());
        let lost = placed(&*first, &orders(), &[]).await.unwrap();
        let marked = load(&*first).await;
        assert!(is_unfinished(&marked.metadata), "{staging:?}");

        let wins = placed(&*second, &orders(), &[("owner", "me")]).await.unwrap();
        assert_eq!(wins.metadata.uuid(), lost.metadata.uuid(), "{staging:?}: not taken over");
        let made = done(second.create(&orders(), wins).await.unwrap()).metadata;
        assert_eq!((made.snapshots().len(), made.properties().get(LOADING)), (1, None));
        assert_eq!(made.properties()["owner"], "me");
        assert_conflict(&first.create(&orders(), lost).await.unwrap());
        assert_eq!(load(&*first).await.metadata, made);
        assert!(placed(&*first, &orders(), &[]).await.is_none(), "the name is taken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_creation_is_settled_staged_or_not() {
    for staging in [Staging::Yes, Staging::Refused(400)] {
        for (fault, applied) in [(Fault::Unanswered, true), (Fault::DoneBut(504), true), (Fault::Reset, false)] {
            let place = Rest::fresh(staging);
            let catalog = place.open();
            let table = placed(&*catalog, &orders(), &[]).await.unwrap();
            let id = table.metadata.current_snapshot_id();
            place.server.fail_times(1, fault.clone(), rest_server::Request::is_commit);
            let outcome = create_and_settle(&*catalog, &orders(), table, SHORT).await;
            match outcome {
                Ok(Outcome::Committed(found)) if applied => assert_eq!(found.metadata.current_snapshot_id(), id),
                Err(error) if !applied => assert_eq!(error.kind(), Kind::Unknown),
                other => panic!("{staging:?} {fault:?}: {other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_finds_nothing_is_an_error() {
    let place = Rest::fresh(Staging::Yes);
    let catalog = place.open();
    let table = placed(&*catalog, &orders(), &[]).await.unwrap();
    place.server.fail_times(1, Fault::Answer(404), rest_server::Request::is_commit);
    assert_eq!(catalog.create(&orders(), table).await.unwrap_err().kind(), Kind::Failed);
}

/// What the OpenAPI document says of each answer to a commit.
#[tokio::test(flavor = "multi_thread")]
async fn answers_to_a_commit_mean_what_the_protocol_says() {
    let place = Rest::fresh(Staging::Yes);
    let catalog = place.open();
    let table = create_orders(&*catalog, &[]).await;
    for status in [302, 400, 401, 403, 406, 419, 422] {
        place.server.fail_times(1, Fault::Answer(status), rest_server::Request::is_commit);
        let (updates, _) = append(&table.metadata);
        let error = catalog.commit(&table, base(&table.metadata), updates).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Failed, "{status}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
    for status in [404, 409] {
        place.server.fail_times(1, Fault::Answer(status), rest_server::Request::is_commit);
        let (updates, _) = append(&table.metadata);
        assert_conflict(&catalog.commit(&table, base(&table.metadata), updates).await.unwrap());
    }
    for fault in [408, 500, 502, 504].map(Fault::Answer).into_iter().chain([Fault::Reset, Fault::Text(200, "{".into())])
    {
        place.server.fail_times(1, fault.clone(), rest_server::Request::is_commit);
        let (updates, _) = append(&table.metadata);
        let answer = catalog.commit(&table, base(&table.metadata), updates).await.unwrap();
        assert!(matches!(answer, Commit::Unknown(_)), "{fault:?}: {answer:?}");
    }
    place.server.heal();
    assert_eq!(load(&*catalog).await.metadata, table.metadata, "something was applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_success_is_found_behind_any_answer() {
    for fault in [Fault::Unanswered, Fault::DoneBut(500), Fault::DoneBut(409), Fault::DoneBut(503), Fault::DoneBut(429)]
    {
        let place = Rest::fresh(Staging::Yes);
        let catalog = place.open();
        let table = create_orders(&*catalog, &[]).await;
        place.server.fail_times(1, fault.clone(), rest_server::Request::is_commit);
        let (updates, id) = append(&table.metadata);
        let outcome = commit_and_settle(&*catalog, &table, base(&table.metadata), updates, id, LONG).await;
        let Ok(Outcome::Committed(found)) = outcome else { panic!("{fault:?}: {outcome:?}") };
        assert_eq!(found.metadata.current_snapshot_id(), Some(id));
        assert_eq!(found.metadata.snapshots().len(), 2, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_to_come_again_is_asked_again() {
    let place = Rest::fresh(Staging::Yes);
    let catalog = place.open();
    let table = create_orders(&*catalog, &[]).await;
    place.server.fail_times(2, Fault::Answer(503), rest_server::Request::is_commit);
    let (updates, id) = append(&table.metadata);
    let found = done(catalog.commit(&table, base(&table.metadata), updates).await.unwrap());
    assert_eq!(found.metadata.current_snapshot_id(), Some(id));

    // Afterwards nothing is sure, whatever the answer.
    let mut sent = 0;
    place.server.fail(move |request| {
        sent += usize::from(request.is_commit());
        request.is_commit().then_some(Fault::Answer(if sent == 1 { 503 } else { 403 }))
    });
    let (updates, _) = append(&found.metadata);
    let answer = catalog.commit(&found, base(&found.metadata), updates).await.unwrap();
    assert!(matches!(answer, Commit::Unknown(_)), "{answer:?}");

    // Questions are asked again too.
    for fault in [Fault::Answer(503), Fault::Answer(500), Fault::Answer(429), Fault::Reset] {
        place.server.fail_times(2, fault, |request| request.method == "GET");
        load(&*catalog).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_renewed_when_it_is_refused_and_before_it_expires() {
    let place = Rest::fresh(Staging::Yes);
    place.server.login(Login::OAuth("me".to_owned(), "s3cr3t&=".to_owned(), None));
    let catalog = place.connect(&[("credential", "me:s3cr3t&=")]).await.unwrap();
    let table = create_orders(&*catalog, &[]).await;
    place.server.revoke();
    place.server.take_requests();
    let (updates, _) = append(&table.metadata);
    let table = done(catalog.commit(&table, base(&table.metadata), updates).await.unwrap());
    let sent = place.server.take_requests();
    assert_eq!(sent.iter().filter(|r| r.is_commit()).count(), 2, "refused, then sent again");
    assert_eq!(sent.len(), 3);

    // A token of one second is renewed at half of that, before anything is refused.
    place.server.login(Login::OAuth("me".to_owned(), "s3cr3t&=".to_owned(), Some(1)));
    let catalog = place.connect(&[("credential", "me:s3cr3t&=")]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    place.server.take_requests();
    let (updates, _) = append(&table.metadata);
    done(catalog.commit(&table, base(&table.metadata), updates).await.unwrap());
    let sent: Vec<String> = place.server.take_requests().into_iter().map(|r| r.target).collect();
    assert!(sent.len() == 2 && sent[0].ends_with("/v1/oauth/tokens"), "{sent:?}");

    // Sent again once only.
    place.server.fail(|request| request.target.contains("/tables/").then_some(Fault::Answer(419)));
    place.server.take_requests();
    let error = catalog.load(&orders()).await.unwrap_err();
    assert!(error.to_string().contains("has expired"), "{error}");
    assert_eq!(place.server.take_requests().iter().filter(|r| r.method == "GET").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_sign_in_is_said_without_the_secret() {
    let place = Rest::fresh(Staging::Yes);
    place.server.login(Login::OAuth("me".to_owned(), "right".to_owned(), None));
    let started = std::time::Instant::now();
    let error = place.connect(&[("credential", "me:hush-hush")]).await.unwrap_err();
    assert!(error.to_string().contains("refused the sign-in: 401"), "{error}");
    assert!(!error.to_string().contains("hush"), "{error}");
    place.server.login(Login::Token("right".to_owned()));
    let error = place.connect(&[("token", "hush-hush")]).await.unwrap_err();
    assert!(error.to_string().contains("token"), "{error}");
    assert!(!error.to_string().contains("hush"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
    let catalog = place.connect(&[("token", "right")]).await.unwrap();
    assert!(!format!("{catalog:?}").contains("right"));
    create_orders(&*catalog, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_signed_as_aws_asks() {
    let place = Rest::fresh(Staging::Refused(400));
    place.server.login(Login::Signed("s3tables".to_owned()));
    let signing = [
        ("rest.sigv4-enabled", "true"),
        ("rest.signing-name", "s3tables"),
        ("rest.signing-region", rest_server::REGION),
        ("client.access-key-id", rest_server::ACCESS_KEY),
        ("client.secret-access-key", rest_server::SECRET_KEY),
        ("header.X-Amz-Mine", "1"),
    ];
    let catalog = place.connect(&signing).await.unwrap();
    // The prefix has a %3A in it, which is encoded again.
    let table = create_orders(&*catalog, &[]).await;
    let (updates, _) = append(&table.metadata);
    done(catalog.commit(&table, base(&table.metadata), updates).await.unwrap());

    let mut wrong = signing;
    wrong[4].1 = "hush-hush";
    let error = place.connect(&wrong).await.unwrap_err();
    assert!(error.to_string().contains("401") && !error.to_string().contains("hush"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_headers_are_sent_and_delegation_is_asked_for() {
    let place = Rest::fresh(Staging::Yes);
    place.connect(&[("header.X-Mine", "1")]).await.unwrap();
    place.connect(&[("header.X-Iceberg-Access-Delegation", "remote-signing")]).await.unwrap();
    let sent = place.server.take_requests();
    assert_eq!(sent[0].header("x-iceberg-access-delegation"), Some("vended-credentials"));
    assert_eq!(sent[0].header("x-mine"), Some("1"));
    assert_eq!(sent[1].header("x-iceberg-access-delegation"), Some("remote-signing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_of_a_namespace_and_odd_names_are_encoded() {
    let place = Rest::fresh(Staging::Yes);
    let catalog = place.open();
    let ident = iceberg::TableIdent::from_strs(["a b", "c/d", "é%1F"]).unwrap();
    let table = placed(&*catalog, &ident, &[]).await.unwrap();
    done(catalog.create(&ident, table).await.unwrap());
    assert!(place.server.table(&["a b", "c/d"], "é%1F").is_some());
    assert_eq!(place.server.namespaces(), ["a b", "a b.c/d"]);
    assert!(catalog.load(&ident).await.unwrap().is_some());
}

fn keys_until(end: SystemTime) -> serde_json::Value {
    let end = end.duration_since(UNIX_EPOCH).unwrap().as_millis().to_string();
    json!({"s3.access-key-id": crate::s3_server::ACCESS_KEY, "s3.secret-access-key": crate::s3_server::SECRET_KEY,
        "s3.session-token-expires-at-ms": end})
}

/// The user has no key for the bucket: the server lends one for each table.
#[tokio::test(flavor = "multi_thread")]
async fn a_tables_files_are_read_and_written_with_the_keys_that_the_server_lends() {
    let s3 = S3Server::start(&["lake"]);
    let place = Rest::fresh(Staging::Yes);
    place.server.warehouse("s3://lake/w");
    let endpoint = json!({"s3.endpoint": s3.endpoint(), "s3.region": crate::s3_server::REGION});
    let mut config = keys_until(SystemTime::now() + Duration::from_hours(1));
    config.as_object_mut().unwrap().extend(endpoint.as_object().unwrap().clone());
    place.server.lend(config, None);
    let own = [("s3.access-key-id", "NOBODY"), ("s3.secret-access-key", "hush"), ("s3.session-token", "hush")];
    let catalog = place.connect(&own).await.unwrap();
    let home = home(&*catalog, &orders()).await.unwrap().unwrap();
    let file = format!("{}/data/x", home.location);
    home.file_io.new_output(&file).unwrap().write("1".into()).await.unwrap();
    let table = create_orders(&*catalog, &[]).await;
    assert_eq!(table.file_io.new_input(&file).unwrap().read().await.unwrap(), "1");

    // Keys that have expired are asked for again, by the endpoint for that where there is one.
    for credentials in [false, true] {
        let place = Rest::fresh(Staging::Yes);
        place.server.warehouse("s3://lake/w2");
        let mut old = endpoint.clone();
        let expired = json!({"s3.access-key-id": "OLD", "s3.secret-access-key": "old",
            "s3.session-token-expires-at-ms": "1000"});
        old.as_object_mut().unwrap().extend(expired.as_object().unwrap().clone());
        let mut new = endpoint.clone();
        let fresh = keys_until(SystemTime::now() + Duration::from_hours(1));
        new.as_object_mut().unwrap().extend(fresh.as_object().unwrap().clone());
        let lent = json!([{"prefix": "s3://lake", "config": new}, {"prefix": "s3://other", "config": old}]);
        place.server.lend(old, credentials.then(|| lent.clone()));
        let catalog = place.connect(&[]).await.unwrap();
        let staged = crate::catalogs::home(&*catalog, &orders()).await.unwrap().unwrap();
        let table = create_orders(&*catalog, &[]).await;
        if !credentials {
            place.server.lend(new, None);
        }
        place.server.take_requests();
        assert_eq!(table.file_io.new_input(&file).unwrap().read().await.unwrap(), "1");
        assert_eq!(table.file_io.new_input(&file).unwrap().read().await.unwrap(), "1");
        assert_eq!(staged.file_io.new_input(&file).unwrap().read().await.unwrap(), "1");
        let asked: Vec<String> = place.server.take_requests().into_iter().map(|r| r.target).collect();
        assert_eq!(asked.len(), 1, "asked once: {asked:?}");
        assert_eq!(asked[0].ends_with("/credentials"), credentials);
    }
}

/// Keys for one prefix each, of which only some are good.
#[tokio::test(flavor = "multi_thread")]
async fn each_file_is_read_and_written_with_the_keys_of_its_longest_prefix() {
    let s3 = S3Server::start(&["lake", "other"]);
    let place = Rest::fresh(Staging::Yes);
    place.server.warehouse("s3://lake/w");
    let good = json!({"s3.access-key-id": crate::s3_server::ACCESS_KEY,
        "s3.secret-access-key": crate::s3_server::SECRET_KEY});
    let bad = json!({"s3.access-key-id": "OLD", "s3.secret-access-key": "hush", "s3.session-token": "hush"});
    let mut config = json!({"s3.endpoint": s3.endpoint(), "s3.region": crate::s3_server::REGION});
    config.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
    place.server.lend(config, None);
    place.server.lend_below(json!([
        {"prefix": "s3://other", "config": bad}, {"prefix": "s3://lake/", "config": good},
        {"prefix": "gs://lake/", "config": {"gcs.oauth2.token": "hush"}},
        {"prefix": "s3://other/data/", "config": good},
    ]));
    let catalog = place.connect(&[]).await.unwrap();
    let home = home(&*catalog, &orders()).await.unwrap().unwrap();
    let table = create_orders(&*catalog, &[]).await;
    for (n, file_io) in [&home.file_io, &table.file_io].into_iter().enumerate() {
        for folder in ["s3://lake/w", "s3://other/data", "s3a://other/data/deep"] {
            let file = format!("{folder}/{n}");
            file_io.new_output(&file).unwrap().write("1".into()).await.unwrap();
            assert_eq!(file_io.new_input(&file).unwrap().read().await.unwrap(), "1");
        }
        for file in ["s3://other/else/1", "s3://other/database"] {
            let error = file_io.new_output(file).unwrap().write("1".into()).await.unwrap_err().to_string();
            assert!(error.contains("The catalog has lent these keys") && !error.contains("hush"), "{error}");
        }
    }
    let all: Vec<String> = ["s3://lake/w/0", "s3://other/data/0", "s3://lake/w/1"].map(str::to_owned).into();
    table.file_io.delete_stream(futures::stream::iter(all)).await.unwrap();
    assert_eq!(s3.keys("lake").len() + s3.keys("other").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_without_an_end_are_renewed_once_s3_says_that_they_have_expired() {
    let s3 = S3Server::start(&["lake"]);
    let place = Rest::fresh(Staging::Yes);
    place.server.warehouse("s3://lake/w");
    let keys = |token: &str| {
        json!({"s3.endpoint": s3.endpoint(), "s3.region": crate::s3_server::REGION, "s3.session-token": token,
            "s3.access-key-id": crate::s3_server::ACCESS_KEY, "s3.secret-access-key": crate::s3_server::SECRET_KEY})
    };
    place.server.lend(keys("first"), None);
    let catalog = place.connect(&[]).await.unwrap();
    let table = create_orders(&*catalog, &[]).await;
    s3.fail(|request| {
        let old = request.header("x-amz-security-token") == Some("first");
        old.then_some(crate::s3_server::Fault::Answer(400, "ExpiredToken"))
    });
    let write =
        async |name: &str| table.file_io.new_output(format!("s3://lake/w/{name}")).unwrap().write("1".into()).await;
    let error = write("a").await.unwrap_err().to_string();
    assert!(error.contains("have expired") && error.contains("lent these keys") && !error.contains("sso"), "{error}");

    place.server.lend(keys("second"), None);
    place.server.take_requests();
    write("a").await.unwrap();
    assert!(table.file_io.exists("s3://lake/w/a").await.unwrap());
    write("b").await.unwrap();
    assert_eq!(place.server.take_requests().len(), 1, "asked once");

    let echo = format!("what are second and {}?", crate::s3_server::SECRET_KEY);
    s3.fail(move |_| Some(crate::s3_server::Fault::Say(403, "AccessDenied".to_owned(), echo.clone())));
    let error = write("c").await.unwrap_err().to_string();
    assert!(error.contains("AccessDenied: what are *** and ***?"), "{error}");
}

/// A cache between us and the server: a conflict, then a table as it was before our commit, which was applied.
#[tokio::test(flavor = "multi_thread")]
async fn one_stale_look_does_not_make_a_commit_another_writers() {
    for times in [1, 2] {
        let place = Rest::fresh(Staging::Yes);
        let catalog = place.connect(&[]).await.unwrap();
        let table = create_orders(&*catalog, &[]).await;
        place.server.fail_times(1, Fault::DoneBut(409), rest_server::Request::is_commit);
        place.server.answer_stale(times);
        let (updates, id) = append(&table.metadata);
        let outcome = commit_and_settle(&*catalog, &table, base(&table.metadata), updates, id, SHORT).await.unwrap();
        assert!(outcome.is_committed(), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_overrides_counts_for_storage() {
    let s3 = S3Server::start(&["lake"]);
    let place = Rest::fresh(Staging::Yes);
    place.server.warehouse("s3://lake/w");
    for (key, value) in s3.properties() {
        place.server.override_with(&key, &value);
    }
    let catalog = place.connect(&[("s3.region", "nowhere")]).await.unwrap();
    let home = home(&*catalog, &orders()).await.unwrap().unwrap();
    home.file_io.new_output(format!("{}/x", home.location)).unwrap().write("1".into()).await.unwrap();
    assert_eq!(s3.keys("lake"), ["w/shop/orders/x"]);
}

/// Where nothing is staged, the empty table is made at once, and that may fail in its own ways.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_that_is_not_made_is_no_name_that_is_taken() {
    let place = Rest::fresh(Staging::Refused(400));
    let catalog = place.open();
    let makes_it = |request: &rest_server::Request| {
        request.is_creation() && !String::from_utf8_lossy(&request.body).contains("\"stage-create\":true")
    };
    for fault in [Fault::Answer(500), Fault::Answer(408), Fault::Answer(403), Fault::Reset] {
        place.server.fail_times(1, fault.clone(), makes_it);
        let error = home(&*catalog, &orders()).await.unwrap_err();
        assert!(error.to_string().contains("create table shop.orders"), "{fault:?}: {error}");
    }
    // Another one has made it, and has dropped it since.
    place.server.fail_times(1, Fault::Answer(409), makes_it);
    assert!(home(&*catalog, &orders()).await.unwrap().is_none());
    // Done, whatever was answered.
    place.server.fail_times(1, Fault::DoneBut(500), makes_it);
    assert!(home(&*catalog, &orders()).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_is_and_has_helps_whoever_asked_for_another_table() {
    let place = Rest::fresh(Staging::Yes);
    let catalog = place.open();
    create_orders(&*catalog, &[]).await;
    let near = iceberg::TableIdent::from_strs(["shop", "order"]).unwrap();
    assert_eq!(catalog.some_tables(&near).await.unwrap(), ["shop.orders"]);
    assert_eq!(catalog.place(), format!("the REST catalog at {}/v1", place.server.uri()));
    // Who may not list them is not told so: it was not asked for.
    place.server.fail(|_| Some(Fault::Answer(403)));
    assert!(catalog.some_tables(&near).await.unwrap().is_empty());
}

/// The warehouse is to blame only where the server says something of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_a_server_does_not_know_is_named() {
    let place = Rest::fresh(Staging::Yes);
    for (fault, warehouse, named) in [
        (Fault::Answer(404), "w", true),
        (Fault::Answer(400), "w", true),
        (Fault::Answer(403), "w", false),
        (Fault::Text(404, "nothing here".to_owned()), "w", false),
        (Fault::Answer(404), "", false),
    ] {
        place.server.fail_times(1, fault.clone(), |_| true);
        let error = place.connect(&[("warehouse", warehouse)]).await.unwrap_err().to_string();
        assert_eq!(error.contains("Check the catalog's warehouse"), named, "{fault:?}: {error}");
    }
}
