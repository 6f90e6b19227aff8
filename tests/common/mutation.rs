//! A small mutating fuzzer for the stable toolchain: a kept corpus, a seeded generator, and what the code under test said
//! as its guide.
//!
//! By default a target runs a fixed number of cases from a fixed seed. `DDB_ICEBERG_FUZZ_SECONDS=600` runs each target for
//! so long, from `DDB_ICEBERG_FUZZ_SEED` (default: 1). `DDB_ICEBERG_FUZZ_KEEP=1` adds to the corpus what led to an answer
//! that nothing in it led to.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[path = "random.rs"]
mod random;

use random::Random;

/// Inputs are no longer than this, in bytes.
const LONGEST: usize = 4096;

/// What is fuzzed.
pub struct Target<'a> {
    /// The folder of its corpus below `tests/corpus/`.
    pub name: &'a str,
    /// Cases when no time is given.
    pub cases: u64,
    /// Words of its language.
    pub words: &'a [&'a str],
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

impl Target<'_> {
    fn folder(&self) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "tests", "corpus", self.name].iter().collect()
    }

    fn corpus(&self) -> Vec<Vec<u8>> {
        let mut paths: Vec<_> = fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort_unstable();
        assert!(!paths.is_empty(), "{} has no corpus", self.name);
        paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
    }

    /// Runs `judge` on the corpus and on mutations of it. It panics where a promise is broken, and gives what the code
    /// said otherwise: inputs that get new answers are mutated further.
    pub fn run(&self, judge: impl Fn(&[u8]) -> String) {
        let mut random = Random::new(variable("DDB_ICEBERG_FUZZ_SEED").unwrap_or(1));
        let time = variable("DDB_ICEBERG_FUZZ_SECONDS").map(Duration::from_secs);
        let started = Instant::now();
        let mut pool = self.corpus();
        let mut answers = BTreeMap::new();
        for input in &pool {
            *answers.entry(shape(&self.judge(&judge, input))).or_insert(0_u64) += 1;
        }
        let mut cases = pool.len() as u64;
        let mut kept = 0;
        while time.map_or(cases < self.cases, |time| started.elapsed() < time) {
            let input = self.mutated(&mut random, &pool);
            let answer = shape(&self.judge(&judge, &input));
            cases += 1;
            let times = answers.entry(answer).or_insert(0);
            *times += 1;
            if *times == 1 && variable("DDB_ICEBERG_FUZZ_KEEP") == Some(1) {
                let mut hasher = DefaultHasher::new();
                input.hash(&mut hasher);
                fs::write(self.folder().join(format!("found-{:016x}", hasher.finish())), &input).unwrap();
                kept += 1;
            }
            // The first few of an answer, and now and then another one.
            if (*times <= 4 || times.is_power_of_two()) && pool.len() < 4000 {
                pool.push(input);
            }
        }
        let took = started.elapsed();
        println!("{}: {cases} cases, {} distinct answers, {kept} kept, {took:.1?}", self.name, answers.len());
    }

    /// A case that breaks a promise is kept in a file, and shown.
    fn judge(&self, judge: &impl Fn(&[u8]) -> String, input: &[u8]) -> String {
        catch_unwind(AssertUnwindSafe(|| judge(input))).unwrap_or_else(|_| {
            let path = std::env::temp_dir().join(format!("ddb-iceberg-fuzz-{}-{}", self.name, std::process::id()));
            fs::write(&path, input).unwrap();
            panic!("{} fails on this, kept as {}:\n{}", self.name, path.display(), input.escape_ascii());
        })
    }

    fn mutated(&self, random: &mut Random, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut input = pool[random.below(pool.len())].clone();
        for _ in 0..=random.below(4) {
            self.mutate(random, pool, &mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn mutate(&self, random: &mut Random, pool: &[Vec<u8>], input: &mut Vec<u8>) {
        const BYTES: &[u8] = b"\0\t\n\r \"'\\/{}[](),:;<>-+.0159eENSMLBab_%~\x7f\x80\xC3\xFF";
        const NUMBERS: [&str; 14] = [
            "0",
            "-0",
            "-1",
            "1e400",
            "1E125",
            "1E-130",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "18446744073709551616",
            "4294967296",
            "2147483648",
            "99999999999999999999999999999999999999",
            "0.00000000000000000000000000000000000001",
        ];
        let at = random.below(input.len() + 1);
        let to = at + random.below((input.len() - at).min(64) + 1);
        match random.below(14) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = BYTES[random.below(BYTES.len())];
                }
            }
            2 => input.insert(at, BYTES[random.below(BYTES.len())]),
            3 => drop(input.drain(at..to)),
            4 => {
                let part = input[at..to].to_vec();
                drop(input.splice(at..at, part));
            }
            5 => {
                let part = input[at..to].to_vec();
                let place = random.below(input.len() + 1);
                drop(input.splice(place..place, part));
            }
            6..=8 if !self.words.is_empty() => {
                let word = self.words[random.below(self.words.len())];
                let end = if random.below(2) == 0 { at } else { to };
                drop(input.splice(at..end, word.bytes()));
            }
            9 => {
                // Another number in place of one.
                let digit = |byte: &u8| byte.is_ascii_digit();
                if let Some(from) = input[at..].iter().position(digit).map(|n| at + n) {
                    let end = input[from..].iter().position(|byte| !digit(byte)).map_or(input.len(), |n| from + n);
                    drop(input.splice(from..end, NUMBERS[random.below(NUMBERS.len())].bytes()));
                }
            }
            10 => {
                let other = &pool[random.below(pool.len())];
                let from = random.below(other.len() + 1);
                let end = from + random.below((other.len() - from).min(256) + 1);
                drop(input.splice(at..to, other[from..end].iter().copied()));
            }
            11 => {
                let other = &pool[random.below(pool.len())];
                input.truncate(at);
                input.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
            12 => input.truncate(at),
            _ => {
                let part = input[at..to].repeat(random.below(60));
                drop(input.splice(at..at, part));
            }
        }
        input.truncate(LONGEST);
    }
}

/// An answer without what differs from input to input: digits and what stands in quotes.
fn shape(answer: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let mut chars = answer.chars().take(600);
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '"' => quoted = !quoted,
            _ if quoted => {}
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            c => out.push(c),
        }
    }
    out
}
