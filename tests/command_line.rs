//! The program's command line, run as a user runs it.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::process::{Command, Output, Stdio};

#[path = "command_line/examples.rs"]
mod examples;
#[path = "command_line/refusals.rs"]
mod refusals;
#[path = "command_line/words.rs"]
mod words;

/// Every flag of the contract, by subcommand.
const FLAGS: [(&str, &[&str]); 8] = [
    ("detect-schema", &["--output", "--key", "--flat", "--sample-files", "--max-struct-fields", "--without-manifest"]),
    (
        "full-load",
        &["--table", "--schema", "--key", "--partition-by", "--if-exists", "--max-struct-fields", "--without-manifest"],
    ),
    (
        "incremental",
        &["--table", "--key", "--write-mode", "--new-attributes", "--allow-gap", "--allow-overlap", "--maintenance"],
    ),
    ("compact", &["--table"]),
    ("expire", &["--table", "--older-than", "--retain-last"]),
    ("orphans", &["--table", "--older-than", "--delete"]),
    ("status", &["--table", "--max-lag", "--windows"]),
    ("verify", &["--table", "--key", "--snapshot-id", "--examples"]),
];

const SHARED: [&str; 11] = [
    "--catalog",
    "--catalog-property",
    "--warehouse",
    "--config",
    "--threads",
    "--memory-limit",
    "--dry-run",
    "--format",
    "--progress",
    "--verbose",
    "--quiet",
];

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ddb-iceberg"));
    command.stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PYICEBERG_")) {
        command.env_remove(name);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Words of a help text that are flags, whole.
fn flags_of(help: &str) -> Vec<&str> {
    help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).filter(|word| word.starts_with("--")).collect()
}

#[test]
fn help_lists_every_flag() {
    for (subcommand, flags) in FLAGS {
        for help in ["--help", "-h"] {
            let output = run(&[subcommand, help]);
            assert_eq!(output.status.code(), Some(0));
            let text = stdout(&output);
            let listed = flags_of(&text);
            for flag in flags.iter().chain(&SHARED) {
                assert!(listed.contains(flag), "{subcommand} {help}: {flag}\n{text}");
            }
        }
        let long = stdout(&run(&[subcommand, "--help"]));
        assert!(long.contains("Examples:") && long.contains(&format!("ddb-iceberg {subcommand} ")), "{long}");
    }
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    for (subcommand, _) in FLAGS {
        assert!(text.contains(subcommand), "{text}");
    }
    for code in ["0 ", "1 ", "2 ", "3 ", "4 ", "5 ", "6 ", "130 "] {
        assert!(text.lines().any(|line| line.trim_start().starts_with(code)), "exit code {code}\n{text}");
    }
}

