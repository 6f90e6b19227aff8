//! Catalog configuration, with PyIceberg's files, variables and key names.
//!
//! Sources, from lowest to highest precedence, for each key:
//!
//! 1. one file: `--config`, otherwise the first `.pyiceberg.yaml` that is not empty, in `$PYICEBERG_HOME`, the home
//!    folder, the working directory;
//! 2. variables `PYICEBERG_CATALOG__<NAME>__<KEY>`: lower-cased, `_` is `-`, and in KEY `__` is `.`;
//! 3. `--catalog-property KEY=VALUE`;
//! 4. `--warehouse URI`.
//!
//! The catalog's name: `--catalog`, otherwise `PYICEBERG_DEFAULT_CATALOG`, the file's `default-catalog`, or `default`.
//! As in PyIceberg, names in files and variables are case-insensitive, and every value is text: `0123` stays `0123`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use ddb_iceberg::catalog::property;
use ddb_iceberg::error::{Error, Result};

use super::exposed;
use super::yaml::{self, Map, Node};

/// The file's name in each of these folders.
pub const FILE_NAME: &str = ".pyiceberg.yaml";
/// Maximum size of a configuration file.
const MAX_FILE: u64 = 1 << 20;
const DEFAULT: &str = "default";

/// The arguments.
#[derive(Clone, Default)]
pub struct Options {
    /// `--catalog NAME`.
    pub catalog: Option<String>,
    /// `--catalog-property KEY=VALUE`, as typed.
    pub properties: Vec<String>,
    /// `--warehouse URI`.
    pub warehouse: Option<String>,
    /// `--config FILE`.
    pub config: Option<PathBuf>,
}

/// The environment of the process.
#[derive(Clone, Default)]
pub struct Environment {
    /// The variables.
    pub variables: BTreeMap<String, String>,
    /// The working directory.
    pub folder: PathBuf,
}

impl Environment {
    /// The environment of this process. Variables that are not UTF-8 are ignored.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { variables, folder: std::env::current_dir().unwrap_or_default() }
    }

    fn folder_in(&self, variable: &str) -> Option<PathBuf> {
        self.variables.get(variable).filter(|value| !value.is_empty()).map(|value| self.folder.join(value))
    }
}

/// The name and properties of a catalog, ready for [`connect`](crate::catalog::connect::connect).
#[derive(Clone, PartialEq, Eq)]
pub struct CatalogConfig {
    /// The catalog's name.
    pub name: String,
    /// Its properties; no value is empty.
    pub properties: BTreeMap<String, String>,
    /// The source of each property: the name of a variable, an option, or the file.
    pub sources: BTreeMap<String, String>,
    /// The configuration file that was read.
    pub file: Option<PathBuf>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// Warnings about secrets that others can read, or that are sent elsewhere. They change no result.
    pub exposed: Vec<String>,
}

