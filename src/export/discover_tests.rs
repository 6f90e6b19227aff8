use std::fs;
use std::path::Path;

use super::*;

const IDS: [&str; 3] = ["01768386000000-d339e52d", "01768386900000-d339e52d", "01768387800000-d339e52d"];

/// The walk through these folders below a new one, itself among them with its files.
fn walked(folders: &[String], files: &[&str], watermark: Option<i64>, limit: usize) -> Result<Walk> {
    let top = tempfile::tempdir().unwrap();
    for folder in folders {
        fs::create_dir_all(top.path().join(folder)).unwrap();
    }
    for file in files {
        fs::write(top.path().join(file), "").unwrap();
    }
    walk_at(top.path(), watermark, limit)
}

fn walk_at(top: &Path, watermark: Option<i64>, limit: usize) -> Result<Walk> {
    let top = Location::parse(top.to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(walk(&Store::local(), &top, watermark, limit))
}

fn names(walk: &Walk) -> Vec<&str> {
    let mut names: Vec<&str> = walk.candidates.iter().filter_map(|found| found.folder.file_name()).collect();
    names.sort_unstable();
    names
}

#[test]
fn so_many_folders_are_searched_and_no_more() {
    let folders: Vec<String> = (0..4).map(|n| format!("f{n}")).collect();
    assert!(walked(&folders, &[], None, 5).is_ok());
    for limit in [4, 3, 1] {
        let error = walked(&folders, &[], None, limit).err().unwrap().to_string();
        assert!(error.contains(&format!("more than {limit} folders")), "{error}");
    }
}

/// Only S3 lists from a name on. Elsewhere old exports are told by their names, and counted.
#[test]
fn local_folders_are_listed_whole() {
    let folders = IDS.map(|id| format!("p/AWSDynamoDB/{id}"));
    for watermark in [None, Some(1_768_386_900_000), Some(i64::MAX)] {
        assert_eq!(names(&walked(&folders, &[], watermark, 100).unwrap()), IDS);
    }
}

/// Whoever names a folder means what is in it.
#[test]
fn a_renamed_export_is_found_below_the_argument() {
    let inside = walked(&["a/monday/data".to_owned()], &["a/monday/manifest-files.json"], None, 100).unwrap();
    assert_eq!(names(&inside), ["monday"]);
    let itself = walked(&["data".to_owned()], &["manifest-files.json"], None, 100).unwrap();
    assert_eq!(names(&itself), [""; 0]);
}

#[cfg(unix)]
#[test]
fn a_folder_that_is_linked_into_itself_is_searched_once() {
    let top = tempfile::tempdir().unwrap();
    let exports = top.path().join("a/AWSDynamoDB");
    fs::create_dir_all(exports.join(IDS[0])).unwrap();
    std::os::unix::fs::symlink(top.path().join("a"), top.path().join("a/again")).unwrap();
    std::os::unix::fs::symlink(top.path().join("a"), top.path().join("b")).unwrap();
    let walk = walk_at(top.path(), None, 100).unwrap();
    assert_eq!((names(&walk), walk.too_deep), (vec![IDS[0]], 0));
}
