//! One table's history: what DynamoDB would export, and what the Iceberg table must then hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::columns::{Row, Table};
use super::exports::{ExportWriter, FullExport, IncrementalExport};
use super::home::Bucket;
use super::profile::Profile;
use super::random::Random;
use super::values::{Item, Number, V, identity, item_json};

pub const TABLE: &str = "orders";

/// Identity of a key.
pub type Key = Vec<String>;
/// All rows by key.
pub type Rows = BTreeMap<Key, Row>;

/// What the report and the table must say of one window, and of the table right after it.
#[derive(Debug, Clone)]
pub struct Window {
    pub folder: PathBuf,
    pub arn: String,
    pub from: String,
    pub to: String,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    pub rescued: BTreeMap<String, u64>,
    /// Of these, the attributes that a warning speaks of.
    pub misfits: BTreeSet<String>,
    pub columns_added: BTreeSet<String>,
    pub table: Table,
    pub rows: Rows,
}

struct Record {
    key: Vec<V>,
    image: Option<Item>,
    old: Option<Item>,
    written: i64,
}

pub struct World {
    pub random: Random,
    pub profile: Profile,
    pub bucket: Bucket,
    /// DynamoDB's table.
    items: BTreeMap<Key, Item>,
    pub table: Table,
    pub rows: Rows,
    /// Windows made so far.
    pub windows: usize,
    /// Minutes from the load to the last window's end.
    minutes: i64,
    /// Operations a window.
    pub operations: usize,
}

/// The load and what the report must say of it.
pub struct Load {
    pub folder: PathBuf,
    pub arn: String,
    pub time: String,
    pub schema: Option<PathBuf>,
    pub struct_fields: usize,
    pub rescued: BTreeMap<String, u64>,
    /// Of these, the attributes that a warning speaks of.
    pub misfits: BTreeSet<String>,
}

/// Counts what is rescued of a row.
fn count(names: BTreeMap<String, bool>, rescued: &mut BTreeMap<String, u64>, misfits: &mut BTreeSet<String>) {
    for (name, misfit) in names {
        *rescued.entry(name.clone()).or_default() += 1;
        if misfit {
            misfits.insert(name);
        }
    }
}

pub fn key_of(parts: &[V]) -> Key {
    parts.iter().map(identity).collect()
}

fn time(minutes: i64, milliseconds: &str) -> String {
    let minutes = minutes + 10 * 60;
    format!("2026-01-{:02}T{:02}:{:02}:00.{milliseconds}Z", 14 + minutes / 1440, minutes / 60 % 24, minutes % 60)
}

impl World {
    /// Makes the full export and the table that it must become.
    pub fn load(mut random: Random, profile: Profile, bucket: Bucket, operations: usize) -> (Self, Load) {
        let listed = random.percent(20).then(|| listed(&mut random, &profile));
        let whole = |part: &V| !matches!(part, V::N(text) if Number::read(text).to_long().is_none());
        let empty = listed.is_some() && profile.keys.iter().any(|key| key.iter().all(whole)) && random.percent(40);
        let mut items = BTreeMap::new();
        // The first key is always there, so that the key columns have a type.
        for (n, key) in profile.keys.iter().enumerate() {
            if !empty && (n == 0 || random.percent(60)) {
                items.insert(key_of(key), profile.item(&mut random, key, 0));
            }
        }
        let struct_fields = if listed.is_none() && random.percent(30) { 3 } else { 256 };
        let all: Vec<Item> = items.values().cloned().collect();
        let table = Table::create(&all, &profile.key, listed.as_ref(), struct_fields);
        let (mut rescued, mut misfits) = (BTreeMap::new(), BTreeSet::new());
        let mut rows = Rows::new();
        for (key, item) in &items {
            let (row, names) = table.row(item);
            count(names, &mut rescued, &mut misfits);
            rows.insert(key.clone(), row);
        }
        let schema = listed.map(|listed| {
            let path = bucket.root().join("schema.json");
            bucket.put(&path, json!(listed).to_string());
            path
        });
        let lines: Vec<String> = all.iter().map(|item| json!({"Item": item_json(item)}).to_string()).collect();
        let milliseconds = if random.percent(40) { "622" } else { "000" };
        let time = time(0, milliseconds);
        let files = spread(&mut random, lines);
        let export = FullExport::new(TABLE).time(&time).files(files).members(random.range(1, 4));
        let load =
            Load { folder: bucket.write(&export), arn: export.arn(), time, schema, struct_fields, rescued, misfits };
        let world = Self { random, profile, bucket, items, table, rows, windows: 0, minutes: 0, operations };
        (world, load)
    }

