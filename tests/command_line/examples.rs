//! The examples of every help text, run on the example exports in place of those that they name.

use std::path::Path;
use std::process::Output;

use super::{program, run, stderr, stdout};

const FULL: &str = "examples/exports/AWSDynamoDB/01768385700000-5b0e41c7";
const WINDOW: &str = "examples/exports/AWSDynamoDB/01768386624000-9d2403fe";

/// The commands below `Examples:`, continued lines joined.
fn examples(help: &str) -> Vec<String> {
    let below = help.split("\nExamples:\n").nth(1).unwrap_or_default();
    let below = below.split("\nExit codes:").next().unwrap_or_default().replace("\\\n", " ");
    below.lines().map(str::trim).filter(|line| line.starts_with("ddb-iceberg ")).map(str::to_owned).collect()
}

/// The arguments of an example, with exports that are there.
fn arguments(example: &str) -> Vec<String> {
    let root = env!("CARGO_MANIFEST_DIR");
    let line = example.replace("s3://bucket/AWSDynamoDB", "exports/AWSDynamoDB");
    let line = line.replace("exports/AWSDynamoDB/01700000000000-a1b2c3d4", &format!("{root}/{FULL}"));
    let line = line.replace("exports/AWSDynamoDB/01700090000000-c9d0e1f2", &format!("{root}/{FULL}"));
    let line = line.replace("exports/AWSDynamoDB/01700000900000-e5f6a7b8", &format!("{root}/{WINDOW}"));
    let line = line.replace(" exports/AWSDynamoDB", &format!(" {root}/examples/exports/AWSDynamoDB"));
    let mut words = Vec::new();
    // Quotes stand around whole words.
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 { words.push(part.to_owned()) } else { words.extend(part.split_whitespace().map(str::to_owned)) }
    }
    words.remove(0);
    assert!(words.iter().all(|word| !word.contains("0170")), "an export of no kind that is known here: {example}");
    words
}

fn in_folder(folder: &Path, words: &[&str]) -> Output {
    program().args(words).current_dir(folder).env("HOME", folder).output().unwrap()
}

#[test]
fn the_examples_of_every_help_run() {
    let mut ran = 0;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let full = root.join(FULL);
    let full = full.to_str().unwrap();
    for command in [
        "",
        "detect-schema",
        "full-load",
        "incremental",
        "compact",
        "expire",
        "orphans",
        "catalog check",
        "status",
        "verify",
    ] {
        let words: Vec<&str> = command.split_whitespace().collect();
        let examples = examples(&stdout(&run(&[&words[..], &["--help"]].concat())));
        assert!(!examples.is_empty(), "{command} has no examples");
        for example in examples {
            let words = arguments(&example);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let folder = tempfile::tempdir().unwrap();
            let keys = ["--key", "customer_id", "--key", "order_id"];
            let detect = [&["detect-schema", full, "--output", "orders.json"][..], &keys].concat();
            assert!(in_folder(folder.path(), &detect).status.success());
            if !matches!(words[0], "detect-schema" | "full-load") {
                let load = [&["full-load", full, "--table", "shop.orders"][..], &keys].concat();
                assert!(in_folder(folder.path(), &load).status.success());
            }
            let output = in_folder(folder.path(), &words);
            // The example exports are old.
            let expected = if words.contains(&"--max-lag") { 4 } else { 0 };
            assert_eq!(output.status.code(), Some(expected), "{example}: {}", stderr(&output));
            ran += 1;
        }
    }
    assert!(ran >= 25, "only {ran} examples were found");
}
