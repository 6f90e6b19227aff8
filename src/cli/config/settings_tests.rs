#[path = "../../../tests/common/mutation.rs"]
mod mutation;

use ddb_iceberg::error::Kind;

use super::*;

fn environment(folder: &Path, variables: &[(&str, &str)]) -> Environment {
    let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Environment { variables, folder: folder.to_owned() }
}

fn properties(config: &CatalogConfig) -> Vec<(&str, &str)> {
    config.properties.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()
}

fn write(folder: &Path, text: &str) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(FILE_NAME), text).unwrap();
}

fn usage(result: Result<CatalogConfig>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage, "{error}");
    error.to_string()
}

#[test]
fn nothing_configured_is_the_catalog_default() {
    let folder = tempfile::tempdir().unwrap();
    let config = load(&Options::default(), &environment(folder.path(), &[])).unwrap();
    assert_eq!((config.name.as_str(), config.properties.len(), config.file), ("default", 0, None));
}

#[test]
fn the_first_file_that_says_anything_counts_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let text = |n: &str| format!("catalog:\n  default:\n    warehouse: {n}\n");
    let places = [("PYICEBERG_HOME", "first"), ("HOME", "second")];
    let here = environment(
        &at("third"),
        &places.map(|(v, name)| (v, at(name).to_str().unwrap().to_owned())).each_ref().map(|(v, p)| (*v, p.as_str())),
    );
    let read = || load(&Options::default(), &here).unwrap().properties.remove("warehouse");

    write(&at("third"), &text("third"));
    assert_eq!(read().as_deref(), Some("third"));
    write(&at("second"), &text("second"));
    assert_eq!(read().as_deref(), Some("second"));
    write(&at("first"), "# nothing yet\n");
    assert_eq!(read().as_deref(), Some("second"));
    write(&at("first"), "catalog:\n  default:\n    uri: sqlite:///x.db\n");
    assert_eq!(read(), None, "files are not mixed");

    std::fs::write(at("given.yaml"), text("given")).unwrap();
    let options = Options { config: Some(at("given.yaml")), ..Options::default() };
    let config = load(&options, &here).unwrap();
    assert_eq!(properties(&config), [("warehouse", "given")]);
    assert_eq!(config.file, Some(at("given.yaml")));
}

#[test]
fn stronger_places_win_key_by_key() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "catalog:\n  PROD:\n    Type: sql\n    uri: a\n    warehouse: a\n    s3.region: a\n    s3.endpoint: a\n    token: a\n",
    );
    let env = environment(
        folder.path(),
        &[
            ("PYICEBERG_CATALOG__PROD__URI", "b"),
            ("pyiceberg_catalog__prod__s3__access_key_id", "b"),
            ("PYICEBERG_CATALOG__PROD__S3__REGION", "b"),
            ("PYICEBERG_CATALOG__PROD__WAREHOUSE", "b"),
            ("PYICEBERG_CATALOG__PROD__TOKEN", ""),
            ("PYICEBERG_CATALOG__OTHER__URI", "x"),
            ("PYICEBERG_MAX_WORKERS", "8"),
        ],
    );
    let options = Options {
        catalog: Some("Prod".to_owned()),
        properties: vec!["s3.region=c".to_owned(), "warehouse=c".to_owned(), "credential=id:a=b".to_owned()],
        warehouse: Some("d".to_owned()),
        config: None,
    };
    let config = load(&options, &env).unwrap();
    assert_eq!(config.name, "Prod", "the name is used as typed");
    assert_eq!(
        properties(&config),
        [
            ("credential", "id:a=b"),
            ("s3.access-key-id", "b"),
            ("s3.endpoint", "a"),
            ("s3.region", "c"),
            ("type", "sql"),
            ("uri", "b"),
            ("warehouse", "d"),
        ]
    );
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn values_are_text_as_written() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "catalog:\n  default:\n    token: 00123\n    credential: 1e10\n    s3.path-style-access: True\n    s3.region: ~\n    uri:\n    \
         s3: {endpoint: 1.10, session-token: \"a: b\"}\n    scope: 0x1F\n",
    );
    let config = load(&Options::default(), &environment(folder.path(), &[])).unwrap();
    assert_eq!(
        properties(&config),
        [
            ("credential", "1e10"),
            ("s3.endpoint", "1.10"),
            ("s3.path-style-access", "True"),
            ("s3.region", "~"),
            ("s3.session-token", "a: b"),
            ("scope", "0x1F"),
            ("token", "00123"),
        ]
    );
}

#[test]
fn the_catalogs_name_comes_from_the_strongest_place() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "default-catalog: one\ncatalog:\n  one: {uri: 1}\n  two: {uri: 2}\n  three: {uri: 3}\n");
    let variable = environment(folder.path(), &[("PYICEBERG_DEFAULT_CATALOG", "two")]);
    let typed = Options { catalog: Some("three".to_owned()), ..Options::default() };
    let none = Options::default();
    assert_eq!(load(&none, &environment(folder.path(), &[])).unwrap().name, "one");
    assert_eq!(load(&none, &variable).unwrap().name, "two");
    assert_eq!(properties(&load(&typed, &variable).unwrap()), [("uri", "3")]);
}

