//! Listings, one page at a time.

use std::borrow::Cow;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::EncodingType;
use percent_encoding::percent_decode_str;
use tokio::time::sleep;

use super::head::look;
use crate::error::{Error, Result};
use crate::storage::listing::{FileEntry, Listing};
use crate::storage::s3::address::Address;
use crate::storage::s3::failure::Act;
use crate::storage::s3::shared::Shared;
use crate::time::Time;

/// Maximum entries of a folder: the names alone would exhaust memory.
const MAX_ENTRIES: usize = 5_000_000;

/// Lists one level of a folder: names after `start_after` and before `until`. Pages after `until` are not requested.
pub(crate) async fn level(
    shared: &Shared,
    folder: &Address,
    start_after: Option<&str>,
    until: Option<&str>,
) -> Result<Option<Listing>> {
    let is_wanted = |name: &str| start_after.is_none_or(|after| name > after) && until.is_none_or(|until| name < until);
    let is_behind = |name: &str| until.is_some_and(|until| name >= until);
    let prefix = folder.folder();
    let mut listing = Listing::default();
    let mut any = start_after.is_some();
    let mut token = None;
    let mut behind = false;
    loop {
        let after = start_after.map(|name| format!("{prefix}{name}"));
        let page = page(shared, folder, &prefix, Some("/"), after, token).await?;
        let url = page.encoding_type() == Some(&EncodingType::Url);
        for group in page.common_prefixes() {
            any = true;
            let name = decode(group.prefix().unwrap_or_default(), url);
            let name = name.strip_prefix(&prefix).and_then(|name| name.strip_suffix('/')).unwrap_or_default();
            behind |= is_behind(name);
            if name.is_empty() {
                listing.nameless = true;
            } else if is_wanted(name) {
                listing.folders.push(name.to_owned());
            }
        }
        for object in page.contents() {
            any = true;
            let name = decode(object.key().unwrap_or_default(), url);
            let name = name.strip_prefix(&prefix).unwrap_or_default();
            // A key that is the folder's name and a slash only represents the folder.
            behind |= is_behind(name);
            if !name.is_empty() && is_wanted(name) {
                let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
                let modified = object.last_modified().and_then(|at| Time::from_timestamp(at.secs(), at.subsec_nanos()));
                listing.files.push(FileEntry { name: name.to_owned(), size, modified });
            }
        }
        if listing.folders.len().saturating_add(listing.files.len()) > MAX_ENTRIES {
            return Err(
                Error::input(format!("the folder has more than {MAX_ENTRIES} entries")).in_file(folder.to_string())
            );
        }
        token = next(&page, folder)?;
        if token.is_none() || behind {
            break;
        }
    }
    if !any {
        if !folder.key.is_empty() && look(shared, folder).await?.is_some() {
            return Err(Error::input("this is a file, not a folder").in_file(folder.to_string()));
        }
        // A bucket that can be listed exists.
        return Ok(prefix.is_empty().then_some(listing));
    }
    listing.folders.sort_unstable();
    listing.folders.dedup();
    listing.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(listing))
}

/// Passes on all keys below a folder, one page at a time.
pub(crate) async fn keys_below(
    shared: &Shared,
    folder: &Address,
    token: Option<String>,
) -> Result<(Vec<String>, Option<String>)> {
    let page = page(shared, folder, &folder.folder(), None, None, token).await?;
    let url = page.encoding_type() == Some(&EncodingType::Url);
    let keys = page.contents().iter().filter_map(|o| o.key()).map(|key| decode(key, url).into_owned()).collect();
    let token = next(&page, folder)?;
    Ok((keys, token))
}

async fn page(
    shared: &Shared,
    folder: &Address,
    prefix: &str,
    delimiter: Option<&str>,
    start_after: Option<String>,
    token: Option<String>,
) -> Result<ListObjectsV2Output> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let ask = |client: aws_sdk_s3::Client| {
            client
                .list_objects_v2()
                .bucket(&folder.bucket)
                .set_prefix(Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()))
                .set_delimiter(delimiter.map(str::to_owned))
                .set_start_after(start_after.clone())
                .set_continuation_token(token.clone())
                // Keys may have characters that XML does not allow.
                .encoding_type(EncodingType::Url)
                .send()
        };
        let page = shared.send(ask).await?.map_err(|error| shared.failed(Act::List, folder, error))?;
        if is_whole(&page) {
            return Ok(page);
        }
        if attempts >= shared.config.retry.attempts {
            return Err(Error::failed("the server's listing is damaged").in_file(folder.to_string()));
        }
        sleep(shared.config.retry.backoff(attempts)).await;
    }
}

/// The SDK treats broken XML as its end: the following entries would be missing silently.
fn is_whole(page: &ListObjectsV2Output) -> bool {
    let found = page.contents().len().saturating_add(page.common_prefixes().len());
    page.is_truncated().is_some() && page.key_count().is_none_or(|n| usize::try_from(n).is_ok_and(|n| n <= found))
}

/// The next page's token.
fn next(page: &ListObjectsV2Output, folder: &Address) -> Result<Option<String>> {
    if page.is_truncated() != Some(true) {
        return Ok(None);
    }
    match page.next_continuation_token() {
        Some(token) if !token.is_empty() => Ok(Some(token.to_owned())),
        _ => {
            Err(Error::failed("the server broke a listing off without saying how to go on").in_file(folder.to_string()))
        }
    }
}

/// Decodes a key of a listing with `encoding-type=url`: `%XX`, and `+` for a space.
fn decode(text: &str, url: bool) -> Cow<'_, str> {
    if !url || !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    match percent_decode_str(&text.replace('+', " ")).decode_utf8() {
        Ok(key) => Cow::Owned(key.into_owned()),
        Err(_) => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_keys() {
        for (text, expected) in [
            ("a/b", "a/b"),
            ("a+b%2Bc%20d", "a b+c d"),
            ("%C3%BC%", "ü%"),
            ("%0", "%0"),
            ("%zz", "%zz"),
            ("%01", "\u{1}"),
            ("%FF", "%FF"),
        ] {
            assert_eq!(decode(text, true), expected, "{text}");
            assert_eq!(decode(text, false), text);
        }
    }
}