#[test]
fn version() {
    let output = run(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), format!("ddb-iceberg {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_command_line_is_exit_2() {
    for arguments in [
        &[][..],
        &["fly"],
        &["full-load", "x", "--table", "a.t", "--fly"],
        &["full-load", "x"],
        &["full-load", "--table", "a.t"],
        &["full-load", "x", "--table", "t"],
        &["full-load", "x", "--table", "a.t", "--if-exists", "maybe"],
        &["full-load", "x", "--table", "a.t", "--schema", "s.json", "--max-struct-fields", "3"],
        &["incremental", "x"],
        &["incremental", "--table", "a.t"],
        &["incremental", "x", "--table", "a.t", "--memory-limit", "100MiB"],
        &["incremental", "x", "--table", "a.t", "--memory-limit", "2Gigs"],
        &["incremental", "x", "--table", "a.t", "--threads", "0"],
        &["incremental", "x", "--table", "a.t", "--threads", "513"],
        &["incremental", "x", "--table", "a.t", "--write-mode", "equality"],
        &["incremental", "x", "--table", "a.t", "--maintenance", "never"],
        &["expire", "--table", "a.t", "--older-than", "5"],
        &["expire", "--table", "a.t", "--retain-last", "0"],
        &["compact"],
        &["status"],
        &["status", "--table", "a.t", "--max-lag", "1"],
        &["verify", "--table", "a.t"],
        &["verify", "x", "--table", "a.t", "--snapshot-id", "new"],
        &["detect-schema", "x", "--sample-files", "0"],
        &["detect-schema", "x", "--format", "yaml"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: stdout is for results");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_failure_as_json_is_on_stdout_and_in_words_on_stderr() {
    let output = run(&["--format", "json", "full-load", "x", "--table", "a.b.t", "--key", "p", "--key", "p"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stdout(&output);
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["version"], 1);
    assert_eq!(report["command"], "full-load");
    assert_eq!(report["table"], "a.b.t");
    assert_eq!(report["status"], "failed");
    assert_eq!(report["error"]["exit"], 2);
    assert_eq!(report["error"]["attribute"], "p");
    assert!(stderr(&output).starts_with("error: --key"), "{}", stderr(&output));
}

#[test]
fn what_is_typed_can_not_command_the_terminal_or_leak() {
    let output = run(&["full-load", "x", "--table", "a.t", "--key", "\u{1b}[2J", "--key", "\u{1b}[2J"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!stderr(&output).contains('\u{1b}'), "{:?}", stderr(&output));
    let output = run(&["full-load", "x", "--table", "a.t", "--catalog-property", "hunter2"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!stderr(&output).contains("hunter2"), "{}", stderr(&output));
}

#[test]
fn a_table_needs_a_namespace() {
    let output = run(&["full-load", "x", "--table", "orders"]);
    assert!(stderr(&output).contains("NAMESPACE.TABLE"), "{}", stderr(&output));
}

#[test]
fn catalog_check_has_its_help_and_its_page() {
    let help = stdout(&run(&["catalog", "check", "--help"]));
    let page = stdout(&run(&["man", "catalog-check"])).replace("\\-", "-");
    for flag in ["--table", "--export"].iter().chain(&SHARED) {
        assert!(flags_of(&help).contains(flag), "{flag}\n{help}");
        assert!(page.contains(flag), "{flag}\n{page}");
    }
    assert!(help.contains("ddb-iceberg catalog check --table"), "{help}");
    assert!(stdout(&run(&["man", "catalog"])).contains("check"));
}

/// A scheduler that reads results gets one for a wrong command line too.
#[test]
fn a_wrong_command_line_as_json() {
    for (arguments, command) in [
        (&["full-load", "x", "--table", "a.t", "--fly", "--format", "json"][..], "full-load"),
        (&["--format=json", "incremental", "x"], "incremental"),
        (&["detect-schema", "x", "--sample-files", "0", "--format", "json"], "detect-schema"),
        (&["fly", "--format", "json"], "ddb-iceberg"),
        (&["catalog", "check", "--fly", "--format", "json"], "catalog check"),
        (&["catalog", "--format", "json"], "catalog check"),
        (&["-q", "catalog", "check", "-v", "--format", "json"], "catalog check"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = stdout(&output);
        assert_eq!(text.matches('\n').count(), 1, "{arguments:?}: {text}");
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&report["version"], &report["command"], &report["status"]),
            (&1.into(), &command.into(), &"failed".into())
        );
        assert_eq!(report["error"]["exit"], 2);
        let message = report["error"]["message"].as_str().unwrap();
        assert!(!message.is_empty() && !message.contains("Usage") && !message.contains('\n'), "{message}");
        assert!(stderr(&output).starts_with("error: "), "{}", stderr(&output));
    }
    for arguments in
        [&["--help", "--format", "json"][..], &["fly", "--", "--format", "json"], &["fly", "--format", "text"]]
    {
        assert!(!stdout(&run(arguments)).starts_with('{'), "{arguments:?}");
    }
}

#[test]
fn completions_know_subcommands_and_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        let script = stdout(&output);
        for (subcommand, flags) in FLAGS {
            assert!(script.contains(subcommand), "{shell}: {subcommand}");
            for flag in flags.iter().chain(&SHARED) {
                let name = flag.trim_start_matches('-');
                assert!(script.contains(name), "{shell}: {flag}");
            }
        }
    }
    assert_eq!(run(&["completions", "cmd.exe"]).status.code(), Some(2));
}

#[test]
fn bash_takes_its_completions() {
    use std::io::Write;

    let script = run(&["completions", "bash"]).stdout;
    let Ok(mut shell) = Command::new("bash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
        return; // A machine without bash has nothing to test here.
    };
    shell.stdin.take().unwrap().write_all(&script).unwrap();
    let output = shell.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn man_pages() {
    let page = stdout(&run(&["man"]));
    assert!(page.contains(".TH ddb-iceberg 1"), "{page}");
    assert!(page.contains("ddb\\-iceberg\\-full\\-load(1)") || page.contains("ddb-iceberg-full-load(1)"), "{page}");
    for (subcommand, flags) in FLAGS {
        let output = run(&["man", subcommand]);
        assert_eq!(output.status.code(), Some(0));
        let page = stdout(&output).replace("\\-", "-");
        assert!(page.contains(&format!(".TH ddb-iceberg-{subcommand} 1")), "{page}");
        for flag in flags.iter().chain(&SHARED) {
            assert!(page.contains(flag), "{subcommand}: {flag}\n{page}");
        }
    }
    assert_eq!(run(&["man", "fly"]).status.code(), Some(2));
}

/// A reader that goes away, as `head` does, is no failure and no panic.
#[test]
fn a_closed_stdout_is_no_panic() {
    for arguments in [&["completions", "zsh"][..], &["man"], &["--help"]] {
        let mut child = program().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        assert!(output.stderr.is_empty(), "{arguments:?}: {}", stderr(&output));
    }
}
