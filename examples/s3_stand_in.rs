//! A stand-in for S3 whose answers come late, for benchmarks: the server of the tests, with a folder's files in a bucket.
//!
//! `s3_stand_in FOLDER MILLISECONDS` puts the files below the folder into the bucket `exports`, adds an empty bucket `lake`, and
//! prints the catalog properties that lead to it, as JSON in one line. Every answer waits so long. When stdin ends, it prints the
//! number of requests that it got, and ends.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[path = "../tests/common/s3_server.rs"]
mod s3_server;

use s3_server::{Fault, S3Server};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, delay] = arguments.as_slice() else { return Err("usage: s3_stand_in FOLDER MILLISECONDS".into()) };
    let delay = Duration::from_millis(delay.parse()?);
    let server = S3Server::start(&["exports", "lake"]);
    server.put_folder("exports", Path::new(folder));
    let requests = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&requests);
    server.fail(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        (!delay.is_zero()).then_some(Fault::Slow(delay))
    });
    println!("{}", serde_json::to_string(&server.properties())?);
    io::stdout().flush()?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    println!("{}", requests.load(Ordering::Relaxed));
    Ok(())
}
