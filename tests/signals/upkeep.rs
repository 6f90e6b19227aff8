//! Runs over the windows that have come, with maintenance behind them, signalled again and again until all are through.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::Command;
use std::time::Duration;

use ddb_iceberg::catalog::LoadedTable;
use ddb_iceberg::catalog::connect::connect;
use ddb_iceberg::storage::Store;
use iceberg::TableUpdate;
use iceberg::spec::{Operation, SnapshotRef};
use serde_json::Value;

use crate::program::{Run, Site, at, gone, pairs, put, simple};
use crate::random::Random;
use crate::reader::named;

const WINDOWS: u32 = 48;
type Model = BTreeMap<String, i64>;

/// What the table holds after each window.
struct History {
    site: Site,
    states: Vec<Model>,
    /// Windows that have not come yet.
    waiting: VecDeque<Vec<String>>,
    random: Random,
}

impl History {
    async fn new(seed: u64) -> Self {
        let mut model: Model = (0..40).map(|n| (format!("k{n:02}"), n)).collect();
        let site = Site::loaded(model.iter().map(|(key, value)| simple(key, *value)).collect(), &["pk"]);
        // As if each window were more than five days after the last.
        let updates = [("history.expire.max-snapshot-age-ms".to_owned(), "1".to_owned())].into();
        let properties = BTreeMap::from([("warehouse".to_owned(), site.warehouse().display().to_string())]);
        let catalog = connect("default", &properties, Store::local()).await.unwrap();
        let table = site.table().await.unwrap();
        catalog.commit(&table, Vec::new(), vec![TableUpdate::SetProperties { updates }]).await.unwrap();
        let (mut states, mut waiting) = (vec![model.clone()], VecDeque::new());
        for n in 0..WINDOWS {
            let mut changes = Vec::new();
            for key in [format!("k{:02}", n * 7 % 40), format!("new{n:03}")] {
                changes.push(put(&key, i64::from(1000 + n)));
                model.insert(key, i64::from(1000 + n));
            }
            let key = format!("k{:02}", (n * 13 + 5) % 40);
            if !changes.iter().any(|line| line.contains(&key)) {
                model.remove(&key);
                changes.push(gone(&key));
            }
            waiting.push_back(changes);
            states.push(model.clone());
        }
        Self { site, states, waiting, random: Random::new(seed) }
    }

    /// Lets windows come until three are there that were not applied.
    fn export(&mut self, applied: usize) {
        while let Some(changes) = self.waiting.pop_front() {
            let n = WINDOWS - u32::try_from(self.waiting.len()).unwrap() - 1;
            self.site.window(n, n + 1, changes);
            if n as usize >= applied + 2 {
                break;
            }
        }
    }

    /// How many windows the table has, which it must show.
    async fn applied(&self) -> usize {
        let table = self.site.table().await.unwrap();
        let mark: Value = serde_json::from_str(&table.metadata.properties()["ddb-iceberg.watermark"]).unwrap();
        let n = (0..=WINDOWS).position(|n| mark["time"] == at(n)).unwrap();
        let rows = self.site.rows().await;
        let rows: Model = pairs(&rows).into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        assert!(rows == self.states[n], "after {n} windows the table holds {rows:?}");
        n
    }
}

/// Every file that the table names is there; gives those that it does not name.
async fn unnamed(site: &Site, table: &LoadedTable) -> BTreeSet<String> {
    let top = format!("file://{}/", site.warehouse().display());
    let mut found: BTreeSet<String> = site.table_files().into_iter().collect();
    for path in named(table).await {
        assert!(found.remove(path.strip_prefix(&top).unwrap()), "{path} is named and missing");
    }
    found
}

/// Runs it until it is through, sending one of these signals each time.
async fn through(signals: &[&str], seed: u64) {
    let mut history = History::new(seed).await;
    let bucket = history.site.bucket();
    let (mut reached, mut stopped, mut seen, mut actions) = (0, 0, BTreeSet::new(), BTreeSet::new());
    let mut expired = false;
    // The longest wait in milliseconds. It follows how long runs take here, so that about as many are stopped as end.
    let mut longest = 400;
    for n in 0.. {
        assert!(n < 200, "it does not come to an end");
        let signal = signals[n % signals.len()];
        history.export(reached);
        let first = history.site.table().await.unwrap().metadata.snapshots().map(|s| s.sequence_number()).min();
        let child = history.site.start(&["incremental", bucket.to_str().unwrap()]);
        let wait = Duration::from_millis(history.random.below(longest) as u64);
        std::thread::sleep(wait);
        Command::new("sh").args(["-c", &format!("kill -{signal} {} 2>/dev/null", child.id())]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        let now = history.applied().await;
        assert!(now >= reached, "windows are gone: {reached}, then {now}");
        let (before, code) = (std::mem::replace(&mut reached, now), output.status.code());
        let table = history.site.table().await.unwrap();
        let left = unnamed(&history.site, &table).await;
        let replaced = |snapshot: &SnapshotRef| snapshot.summary().operation == Operation::Replace;
        if table.metadata.snapshots().any(replaced) {
            actions.insert("compact".to_owned());
        }
        if let Some(code) = code {
            let run = Run::of(output);
            assert!([0, 130].contains(&code), "{signal} after {wait:?}: exit {code}: {}", run.stderr);
            let told = run.report["windows"].as_array().unwrap();
            let told: Vec<_> = told.iter().filter(|window| window["status"] == "applied").collect();
            assert!(told.len() <= now - before, "{} windows told, {} applied", told.len(), now - before);
            for window in told {
                assert!(seen.insert(window["to"].as_str().unwrap().to_owned()), "applied twice: {window}");
            }
            for action in run.report["maintenance"].as_array().unwrap() {
                actions.insert(action["action"].as_str().unwrap().to_owned());
            }
            // What was expired may be left where it was when that was stopped.
            expired |= table.metadata.snapshots().map(|s| s.sequence_number()).min() != first;
            if !signals.contains(&"KILL") && !expired {
                assert!(left.is_empty(), "{signal} after {wait:?} left behind {left:?}: {}", run.stderr);
            }
            if code == 0 {
                if reached == WINDOWS as usize {
                    break;
                }
                longest = (longest * 3 / 4).max(20);
                continue;
            }
            assert_eq!(run.report["error"]["exit"], 130, "{}", run.stdout);
        }
        stopped += 1;
        longest = (longest * 3 / 2).min(4000);
    }
    assert_eq!(reached, WINDOWS as usize);
    println!("{signals:?}: {stopped} runs were stopped; told of {} windows and of {actions:?}", seen.len());
    assert!(stopped > 3, "only {stopped} runs were stopped");
    assert!(!actions.is_empty(), "no upkeep was due");
    let again = history.site.incremental(&[&bucket], &[]).expect(0);
    assert_eq!(again.report["status"], "nothing_to_do");
    history.site.run(&["compact"]).expect(0);
    assert_eq!(history.applied().await, WINDOWS as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_and_upkeep_that_are_stopped_again_and_again() {
    through(&["TERM", "INT"], 0x5EED_0003).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_and_upkeep_that_are_killed_again_and_again() {
    through(&["KILL", "TERM", "KILL", "INT"], 0x5EED_0004).await;
}