impl fmt::Debug for CatalogConfig {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: BTreeMap<_, _> = self.properties.iter().map(|(k, v)| (k, property::shown(k, v))).collect();
        f.debug_struct("CatalogConfig")
            .field("name", &self.name)
            .field("properties", &properties)
            .field("file", &self.file)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// Combines the configuration's sources; reads at most one file.
///
/// Errors: [`Kind::Usage`](ddb_iceberg::error::Kind::Usage) for a file that can't be read, a catalog that is not
/// configured, and an unknown property on the command line. In a file or a variable the latter is a warning, since
/// another program may know the property.
pub fn load(options: &Options, environment: &Environment) -> Result<CatalogConfig> {
    let typed = typed_properties(options)?;
    let (file, mut root) = match &options.config {
        Some(path) => (Some(path.clone()), read(&environment.folder.join(path))?.unwrap_or_default()),
        None => find(environment)?,
    };
    let mut warnings = Vec::new();
    let mut exposed = Vec::new();
    exposed.extend(file.as_ref().and_then(|file| exposed::in_file(&environment.folder.join(file), &root)));
    let variables = apply_variables(&mut root, environment, &mut warnings);

    let in_file = |error: Error| match &file {
        Some(file) => error.in_file(file.display().to_string()),
        None => error,
    };
    let named = match root.remove("default-catalog") {
        None => None,
        Some(Node::Text(name)) => Some(name).filter(|name| !name.is_empty()),
        Some(_) => return Err(in_file(Error::usage("default-catalog is not the name of a catalog"))),
    };
    let explicit = options.catalog.is_some() || named.is_some();
    let name = options.catalog.clone().or(named).unwrap_or_else(|| DEFAULT.to_owned());
    if name.is_empty() {
        return Err(Error::usage("the catalog's name is empty"));
    }

    let mut catalogs = match root.remove("catalog") {
        None => Map::new(),
        Some(Node::Map(catalogs)) => catalogs,
        Some(Node::Text(text)) if text.is_empty() => Map::new(),
        Some(_) => return Err(in_file(Error::usage("\"catalog\" does not hold catalogs by name"))),
    };
    let mut properties = BTreeMap::new();
    match catalogs.remove(&name.to_lowercase()) {
        Some(Node::Map(entries)) => flatten("", entries, &mut properties)
            .map_err(|key| in_file(Error::usage(format!("catalog.{}.{key} is not a text", name.to_lowercase()))))?,
        Some(Node::Text(text)) if text.is_empty() => {}
        Some(_) => {
            return Err(in_file(Error::usage(format!("catalog.{} does not hold properties", name.to_lowercase()))));
        }
        None if explicit && name != DEFAULT && typed.is_empty() && options.warehouse.is_none() => {
            let known: Vec<&str> = catalogs.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none is".to_owned() } else { format!("there is {}", known.join(", ")) };
            return Err(in_file(Error::usage(format!("no catalog {name:?} is configured; {known}"))).advice(format!(
                "Write it into {FILE_NAME}, set PYICEBERG_CATALOG__<NAME>__<KEY>, or give --catalog-property or --warehouse"
            )));
        }
        None => {}
    }
    let lower = name.to_lowercase();
    let mut sources = BTreeMap::new();
    for key in properties.keys() {
        let variable = variables.get(&(lower.clone(), key.clone())).cloned();
        let source = variable.or_else(|| file.as_ref().map(|file| file.display().to_string())).unwrap_or_default();
        if let Some(message) = property::unknown(key) {
            warnings.push(format!("configuration of catalog {name:?} in {source}: {message}"));
        }
        sources.insert(key.clone(), source);
    }
    exposed.extend(exposed::typed(&name, &typed));
    sources.extend(typed.keys().map(|key| (key.clone(), "--catalog-property".to_owned())));
    properties.extend(typed);
    if let Some(warehouse) = &options.warehouse {
        if warehouse.is_empty() {
            return Err(Error::usage("--warehouse is empty"));
        }
        properties.insert("warehouse".to_owned(), warehouse.clone());
        sources.insert("warehouse".to_owned(), "--warehouse".to_owned());
    }
    properties.retain(|_, value| !value.is_empty());
    sources.retain(|key, _| properties.contains_key(key));
    property::remember(&properties);
    exposed.extend(property::unencrypted(&properties));
    Ok(CatalogConfig { name, properties, sources, file, warnings, exposed })
}

fn typed_properties(options: &Options) -> Result<BTreeMap<String, String>> {
    let mut properties = BTreeMap::new();
    for typed in &options.properties {
        // The argument is not repeated as a whole: it may be a secret without its key.
        let Some((key, value)) = typed.split_once('=') else {
            return Err(
                Error::usage("--catalog-property has no \"=\" in it").advice("Write --catalog-property KEY=VALUE")
            );
        };
        let key = key.trim();
        if let Some(message) = property::unknown(key) {
            return Err(Error::usage(format!("--catalog-property: {message}")));
        }
        if properties.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(Error::usage(format!("--catalog-property {key} is given twice")));
        }
    }
    Ok(properties)
}

