//! Exports where nobody expects them: nothing below a folder is passed over without a word.

use std::fs;

use super::{IncrementalExport, SOURCE, Site, at, pairs, put, site, window};

fn applied(site: &Site, argument: &str) -> Vec<String> {
    let run = site.run(&["incremental", argument]).expect(0);
    run.report["windows"].as_array().unwrap().iter().map(|one| one["to"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn prefixes_below_a_folder_called_aws_dynamodb_are_searched() {
    let prefixes =
        ["AWSDynamoDB/incremental", "AWSDynamoDB", "AWSDynamoDB/a/b", "AWSDynamoDB/0", "AWSDynamoDB/01-x", "data"];
    for prefix in prefixes {
        for slash in ["", "/", "/.", "//"] {
            let site = site();
            window(0, 15).prefix(prefix).files([[put("a", 2)]]).write(site.bucket());
            // One beside them, as ever.
            site.window(15, 30, vec![put("a", 3)]);
            let argument = format!("{}{slash}", site.bucket().display());
            assert_eq!(applied(&site, &argument), [at(15), at(30)], "{prefix}{slash}");
            window(30, 45).prefix(prefix).files([[put("a", 4)]]).write(site.bucket());
            assert_eq!(applied(&site, &argument), [at(45)], "{prefix}{slash}");
            assert_eq!(pairs(&site.rows().await), [("a", 4)]);
        }
    }
}

/// The data of incremental exports lies beside a renamed one too.
#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_export_is_found() {
    let site = site();
    let folder = site.window(0, 15, vec![put("a", 2)]);
    fs::rename(&folder, folder.with_file_name("monday")).unwrap();
    let second = site.window(15, 30, vec![put("a", 3)]);
    fs::rename(&second, second.with_file_name("00-tuesday")).unwrap();
    assert_eq!(applied(&site, site.bucket().to_str().unwrap()), [at(15), at(30)]);
    // One that was not copied whole is told.
    let third = site.window(30, 45, vec![put("a", 4)]);
    fs::remove_file(third.join("manifest-summary.json")).unwrap();
    fs::rename(&third, third.with_file_name("wednesday")).unwrap();
    let run = site.incremental(&[&site.bucket()], &[]).expect(0);
    assert!(run.warnings().contains("wednesday") && run.warnings().contains("never completed"), "{}", run.warnings());
    assert_eq!(pairs(&site.rows().await), [("a", 3)]);
}

/// A copy has one slash where S3's keys have two.
#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_that_ends_with_a_slash() {
    for prefix in ["backups/", "./backups", "a//b/"] {
        let site = site();
        window(0, 15).prefix(prefix).files([[put("a", 2)]]).write(site.bucket());
        assert_eq!(applied(&site, site.bucket().to_str().unwrap()), [at(15)], "{prefix}");
        assert_eq!(pairs(&site.rows().await), [("a", 2)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_searched_is_counted() {
    let site = site();
    site.window(0, 15, vec![put("a", 2)]);
    for n in 0..1_005 {
        fs::create_dir_all(site.bucket().join(format!("AWSDynamoDB/results-{n:04}"))).unwrap();
    }
    fs::create_dir_all(site.bucket().join("x/".repeat(20))).unwrap();
    let run = site.incremental(&[&site.bucket()], &[]).expect(0);
    assert_eq!(run.report["watermark"], at(15));
    assert!(run.warnings().contains(": 5 folders were not searched"), "{}", run.warnings());
    assert!(run.warnings().contains(": 1 folders were not searched"), "{}", run.warnings());
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_a_namesake_in_another_region_or_account_are_hinted_at() {
    let site = site();
    for (n, arn) in [
        "arn:aws:dynamodb:eu-west-1:123456789012:table/orders",
        "arn:aws:dynamodb:eu-north-1:999999999999:table/orders",
    ]
    .into_iter()
    .enumerate()
    {
        IncrementalExport::new(SOURCE)
            .from(&at(0))
            .to(&at(15))
            .id(&format!("01768390000000-0000000{n}"))
            .edit_summary(move |summary| summary["tableArn"] = arn.into())
            .files([[put("a", 9)]])
            .write(site.bucket());
    }
    IncrementalExport::new("customers").from(&at(0)).to(&at(15)).files([[put("a", 9)]]).write(site.bucket());
    let run = site.incremental(&[&site.bucket()], &[]).expect(0);
    let told = run.warnings();
    assert!(
        told.contains("eu-west-1:123456789012:table/orders") && told.contains("999999999999:table/orders"),
        "{told}"
    );
    assert!(told.contains("another region or account"), "{told}");
    assert_eq!(pairs(&site.rows().await), [("a", 1)]);
}
