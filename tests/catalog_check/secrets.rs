//! No secret is in any output, however it was given and whatever becomes of it.

use std::fs;

use crate::program::{Run, Site, put, simple, window};

/// Property and value. Port 1 answers nobody.
const SECRETS: [(&str, &str); 16] = [
    ("token", "hush-hush"),
    ("credential", "id:hush-hush"),
    ("header.Authorization", "Bearer hush-hush"),
    ("header.X-Api-Key", "hush-hush"),
    ("auth.basic.password", "hush-hush"),
    ("rest.access-key-secret", "hush-hush"),
    ("s3.access-key-id", "AKIAhush-hush"),
    ("s3.secret-access-key", "hush-hush"),
    ("s3.session-token", "hush-hush"),
    ("client.secret-access-key", "hush-hush"),
    ("glue.secret-access-key", "hush-hush"),
    ("export.s3.secret-access-key", "hush-hush"),
    ("s3.proxy-uri", "http://me:hush-hush@127.0.0.1:1"),
    ("uri", "postgresql://me:hush-hush@127.0.0.1:1/db"),
    ("uri", "postgresql://127.0.0.1:1/db?user=me&password=hush-hush"),
    ("uri", "postgresql+psycopg2://me:hush#-/@hush@127.0.0.1:1/db"),
];

fn variable(property: &str) -> String {
    format!("PYICEBERG_CATALOG__DEFAULT__{}", property.to_uppercase().replace('.', "__").replace('-', "_"))
}

#[track_caller]
fn is_hushed(run: &Run, what: &str) {
    assert!(!run.stdout.contains("hush") && !run.stderr.contains("hush"), "{what}:\n{}\n{}", run.stdout, run.stderr);
    assert!(!run.stderr.contains("panicked"), "{what}: {}", run.stderr);
}

#[test]
fn however_a_secret_is_given_no_output_has_it() {
    let site = Site::loaded(vec![simple("a", 1)], &["pk"]);
    let export = window(0, 15).files([vec![put("a", 2)]]).write(site.bucket());
    let export = export.to_str().unwrap();
    let load = ["incremental", export, "--table", "shop.orders", "--dry-run"];
    let check = ["catalog", "check", "--table", "shop.orders", "--export", export];
    for (number, (property, value)) in SECRETS.into_iter().enumerate() {
        let typed = format!("{property}={value}");
        let joined = format!("--catalog-property={typed}");
        let file = format!("config-{number}.yaml");
        fs::write(site.path().join(&file), format!("catalog:\n  default:\n    {property}: {value:?}\n")).unwrap();
        for command in [&load[..], &check] {
            for more in [&["--format", "json"][..], &["--format", "text"], &["-vvv"]] {
                let all: Vec<&str> = [command, more].concat();
                // On the command line, behind the command and before it.
                is_hushed(&site.plain(&[&all, &["--catalog-property", &typed][..]].concat()), &typed);
                // In a file, and in a variable.
                is_hushed(&site.plain(&[&all, &["--config", &file][..]].concat()), &typed);
                let mut with_variable = site.command(&all);
                with_variable.env(variable(property), value);
                is_hushed(&Run::of(with_variable.output().unwrap()), &typed);
            }
            is_hushed(&site.plain(&[&[joined.as_str()], command].concat()), &typed);
        }
        // Typed wrongly.
        for wrong in [
            &[typed.as_str()][..],
            &["--catalog-propery", &typed],
            &[&joined.replace("property", "propery")],
            &["--token", &typed],
            &["--threads", &typed],
            &["--format", "json", "--fly", &typed],
        ] {
            let run = site.plain(&[&["detect-schema", "x"], wrong].concat());
            assert_eq!(run.code, 2, "{wrong:?}: {}", run.stderr);
            is_hushed(&run, &typed);
        }
    }
}

#[test]
fn secrets_in_a_broken_file_are_not_quoted() {
    let site = Site::new();
    for broken in [
        "catalog:\n  default:\n    token: hush\n   uri: [hush\n",
        "catalog: hush\n",
        "catalog:\n  default: hush\n",
        "catalog:\n  default:\n    token: [hush]\n",
        "hush",
    ] {
        fs::write(site.path().join("broken.yaml"), broken).unwrap();
        for format in ["json", "text"] {
            let run = site.plain(&["catalog", "check", "-vvv", "--config", "broken.yaml", "--format", format]);
            assert_eq!(run.code, 2, "{broken}: {}", run.stderr);
            is_hushed(&run, broken);
        }
    }
}