/// The first file that is not empty.
fn find(environment: &Environment) -> Result<(Option<PathBuf>, Map)> {
    let folders =
        [environment.folder_in("PYICEBERG_HOME"), environment.folder_in("HOME"), Some(environment.folder.clone())];
    for path in folders.into_iter().flatten().map(|folder| folder.join(FILE_NAME)) {
        if !path.is_file() {
            continue;
        }
        if let Some(root) = read(&path)? {
            return Ok((Some(path), root));
        }
    }
    Ok((None, Map::new()))
}

/// The content of a file, or `None` if it is empty.
fn read(path: &Path) -> Result<Option<Map>> {
    let here = |error: Error| error.in_file(path.display().to_string());
    let failure = |e: std::io::Error| here(Error::usage("the configuration can't be read").caused_by(e));
    let kind = std::fs::metadata(path).map_err(failure)?.file_type();
    // Opening a pipe would wait for its writer.
    if kind.is_fifo() || kind.is_socket() {
        return Err(here(Error::usage("the configuration is a pipe or a socket, not a file")));
    }
    let mut text = String::new();
    std::fs::File::open(path).map_err(failure)?.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failure)?;
    if text.len() as u64 > MAX_FILE {
        return Err(here(Error::usage("this is too large for a configuration file")));
    }
    yaml::parse(&text).map_err(|refused| here(Error::usage(refused.why)).on_line(refused.line))
}

/// Nested keys are joined by dots: `s3: {region: x}` is `s3.region`. The error is the key of a value that is not text.
fn flatten(prefix: &str, entries: Map, into: &mut BTreeMap<String, String>) -> std::result::Result<(), String> {
    for (key, node) in entries {
        let key = format!("{prefix}{key}");
        match node {
            Node::Text(text) => drop(into.insert(key, text)),
            Node::Map(entries) => flatten(&format!("{key}."), entries, into)?,
            Node::Other => return Err(key),
        }
    }
    Ok(())
}

/// Applies `PYICEBERG_DEFAULT_CATALOG` and `PYICEBERG_CATALOG__NAME__KEY` over the file's content. Returns the variable
/// of each catalog and property.
fn apply_variables(
    root: &mut Map,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> BTreeMap<(String, String), String> {
    let mut said = BTreeMap::new();
    for (variable, value) in &environment.variables {
        let lower = variable.to_lowercase();
        let Some(key) = lower.strip_prefix("pyiceberg_") else { continue };
        let parts: Vec<String> = key.splitn(3, "__").map(|part| part.replace("__", ".").replace('_', "-")).collect();
        match parts.as_slice() {
            [only] if only == "default-catalog" => {
                root.insert(only.clone(), Node::Text(value.clone()));
            }
            [first, catalog, key] if first == "catalog" && !catalog.is_empty() && !key.is_empty() => {
                let Node::Map(catalogs) = map_in(root, first) else { continue };
                if let Node::Map(properties) = map_in(catalogs, catalog) {
                    properties.insert(key.clone(), Node::Text(value.clone()));
                    said.insert((catalog.clone(), key.clone()), variable.clone());
                }
            }
            [first, ..] if first == "catalog" => {
                warnings.push(format!("{variable} is ignored: write PYICEBERG_CATALOG__<NAME>__<KEY>"));
            }
            _ => {}
        }
    }
    said
}

/// The entry, as a map if it was missing or empty; a list is kept, and refused where it matters.
fn map_in<'a>(map: &'a mut Map, key: &str) -> &'a mut Node {
    let node = map.entry(key.to_owned()).or_insert_with(|| Node::Map(Map::new()));
    if matches!(node, Node::Text(text) if text.is_empty()) {
        *node = Node::Map(Map::new());
    }
    node
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
