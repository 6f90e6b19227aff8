//! The floors of `src/lib.rs`: a module imports only from floors below its own, or its own.
//!
//! The rule is read off the table in the crate's documentation, so that the table stays true.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Floor by module.
type Floors = BTreeMap<String, u32>;

/// Where arguments are read and exit codes are made; not part of the library, so not in its table.
const TOP: [(&str, u32); 2] = [("main", 6), ("cli", 6)];

#[test]
fn no_module_imports_from_a_floor_above_its_own() {
    let floors = floors(&read("src/lib.rs"));
    let mut sources = Vec::new();
    collect(&root().join("src"), &mut sources);
    assert!(sources.len() > 10, "the sources were not found");
    let wrong: Vec<String> = sources.iter().flat_map(|(path, text)| violations(&floors, path, text)).collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_table_lists_every_module() {
    let library = read("src/lib.rs");
    let floors = floors(&library);
    for line in library.lines().map(str::trim) {
        let module = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ").and_then(|m| m.strip_suffix(';'));
        if let Some(module) = module {
            assert!(floors.contains_key(module), "module {module} is on no floor in src/lib.rs");
        }
    }
    for module in floors.keys().filter(|module| TOP.iter().all(|(top, _)| top != module)) {
        assert!(library.contains(&format!("mod {module};")), "src/lib.rs lists {module}, which is no module");
    }
    let mut sources = Vec::new();
    collect(&root().join("src"), &mut sources);
    for (path, _) in sources.iter().filter(|(path, _)| path != "lib.rs") {
        assert!(floors.contains_key(&module_of(path).0), "src/{path} belongs to no module of the table");
    }
}

#[test]
fn a_wrong_import_is_caught() {
    let floors = floors("//! | 2 | [`table`] |\n//! | 1 | [`schema`], [`export`] |\n//! | 0 | [`error`] |");
    let found = |path: &str, source: &str| violations(&floors, path, source).len();
    assert_eq!(found("schema/mod.rs", "use crate::table::Scan;"), 1);
    assert_eq!(found("schema/file.rs", "use crate::{error::Result, table::{Scan, Write}};"), 1);
    assert_eq!(found("error.rs", "fn f() { crate :: export::open() }"), 1);
    assert_eq!(found("error.rs", "pub(crate) use super::schema::Type;"), 1);
    assert_eq!(found("schema/file.rs", "use super::super::table::Scan;"), 1);
    assert_eq!(found("table/mod.rs", "use crate::cli::Args;"), 1);
    assert_eq!(found("error.rs", "use crate::*;"), 1, "the whole crate");
    assert_eq!(found("error.rs", "use crate as all;"), 1, "the whole crate under another name");
    assert_eq!(found("error.rs", "use ddb_iceberg::table::Scan;"), 1);

    assert_eq!(found("schema/mod.rs", "use crate::error::Result; use crate::export::Export;"), 0);
    assert_eq!(found("table/mod.rs", "use crate::{error, schema::{self, Type}};\npub(crate) fn f() {}"), 0);
    assert_eq!(
        found("schema/a.rs", "//! See [`crate::table`].\nconst A: &str = \"crate::table\"; /* crate::table */"),
        0
    );
    assert_eq!(found("schema/a.rs", "const Q: char = '\"'; const A: &str = r#\"\"crate::table\"\"#;"), 0);
    assert_eq!(found("schema/a.rs", "fn f<'a>(x: &'a str) -> &'a str { x } use super::table;"), 0, "its own submodule");
    assert_eq!(found("main.rs", "use crate::cli::run; use ddb_iceberg::table::Scan;"), 0);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every Rust file below a folder, by its path below `src`.
fn collect(folder: &Path, sources: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().replace('\\', "/");
            sources.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Reads the rows `//! | 3 | [`table`], [`catalog`] |`.
fn floors(library: &str) -> Floors {
    let mut floors: Floors = TOP.iter().map(|(module, floor)| ((*module).to_owned(), *floor)).collect();
    for line in library.lines() {
        let cells: Vec<&str> = line.trim_start_matches("//!").split('|').map(str::trim).collect();
        let [_, floor, modules, ..] = cells.as_slice() else { continue };
        if let Ok(floor) = floor.parse() {
            let names = modules.split('`').skip(1).step_by(2);
            floors.extend(names.map(|name| (name.to_owned(), floor)));
        }
    }
    assert!(floors.len() > TOP.len(), "no table of floors");
    floors
}

/// The top module that a file belongs to, and how many modules deep the file's own module is.
fn module_of(path: &str) -> (String, usize) {
    let parts: Vec<&str> = path.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").collect();
    (parts.first().copied().unwrap_or_default().to_owned(), parts.len())
}

fn violations(floors: &Floors, path: &str, source: &str) -> Vec<String> {
    if path == "lib.rs" {
        return Vec::new();
    }
    let (module, depth) = module_of(path);
    let own = floors.get(&module).copied().unwrap_or(0);
    let tokens = tokens(source);
    let mut wrong = Vec::new();
    for target in targets(&tokens, depth, floors) {
        let allowed = match floors.get(&target) {
            Some(floor) => *floor <= own,
            None => target != "*",
        };
        if !allowed {
            wrong.push(format!("src/{path}: floor {own} ({module}) imports `{target}`, which is above it"));
        }
    }
    wrong
}

/// The first name of each path that starts at the crate's root; `*` for the root itself.
fn targets(tokens: &[String], depth: usize, floors: &Floors) -> Vec<String> {
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    let mut targets = Vec::new();
    for at in 0..tokens.len() {
        let mut next = at + 2;
        match token(at) {
            // In `pub(crate)` no path follows.
            "crate" | "ddb_iceberg" if token(at + 1) == "::" => {}
            "crate" | "ddb_iceberg" if token(at + 1) == "as" => {
                targets.push("*".to_owned());
                continue;
            }
            "super" if token(at + 1) == "::" && (at == 0 || token(at - 1) != "::") => {
                let mut climbed = 1;
                while token(next) == "super" {
                    climbed += 1;
                    next += 2;
                }
                // Short of the root, or a name that the root does not have (from a module inside of the file).
                if climbed < depth || !floors.contains_key(token(next)) {
                    continue;
                }
            }
            _ => continue,
        }
        if token(next) == "{" {
            let mut level = 0;
            for at in next..tokens.len() {
                match token(at) {
                    "{" => level += 1,
                    "}" => level -= 1,
                    _ if level == 1 && matches!(token(at - 1), "{" | ",") => targets.push(token(at).to_owned()),
                    _ => {}
                }
                if level == 0 {
                    break;
                }
            }
        } else {
            targets.push(token(next).to_owned());
        }
    }
    targets
}

/// Names, `::` and other characters; comments and literals are left out.
fn tokens(source: &str) -> Vec<String> {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let starts = |i: usize, text: &str| text.chars().enumerate().all(|(n, c)| at(i + n) == c);
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        if starts(i, "//") {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if starts(i, "/*") {
            let mut level = 0;
            loop {
                if starts(i, "/*") {
                    level += 1;
                    i += 2;
                } else if starts(i, "*/") {
                    level -= 1;
                    i += 2;
                } else {
                    i += 1;
                }
                if level == 0 || i >= chars.len() {
                    break;
                }
            }
        } else if at(i) == '"' {
            i += 1;
            while i < chars.len() && at(i) != '"' {
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            i += 1;
        } else if at(i) == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            i += if at(i + 1) == '\\' { 3 } else { 2 };
            while i < chars.len() && at(i) != '\'' {
                i += 1;
            }
            i += 1;
        } else if at(i).is_alphanumeric() || at(i) == '_' {
            let start = i;
            while at(i).is_alphanumeric() || at(i) == '_' {
                i += 1;
            }
            let name: String = chars[start..i].iter().collect();
            let hashes = (0..chars.len()).take_while(|n| at(i + n) == '#').count();
            if matches!(name.as_str(), "r" | "br" | "cr") && at(i + hashes) == '"' {
                let end = format!("\"{}", "#".repeat(hashes));
                i += hashes + 1;
                while i < chars.len() && !starts(i, &end) {
                    i += 1;
                }
                i += end.len();
            } else {
                tokens.push(name);
            }
        } else if starts(i, "::") {
            tokens.push("::".to_owned());
            i += 2;
        } else {
            if !at(i).is_whitespace() {
                tokens.push(at(i).to_string());
            }
            i += 1;
        }
    }
    tokens
}
