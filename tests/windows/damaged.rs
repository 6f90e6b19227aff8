//! A damaged export among good ones below a folder: what follows the watermark without a gap is applied, then it is exit 3.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Site, at, pairs, put, site};

/// Four windows of 15 minutes, the n-th setting `a` to n + 10.
fn windows(site: &Site) -> Vec<PathBuf> {
    (0..4).map(|n| site.window(15 * n, 15 * (n + 1), vec![put("a", i64::from(n) + 10)])).collect()
}

fn cut(file: &Path) {
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
}

fn flip(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let at = bytes.len() / 3;
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
}

type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 5] = [
    ("manifest-summary.json", cut),
    ("manifest-summary.json", flip),
    ("manifest-summary.json", |file| fs::write(file, "").unwrap()),
    ("manifest-files.json", cut),
    ("manifest-files.json", flip),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_before_a_damaged_export_is_applied() {
    for (n, (name, damage)) in DAMAGES.into_iter().enumerate() {
        // It is the first, the third, the last, …
        let damaged = [2, 0, 3, 1, 2][n];
        let site = site();
        let all = windows(&site);
        let file = all[damaged].join(name);
        let whole = fs::read(&file).unwrap();
        damage(&file);
        let before = site.files();
        let run = site.incremental(&[&site.bucket()], &["--dry-run"]).expect(3);
        assert_eq!(run.statuses().1, vec!["dry_run"; damaged], "{}", run.stdout);
        assert!(site.files() == before, "a dry run wrote");

        // Nothing may be applied across what is damaged, whatever is allowed.
        for flags in [&[][..], &["--allow-gap", "--allow-overlap"]] {
            let run = site.incremental(&[&site.bucket()], flags).expect(3);
            let named = run.report["error"]["file"].as_str().unwrap();
            let folder = all[damaged].file_name().unwrap().to_str().unwrap();
            assert!(named.contains(folder) && named.contains("manifest-"), "{named}");
            let time = at(15 * u32::try_from(damaged).unwrap());
            assert_eq!(run.report["watermark"], time);
            let applied = if flags.is_empty() { damaged } else { 0 };
            assert_eq!(run.statuses(), ("failed", vec!["applied"; applied]));
            let value = if damaged == 0 { 1 } else { i64::try_from(damaged).unwrap() + 9 };
            assert_eq!(pairs(&site.rows().await), [("a", value)]);
            assert!(!site.table().await.unwrap().metadata.properties().contains_key("ddb-iceberg.gaps"));
        }
        fs::write(&file, whole).unwrap();
        let run = site.incremental(&[&site.bucket()], &[]).expect(0);
        assert_eq!(run.statuses().1, vec!["applied"; 4 - damaged]);
        assert_eq!(pairs(&site.rows().await), [("a", 13)]);
    }
}

#[test]
fn all_that_are_damaged_are_named() {
    let site = site();
    let all = windows(&site);
    cut(&all[1].join("manifest-files.json"));
    cut(&all[3].join("manifest-summary.json"));
    let run = site.run(&["status", site.bucket().to_str().unwrap()]).expect(3);
    let due: Vec<_> =
        run.report["state"]["due"].as_array().unwrap().iter().map(|due| due["problem"].is_null()).collect();
    assert_eq!(due, [true, false], "the first can be applied, the third cannot: {}", run.stdout);
    let run = site.incremental(&[&site.bucket(), &site.bucket()], &[]).expect(3);
    assert_eq!(run.statuses().1, ["applied"]);
    let name = |n: usize| all[n].file_name().unwrap().to_str().unwrap().to_owned();
    let told = format!("{} {}", run.report["error"], run.warnings());
    assert!(told.contains(&name(1)) && told.contains(&name(3)), "{told}");
    assert_eq!(run.report["warnings"].as_array().unwrap().len(), 1, "once each: {told}");
}

/// An export that is named as such is refused before anything is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_export_that_is_named_stops_all() {
    let site = site();
    let all = windows(&site);
    cut(&all[1].join("manifest-summary.json"));
    let before = site.files();
    let all: Vec<&Path> = all.iter().map(PathBuf::as_path).collect();
    site.incremental(&all, &[]).expect(3);
    assert!(site.files() == before, "the table is untouched");
}
