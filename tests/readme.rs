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

#[path = "readme/outputs.rs"]
mod outputs;
#[path = "readme/scripts.rs"]
mod scripts;

/// Beside these, the pages in `docs`.
const DOCUMENTS: [&str; 5] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "schemas/README.md"];

#[test]
fn commands_in_the_documents_use_flags_that_exist() {
    let mut checked = 0;
    for document in documents() {
        for command in commands(&read(&document), &["sh", "console", "ini"]) {
            for arguments in calls(&command) {
                // With --help at the end the program looks at what comes before, and does nothing.
                let output = program().args(&arguments).arg("--help").output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{document}: `{command}`: {said}");
                checked += 1;
            }
        }
    }
    assert!(checked > 40, "only {checked} commands were found");
    let refused = program().args(["full-load", "x", "--tabel", "a.b", "--help"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "a wrong flag is noticed");
    let refused = program().args(["full-load", "x", "--if-exists", "maybe", "--help"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "a wrong value is noticed");
}

/// Commands about `shop.orders` that name buckets and folders of the reader's, on the example exports: none is a wrong
/// command line, and those that replace the table's rows do.
#[cfg(target_os = "linux")]
#[test]
fn commands_on_a_table_that_is_there_work() {
    const SUBCOMMANDS: [&str; 7] = ["full-load", "incremental", "status", "verify", "compact", "expire", "orphans"];
    let (mut ran, mut replaced) = (0, 0);
    for document in documents() {
        for call in commands(&read(&document), &["sh", "console", "ini"]).iter().flat_map(|command| calls(command)) {
            let Some((subcommand, rest)) = call.split_first().filter(|(name, _)| SUBCOMMANDS.contains(&name.as_str()))
            else {
                continue;
            };
            if !rest.iter().any(|word| word == "shop.orders") || rest.iter().any(|word| word == "--schema") {
                continue;
            }
            let site = scripts::site(&[]);
            let replaces = rest.iter().any(|word| word == "replace");
            let newer = replaces.then(|| scripts::newer_export(site.path()));
            let output = program()
                .arg(subcommand)
                .args(on_examples(rest, subcommand, newer.as_deref()))
                .current_dir(site.path())
                .env("HOME", site.path())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_ne!(output.status.code(), Some(2), "{document}: {call:?}: {said}");
            assert!(!replaces || output.status.success(), "{document}: {call:?}: {said}");
            ran += 1;
            replaced += usize::from(replaces);
        }
    }
    assert!(ran > 25 && replaced > 0, "only {ran} commands were run, {replaced} of them replace a table's rows");
}

/// The arguments with the example exports in place of the reader's, and the default catalog in place of the reader's.
fn on_examples(rest: &[String], subcommand: &str, newer: Option<&Path>) -> Vec<String> {
    let exports = root().join("examples/exports");
    let full = newer.map_or_else(|| exports.join("AWSDynamoDB/01768385700000-5b0e41c7"), Path::to_owned);
    let whole = matches!(subcommand, "full-load" | "verify");
    let export = if whole { full } else { exports }.to_str().unwrap().to_owned();
    let mut arguments: Vec<String> = Vec::new();
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        if ["--catalog-property", "--warehouse", "--catalog"].contains(&word.as_str()) {
            words.next();
        } else if ["exports", "$full", "s3://"].iter().any(|place| word.contains(place)) {
            arguments.push(export.clone());
        } else {
            arguments.push(word.clone());
        }
    }
    arguments
}

#[test]
fn files_and_sections_that_the_documents_point_at_exist() {
    for document in documents() {
        let text = read(&document);
        let folder = root().join(&document).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, section) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { root().join(&document) } else { folder.join(file) };
            assert!(file.exists(), "{document} points at {link}, which does not exist");
            if !section.is_empty() {
                let sections = sections(&fs::read_to_string(&file).unwrap());
                assert!(sections.contains(section), "{document} points at {link}; there is {sections:?}");
            }
        }
        for command in commands(&text, &["sh", "console"]) {
            let program = command.split_whitespace().find(|word| !word.contains('=')).unwrap_or_default();
            let ours = ["examples/", "tests/", ".ci/"].iter().any(|folder| program.starts_with(folder));
            assert!(!ours || root().join(program).exists(), "{document}: `{command}`: no such file");
        }
    }
}

