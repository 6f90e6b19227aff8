//! A large table of orders, and its changes: what benchmarks read.
//!
//! An item follows from its number and version alone, so nothing is kept: memory does not grow with the table.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::layout::{Export, Kind, Listed, Result};

/// 2026-01-01T00:00:00Z: the full export's time.
const EXPORTED: i64 = 1_767_225_600_000;
const WINDOW: i64 = 15 * 60 * 1000;
const MOST_ITEMS: u64 = 10_000_000_000;
const MOST_WINDOWS: u64 = 100_000;

/// Writes a full export of `items` items, spread over `files` files as DynamoDB spreads them over partitions.
pub fn full(root: &Path, items: u64, files: u64) -> Result<(PathBuf, u64)> {
    if items > MOST_ITEMS || files == 0 {
        return Err(format!("--items must be at most {MOST_ITEMS} and --files at least 1").into());
    }
    let export = Export::start(root, Kind::Full { time: EXPORTED }, 1)?;
    let listed = write_files(&export, items, files, &|number, line| {
        line.push_str("{\"Item\":");
        item(line, number, 0);
        line.push('}');
    })?;
    export.finish(&listed)
}

/// The changes of one window. Updates and deletes meet items of the full export: half of its items, in an order of their
/// own, are there to be updated, again and again; the other half to be deleted, once.
#[derive(Debug)]
pub struct Window {
    items: u64,
    changes: u64,
    number: u64,
    step: u64,
}

impl Window {
    /// The changes of window `number`, counted from 1, of a table that began with `items` items.
    pub fn new(items: u64, changes: u64, number: u64) -> Result<Self> {
        if items > MOST_ITEMS || number == 0 || number > MOST_WINDOWS {
            return Err(format!("--items must be at most {MOST_ITEMS}, --window from 1 to {MOST_WINDOWS}").into());
        }
        let window = Self { items, changes, number, step: stride(items) };
        let [updates, deletes, _] = window.counts();
        if updates > items - items / 2 || deletes.checked_mul(number).is_none_or(|all| all > items / 2) {
            return Err("so many changes leave no items to update or delete: fewer --changes, or more --items".into());
        }
        Ok(window)
    }

    /// Updates, deletes, inserts.
    fn counts(&self) -> [u64; 3] {
        let deletes = self.changes / 5;
        [self.changes - 2 * deletes, deletes, deletes]
    }

    /// Writes the window as an incremental export in the NEW_IMAGE view.
    pub fn write(&self, root: &Path, files: u64) -> Result<(PathBuf, u64)> {
        if files == 0 {
            return Err("--files must be at least 1".into());
        }
        let from = EXPORTED + i64::try_from(self.number - 1)? * WINDOW;
        let kind = Kind::Incremental { from, to: from + WINDOW, view: "NEW_IMAGE" };
        let export = Export::start(root, kind, u32::try_from(self.number)?)?;
        let listed = write_files(&export, self.changes, files, &|n, line| {
            let (number, deleted) = self.change(n);
            let micros = from.unsigned_abs() * 1000 + scatter(n) % (WINDOW.unsigned_abs() * 1000);
            let _ = write!(line, "{{\"Metadata\":{{\"WriteTimestampMicros\":{{\"N\":\"{micros}\"}}}},\"Keys\":{{");
            key(line, number);
            line.push('}');
            if !deleted {
                line.push_str(",\"NewImage\":");
                item(line, number, self.number);
            }
            line.push('}');
        })?;
        export.finish(&listed)
    }

    /// The number of the item that change `n` is about, and whether it is deleted.
    fn change(&self, n: u64) -> (u64, bool) {
        let [updates, deletes, inserts] = self.counts();
        let before = self.number - 1;
        let to_delete = self.items / 2;
        if n < updates {
            let place = (before * updates + n) % (self.items - to_delete);
            (self.place(to_delete + place), false)
        } else if n < updates + deletes {
            (self.place(before * deletes + n - updates), true)
        } else {
            (self.items + before * inserts + n - updates - deletes, false)
        }
    }

    /// The item at a place of the order in which items change.
    fn place(&self, place: u64) -> u64 {
        let moved = u128::from(place) * u128::from(self.step) % u128::from(self.items);
        u64::try_from(moved).unwrap_or_default()
    }
}

/// Writes `records` records into `files` files, several files at once. Record n is in file n % files.
fn write_files(
    export: &Export,
    records: u64,
    files: u64,
    record: &(dyn Fn(u64, &mut String) + Sync),
) -> Result<Vec<Listed>> {
    let next = AtomicU64::new(0);
    let work = || -> Result<Vec<(u64, Listed)>> {
        let mut done = Vec::new();
        let mut line = String::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= files {
                return Ok(done);
            }
            let mut file = export.data_file(number)?;
            let mut n = number;
            while n < records {
                line.clear();
                record(n, &mut line);
                file.line(&line)?;
                n += files;
            }
            done.push((number, file.finish()?));
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut listed = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_fold(Vec::new(), |mut all, thread| -> Result<_> {
            all.extend(thread.join().map_err(|_| "a thread stopped")??);
            Ok(all)
        })
    })?;
    listed.sort_by_key(|(number, _)| *number);
    Ok(listed.into_iter().map(|(_, file)| file).collect())
}

/// SplitMix64's output function: neighbours get values that have nothing in common.
fn scatter(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A number without a factor in common with `items`, so that its multiples visit every item once.
fn stride(items: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    (items / 8 * 5 + 1..=u64::MAX).find(|step| gcd(*step, items) == 1).unwrap_or(1)
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scatter(self.0) % end
    }

    fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    fn of<T: Copy>(&mut self, choices: &[T; 32]) -> T {
        choices[usize::try_from(self.below(32)).unwrap_or_default() % 32]
    }
}