    /// Makes the next window's export and applies it to the model.
    pub fn window(&mut self, add: bool) -> Window {
        self.window_beside(add, 0)
    }

    /// The next window, which starts so many minutes after the last one's end, or before it.
    pub fn window_beside(&mut self, add: bool, minutes: i64) -> Window {
        self.windows += 1;
        let (from, length) = (self.minutes + minutes, *self.random.pick(&[15, 15, 60, 1440]));
        self.minutes = from + length;
        let (from, to) = (time(from, "000"), time(self.minutes, "000"));
        let records = match self.random.range(0, 12) {
            0 => Vec::new(),
            1..=3 => self.by_hand(),
            _ => self.by_dynamodb(),
        };
        let old_images = self.random.percent(50);
        let files = spread(&mut self.random, records);
        let lines: Vec<Vec<String>> =
            files.iter().map(|file| file.iter().map(|record| self.line(record, old_images)).collect()).collect();
        let view = if old_images { "NEW_AND_OLD_IMAGES" } else { *self.random.pick(&["NEW_IMAGE", "NEW_IMAGES"]) };
        let export = self.export(&from, &to).view(view).files(lines).members(self.random.range(1, 4));
        let mut window = Window {
            folder: self.bucket.write(&export),
            arn: export.arn(),
            from,
            to,
            inserted: 0,
            updated: 0,
            deleted: 0,
            rescued: BTreeMap::new(),
            misfits: BTreeSet::new(),
            columns_added: BTreeSet::new(),
            table: self.table.clone(),
            rows: Rows::new(),
        };
        self.apply(&files, add, &mut window);
        window.table = self.table.clone();
        window.rows = self.rows.clone();
        window
    }

    fn export(&self, from: &str, to: &str) -> ExportWriter {
        IncrementalExport::new(TABLE).from(from).to(to)
    }

    fn apply(&mut self, files: &[Vec<Record>], add: bool, window: &mut Window) {
        let mut newest: BTreeMap<Key, (i64, usize, usize, &Record)> = BTreeMap::new();
        for (file, records) in files.iter().enumerate() {
            for (line, record) in records.iter().enumerate() {
                let rank = (record.written, file, line, record);
                let place = newest.entry(key_of(&record.key)).or_insert(rank);
                if (place.0, place.1, place.2) < (rank.0, rank.1, rank.2) {
                    *place = rank;
                }
            }
        }
        if add {
            let images: Vec<&Item> = files.iter().flatten().filter_map(|r| r.image.as_ref()).collect();
            window.columns_added = self.table.grow(&images);
        }
        for (key, (.., record)) in newest {
            match &record.image {
                Some(image) => {
                    let (row, rescued) = self.table.row(image);
                    count(rescued, &mut window.rescued, &mut window.misfits);
                    let known = self.rows.insert(key.clone(), row).is_some();
                    *if known { &mut window.updated } else { &mut window.inserted } += 1;
                    self.items.insert(key, image.clone());
                }
                None => {
                    window.deleted += u64::from(self.rows.remove(&key).is_some());
                    self.items.remove(&key);
                }
            }
        }
    }

