//! Reads metadata files, whichever program wrote them.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::GzDecoder;
use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;

use crate::error::{Error, Result};
use crate::storage::{most_of_a_file, too_large};

const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Bytes that a JSON value takes before its type is known.
const VALUE: u64 = 64;
/// Maximum memory of parsed JSON, as a multiple of its size limit.
const TIMES: u64 = 4;

/// Reads a table's metadata file, compressed or not.
pub(super) async fn read(file_io: &FileIO, location: &str) -> Result<TableMetadata> {
    let bytes = file_io.new_input(location)?.read().await?;
    let text = if bytes.starts_with(&GZIP) { inflate(&bytes)? } else { bytes };
    check_json(&text)?;
    serde_json::from_slice(&text).map_err(|error| Error::failed("it is no table metadata").caused_by(error))
}

fn inflate(bytes: &[u8]) -> Result<Bytes> {
    let most = most_of_a_file();
    let mut text = Vec::new();
    GzDecoder::new(bytes)
        .take(most + 1)
        .read_to_end(&mut text)
        .map_err(|error| Error::failed("it can't be inflated").caused_by(error))?;
    if text.len() as u64 > most {
        return Err(too_large("the file inflates to more", most));
    }
    Ok(text.into())
}

/// Refuses JSON with so many small values that they would take much more memory than their text.
pub(super) fn check_json(text: &[u8]) -> Result<()> {
    let most = most_of_a_file().saturating_mul(TIMES) / VALUE;
    let mut in_text = false;
    let mut escaped = false;
    let mut values = 0_u64;
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b',' | b'[' | b'{' if !in_text => values += 1,
            _ => {}
        }
    }
    if values > most {
        return Err(Error::failed(format!("it has {values} JSON values, and at most {most} are read"))
            .advice("If it is what it should be, give more memory (--memory-limit)"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn read_of(bytes: Vec<u8>) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(async {
            let file_io = FileIO::new_with_memory();
            file_io.new_output("m.json").unwrap().write(bytes.into()).await.unwrap();
            read(&file_io, "m.json").await
        });
        read.unwrap_err().to_string()
    }

    #[test]
    fn what_inflates_or_unfolds_to_too_much_is_refused() {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
        for _ in 0..80 {
            bomb.write_all(&vec![b' '; 1 << 20]).unwrap();
        }
        let said = read_of(bomb.finish().unwrap());
        assert!(said.contains("inflates to more, and at most 64 MiB") && said.contains("--memory-limit"), "{said}");
        let said = read_of(format!("{{\"metadata-log\":[0{}]}}", ",0".repeat(5_000_000)).into_bytes());
        assert!(said.contains("JSON values"), "{said}");
        let most = usize::try_from(most_of_a_file() * TIMES / VALUE).unwrap();
        assert!(check_json(format!("[{}", ",".repeat(most - 1)).as_bytes()).is_ok());
        assert!(check_json(format!("[{}", ",".repeat(most)).as_bytes()).is_err());
        let said = read_of(format!("{{\"location\":\"{}\"}}", ",[{\\\"".repeat(5_000_000)).into_bytes());
        assert!(said.contains("no table metadata"), "{said}");
        assert!(read_of(GZIP.to_vec()).contains("can't be inflated"));
    }
}
