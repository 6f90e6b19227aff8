//! What the documentation tells people to type works: flags exist, files exist, the example exports are what they claim.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use md5::Digest as _;

// The generator is an example of its own; its small exports are compared with the ones that are checked in.
#[path = "../examples/make_exports/layout.rs"]
mod layout;
#[path = "../examples/make_exports/small.rs"]
mod small;

const DOCUMENTS: [&str; 6] =
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "schemas/README.md", "docs/aws-checklist.md"];

#[test]
fn commands_in_the_documents_use_flags_that_exist() {
    let help = help(&[]);
    let mut checked = 0;
    for document in DOCUMENTS {
        for command in commands(&read(document)) {
            let words: Vec<&str> = command.split_whitespace().collect();
            let Some(at) = words.iter().position(|word| *word == "ddb-iceberg" || word.ends_with("/ddb-iceberg"))
            else {
                continue;
            };
            if words.first() == Some(&"cargo") {
                continue;
            }
            let mut words =
                words.iter().skip(at + 1).take_while(|word| !matches!(**word, "|" | ">" | "2>" | ">>" | "&&"));
            let Some(first) = words.next() else { continue };
            if first.starts_with('-') {
                assert!(help.contains(first), "{document}: `{command}`: no {first} in the help");
                continue;
            }
            assert!(help.contains(first), "{document}: `{command}`: no subcommand {first}");
            let inner = words.clone().next().filter(|_| *first == "catalog").copied();
            let help = self::help(&[Some(*first), inner].into_iter().flatten().collect::<Vec<_>>());
            for flag in words.filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().unwrap();
                let known = help.split(|c: char| !(c.is_alphanumeric() || c == '-')).any(|word| word == flag);
                assert!(known, "{document}: `{command}`: `{first}` has no {flag}");
            }
            checked += 1;
        }
    }
    assert!(checked > 5, "only {checked} commands were found");
}

#[test]
fn files_that_the_documents_point_at_exist() {
    for document in DOCUMENTS {
        let text = read(document);
        let folder = root().join(document).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.starts_with("http") && !link.starts_with('#') {
                let file = link.split('#').next().unwrap();
                assert!(folder.join(file).exists(), "{document} points at {link}, which does not exist");
            }
        }
        for command in commands(&text) {
            let program = command.split_whitespace().find(|word| !word.contains('=')).unwrap_or_default();
            let ours = ["examples/", "tests/", ".ci/"].iter().any(|folder| program.starts_with(folder));
            assert!(!ours || root().join(program).exists(), "{document}: `{command}`: no such file");
        }
    }
}

#[test]
fn the_example_exports_are_what_the_generator_makes() {
    let fresh = tempfile::tempdir().unwrap();
    small::write(fresh.path()).unwrap();
    let (expected, found) = (content(fresh.path()), content(&root().join("examples/exports")));
    let advice = "cargo run --example make_exports -- small examples/exports";
    assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>(), "other files: {advice}");
    for (name, text) in &expected {
        assert_eq!(text, &found[name], "{name} differs: {advice}");
    }
}

#[test]
fn the_checksums_of_the_example_exports_are_right() {
    let root = root().join("examples/exports");
    let md5 = |path: &Path| base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(fs::read(path).unwrap()));
    let mut listed = BTreeSet::new();
    for name in files(&root).into_iter().filter(|name| name.ends_with("manifest-files.json")) {
        let folder = root.join(&name).parent().unwrap().to_owned();
        for manifest in ["manifest-files", "manifest-summary"] {
            let stated = fs::read_to_string(folder.join(format!("{manifest}.md5"))).unwrap();
            assert_eq!(stated, md5(&folder.join(format!("{manifest}.json"))), "{name}: {manifest}.md5");
        }
        for line in fs::read_to_string(root.join(&name)).unwrap().lines() {
            let file: serde_json::Value = serde_json::from_str(line).unwrap();
            let key = file["dataFileS3Key"].as_str().unwrap();
            assert_eq!(file["md5Checksum"], md5(&root.join(key)), "{key}");
            let lines = inflate(&root.join(key)).lines().count();
            assert_eq!(file["itemCount"], lines, "{key}");
            listed.insert(key.to_owned());
        }
    }
    assert_eq!(listed.len(), 8);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ddb-iceberg")).args(arguments).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The commands of the blocks marked `sh`, continued lines joined, comments and prompts taken off.
fn commands(document: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in document.replace("\\\n", " ").lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            let command = line.trim().trim_start_matches("$ ");
            let command = command.split(" # ").next().unwrap_or_default().trim();
            if !command.is_empty() && !command.starts_with('#') {
                commands.push(command.to_owned());
            }
        }
    }
    commands
}

/// The files below a folder, by their relative names.
fn files(root: &Path) -> Vec<String> {
    let (mut folders, mut names) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                names.push(path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/"));
            }
        }
    }
    names
}

/// What the files say. Compressed bytes may differ between processors, and their checksums with them.
fn content(root: &Path) -> BTreeMap<String, String> {
    let text = |name: &String| {
        let path = root.join(name);
        if path.extension().is_some_and(|extension| extension == "gz") {
            inflate(&path)
        } else if name.ends_with("manifest-files.md5") {
            String::new()
        } else if name.ends_with("manifest-files.json") {
            let text = fs::read_to_string(path).unwrap();
            let lines = text.lines().map(|line| {
                let mut file: serde_json::Value = serde_json::from_str(line).unwrap();
                file["md5Checksum"].take();
                file["etag"].take();
                file.to_string()
            });
            lines.collect::<Vec<_>>().join("\n")
        } else {
            fs::read_to_string(path).unwrap()
        }
    };
    files(root).into_iter().map(|name| (name.clone(), text(&name))).collect()
}

fn inflate(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}