    /// Some keys that no row has, and that the key columns take.
    pub fn absent(&mut self, most: usize) -> Vec<Vec<V>> {
        let fits = |key: &&Vec<V>| self.table.takes_key(key) && !self.rows.contains_key(&key_of(key));
        let mut keys: Vec<Vec<V>> = self.profile.keys.iter().filter(fits).cloned().collect();
        keys.truncate(self.random.range(0, most + 1));
        keys
    }

    /// The key columns of a row.
    pub fn key_row(&self, key: &[V]) -> Row {
        self.table.row(&self.profile.key.iter().cloned().zip(key.iter().cloned()).collect()).0
    }

    fn key(&mut self) -> Vec<V> {
        loop {
            let key = self.random.pick(&self.profile.keys).clone();
            if self.table.takes_key(&key) {
                return key;
            }
        }
    }

    /// As DynamoDB writes a window: one record a key, its last state, and none for what came and went inside.
    fn by_dynamodb(&mut self) -> Vec<Record> {
        let mut after = self.items.clone();
        let mut touched = BTreeMap::new();
        for _ in 0..self.random.range(1, self.operations + 1) {
            let key = self.key();
            if after.contains_key(&key_of(&key)) && self.random.percent(40) {
                after.remove(&key_of(&key));
            } else {
                let item = self.profile.item(&mut self.random, &key, self.windows);
                after.insert(key_of(&key), item);
            }
            touched.insert(key_of(&key), key);
        }
        let mut records = Vec::new();
        for (name, key) in touched {
            let (old, image) = (self.items.get(&name).cloned(), after.get(&name).cloned());
            if old.is_some() || image.is_some() {
                records.push(Record { key, image, old, written: self.random.range(0, 1_000_000) as i64 });
            }
        }
        records
    }

    /// As a person might merge exports: several records a key in any order, some of one time, deletes of absent keys.
    fn by_hand(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        for _ in 0..self.random.range(1, self.operations + 1) {
            let key = self.key();
            let image = self.random.percent(60).then(|| self.profile.item(&mut self.random, &key, self.windows));
            let old = self.items.get(&key_of(&key)).cloned();
            records.push(Record { key, image, old, written: 1_768_386_000_000_000 + self.random.range(0, 8) as i64 });
        }
        records
    }

    fn line(&mut self, record: &Record, old_images: bool) -> String {
        let written = match self.random.range(0, 8) {
            0 => json!(record.written.to_string()),
            1 => json!(record.written),
            _ => json!({"N": record.written.to_string()}),
        };
        let keys = self.profile.key.iter().cloned().zip(Profile::spelled(&mut self.random, &record.key)).collect();
        let mut parts = vec![("Metadata", json!({"WriteTimestampMicros": written})), ("Keys", item_json(&keys))];
        if let Some(image) = &record.image {
            parts.push(("NewImage", item_json(image)));
        }
        if let (Some(old), true) = (&record.old, old_images) {
            parts.push(("OldImage", item_json(old)));
        }
        self.random.shuffle(&mut parts);
        Value::Object(parts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()).to_string()
    }
}

/// A plain schema file: the key and some of the attributes, as DynamoDB types.
fn listed(random: &mut Random, profile: &Profile) -> BTreeMap<String, &'static str> {
    let mut listed = BTreeMap::new();
    for (name, part) in profile.key.iter().zip(&profile.keys[0]) {
        listed.insert(name.clone(), part.kind());
    }
    for attribute in &profile.attributes {
        if random.percent(50) {
            let kind = *random.pick(&["S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"]);
            listed.insert(attribute.name.clone(), kind);
        }
    }
    listed
}

/// Over one to five files in any order; some are empty.
fn spread<T>(random: &mut Random, mut all: Vec<T>) -> Vec<Vec<T>> {
    random.shuffle(&mut all);
    let mut files: Vec<Vec<T>> = (0..random.range(1, 6)).map(|_| Vec::new()).collect();
    let used = random.range(0, files.len()) + 1;
    let first = files.len() - used;
    for one in all {
        let n = first + random.range(0, used);
        files[n].push(one);
    }
    files
}
