//! Table properties that say how files are written, in loads, windows of both modes, compactions and delete files.

use ddb_iceberg::table::live_table;
use parquet::basic::{Compression, GzipLevel};
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::{apply, model_of, set_properties, site};

/// Compression and rows of each page of each file of the table: of data files, then of delete files.
async fn codecs(site: &super::Site) -> (Vec<Compression>, Vec<Compression>) {
    let live = live_table(&site.table().await.unwrap()).await.unwrap();
    let of = |path: &str| {
        let file = std::fs::File::open(path.strip_prefix("file://").unwrap()).unwrap();
        SerializedFileReader::new(file).unwrap().metadata().row_group(0).column(0).compression()
    };
    let data = live.files.iter().map(|live| of(live.file.file_path())).collect();
    (data, live.deletes.iter().map(|delete| of(delete.file.file_path())).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_codec_is_written_and_read_by_windows_and_compactions() {
    for (codec, expected) in [
        ("uncompressed", Compression::UNCOMPRESSED),
        ("snappy", Compression::SNAPPY),
        ("lz4", Compression::LZ4_RAW),
        ("gzip", Compression::GZIP(GzipLevel::default())),
    ] {
        let (site, mut model) = site();
        set_properties(
            &site,
            &[
                ("write.parquet.compression-codec", codec),
                ("write.parquet.page-row-limit", "3"),
                ("write.parquet.dict-size-bytes", "20"),
                ("write.delete.parquet.compression-codec", "zstd"),
                ("write.object-storage.enabled", "true"),
            ],
        )
        .await;
        let same = |a: &Compression| std::mem::discriminant(a) == std::mem::discriminant(&expected);
        for n in 0..6 {
            let mode = if n == 0 { "copy-on-write" } else { "merge-on-read" };
            apply(&site, n, &mut model, &["--maintenance", "off", "--write-mode", mode]);
        }
        let (data, deletes) = codecs(&site).await;
        assert!(data.len() > 5 && data.iter().all(same), "{codec}: {data:?}");
        assert!(deletes.iter().all(|c| matches!(c, Compression::ZSTD(_))) && !deletes.is_empty());
        assert_eq!(model_of(&site.rows().await), model, "{codec}");
        site.run(&["compact"]).expect(0);
        let (data, _) = codecs(&site).await;
        assert!(data.iter().all(same), "{codec}: {data:?}");
        assert_eq!(model_of(&site.rows().await), model, "{codec}");
        let live = live_table(&site.table().await.unwrap()).await.unwrap();
        let path = live.files[0].file.file_path();
        assert_eq!(path.rsplit_once("/data/").unwrap().1.split('/').count(), 5, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_followed_is_told_once_a_run_and_nonsense_is_refused() {
    let (site, mut model) = site();
    set_properties(&site, &[("write.parquet.bloom-filter-enabled.column.pk", "true")]).await;
    let first = site.window(0, 1, super::change(0, &mut model));
    let second = site.window(1, 2, super::change(1, &mut model));
    let run = site.incremental(&[&first, &second], &[]).expect(0);
    assert_eq!(run.warnings().matches("bloom-filter-enabled").count(), 1, "{}", run.warnings());
    let quiet = site.incremental(&[&first, &second], &[]).expect(0);
    assert!(!quiet.warnings().contains("bloom"), "nothing was written: {}", quiet.warnings());

    set_properties(&site, &[("write.parquet.page-size-bytes", "1 MB")]).await;
    let window = site.window(2, 3, super::change(2, &mut model.clone()));
    for run in [site.incremental(&[&window], &[]), site.run(&["compact"])] {
        assert!(run.expect(2).message().contains("write.parquet.page-size-bytes"));
    }
    assert_eq!(model_of(&site.rows().await), model);
}
