//! The whole matrix, with larger tables: memory, and CPU a byte of JSON against plain items in the same run.

use super::SHAPES;
use super::scene::{Cost, DEFAULT_LIMIT, Scene};
use super::shape::{Body, Keys, Shape};

/// How much CPU a byte of JSON may take, in that of plain items.
fn most(shape: &Shape) -> Option<f64> {
    match shape.body {
        Body::Sparse { possible: ..=1_000, .. } => Some(1.6),
        Body::Sparse { .. } => Some(4.0),
        Body::Events { .. } | Body::Nested(_) => Some(2.0),
        _ => None,
    }
}

/// What a run of the matrix found wrong, and its table's lines.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, name: &str, costs: &[Cost], plain: Option<&[Cost]>, most: Option<f64>, limit: u64) {
        for cost in costs {
            let each = |cost: &Cost| cost.cpu / cost.json as f64;
            let of_plain = plain.and_then(|plain| plain.iter().find(|other| other.what == cost.what));
            // Ten changes read next to nothing: what they take is not a matter of bytes.
            let ratio = of_plain.filter(|_| cost.what != "10 changes").map(|plain| each(cost) / each(plain));
            let shown = ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.1} ×"));
            let megabytes = cost.json as f64 / 1e6;
            println!("| {name} | {} | {megabytes:.1} | {} | {:.2} | {shown} |", cost.what, cost.peak, cost.cpu);
            if cost.peak > limit {
                self.0.push(format!("{name}: {}: {} of {limit} MiB", cost.what, cost.peak));
            }
            if let (Some(ratio), Some(most)) = (ratio, most)
                && ratio > most
            {
                self.0.push(format!("{name}: {}: {ratio:.1} × the CPU of plain items, at most {most}", cost.what));
            }
        }
    }
}

fn only(name: &str) -> bool {
    std::env::var("DDB_ICEBERG_SHAPES").map_or(true, |part| name.contains(&part))
}

#[test]
#[ignore = "24 minutes on 2 cores; fails where docs/performance.md says so"]
fn the_full_matrix() {
    let megabytes = std::env::var("DDB_ICEBERG_SHAPES_MB").map_or(100, |text| text.parse().unwrap());
    let mut findings = Findings::default();
    println!("| shape | command | JSON, MB | peak, MiB | CPU, s | CPU a byte |\n|---|---|---|---|---|---|");
    let mut plain = None;
    for shape in SHAPES {
        if plain.is_some() && !only(shape.name) {
            continue;
        }
        let mut scene = Scene::new(shape, megabytes * 1_000_000, 8, &[]);
        scene.play();
        let plain: &Vec<Cost> = plain.get_or_insert_with(|| scene.costs.clone());
        findings.add(shape.name, &scene.costs, Some(plain), most(&shape), DEFAULT_LIMIT);
    }
    threads(&mut findings);
    many_large_files(&mut findings);
    many_changes(&mut findings);
    new_attributes(&mut findings);
    assert!(findings.0.is_empty(), "{}", findings.0.join("\n"));
}

/// More threads than the limit feeds.
fn threads(findings: &mut Findings) {
    let wide = Shape::new("", Keys::Uuid, Body::Events { events: 10, each: 5, possible: 100 });
    for (what, shape, threads) in [("plain", SHAPES[0], "32"), ("plain", SHAPES[0], "128"), ("events", wide, "32")] {
        let name = format!("{what}, {threads} threads");
        if only(&name) {
            let mut scene = Scene::new(shape, 200_000_000, 40, &["--threads", threads, "--memory-limit", "512MiB"]);
            scene.play();
            findings.add(&name, &scene.costs, None, None, DEFAULT_LIMIT);
        }
    }
}

/// Compactions of 35 to 100 files as loads write them.
fn many_large_files(findings: &mut Findings) {
    for (name, shape) in [
        ("35 files and more, plain", SHAPES[0]),
        ("35 files and more, 1 KB", Shape::new("", Keys::Uuid, Body::Flat(20))),
        ("35 files and more, nested", Shape::new("", Keys::Uuid, Body::Nested(15))),
        ("35 files and more, 2 KB that compress", Shape::new("", Keys::Uuid, Body::Compressible(2_000))),
        (
            "35 files and more, few values",
            Shape::new("", Keys::Uuid, Body::FewValues { columns: 20, length: 100, values: 8 }),
        ),
    ] {
        if only(name) {
            let mut scene = Scene::new(shape, 1_500_000_000, 40, &[]);
            scene.load();
            scene.window("window", 20_000, &["--maintenance", "off"]);
            scene.compact();
            scene.verify();
            findings.add(name, &scene.costs, None, None, DEFAULT_LIMIT);
        }
    }
}

/// Ten times as many inserts take about ten times as long; deletes of keys that are not there end too.
fn many_changes(findings: &mut Findings) {
    if !only("inserts of UUID keys") {
        return;
    }
    let shape = Shape::new("", Keys::Uuid, Body::Text(850));
    let each = [500_000, 5_000_000].map(|count| {
        let mut scene = Scene::new(shape, 1_000_000, 40, &[]);
        scene.load();
        scene.inserts("window", count);
        findings.add(&format!("{count} inserts of UUID keys, 1 KB"), &scene.costs, None, None, DEFAULT_LIMIT);
        scene.costs.last().unwrap().wall / count as f64
    });
    let ratio = each[1] / each[0];
    println!("5,000,000 inserts: {ratio:.2} × the time a change of 500,000");
    if ratio > 1.3 {
        findings.0.push(format!("{ratio:.2} × the time a change for 5,000,000 inserts"));
    }
}

/// Windows that bring many new attributes each.
fn new_attributes(findings: &mut Findings) {
    let name = "60 windows of 100 new attributes";
    if only(name) {
        let shape = Shape::new("", Keys::Number, Body::Growing { each: 100 });
        let mut scene = Scene::new(shape, 10_000, 1, &[]);
        scene.load();
        for _ in 0..60 {
            scene.window("window", 50, &[]);
        }
        scene.verify();
        let largest = scene.costs.iter().max_by_key(|cost| cost.peak).cloned();
        findings.add(name, largest.as_slice(), None, None, DEFAULT_LIMIT);
        let metadata = scene.largest_metadata();
        println!("the largest metadata file: {metadata} bytes");
        if metadata > 4_000_000 {
            findings.0.push(format!("{name}: metadata of {metadata} bytes"));
        }
    }
}