#[test]
fn json_in_the_pages_is_json() {
    for document in documents().into_iter().filter(|document| document.starts_with("docs/")) {
        for block in blocks(&read(&document), "json") {
            let parsed: Result<serde_json::Value, _> = serde_json::from_str(&block);
            assert!(parsed.is_ok(), "{document}: {parsed:?}\n{block}");
        }
    }
}

#[test]
fn policies_are_policy_documents_that_allow_no_more_than_they_name() {
    let mut actions = BTreeSet::new();
    for block in blocks(&read("docs/iam.md"), "json") {
        let policy: serde_json::Value = serde_json::from_str(&block).unwrap();
        assert_eq!(policy["Version"], "2012-10-17", "{block}");
        for statement in policy["Statement"].as_array().unwrap() {
            assert_eq!(statement["Effect"], "Allow", "{block}");
            let sid = statement["Sid"].as_str().unwrap();
            assert!(!sid.is_empty() && sid.chars().all(char::is_alphanumeric), "{sid}");
            for action in texts(&statement["Action"]) {
                let (service, name) = action.split_once(':').unwrap();
                assert!(["s3", "glue", "kms", "dynamodb", "s3tables"].contains(&service), "{action}");
                assert!(!name.is_empty() && name.chars().all(char::is_alphanumeric), "{action}: no pattern");
                actions.insert(action.clone());
            }
            for resource in texts(&statement["Resource"]) {
                assert!(resource.starts_with("arn:aws:"), "{resource}");
            }
        }
    }
    for needed in
        ["s3:GetObject", "s3:ListBucket", "kms:Decrypt", "glue:UpdateTable", "dynamodb:ExportTableToPointInTime"]
    {
        assert!(actions.contains(needed), "{needed}: {actions:?}");
    }
}

/// In the tables of the runbook, the first column quotes what the program prints.
#[test]
fn messages_in_the_runbook_are_messages_of_the_program() {
    let mut source = String::new();
    for name in files(&root().join("src")).into_iter().filter(|name| has_extension(name, "rs")) {
        for line in read(&format!("src/{name}")).lines() {
            // Texts that go on in the next line: as they are printed.
            source.push_str(line.trim_start().trim_end_matches('\\'));
            if !line.ends_with('\\') {
                source.push('\n');
            }
        }
    }
    let runbook = read("docs/runbook.md");
    let mut quoted = 0;
    for row in runbook.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split(" | ").next().unwrap();
        for phrase in cell.split('`').skip(1).step_by(2) {
            for part in phrase.split('…').map(str::trim).filter(|part| !part.is_empty()) {
                let part = part.replace('"', "\\\"");
                assert!(source.contains(&part), "the program prints no {part:?}: {row}");
            }
            quoted += 1;
        }
    }
    assert!(quoted > 80, "only {quoted} messages were found");
}

#[test]
fn the_image_is_built_of_what_is_there_with_the_pinned_compiler() {
    let image = read("Dockerfile");
    let pinned = read("rust-toolchain.toml");
    let channel = pinned.split("channel = \"").nth(1).unwrap().split('"').next().unwrap();
    assert!(image.contains(&format!("FROM rust:{channel}-")), "the image has another compiler than {channel}");
    assert!(image.contains("\nENTRYPOINT [\"ddb-iceberg\"]"), "{image}");
    let user = image.lines().filter_map(|line| line.strip_prefix("USER ")).next_back().unwrap();
    assert!(user.parse::<u32>().is_ok_and(|user| user > 0), "Kubernetes' runAsNonRoot takes a number that is not 0");
    let admitted = read(".dockerignore");
    for line in image.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for source in &words[1..words.len() - 1] {
            assert!(root().join(source).exists(), "{line}: no {source}");
            assert!(admitted.lines().any(|entry| entry == format!("!{source}")), ".dockerignore leaves out {source}");
        }
    }
}

