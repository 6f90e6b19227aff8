//! The model test: random histories of a DynamoDB table, cut into a full export and windows, applied step by step and
//! compared with a plain map row by row, and the table's metadata with itself. In between, other programs rewrite and append,
//! roll back, change partitions and columns, set tags and statistics, and `compact` and `expire` run.
//!
//! Most histories are short and lie in memory; every [`LONG`]-th is long, and in files with an SQLite catalog.
//!
//! Seeds are the same at each run, but for some fresh ones. A failure prints its seed. `MODEL_SEED=<seed> MODEL_HISTORIES=1` runs that history again; a large `MODEL_HISTORIES`
//! searches for longer.

#![allow(missing_docs, clippy::pedantic, clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "model/between.rs"]
mod between;
#[path = "model/columns.rs"]
mod columns;
#[path = "common/exports.rs"]
mod exports;
#[path = "model/foreign.rs"]
mod foreign;
#[path = "model/home.rs"]
mod home;
#[path = "model/memory.rs"]
mod memory;
#[path = "model/metadata.rs"]
mod metadata;
#[path = "common/other_writer.rs"]
mod other_writer;
#[path = "model/partitions.rs"]
mod partitions;
#[path = "model/profile.rs"]
mod profile;
#[path = "common/random.rs"]
mod random;
#[path = "common/reader.rs"]
mod reader;
#[path = "model/runner.rs"]
mod runner;
#[path = "model/values.rs"]
mod values;
#[path = "model/world.rs"]
mod world;

use std::sync::{LazyLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use home::Home;
use profile::Profile;
use random::Random;
use runner::Runner;
use tokio::runtime::Runtime;

/// Histories of each test when nothing else is asked for.
const HISTORIES: u64 = 3000;
const SEED: u64 = 1;
/// Histories besides, of seeds that no run has had before.
const FRESH: u64 = 50;
/// One history in so many is long.
const LONG: u64 = 100;

/// Says how to run a failed history again.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            eprintln!("run it again: MODEL_SEED={} MODEL_HISTORIES=1 cargo test --test model -- {name}", self.0);
        }
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

fn histories(partition_key: &'static str) {
    let seed = number("MODEL_SEED", SEED);
    let known = seed..seed + number("MODEL_HISTORIES", HISTORIES);
    // Others at each run, unless it is known what is to be run.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let set = ["MODEL_SEED", "MODEL_HISTORIES"].iter().any(|name| std::env::var_os(name).is_some());
    let fresh = now..now + if set { 0 } else { FRESH };
    println!("histories of the seeds {known:?} and {fresh:?}");
    for seed in known.chain(fresh) {
        let guard = Seed(seed);
        let mut random = Random::new(seed);
        let long = seed.is_multiple_of(LONG);
        let windows = match (long, random.percent(25)) {
            (true, true) => 14,
            (true, false) => random.range(3, 9),
            (false, true) => random.range(3, 6),
            (false, false) => random.range(1, 3),
        };
        let mut kinds = vec![partition_key];
        if random.percent(50) {
            kinds.push(*random.pick(&["S", "N", "B"]));
        }
        let (keys, operations) = if long { (40, 40) } else { (random.range(2, 16), random.range(2, 12)) };
        let profile = Profile::new(&mut random, &kinds, windows, keys, 0);
        let threads = random.range(1, 4);
        let memory = *random.pick(&[8 << 20, 32 << 20, 512 << 20]);
        let home = if long { Home::disk() } else { Home::memory() };
        run(home, random, profile, windows, operations, threads, memory);
        drop(guard);
    }
    let done = between::DONE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    println!("so far, in between: {done:?}");
    assert!(number("MODEL_HISTORIES", HISTORIES) < 100 || done.len() == 10, "some step never happened: {done:?}");
}

/// One for all: threads are not made anew for each history.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

fn run(home: Home, random: Random, profile: Profile, windows: usize, operations: usize, threads: usize, memory: usize) {
    RUNTIME.block_on(async {
        let mut runner = Runner::load(home, random, profile, operations, threads, memory).await;
        while runner.windows() < windows {
            runner.step().await;
        }
    });
}

#[test]
fn string_keys() {
    histories("S");
}

#[test]
fn number_keys() {
    histories("N");
}

#[test]
fn binary_keys() {
    histories("B");
}

/// Changes that the little memory is not enough to sort, nor to look up all keys at once.
fn large(items: usize, ballast: usize, memory: usize) {
    let seed = number("MODEL_SEED", SEED);
    let _guard = Seed(seed);
    let mut random = Random::new(seed);
    // Only keys of text can be long; the start that they share is most of them.
    let mut profile = Profile::new(&mut random, &["S"], 2, items, ballast);
    for key in &mut profile.keys {
        if let Some(values::V::S(text)) = key.first_mut() {
            text.insert_str(0, &"the same start ".repeat(20));
        }
    }
    run(Home::disk(), random, profile, 2, 2 * items, 2, memory);
}

#[test]
fn large_windows_in_little_memory() {
    large(12_000, 200, 64 << 20);
    large(4_000, 4_000, 64 << 20);
}

/// The keys of one chunk are counted once, not once for each batch that the join takes in.
#[tokio::test(flavor = "multi_thread")]
async fn many_changes_in_little_memory() {
    memory::insert(300_000, 64, &[3, 3, 2, 2], 512 << 20).await;
}

/// Whoever has sorted a small file has the memory to go on while a large one is still read.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_uneven_size_in_little_memory() {
    memory::insert(300_000, 64, &[1, 9], 32 << 20).await;
}

/// A batch of rows is cut by what the rows weigh: DynamoDB's items have up to 400 KB. A quarter of the least
/// memory, with a quarter of the data that is needed to fill it.
#[tokio::test(flavor = "multi_thread")]
async fn large_items_in_little_memory() {
    memory::insert(500, 300_000, &[3, 3, 2, 2], 128 << 20).await;
}