#[test]
fn a_catalog_that_is_nowhere_configured_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "catalog:\n  prod: {uri: x}\n  test: {uri: y}\n");
    let env = environment(folder.path(), &[]);
    let mut options = Options { catalog: Some("prd".to_owned()), ..Options::default() };
    let said = usage(load(&options, &env));
    assert!(said.contains("no catalog \"prd\" is configured; there is prod, test"), "{said}");
    assert!(said.contains(FILE_NAME), "{said}");
    options.warehouse = Some("w".to_owned());
    assert_eq!(properties(&load(&options, &env).unwrap()), [("warehouse", "w")]);
    options = Options { catalog: Some("default".to_owned()), ..Options::default() };
    assert!(load(&options, &env).unwrap().properties.is_empty());
}

#[test]
fn unknown_keys_are_errors_where_typed_and_warnings_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "catalog:\n  default:\n    tpye: sql\n");
    let env = environment(folder.path(), &[]);
    let config = load(&Options::default(), &env).unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].contains("did you mean \"type\"?"), "{:?}", config.warnings);

    for (typed, expected) in
        [("tpye=sql", "did you mean \"type\"?"), ("hush", "no \"=\""), ("=hush", "no catalog property \"\"")]
    {
        let options = Options { properties: vec![typed.to_owned()], ..Options::default() };
        let said = usage(load(&options, &env));
        assert!(said.contains(expected) && !said.contains("hush"), "{said}");
    }
    let options = Options { properties: vec!["uri=a".to_owned(), "uri=b".to_owned()], ..Options::default() };
    assert!(usage(load(&options, &env)).contains("twice"));
}

#[test]
fn a_broken_file_names_its_place_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("catalog:\n  default:\n    token: hush\n   uri: x\n", ":"),
        ("catalog:\n  default: [hush]\n", "catalog.default does not hold properties"),
        ("catalog:\n  default: hush\n", "catalog.default does not hold properties"),
        ("catalog:\n  default:\n    token: [hush]\n", "catalog.default.token is not a text"),
        ("catalog:\n  default:\n    s3: {session-token: [hush]}\n", "catalog.default.s3.session-token is not a text"),
        ("catalog: hush\n", "\"catalog\" does not hold catalogs"),
        ("default-catalog: [hush]\n", "default-catalog is not"),
        ("hush\n", "no keys"),
        ("a: &a [*a]\n", "aliases"),
        ("catalog:\n  default: &hush {}\n  other: *hush\n", "aliases"),
        ("\tcatalog: hush", "\"catalog\" does not hold catalogs"),
        ("catalog: {\n", "not YAML"),
    ] {
        write(folder.path(), text);
        let said = usage(load(&Options::default(), &environment(folder.path(), &[])));
        assert!(said.contains(expected) && said.contains(FILE_NAME) && !said.contains("hush"), "{text:?}: {said}");
    }
    write(folder.path(), "catalog:\n  default:\n    token: \"hush\n");
    let error = load(&Options::default(), &environment(folder.path(), &[])).unwrap_err();
    assert!(error.line().is_some(), "{error}");

    std::fs::write(folder.path().join(FILE_NAME), [0xff, 0xfe]).unwrap();
    usage(load(&Options::default(), &environment(folder.path(), &[])));
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let options = Options { config: Some(pipe), ..Options::default() };
    assert!(usage(load(&options, &environment(folder.path(), &[]))).contains("not a file"));
    let options = Options { config: Some(PathBuf::from("/dev/null")), ..Options::default() };
    assert!(load(&options, &environment(folder.path(), &[])).is_ok());
    let options = Options { config: Some(PathBuf::from("missing.yaml")), ..Options::default() };
    assert!(usage(load(&options, &environment(folder.path(), &[]))).contains("missing.yaml"));
}

#[test]
fn debug_shows_no_secret() {
    let options = Options {
        properties: vec!["token=hush".to_owned(), "uri=postgresql://me:hush@h/db".to_owned()],
        ..Options::default()
    };
    let config = load(&options, &environment(Path::new("/nowhere"), &[])).unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains("hush") && shown.contains("***") && shown.contains("@h/db"), "{shown}");
}

/// Whatever the file holds: no panic, exit 2, and no end that is far away.
#[test]
fn files_of_any_content() {
    let words = [
        "catalog:\n",
        "  default:\n",
        "    warehouse: ",
        "default-catalog: ",
        "&a ",
        "*a",
        "<<: ",
        "!!binary ",
        "!x ",
        "{",
        "}",
        "[",
        "]",
        "? ",
        "- ",
        "|\n  ",
        "\"\\u0000\"",
        "---\n",
        "%YAML 1.2\n",
        "~",
        "s3.",
        ".inf",
        "0x1F",
    ];
    let folder = tempfile::tempdir().unwrap();
    let here = environment(folder.path(), &[]);
    mutation::Target { name: "config", cases: 8_000, words: &words }.run(|bytes| {
        // Some file systems sync a file that is written over.
        let _ = std::fs::remove_file(folder.path().join(FILE_NAME));
        std::fs::write(folder.path().join(FILE_NAME), bytes).unwrap();
        match load(&Options::default(), &here) {
            Ok(config) => {
                assert!(config.properties.values().all(|value| !value.is_empty()), "{config:?}");
                format!("{} properties, {} warnings", config.properties.len(), config.warnings.len())
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::Usage, "{error}");
                error.to_string().replace(folder.path().to_str().unwrap(), "")
            }
        }
    });
}
