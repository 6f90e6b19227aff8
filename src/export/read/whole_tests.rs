use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use flate2::{Compression, GzBuilder};
use proptest::prelude::*;

use super::*;
use crate::export::DataFileRef;
use crate::export::read::lines::LineReader;
use crate::storage::{Location, Store};

/// CRC-32 and size of the text.
const TRAILER: usize = 8;

fn member(text: &[u8], level: u32, name: bool) -> Vec<u8> {
    let builder = if name { GzBuilder::new().filename("a.json") } else { GzBuilder::new() };
    let mut encoder = builder.write(Vec::new(), Compression::new(level));
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn inflated(file: &[u8]) -> Option<Vec<u8>> {
    let mut text = vec![0; text_size(file)? + 100];
    inflate(file, &mut text).map(|size| text[..size].to_vec())
}

#[test]
fn a_single_member_is_inflated_whole() {
    for text in [b"one\ntwo\n".to_vec(), vec![7; 100_000], vec![b'{'; 3_000_001]] {
        for (level, name) in [(0, false), (1, true), (9, false)] {
            assert_eq!(inflated(&member(&text, level, name)).as_ref(), Some(&text));
        }
    }
}

#[test]
fn whatever_else_there_is_is_left_to_the_stream() {
    let one = member(b"one\n", 6, false);
    let trailer = &one[one.len() - TRAILER..];
    let mut checked = one.clone();
    checked[3] |= 1 << 1;
    let mut damaged = one.clone();
    damaged[12] ^= 1;
    for (what, file) in [
        ("two members", [&one[..], &member(b"two\n", 6, false)].concat()),
        ("the same member twice", [&one[..], &one].concat()),
        ("more behind", [&one[..], b"more"].concat()),
        ("the same trailer behind", [&one[..], b"more", trailer].concat()),
        ("the same trailer again", [&one[..], trailer].concat()),
        ("less", one[..one.len() - 1].to_vec()),
        ("a checked header", checked),
        ("damage", damaged),
        ("no gzip", b"{\"Item\":{}}\n{\"Item\":{}}\n".to_vec()),
        ("a member without text behind", [&one[..], &member(b"", 6, false)].concat()),
        ("a member of the same length behind", [&one[..], &member(b"two\n", 0, true)].concat()),
        ("nothing", Vec::new()),
    ] {
        assert_eq!(inflated(&file), None, "{what}");
    }
    assert_eq!(text_size(&[&one[..one.len() - 4], &u32::MAX.to_le_bytes()].concat()), None, "no file is that dense");
    assert_eq!(inflate(&one, &mut [0; 3]), None, "a longer text than the buffer");
}

fn reader(
    file: &[u8],
    name: &str,
    item_count: Option<u64>,
    room: usize,
) -> crate::error::Result<(LineReader, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json.gz");
    std::fs::write(&path, file).unwrap();
    let location = Location::parse(path.to_str().unwrap()).unwrap();
    let file = DataFileRef { location, name: name.into(), position: 7, item_count, md5: None };
    Ok((LineReader::open(&Store::local().inflating_within(room), &file, Arc::default())?, folder))
}

/// Runs on a thread that may block.
fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    runtime.block_on(async { tokio::task::spawn_blocking(work).await.unwrap() })
}

/// Byte order mark, carriage returns and blank lines are not of any line; numbers count all lines.
#[test]
fn lines_are_what_stands_between_their_ends() {
    blocking(|| {
        let text = "\u{feff}{1}\r\n\r\n  \n{2} \n\u{feff}{3}\n\r\r\n{4}\r";
        for file in [member(text.as_bytes(), 6, false), text.as_bytes().to_vec()] {
            let (mut reader, _folder) = reader(&file, "a.json", None, 1 << 20).unwrap();
            assert_eq!((reader.name(), reader.position()), ("a.json", 7));
            let mut lines = Vec::new();
            while let Some(line) = reader.next_line().unwrap() {
                lines.push((line.number, String::from_utf8(line.bytes.to_vec()).unwrap()));
            }
            let lines: Vec<_> = lines.iter().map(|(number, text)| (*number, text.as_str())).collect();
            assert_eq!(lines, [(1, "{1}"), (4, "{2} "), (5, "\u{feff}{3}"), (7, "{4}")]);
            assert!(reader.next_line().unwrap().is_none(), "the end stays the end");
        }
    });
}