/// A tag can be moved to other content, a digest can't.
#[test]
fn actions_and_images_are_named_by_digest() {
    let is_hex = |text: &str, length: usize| text.len() == length && text.chars().all(|c| c.is_ascii_hexdigit());
    let workflows = files(&root().join(".github/workflows"));
    let mut actions = 0;
    for name in &workflows {
        for line in read(&format!(".github/workflows/{name}")).lines().filter(|line| line.contains("uses:")) {
            let (_, pinned) = line.split_once('@').unwrap();
            let (commit, version) = pinned.split_once(" # v").unwrap_or((pinned, ""));
            assert!(is_hex(commit, 40) && !version.is_empty(), "{name}: {line}");
            actions += 1;
        }
    }
    let images: Vec<String> =
        read("Dockerfile").lines().filter_map(|line| line.strip_prefix("FROM ")).map(str::to_owned).collect();
    for image in &images {
        let (_, digest) = image.split_once("@sha256:").unwrap_or_else(|| panic!("{image} has no digest"));
        assert!(is_hex(digest.split(' ').next().unwrap(), 64), "{image}");
    }
    assert!(actions > 2 && images.len() == 2, "{actions} actions, {images:?}");
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

fn documents() -> Vec<String> {
    let pages = files(&root().join("docs")).into_iter().filter(|name| has_extension(name, "md"));
    DOCUMENTS.iter().map(|name| (*name).to_owned()).chain(pages.map(|name| format!("docs/{name}"))).collect()
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == extension)
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ddb-iceberg"))
}

/// The texts of a value that is one or a list of them.
fn texts(value: &serde_json::Value) -> Vec<String> {
    let list = value.as_array().map_or_else(|| vec![value.clone()], Clone::clone);
    assert!(!list.is_empty());
    list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The blocks whose fence bears this mark.
fn blocks(document: &str, mark: &str) -> Vec<String> {
    all_blocks(document).into_iter().filter(|(found, _)| found == mark).map(|(_, text)| text).collect()
}

/// All blocks with the marks of their fences, in order.
fn all_blocks(document: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in document.lines() {
        open = match (open, line.strip_prefix("```")) {
            (None, Some(found)) => Some((found.to_owned(), String::new())),
            (Some(block), Some(_)) => {
                blocks.push(block);
                None
            }
            (Some((found, text)), None) => Some((found, format!("{text}{line}\n"))),
            (None, None) => None,
        };
    }
    blocks
}

/// The commands of the blocks in these languages, continued lines joined, comments and prompts taken off.
fn commands(document: &str, languages: &[&str]) -> Vec<String> {
    let mut commands = Vec::new();
    let marks = languages.iter().flat_map(|language| [(*language).to_owned(), format!("{language} run")]);
    for block in marks.flat_map(|mark| blocks(document, &mark)) {
        for line in block.replace("\\\n", " ").lines() {
            let command = line.trim().trim_start_matches("$ ");
            let command = command.split(" # ").next().unwrap_or_default().trim();
            if !command.is_empty() && !command.starts_with('#') {
                commands.push(command.to_owned());
            }
        }
    }
    commands
}

/// The arguments of each call of the program in a line of shell. Variables count for nothing.
fn calls(command: &str) -> Vec<Vec<String>> {
    let mut calls = Vec::new();
    let mut call: Option<Vec<String>> = None;
    let words = words(command);
    let installs = words.first().is_some_and(|word| ["cargo", "docker", "aws"].contains(&word.as_str()));
    for word in words.into_iter().filter(|_| !installs) {
        if word.ends_with("/ddb-iceberg") || word == "ddb-iceberg" || word.ends_with("$(ddb-iceberg") {
            calls.extend(call.replace(Vec::new()));
        } else if ["|", ">", ">>", "2>", "&", "&&", "||", ";"].contains(&word.as_str()) {
            calls.extend(call.take());
        } else if let Some(arguments) = call.as_mut().filter(|_| !is_variable(&word)) {
            // {} is the table, for every_table.sh.
            arguments.push(word.trim_end_matches(';').replace("{}", "shop.orders"));
        }
    }
    calls.extend(call);
    calls
}

/// Whether a word is a variable, which may stand for any number of words.
fn is_variable(word: &str) -> bool {
    word.strip_prefix('$').is_some_and(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
}

/// A line's words, as a shell splits them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The names by which links reach a document's sections, as GitHub makes them.
fn sections(document: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut sections = BTreeSet::new();
    for line in document.lines() {
        inside ^= line.starts_with("```");
        if let Some(title) = line.strip_prefix('#').filter(|_| !inside) {
            let title = title.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            sections.insert(kept.collect::<String>().replace(' ', "-"));
        }
    }
    sections
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
