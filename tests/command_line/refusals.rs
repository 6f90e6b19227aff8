//! A command line that can't be used: whose result it is, and what is said to whoever means another command.

use serde_json::Value;

use super::{run, stderr, stdout};

/// The words of every command, as the help lists them.
fn commands() -> Vec<String> {
    let mut found = Vec::new();
    let mut groups = vec![String::new()];
    while let Some(group) = groups.pop() {
        let words: Vec<&str> = group.split_whitespace().collect();
        let help = stdout(&run(&[&words[..], &["--help"]].concat()));
        let Some(list) = help.split("\nCommands:\n").nth(1) else {
            found.push(group);
            continue;
        };
        // A name stands at two spaces, what it does behind it or below it.
        let names = list.lines().take_while(|line| !line.is_empty() && line.starts_with(' '));
        let names = names.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
        groups.extend(names.filter(|name| *name != "help").map(|name| format!("{group} {name}").trim().to_owned()));
    }
    found
}

#[test]
fn every_command_is_named_in_its_own_refusals() {
    let commands = commands();
    assert!(commands.len() >= 11 && commands.contains(&"catalog check".to_owned()), "{commands:?}");
    for command in &commands {
        let words: Vec<&str> = command.split(' ').collect();
        let json = ["--format", "json"];
        let mut lines = vec![
            [&json[..], &words, &["--fly"]].concat(),
            [&words[..], &["--fly", "--format=json"]].concat(),
            [&["--threads", "many", "--format=json"][..], &words].concat(),
            [&["--catalog", "verify", "--threads", "0", "--format", "json"][..], &words].concat(),
            [&["-q", "--fly", "--format", "json"][..], &words].concat(),
            // Other commands' words, where this one's options or arguments stand.
            [&words[..], &["--catalog", "status", "--fly", "catalog", "--format", "json"]].concat(),
            [&words[..], &["--table", "status", "--fly", "incremental", "--format", "json"]].concat(),
            [&json[..], &words, &["--table"]].concat(),
            [&words[..], &json, &["--memory-limit=lots"]].concat(),
        ];
        if !matches!(command.as_str(), "catalog check" | "man") {
            lines.push([&json[..], &words].concat());
        }
        for line in lines {
            let output = run(&line);
            assert_eq!(output.status.code(), Some(2), "{line:?}: {}", stderr(&output));
            let report: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{line:?}"));
            assert_eq!(
                (&report["command"], &report["status"]),
                (&command.as_str().into(), &"failed".into()),
                "{line:?}"
            );
            // The check's result has steps, all others have windows.
            assert_eq!(report.get("steps").is_some(), command == "catalog check", "{line:?}");
            assert_eq!(report.get("windows").is_some(), command != "catalog check", "{line:?}");
        }
        // Each has a page of its own.
        assert!(run(&["man", &command.replace(' ', "-")]).status.success(), "{command}");
    }
}

#[test]
fn an_export_that_is_called_like_a_command_is_none() {
    for line in [
        &["incremental", "catalog", "--format", "json"][..],
        &["--format", "json", "incremental", "catalog", "--table", "orders"],
        &["incremental", "--format", "json", "status", "--table"],
    ] {
        let report: Value = serde_json::from_str(&stdout(&run(line))).unwrap();
        assert_eq!(report["command"], "incremental", "{line:?}");
        assert!(report.get("windows").is_some(), "{line:?}");
    }
}

#[test]
fn whoever_types_another_word_is_told_the_command() {
    for (word, meant) in [
        ("load", "'full-load'"),
        ("import", "'full-load'"),
        ("full_load", "'full-load'"),
        ("detect", "'detect-schema'"),
        ("schema", "'detect-schema'"),
        ("merge", "'incremental'"),
        ("incremantal", "'incremental'"),
        ("check", "'catalog check'"),
        ("vacuum", "'orphans'"),
        ("stauts", "'status'"),
        ("diff", "'verify'"),
    ] {
        let output = run(&[word, "x", "--table", "a.t"]);
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        assert!(said.lines().any(|line| line.contains("tip:") && line.contains(meant)), "{word}: {said}");
    }
    let said = stderr(&run(&["fly"]));
    assert!(!said.contains("similar"), "{said}");
}