/// Where it is damaged, and how.
#[test]
fn what_is_wrong_is_told_with_the_line() {
    blocking(|| {
        let says = |file: &[u8], count: Option<u64>| {
            let (mut reader, _folder) = reader(file, "a.json.gz", count, 0).unwrap();
            loop {
                match reader.next_line().map(|line| line.is_some()) {
                    Ok(true) => {}
                    Ok(false) => return String::new(),
                    Err(error) => {
                        assert!(reader.next_line().is_err(), "what has failed stays so");
                        return error.to_string();
                    }
                }
            }
        };
        let whole = member(b"{}\n{}\n", 0, false);
        assert_eq!(says(&whole, Some(2)), "");
        assert!(says(&whole, Some(3)).contains("the file has 2 items, but its manifest says 3"));
        assert!(
            says(&whole[..whole.len() - 4], None).contains("truncated after line 2"),
            "{}",
            says(&whole[..whole.len() - 4], None)
        );
        assert!(says(&whole[..8], None).contains("truncated before its first line has ended"));
        let mut other = whole.clone();
        let at = other.len() - TRAILER;
        other[at] ^= 1;
        assert!(says(&other, None).contains("the gzip data is damaged after line 2"));
        let long = [b"{}\n{}\n", &b"x".repeat(crate::export::read::lines::MAX_LINE + 1)[..]].concat();
        let said = says(&member(&long, 1, false), None);
        assert!(said.starts_with("a.json.gz:3: ") && said.contains("longer than 16 MiB"), "{said}");
    });
}

/// All lines, and what went wrong behind them.
fn read(store: &Store, path: &Path) -> (Vec<(u64, Vec<u8>)>, Option<String>) {
    let file = DataFileRef {
        location: Location::parse(path.to_str().unwrap()).unwrap(),
        name: "a.json.gz".into(),
        position: 0,
        item_count: None,
        md5: None,
    };
    let mut lines = Vec::new();
    let mut read = || -> crate::error::Result<()> {
        let mut reader = LineReader::open(store, &file, Arc::default())?;
        while let Some(line) = reader.next_line()? {
            lines.push((line.number, line.bytes.to_vec()));
        }
        Ok(())
    };
    let error = read().err().map(|e| e.to_string());
    (lines, error)
}

fn both_ways(file: &[u8], room: usize) -> (Vec<(u64, Vec<u8>)>, Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json.gz");
    std::fs::write(&path, file).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let work = move || {
        let streamed = read(&Store::local(), &path);
        let store = Store::local().inflating_within(room);
        assert_eq!(read(&store, &path), streamed);
        // The buffer is used again, whatever is in it.
        assert_eq!(read(&store, &path), streamed);
        streamed
    };
    runtime.block_on(async { tokio::task::spawn_blocking(work).await.unwrap() })
}

#[test]
fn long_lines_are_refused_the_same_way() {
    use crate::export::read::lines::MAX_LINE;
    for (length, passes) in [(MAX_LINE, true), (MAX_LINE + 1, false)] {
        for end in ["", "\n", "\n{}\n"] {
            let text = [b"{}\n", &b"x".repeat(length)[..], end.as_bytes()].concat();
            let (lines, error) = both_ways(&member(&text, 1, false), 64 << 20);
            assert_eq!(error.is_none(), passes, "{length} {end:?}");
            assert!(lines.len() == 1 || passes);
        }
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![Just(String::new()), "[ -~]{0,30}\r?", "[a-c]{200,400}", "\u{feff}?\\PC{0,9}"];
    (prop::collection::vec(line, 0..20), any::<bool>()).prop_map(|(lines, end)| {
        let mut text = lines.join("\n");
        if end {
            text.push('\n');
        }
        text.into_bytes()
    })
}

#[derive(Debug, Clone)]
enum Damage {
    None,
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Append(Vec<u8>),
    Twice,
    Trailer(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        2 => Just(Damage::None),
        4 => (any::<prop::sample::Index>(), 1u8..).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        2 => any::<prop::sample::Index>().prop_map(Damage::Cut),
        1 => bytes().prop_map(Damage::Append),
        1 => Just(Damage::Twice),
        1 => bytes().prop_map(Damage::Trailer),
    ]
}

proptest! {
    #[test]
    fn both_ways_give_the_same(
        members in prop::collection::vec((text(), 0u32..=9, any::<bool>()), 1..3),
        damage in damage(),
        room in prop_oneof![Just(1usize << 20), Just(128 << 10), Just(64 << 10), Just(0)],
    ) {
        let mut file: Vec<u8> = members.iter().flat_map(|(text, level, name)| member(text, *level, *name)).collect();
        match damage {
            Damage::None => {}
            Damage::Flip(at, bits) => {
                let at = at.index(file.len());
                file[at] ^= bits;
            }
            Damage::Cut(at) => file.truncate(at.index(file.len())),
            Damage::Append(more) => file.extend(more),
            Damage::Twice => file.extend_from_within(..),
            Damage::Trailer(more) => {
                let trailer = file[file.len() - TRAILER..].to_vec();
                file.extend(more);
                file.extend(trailer);
            }
        }
        both_ways(&file, room);
    }
}
