//! One table of a shape, from its load to a comparison with what it must be, each command measured.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use super::program::{Run, Site, at, full, window};
use super::shape::Shape;

/// The limit of memory if no option says another, in MiB.
pub const DEFAULT_LIMIT: u64 = 512;

/// What a command took.
#[derive(Debug, Clone)]
pub struct Cost {
    pub what: &'static str,
    /// The peak of resident memory, in MiB.
    pub peak: u64,
    /// Seconds of CPU, of all threads; only of use if nothing else runs in this process.
    pub cpu: f64,
    pub wall: f64,
    /// Bytes of JSON that it read.
    pub json: u64,
}

/// A table and what it must hold.
pub struct Scene {
    pub shape: Shape,
    pub site: Site,
    pub costs: Vec<Cost>,
    options: Vec<String>,
    items: u64,
    files: usize,
    /// The version of each item that is there.
    live: BTreeMap<u64, u64>,
    windows: u32,
    bytes: u64,
}

impl Scene {
    /// A table of about so many bytes of JSON, in so many files; `options` go to every command.
    pub fn new(shape: Shape, bytes: u64, files: usize, options: &[&str]) -> Self {
        let items = shape.items_of(bytes);
        Self {
            shape,
            site: Site::new(),
            costs: Vec::new(),
            options: options.iter().map(|&text| text.to_owned()).collect(),
            items,
            files,
            live: (0..items).map(|n| (n, 0)).collect(),
            windows: 0,
            bytes: 0,
        }
    }

    fn full_export(&mut self, minute: u32) -> PathBuf {
        let (shape, files) = (self.shape, self.files);
        let live: Vec<(u64, u64)> = self.live.iter().map(|(n, version)| (*n, *version)).collect();
        self.bytes = shape.bytes_of(live.len() as u64);
        let size = live.len().div_ceil(files).max(1);
        let lines = move |file: usize| {
            live.iter().skip(file * size).take(size).map(|(n, version)| shape.item(*n, *version)).collect()
        };
        full(minute).id(&id(minute, "f")).made(files, lines).write(self.site.bucket())
    }

    fn measure(&mut self, what: &'static str, arguments: &[&str]) -> Run {
        let arguments: Vec<&str> = arguments.iter().copied().chain(self.options.iter().map(String::as_str)).collect();
        let (before, started) = (children_cpu(), Instant::now());
        let (run, peak) = self.site.watched(&arguments);
        let (cpu, wall) = (children_cpu() - before, started.elapsed().as_secs_f64());
        assert_eq!(run.code, 0, "{}: {what}: {}\n{}", self.shape.name, run.message(), run.stderr);
        let run = run.expect(0);
        self.costs.push(Cost { what, peak, cpu, wall, json: self.bytes });
        run
    }

    pub fn load(&mut self) {
        let export = self.full_export(0);
        let mut arguments = vec!["full-load", export.to_str().unwrap()];
        arguments.extend(self.shape.key_names().iter().flat_map(|name| ["--key", name]));
        arguments.extend(self.shape.partition_by.iter().flat_map(|by| ["--partition-by", by]));
        let run = self.measure("load", &arguments);
        assert_eq!(run.counts(0), [self.items, 0, 0], "{}", self.shape.name);
    }

    /// A window of about so many changes: three in five update, one deletes, one inserts.
    pub fn window(&mut self, what: &'static str, changes: u64, flags: &[&str]) {
        self.windows += 1;
        let version = u64::from(self.windows);
        let old: Vec<u64> = self.live.keys().copied().collect();
        let step = (old.len() as u64 * 5 / (changes * 4).max(1)).max(1);
        let start = version % step;
        let mut made: Vec<(u64, Option<u64>)> = Vec::new();
        for (place, n) in (start..old.len() as u64).step_by(usize::try_from(step).unwrap()).enumerate() {
            let n = old[usize::try_from(n).unwrap()];
            made.push((n, (place % 4 != 3).then_some(version)));
        }
        let first = self.items * 1000 * version;
        made.extend((0..changes.div_ceil(5)).map(|n| (first + n, Some(version))));
        let (mut inserted, mut updated, mut deleted) = (0, 0, 0);
        for (n, version) in &made {
            match version {
                Some(version) if self.live.insert(*n, *version).is_none() => inserted += 1,
                Some(_) => updated += 1,
                None => {
                    self.live.remove(n);
                    deleted += 1;
                }
            }
        }
        let run = self.apply(what, made, flags);
        assert_eq!(run.counts(0), [inserted, updated, deleted], "{}: {what}", self.shape.name);
    }

