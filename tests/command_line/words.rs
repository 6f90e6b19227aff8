//! What is said when all is well and nobody wants to hear it, and where something is not there.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::{program, stderr, stdout};

const LOAD: [&str; 6] = ["--table", "shop.orders", "--key", "customer_id", "--key", "order_id"];

fn exports() -> String {
    format!("{}/examples/exports", env!("CARGO_MANIFEST_DIR"))
}

fn full() -> String {
    format!("{}/AWSDynamoDB/01768385700000-5b0e41c7", exports())
}

/// A working directory, with nothing of the machine's settings.
struct Place(TempDir);

impl Place {
    fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn loaded() -> Self {
        let place = Self::empty();
        place.expect(&[&["full-load", &full()][..], &LOAD].concat(), 0);
        place
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        command.args(arguments).current_dir(self.0.path()).env("HOME", self.0.path());
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    /// What a command prints on stdout and on stderr.
    #[track_caller]
    fn expect(&self, arguments: &[&str], code: i32) -> (String, String) {
        said(&self.command(arguments).output().unwrap(), arguments, code)
    }
}

#[track_caller]
fn said(output: &Output, arguments: &[&str], code: i32) -> (String, String) {
    let (out, err) = (stdout(output), stderr(output));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    (out, err)
}

#[test]
fn quiet_is_silent_when_all_is_well() {
    let (place, full, exports) = (Place::empty(), full(), exports());
    let table = ["--table", "shop.orders"];
    let lines: [&[&str]; 12] = [
        &["detect-schema", &full, "--key", "customer_id", "--output", "schema.json"],
        &[&["full-load", &full][..], &LOAD].concat(),
        &[&["full-load", &full][..], &LOAD].concat(),
        &[&["verify", &full][..], &table].concat(),
        &[&["incremental", &exports, "--dry-run"][..], &table].concat(),
        &[&["incremental", &exports][..], &table].concat(),
        &[&["incremental", &exports][..], &table].concat(),
        &[&["compact"][..], &table].concat(),
        &[&["expire"][..], &table].concat(),
        &[&["orphans"][..], &table].concat(),
        &[&["status", &exports][..], &table].concat(),
        &[&["catalog", "check", "--export", &exports][..], &table].concat(),
    ];
    for line in lines {
        for quiet in [[&["-q"][..], line].concat(), [line, &["--quiet"][..]].concat()] {
            // A warning: nothing reads this property.
            let mut command = place.command(&quiet);
            let output = command.env("PYICEBERG_CATALOG__DEFAULT__S3__ENDPIONT", "x").output().unwrap();
            assert_eq!(said(&output, &quiet, 0), (String::new(), String::new()), "{quiet:?}");
        }
        // What was asked for is printed.
        let (out, err) = place.expect(&[line, &["--format", "json", "-q"]].concat(), 0);
        assert!(serde_json::from_str::<Value>(&out).is_ok() && err.is_empty(), "{line:?}: {out} {err}");
    }
    let (out, err) = place.expect(&["detect-schema", &full, "-q"], 0);
    assert!(out.contains("\"attributes\"") && err.is_empty(), "{out} {err}");
}

#[test]
fn quiet_tells_errors_and_exit_codes() {
    let (place, full) = (Place::loaded(), full());
    for (line, code) in [
        (&["status", "--table", "shop.orders", "--max-lag", "1h"][..], 4),
        (&["status", "--table", "shop.other"], 1),
        (&["verify", "nowhere", "--table", "shop.orders"], 3),
        (&["full-load", &full, "--table", "shop.more", "--key", "nothing"], 2),
    ] {
        let (out, err) = place.expect(&[line, &["-q"]].concat(), code);
        assert!(out.is_empty() && err.starts_with("error: ") && err.lines().count() == 1, "{line:?}: {out} {err}");
    }
    let (_, err) = place.expect(&["status", "--table", "shop.orders", "--max-lag", "1h", "-q"], 4);
    assert!(err.contains(" days ago: ") && err.contains(" days more than --max-lag"), "{err}");
    assert!(!err.contains("seconds") && !err.contains(" 0 h"), "{err}");
}

#[test]
fn in_the_wrong_directory_the_catalog_is_named() {
    let (place, exports, full) = (Place::empty(), exports(), full());
    let file = place.0.path().canonicalize().unwrap().join("warehouse/catalog.db");
    let lines: [&[&str]; 6] =
        [&["incremental", &exports], &["status"], &["verify", &full], &["compact"], &["expire"], &["orphans"]];
    for line in lines {
        let (_, err) = place.expect(&[line, &["--table", "shop.orders"]].concat(), 1);
        let catalog = format!("in the catalog \"default\" in the SQLite file {}, which does not exist", file.display());
        assert!(err.contains(&format!("there is no table shop.orders {catalog}")), "{line:?}: {err}");
        assert!(err.contains("working directory") && err.contains("full-load"), "{err}");
    }
    let place = Place::loaded();
    for line in lines {
        let (_, err) = place.expect(&[line, &["--table", "shop.ordres"]].concat(), 1);
        assert!(err.contains("Did you mean \"shop.orders\"?") && !err.contains("does not exist"), "{line:?}: {err}");
    }
    let (_, err) = place.expect(&["status", "--table", "sales.Orders"], 1);
    assert!(err.contains("Did you mean \"shop.orders\"?"), "{err}");
    let (_, err) = place.expect(&["status", "--table", "a.b"], 1);
    assert!(!err.contains("Did you mean"), "{err}");
    // Another name of the catalog in the same file.
    let file = format!("uri=sqlite:///{}/warehouse/catalog.db", place.0.path().display());
    let other = ["--catalog", "prod", "--catalog-property", "type=sql", "--catalog-property", &file];
    let (_, err) = place.expect(&[&["status", "--table", "shop.orders"][..], &other].concat(), 1);
    assert!(err.contains("in the catalog \"prod\" in the SQLite file"), "{err}");
}

/// One rule: what the command line names, but for the export, is a matter of the command line (2); an export is input (3).
#[test]
fn what_is_missing_has_the_exit_code_of_what_named_it() {
    let (place, full) = (Place::loaded(), full());
    let new = ["--table", "shop.new"];
    let key = ["--key", "customer_id", "--key", "order_id"];
    let lines: [(&[&str], i32, &str); 12] = [
        (&[&["full-load", "nowhere"][..], &new, &key].concat(), 3, "nowhere"),
        (&["detect-schema", "nowhere"], 3, "nowhere"),
        (&["incremental", "nowhere", "--table", "shop.orders"], 3, "nowhere"),
        (&["verify", "nowhere", "--table", "shop.orders"], 3, "nowhere"),
        (&["status", "nowhere", "--table", "shop.orders"], 3, "nowhere"),
        (&[&["full-load", &full, "--schema", "none.json"][..], &new].concat(), 2, "no such schema file"),
        (&[&["full-load", &full, "--schema", "."][..], &new].concat(), 2, "the schema file cannot be read"),
        (&[&["full-load", &full, "--config", "none.yaml"][..], &new, &key].concat(), 2, "none.yaml"),
        (&["detect-schema", &full, "--key", "Customer_ID"], 2, "did you mean \"customer_id\"?"),
        (&[&["full-load", &full, "--key", "oder_id"][..], &new].concat(), 2, "did you mean \"order_id\"?"),
        (&["detect-schema", &full, "--key", "tags"], 2, "no key can have"),
        (&["detect-schema", &full, "--key", "coupon"], 3, "have no value for the key attribute"),
    ];
    for (line, code, words) in lines {
        let (_, err) = place.expect(line, code);
        assert!(err.contains(words), "{line:?}: {err}");
    }
}

#[test]
fn without_credentials_one_error_says_what_to_do() {
    let place = Place::empty();
    for line in [
        &["detect-schema", "s3://exports/AWSDynamoDB/01768385700000-5b0e41c7"][..],
        &["incremental", "s3://exports/AWSDynamoDB", "--table", "shop.orders", "--catalog-property", "type=glue"],
        &["catalog", "check", "-v", "--catalog-property", "type=glue", "--format", "json"],
    ] {
        for region in ["eu-west-1", "us-east-1"] {
            let output = place.command(line).env("AWS_REGION", region).output().unwrap();
            let (_, err) = said(&output, line, 1);
            assert!(err.contains("there are no usable AWS credentials"), "{line:?}: {err}");
            assert!(err.contains("AWS_ACCESS_KEY_ID") && err.contains("AWS_PROFILE"), "{err}");
            for dump in ["other", "WARN", "{", "Provider", "Attempted", "dispatch failure"] {
                assert!(!err.contains(dump), "{line:?}: {dump} in {err}");
            }
            assert_eq!(err.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{err}");
        }
    }
}

/// Nobody listens at port 1.
#[test]
fn a_server_that_is_not_reached_is_named() {
    let place = Place::empty();
    let keys = ["client.region=eu-west-1", "client.access-key-id=AKIA", "client.secret-access-key=hush"];
    let status: &[&str] = &["status", "--table", "shop.orders"];
    let detect: &[&str] = &["detect-schema", "s3://exports/AWSDynamoDB/01768385700000-5b0e41c7"];
    for (line, properties, words) in [
        (
            status,
            &["type=glue", "glue.endpoint=http://127.0.0.1:1/", "glue.max-retries=0"][..],
            "Glue was not reached at http://127.0.0.1:1 (region eu-west-1)",
        ),
        (
            detect,
            &["s3.endpoint=http://127.0.0.1:1", "s3.retry.num-retries=0"],
            "S3 was not reached at http://127.0.0.1:1 (region eu-west-1)",
        ),
        (status, &["type=rest", "uri=http://127.0.0.1:1/"], "http://127.0.0.1:1/v1"),
        (status, &["uri=postgresql://me:hush@127.0.0.1:1/lake"], "127.0.0.1:1/lake"),
    ] {
        let mut arguments = line.to_vec();
        for property in keys.iter().chain(properties) {
            arguments.extend(["--catalog-property", property]);
        }
        let (_, err) = place.expect(&arguments, 1);
        assert!(err.contains(words) && !err.contains("hush"), "{words}: {err}");
        // Besides that keys were typed.
        assert_eq!(err.lines().filter(|line| !line.contains("WARN")).count(), 1, "{err}");
    }
}

/// What the documents schedule: nothing to hear of a run that is well, and files beside the catalog as before.
#[test]
fn the_scheduled_line_mails_only_trouble() {
    let (place, exports) = (Place::loaded(), exports());
    let line = ["incremental", &exports, "--table", "shop.orders", "--quiet"];
    for _ in 0..2 {
        assert_eq!(place.expect(&line, 0), (String::new(), String::new()));
    }
    let elsewhere = Place::empty();
    let (out, err) = elsewhere.expect(&line, 1);
    assert!(out.is_empty() && err.contains("which does not exist"), "{out} {err}");
    assert!(!Path::exists(&elsewhere.0.path().join("warehouse")), "looking makes nothing");
}
