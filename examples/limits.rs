//! The work that nobody gets around, done alone: what the program's times are compared with.
//!
//! - `limits inflate FOLDER [--threads N]`: inflates every `*.gz` below the folder, and throws the text away.
//! - `limits keys FOLDER --key NAME [--key NAME] [--threads N]`: reads these columns of every data file (`*.parquet`, not
//!   position deletes) below the folder, and nothing else.
//!
//! Each thread takes the next file when it is done with one.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use flate2::bufread::MultiGzDecoder;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const USAGE: &str = "\
limits inflate FOLDER [--threads N]
limits keys FOLDER --key NAME [--key NAME] [--threads N]";

/// Bytes that are read from a file at once, and that inflated text goes into.
const BUFFER: usize = 256 << 10;
const BATCH_ROWS: usize = 8192;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}\n\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String> {
    let [work, folder, options @ ..] = arguments else { return Err("a work and a folder are needed".into()) };
    let mut threads = thread::available_parallelism().map_or(1, usize::from);
    let mut keys = Vec::new();
    for option in options.chunks(2) {
        match option {
            [name, value] if name == "--threads" => threads = value.parse()?,
            [name, value] if name == "--key" => keys.push(value.clone()),
            _ => return Err(format!("{option:?} is no option with its value").into()),
        }
    }
    match work.as_str() {
        "inflate" => {
            let files = files(Path::new(folder), &|name| ends_with(name, ".gz"))?;
            Ok(format!("{} bytes of {} files", each(&files, threads, &inflate)?, files.len()))
        }
        "keys" if keys.is_empty() => Err("--key is needed".into()),
        "keys" => {
            let is_data = |name: &str| ends_with(name, ".parquet") && !ends_with(name, "-deletes.parquet");
            let files = files(Path::new(folder), &is_data)?;
            Ok(format!("{} rows of {} files", each(&files, threads, &|path| read_keys(path, &keys))?, files.len()))
        }
        other => Err(format!("unknown work {other:?}").into()),
    }
}

/// As the names are written, in lower case.
fn ends_with(name: &str, end: &str) -> bool {
    name.as_bytes().ends_with(end.as_bytes())
}

/// Bytes of the text.
fn inflate(path: &Path) -> Result<u64> {
    let mut text = MultiGzDecoder::new(BufReader::with_capacity(BUFFER, File::open(path)?));
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0;
    loop {
        match io::Read::read(&mut text, &mut buffer)? {
            0 => return Ok(bytes),
            read => bytes += u64::try_from(read)?,
        }
    }
}

/// Rows of the file.
fn read_keys(path: &Path, keys: &[String]) -> Result<u64> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), keys.iter().map(String::as_str));
    let mut rows = 0;
    for batch in builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()? {
        let batch = batch?;
        if batch.num_columns() != keys.len() {
            return Err(format!("{} does not have all of the columns {keys:?}", path.display()).into());
        }
        rows += u64::try_from(batch.num_rows())?;
    }
    Ok(rows)
}

/// The sum of what the work says of each file.
fn each(files: &[PathBuf], threads: usize, work: &(dyn Fn(&Path) -> Result<u64> + Sync)) -> Result<u64> {
    if files.is_empty() {
        return Err("there is no such file below the folder".into());
    }
    let next = AtomicUsize::new(0);
    let run = || -> Result<u64> {
        let mut sum = 0;
        while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            sum += work(path)?;
        }
        Ok(sum)
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(run)).collect();
        running.into_iter().try_fold(0, |sum, thread| Ok(sum + thread.join().map_err(|_| "a thread stopped")??))
    })
}

fn files(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.file_name().and_then(|name| name.to_str()).is_some_and(wanted) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
