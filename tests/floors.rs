//! The floors of `src/lib.rs`: a room uses only rooms on lower floors, and its own files; no files use each other in a circle.
//!
//! The floors are read off the table in the crate's documentation; the picture in ARCHITECTURE.md has to be the same.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "floors/imports.rs"]
mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use imports::{Arrows, Tree, circles};

/// Files of one folder, at most, without tests.
const FILES_OF_A_FOLDER: usize = 14;

/// Floor by room.
type Floors = BTreeMap<String, u32>;

#[test]
fn a_room_uses_only_lower_floors() {
    let tree = Tree::of(&root().join("src/lib.rs"));
    assert!(tree.modules().count() > 150, "the sources were not found");
    let wrong = upwards(&floors(&read("src/lib.rs")), &tree.arrows());
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn no_files_use_each_other() {
    for crate_root in ["src/lib.rs", "src/main.rs"] {
        let found = circles(&Tree::of(&root().join(crate_root)).arrows());
        assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    }
}

#[test]
fn the_table_lists_every_room() {
    let floors = floors(&read("src/lib.rs"));
    let tree = Tree::of(&root().join("src/lib.rs"));
    let rooms: BTreeSet<&String> = tree.modules().filter_map(|module| module.first()).collect();
    assert_eq!(rooms, floors.keys().collect());
}

#[test]
fn the_picture_shows_the_same_floors() {
    let picture = read("ARCHITECTURE.md");
    let (_, picture) = picture.split_once("```mermaid").expect("a picture");
    let (picture, _) = picture.split_once("```").unwrap();
    let mut shown = Floors::new();
    // `floor4["4: attribute · aws · runtime"]`
    for label in picture.split("[\"").skip(1).filter_map(|rest| rest.split_once("\"]")).map(|(label, _)| label) {
        let Some((number, rooms)) = label.split_once(": ") else { continue };
        let number: u32 = number.parse().unwrap();
        shown.extend(rooms.split(" · ").map(|room| (room.to_owned(), number)));
    }
    let listed = floors(&read("src/lib.rs"));
    let top = listed.values().max().unwrap() + 1;
    assert_eq!(shown.remove("cli"), Some(top), "the program is on top");
    assert_eq!(shown, listed);
}

#[test]
fn no_folder_is_crowded() {
    let mut crowded = Vec::new();
    let mut open = vec![root().join("src")];
    while let Some(folder) = open.pop() {
        let mut files = 0;
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                open.push(path);
            } else if !name.ends_with("tests.rs") {
                files += 1;
            }
        }
        if files > FILES_OF_A_FOLDER {
            crowded.push(format!("{}: {files} files", folder.display()));
        }
    }
    assert!(crowded.is_empty(), "\n{}\n", crowded.join("\n"));
}

#[test]
fn wrong_arrows_are_caught() {
    let floors = floors("//! | 3 | [`table`] |\n//! | 2 | [`schema`], [`export`] |\n//! | 1 | [`error`] |");
    let found = |room: &str, source: &str| {
        let text = format!("{room}.rs");
        let mut files = vec![
            ("lib.rs", "pub mod table; pub mod schema; pub mod export; pub mod error;"),
            ("table.rs", "pub struct Scan; pub fn scan() {}"),
            ("schema.rs", "pub struct Type;"),
            ("export.rs", "pub fn open() {} pub use crate::error::Error;"),
            ("error.rs", "pub struct Error; pub struct Kind;"),
        ];
        files.iter_mut().find(|(path, _)| *path == text).unwrap().1 = source;
        upwards(&floors, &Tree::of_texts(&files).arrows()).len()
    };
    assert_eq!(found("schema", "use crate::table::Scan;"), 1);
    assert_eq!(found("schema", "use crate::{error::Error, table::{self, Scan}};"), 1);
    assert_eq!(found("schema", "use crate::table as t; fn f() { t::scan() }"), 1, "by another name");
    assert_eq!(found("schema", "fn f() { vec![crate::table::scan()]; }"), 1, "in a macro");
    assert_eq!(found("schema", "fn f() { use super::table::scan; }"), 1);
    assert_eq!(found("schema", "fn f(_: Option<super::table::Scan>) {}"), 1);
    assert_eq!(found("schema", "use crate::export::open;"), 1, "the same floor");
    assert_eq!(found("error", "pub struct Error; fn f() { crate::export::open() }"), 1);
    assert_eq!(found("table", "use crate::export::Error; use crate::schema::Type;"), 0);
    assert_eq!(found("schema", "use crate::error::Kind; pub(crate) fn f() {}"), 0);
    assert_eq!(found("schema", "//! See [`crate::table`].\nconst A: &str = \"crate::table::Scan\";"), 0);
    assert_eq!(found("schema", "#[cfg(test)] mod tests { use crate::table::Scan; }"), 0, "tests may");
}

#[test]
fn circles_are_caught_behind_re_exports() {
    let circle = |b: &str| {
        let files = [
            ("lib.rs", "pub mod room;"),
            ("room/mod.rs", "mod a; mod b; mod c; pub use a::A; pub use c::C;"),
            ("room/a.rs", "use super::b::B; pub struct A(B);"),
            ("room/b.rs", b),
            ("room/c.rs", "pub struct C;"),
        ];
        circles(&Tree::of_texts(&files).arrows()).len()
    };
    assert_eq!(circle("pub struct B; use crate::room::A;"), 2);
    assert_eq!(circle("pub struct B; use super::A as Other;"), 2);
    assert_eq!(circle("pub struct B; use crate::room; fn f(_: room::A) {}"), 2);
    assert_eq!(circle("pub struct B; use crate::room::C;"), 0);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Reads the rows `//! | 3 | [`table`], [`catalog`] |`.
fn floors(library: &str) -> Floors {
    let mut floors = Floors::new();
    for line in library.lines() {
        let cells: Vec<&str> = line.trim_start_matches("//!").split('|').map(str::trim).collect();
        let [_, floor, rooms, ..] = cells.as_slice() else { continue };
        if let Ok(floor) = floor.parse() {
            floors.extend(rooms.split('`').skip(1).step_by(2).map(|name| (name.to_owned(), floor)));
        }
    }
    assert!(!floors.is_empty(), "no table of floors");
    floors
}

/// Arrows between rooms that do not lead down.
fn upwards(floors: &Floors, arrows: &Arrows) -> Vec<String> {
    let mut wrong = Vec::new();
    for (from, targets) in arrows {
        let Some(room) = from.first() else { continue };
        for (to, names) in targets {
            let floor = |room: &String| floors.get(room).copied().unwrap_or(u32::MAX);
            match to.first() {
                Some(other) if other == room || floor(other) < floor(room) => {}
                other => wrong.push(format!("{} uses {names:?} of {other:?}, which is not below it", from.join("/"))),
            }
        }
    }
    wrong
}