#[test]
fn the_check_says_where_a_property_is_from_and_hides_its_value() {
    let site = Site::new();
    fs::write(
        site.path().join("c.yaml"),
        "catalog:\n  default:\n    token: hush\n    echo: \"true\"\n    colour: red\n",
    )
    .unwrap();
    let mut command =
        site.command(&["catalog", "check", "--config", "c.yaml", "--warehouse", "w", "--format", "json", "--dry-run"]);
    command.env("PYICEBERG_CATALOG__DEFAULT__S3__SECRET_ACCESS_KEY", "hush");
    command.env("PYICEBERG_CATALOG__DEFAULT__S3__ACCESS_KEY_ID", "hush");
    let run = Run::of(command.output().unwrap()).expect_check(0);
    is_hushed(&run, "all");
    let settings: Vec<_> = run.report["settings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| {
            (
                s["property"].as_str().unwrap(),
                s["value"].as_str().unwrap(),
                s["from"].as_str().unwrap().rsplit('/').next().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        settings,
        [
            ("colour", "red", "c.yaml"),
            ("echo", "true", "c.yaml"),
            ("s3.access-key-id", "***", "PYICEBERG_CATALOG__DEFAULT__S3__ACCESS_KEY_ID"),
            ("s3.secret-access-key", "***", "PYICEBERG_CATALOG__DEFAULT__S3__SECRET_ACCESS_KEY"),
            ("token", "***", "c.yaml"),
            ("warehouse", "w", "--warehouse"),
        ]
    );
    assert!(run.warnings().contains("colour"), "a warning: another program may know it");
    assert_eq!(site.files().keys().collect::<Vec<_>>(), ["bucket/", "c.yaml"], "a dry run makes nothing");
}

/// The warnings of a check of a catalog at an address where nobody is.
fn warned(site: &Site, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = site.command(&[&["catalog", "check", "--format", "json"], arguments].concat());
    for (property, value) in variables {
        command.env(variable(property), value);
    }
    let run = Run::of(command.output().unwrap());
    is_hushed(&run, "a warning");
    run.warnings()
}

#[test]
fn a_secret_that_others_can_read_or_send_elsewhere_is_told() {
    use std::os::unix::fs::PermissionsExt as _;

    let site = Site::new();
    let local = ("uri", "sqlite:///c.db");
    // In the list of processes.
    let said = warned(&site, &["--catalog-property", "s3.session-token=hush-hush", "--warehouse", "w"], &[local]);
    assert!(said.contains("--catalog-property s3.session-token") && said.contains("list of processes"), "{said}");
    assert!(said.contains("PYICEBERG_CATALOG__DEFAULT__S3__SESSION_TOKEN"), "{said}");
    let said = warned(&site, &["--catalog-property", "uri=postgresql://me:hush@127.0.0.1:1/d"], &[]);
    assert!(said.contains("--catalog-property uri"), "{said}");
    let said = warned(&site, &["--catalog-property", "s3.region=x", "--warehouse", "w"], &[local, ("token", "hush")]);
    assert_eq!(said, "[]");

    // In a file that others can write, whichever of its catalogs is meant.
    let path = site.path().join("c.yaml");
    let with = "catalog:\n  other:\n    s3:\n      secret-access-key: hush\n";
    for (text, mode, is_told) in [
        (with, 0o666, true),
        (with, 0o602, true),
        (with, 0o664, true),
        (with, 0o644, false),
        (with, 0o600, false),
        ("catalog:\n  other:\n    uri: http://h\n", 0o666, false),
    ] {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let said = warned(&site, &["--config", "c.yaml", "--warehouse", "w"], &[local]);
        assert_eq!(
            said.contains(&format!("c.yaml holds secrets, and others than its owner can write it (mode {mode:o})")),
            is_told,
            "{mode:o}: {said}"
        );
        assert_eq!(said.contains("chmod 600"), is_told, "{said}");
    }

    // On the way. The name has no address, so nothing is sent.
    let remote = "http://catalog.invalid/api";
    let said = warned(&site, &[], &[("uri", remote), ("token", "hush-hush")]);
    assert_eq!(said.matches("http://").count(), 1, "one warning: {said}");
    assert!(said.contains("the catalog's uri is http://: token can be read"), "{said}");
    let said = warned(
        &site,
        &["--warehouse", "w"],
        &[local, ("s3.endpoint", remote), ("s3.secret-access-key", "hush"), ("s3.access-key-id", "hush")],
    );
    assert!(said.contains("s3.endpoint is http://"), "{said}");
    for (uri, more) in [
        ("http://127.0.0.1:1", ("token", "hush")),
        (remote, ("s3.region", "x")),
        ("https://catalog.invalid", ("token", "hush")),
    ] {
        assert_eq!(warned(&site, &[], &[("uri", uri), more]), "[]", "{uri}");
    }

    // Other commands say it on stderr: their results are about tables.
    let mut command =
        site.command(&["status", "--table", "a.t", "--format", "json", "--catalog-property", "token=hush-hush"]);
    command.env(variable("uri"), "sqlite:///c.db");
    let run = Run::of(command.output().unwrap());
    assert_eq!((run.stderr.matches("list of processes").count(), run.warnings().as_str()), (1, "[]"), "{}", run.stderr);

    // As text they are for people, and not for those who want none.
    for (quiet, is_told) in [(&[][..], true), (&["--quiet"], false)] {
        let arguments = [
            "catalog",
            "check",
            "--catalog-property",
            "token=hush-hush",
            "--catalog-property",
            "uri=sqlite:///c.db",
            "--warehouse",
            "w",
        ];
        let run = site.plain(&[&arguments[..], quiet].concat());
        assert_eq!(run.stderr.contains("list of processes"), is_told, "{}", run.stderr);
    }
}