const WORDS: [&str; 32] = [
    "amber",
    "bottle",
    "canvas",
    "copper",
    "drawer",
    "early",
    "fabric",
    "garden",
    "harbour",
    "indigo",
    "jacket",
    "kettle",
    "ladder",
    "marble",
    "needle",
    "orchard",
    "paper",
    "quilt",
    "ribbon",
    "saddle",
    "timber",
    "urgent",
    "velvet",
    "walnut",
    "yellow",
    "zipper",
    "café",
    "Straße",
    "señor",
    "naïve",
    "東京",
    "\\\"fragile\\\"",
];

fn words(line: &mut String, random: &mut Random, count: u64) {
    for n in 0..count {
        if n > 0 {
            line.push(' ');
        }
        line.push_str(random.of(&WORDS));
        let _ = write!(line, "{}", random.below(500));
    }
}

/// `{"N":"…"}` of a number of ten-to-the-minus-`scale`s, without trailing zeros, as DynamoDB stores it.
fn decimal(line: &mut String, negative: bool, units: u64, scale: u32) {
    let (mut units, mut scale) = (units, scale);
    while scale > 0 && units % 10 == 0 {
        units /= 10;
        scale -= 1;
    }
    let one = 10_u64.pow(scale);
    let sign = if negative && units > 0 { "-" } else { "" };
    let _ = write!(line, "{{\"N\":\"{sign}{}", units / one);
    if scale > 0 {
        let _ = write!(line, ".{:0width$}", units % one, width = scale as usize);
    }
    line.push_str("\"}");
}

fn key(line: &mut String, number: u64) {
    let customer = scatter(number.wrapping_add(77)) % 20_000_000;
    let _ = write!(line, "\"customer_id\":{{\"S\":\"C{customer:08}\"}},\"order_id\":{{\"S\":\"O{number:012}\"}}");
}

/// The item of this number: version 0 in the full export, k as window k left it.
fn item(line: &mut String, number: u64, version: u64) {
    let mut random = Random(scatter(number).wrapping_add(version.wrapping_mul(0x2545_f491_4f6c_dd1d)));
    let r = &mut random;
    line.push('{');
    key(line, number);
    let status = ["PENDING", "PAID", "PACKED", "SHIPPED", "DELIVERED", "RETURNED", "CANCELLED", "LOST"];
    let status = status[usize::try_from(r.below(8)).unwrap_or_default() % 8];
    let created = EXPORTED.unsigned_abs() - 86_400_000 - scatter(number) % 63_072_000_000;
    let _ = write!(line, ",\"status\":{{\"S\":\"{status}\"}},\"created_at\":{{\"N\":\"{created}\"}},\"total\":");
    decimal(line, false, r.below(150_000), 2);
    let currency = if r.percent(60) { "EUR" } else { "USD" };
    let gift = r.percent(12);
    let _ = write!(
        line,
        ",\"currency\":{{\"S\":\"{currency}\"}},\"version\":{{\"N\":\"{version}\"}},\"gift\":{{\"BOOL\":{gift}}}"
    );
    line_items(line, r);
    address(line, r);
    if r.percent(50) {
        // A set has no value twice.
        let first = r.below(280);
        let _ = write!(line, ",\"tags\":{{\"SS\":[\"tag{first}\",\"tag{}\",\"tag{}\"]}}", first + 7, first + 19);
    }
    if r.percent(30) {
        if r.percent(10) {
            line.push_str(",\"coupon\":{\"NULL\":true}");
        } else {
            let _ = write!(line, ",\"coupon\":{{\"S\":\"SAVE{}\"}}", r.below(9000));
        }
    }
    if r.percent(20) {
        let bytes: [u8; 32] = std::array::from_fn(|_| r.below(256).to_le_bytes()[0]);
        let _ = write!(line, ",\"signature\":{{\"B\":\"{}\"}}", BASE64.encode(bytes));
    }
    if r.percent(10) {
        line.push_str(",\"notes\":{\"S\":\"");
        words(line, r, 24);
        line.push_str("\"}");
    }
    line.push('}');
}

fn line_items(line: &mut String, r: &mut Random) {
    line.push_str(",\"items\":{\"L\":[");
    for n in 0..=r.below(4) {
        if n > 0 {
            line.push(',');
        }
        let (sku, qty) = (r.below(100_000), 1 + r.below(9));
        let _ = write!(line, "{{\"M\":{{\"sku\":{{\"S\":\"SKU-{sku:06}\"}},\"qty\":{{\"N\":\"{qty}\"}},\"price\":");
        decimal(line, false, r.below(20_000), 2);
        line.push_str(",\"name\":{\"S\":\"");
        words(line, r, 3);
        line.push_str("\"}}}");
    }
    line.push_str("]}");
}

fn address(line: &mut String, r: &mut Random) {
    line.push_str(",\"address\":{\"M\":{\"street\":{\"S\":\"");
    words(line, r, 3);
    let (city, zip) = (r.of(&WORDS), r.below(100_000));
    let _ =
        write!(line, "\"}},\"city\":{{\"S\":\"{city}\"}},\"zip\":{{\"S\":\"{zip:05}\"}},\"geo\":{{\"M\":{{\"lat\":");
    decimal(line, r.percent(50), r.below(90_000_000), 6);
    line.push_str(",\"lon\":");
    decimal(line, r.percent(50), r.below(180_000_000), 6);
    line.push_str("}}}}");
}
