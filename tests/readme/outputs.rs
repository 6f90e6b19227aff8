//! What the documents show is what their commands print.

#![cfg(target_os = "linux")]

use super::{all_blocks, documents, read, root, scripts};

/// Blocks marked `sh run` work as they stand, those of a document one after the other. A block marked `text` behind one is what it
/// prints; `# …` stands for what is left out.
#[test]
fn blocks_that_are_marked_to_run_run_and_print_what_is_shown() {
    let (mut ran, mut compared) = (0, 0);
    for document in documents() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root().join("examples"), folder.path().join("examples")).unwrap();
        let blocks = all_blocks(&read(&document));
        for (at, (_, block)) in blocks.iter().enumerate().filter(|(_, (mark, _))| mark == "sh run") {
            let output = scripts::bash(folder.path()).args(["-euo", "pipefail", "-c", block]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{document}:\n{block}\n{said}");
            ran += 1;
            if let Some((mark, shown)) = blocks.get(at + 1)
                && mark == "text"
            {
                let printed = String::from_utf8_lossy(&output.stdout);
                assert_eq!(masked(shown), masked(&printed), "{document}:\n{block}\nprints\n{printed}");
                compared += 1;
            }
        }
        for (at, (mark, text)) in blocks.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|before| blocks.get(before));
            let is_compared = before.is_some_and(|(mark, _)| mark == "sh run");
            assert!(mark != "text" || is_compared, "{document}: nothing prints\n{text}");
        }
    }
    assert!(ran >= 8, "only {ran} blocks were run");
    assert!(compared >= 6, "only {compared} blocks show what is printed");
}

/// Without what is another each time: ids of snapshots, the time of a commit, sizes, speeds, and how long ago something was.
fn masked(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.trim_end().lines() {
        // A delete file holds for whatever lies between the random names of two data files.
        let line = line.replace(" 1 delete file no longer", " # delete files no longer");
        let line = line.replace(" 2 delete files no longer", " # delete files no longer");
        let line = match (line.find("(lag "), line.rfind(')')) {
            (Some(from), Some(to)) if from < to => format!("{}(lag #{}", &line[..from], &line[to..]),
            _ => line,
        };
        let words: Vec<&str> = line.split(' ').collect();
        let bare = |at: usize| words.get(at).map_or("", |word| word.trim_matches(['(', ')', ',', '.', ';']));
        let is_number =
            |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ',');
        let masked = words.iter().enumerate().map(|(at, word)| {
            let measured = is_number(bare(at)) && ["B", "kB", "MB", "s", "ms"].contains(&bare(at + 1));
            let id = bare(at).len() > 12 && is_number(bare(at));
            let committed = at >= 2 && bare(at - 2) == "snapshot";
            if measured || id || committed || (at >= 3 && bare(at - 2) == "oldest") {
                word.replace(bare(at), "#")
            } else {
                (*word).to_owned()
            }
        });
        lines.push(masked.collect::<Vec<_>>().join(" ").trim_end().to_owned());
    }
    lines.join("\n")
}

#[test]
fn what_changes_each_time_is_masked_and_nothing_else() {
    let line = "t: complete up to 2026-01-14T10:45:00.000Z (lag 320 days).";
    assert_eq!(masked(line), masked("t: complete up to 2026-01-14T10:45:00.000Z (lag 7 h 5 min)."));
    assert_ne!(masked(line), masked("t: complete up to 2026-01-14T10:30:00.000Z (lag 320 days)."));
    assert_eq!(masked("  read 1.2 kB, wrote 999 B, took 0.1 s"), masked("  read 1.9 kB, wrote 12 B, took 12.0 s"));
    assert_ne!(masked("1 data file (3.0 kB)"), masked("2 data files (3.0 kB)"));
    assert_eq!(masked("snapshot 4372816351923712345, 2026-11-30T10:00:00.000Z"), "snapshot #, #");
}
