//! Secrets that others on this machine can read or replace: on the command line, and in the configuration file.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ddb_iceberg::catalog::property;

use super::yaml::{Map, Node};

/// Write permission of the group and of others.
const OTHERS: u32 = 0o022;

/// The warning about secrets on the command line.
pub(crate) fn typed(catalog: &str, typed: &BTreeMap<String, String>) -> Option<String> {
    let keys: Vec<&str> =
        typed.iter().filter(|(key, value)| property::holds_secret(key, value)).map(|(key, _)| key.as_str()).collect();
    let variables: Vec<String> = keys.iter().map(|key| variable(catalog, key)).collect();
    (!keys.is_empty()).then(|| {
        format!(
            "--catalog-property {}: what is typed stands in the list of processes, for all users of this machine to read; \
             set {} in the environment, or write it into .pyiceberg.yaml",
            keys.join(", "),
            variables.join(", ")
        )
    })
}

/// The warning about a file with secrets that others can write: they decide where the secrets are sent.
pub(crate) fn in_file(path: &Path, content: &Map) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    let has_secret = match content.get("catalog") {
        Some(Node::Map(catalogs)) => catalogs.values().any(|catalog| holds_secret("", catalog)),
        _ => false,
    };
    (mode & OTHERS != 0 && has_secret).then(|| {
        let path = path.display();
        format!(
            "{path} holds secrets, and others than its owner can write it (mode {mode:o}), and so decide where they are sent; \
             run chmod 600 {path}"
        )
    })
}

fn holds_secret(key: &str, node: &Node) -> bool {
    match node {
        Node::Text(value) => property::holds_secret(key, value),
        Node::Map(entries) => entries.iter().any(|(name, node)| {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            holds_secret(&key, node)
        }),
        Node::Other => false,
    }
}

/// The variable for a property.
fn variable(catalog: &str, key: &str) -> String {
    let spelled = |name: &str| name.replace('.', "__").replace('-', "_").to_uppercase();
    format!("PYICEBERG_CATALOG__{}__{}", spelled(catalog), spelled(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_told_with_the_way_out() {
        let map = |entries: &[(&str, &str)]| entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let said =
            typed("lake-1", &map(&[("s3.secret-access-key", "hush"), ("uri", "http://h"), ("token", "x")])).unwrap();
        assert!(said.starts_with("--catalog-property s3.secret-access-key, token: "), "{said}");
        assert!(
            said.contains("PYICEBERG_CATALOG__LAKE_1__S3__SECRET_ACCESS_KEY, PYICEBERG_CATALOG__LAKE_1__TOKEN"),
            "{said}"
        );
        assert!(typed("c", &map(&[("uri", "postgresql://me:hush@h/d")])).unwrap().contains("--catalog-property uri:"));
        assert!(typed("c", &map(&[("uri", "postgresql://h/d?user=me&password=hush")])).is_some());
        for plain in [("uri", "postgresql://me@h/d"), ("warehouse", "s3://b:c@d"), ("s3.region", "x"), ("token", "")] {
            assert_eq!(typed("c", &map(&[plain])), None, "{plain:?}");
        }
    }
}