    /// A window of so many new items.
    pub fn inserts(&mut self, what: &'static str, count: u64) {
        self.windows += 1;
        let first = self.items * 1000 * u64::from(self.windows);
        let made: Vec<_> = (first..first + count).map(|n| (n, Some(0))).collect();
        self.live.extend(made.iter().map(|(n, _)| (*n, 0)));
        let run = self.apply(what, made, &["--maintenance", "off"]);
        assert_eq!(run.counts(0), [count, 0, 0], "{}: {what}", self.shape.name);
    }

    fn apply(&mut self, what: &'static str, made: Vec<(u64, Option<u64>)>, flags: &[&str]) -> Run {
        let shape = self.shape;
        self.bytes = shape.bytes_of(made.len() as u64);
        let size = made.len().div_ceil(self.files).max(1);
        let lines = move |file: usize| {
            let part = made.iter().enumerate().skip(file * size).take(size);
            part.map(|(at, (n, version))| shape.change(*n, *version, 1_768_386_096_000_000 + at as u64)).collect()
        };
        let minute = self.windows;
        let id = id(minute, "e");
        let export = window(minute - 1, minute).id(&id).made(self.files, lines).write(self.site.bucket());
        let arguments = [&["incremental", export.to_str().unwrap()], flags].concat();
        self.measure(what, &arguments)
    }

    pub fn compact(&mut self) {
        self.bytes = self.shape.bytes_of(self.live.len() as u64);
        let run = self.measure("compact", &["compact"]);
        let removed = run.report["maintenance"][0]["data_files_removed"].as_u64().unwrap_or(0);
        assert!(removed > 1, "{}: nothing to compact: {}", self.shape.name, run.stdout);
    }

    /// The table's rows are those that must be there.
    pub fn verify(&mut self) {
        let export = self.full_export(self.windows);
        let run = self.measure("verify", &["verify", export.to_str().unwrap()]);
        let comparison = &run.report["comparison"];
        assert_eq!(comparison["equal"].as_u64(), Some(self.live.len() as u64), "{}: {}", self.shape.name, run.stdout);
        for kind in ["missing", "extra", "different"] {
            assert_eq!(comparison[kind].as_u64(), Some(0), "{}: {kind}: {}", self.shape.name, run.stdout);
        }
    }

    /// The size of the largest metadata file, in bytes.
    pub fn largest_metadata(&self) -> u64 {
        let files = self.site.table_files().into_iter().filter(|name| name.ends_with(".metadata.json"));
        files.map(|name| std::fs::metadata(self.site.warehouse().join(name)).unwrap().len()).max().unwrap_or(0)
    }

    /// Every command, with an eighth of the items changed in either write mode, and enough files for a compaction.
    pub fn play(&mut self) {
        self.load();
        self.window("10 changes", 10, &[]);
        let many = (self.items / 8).max(20);
        self.window("copy-on-write", many, &["--maintenance", "off", "--write-mode", "copy-on-write"]);
        self.window("window", many, &["--maintenance", "off"]);
        let measured = self.costs.len();
        for _ in 0..4 {
            self.window("small window", many / 8, &["--maintenance", "off"]);
        }
        self.costs.drain(measured + 1..);
        self.compact();
        self.verify();
    }
}

fn id(minute: u32, kind: &str) -> String {
    let time = ddb_iceberg::time::parse(&at(minute)).unwrap().timestamp_millis() + 24_000;
    format!("{time:014}-{}", kind.repeat(8))
}

/// Seconds of CPU of all programs that this process started and waited for, as Linux counts it.
fn children_cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in brackets: user and system time of children are the 14th and 15th.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(13) + ticks(14)) / 100.0
}
