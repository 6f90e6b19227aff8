//! Checks of a request's signature (SigV4) and digests, for the S3 server of the tests.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha2::Sha256;

use super::{ACCESS_KEY, REGION, Request, SECRET_KEY};

/// As "Create a signed AWS API request" says, for S3: paths are encoded once.
pub fn check_signature(request: &Request) -> Result<(), String> {
    check_for(request, "s3", |path| encode(&decode(path), true))
}

/// The same for another service, with its way to write a path that was sent.
pub fn check_for(request: &Request, service: &str, canonical: impl Fn(&str) -> String) -> Result<(), String> {
    let header = request.header("authorization").ok_or("there is none")?;
    let fields: BTreeMap<&str, &str> = header
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or("not SigV4")?
        .split(',')
        .filter_map(|field| field.trim().split_once('='))
        .collect();
    let (key, scope) = fields["Credential"].split_once('/').ok_or("no scope")?;
    if key != ACCESS_KEY {
        return Err(format!("unknown access key {key}"));
    }
    let scope: Vec<&str> = scope.split('/').collect();
    if scope[1..] != [REGION, service, "aws4_request"] {
        return Err(format!("scope {scope:?}"));
    }
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut query: Vec<String> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            format!("{}={}", encode(&decode(name), false), encode(&decode(value), false))
        })
        .collect();
    query.sort();
    let signed: Vec<&str> = fields["SignedHeaders"].split(';').collect();
    for name in request.headers.keys().filter(|n| n.starts_with("x-amz-") || *n == "host") {
        if !signed.contains(&name.as_str()) {
            return Err(format!("{name} is not signed"));
        }
    }
    let headers = signed.iter().fold(String::new(), |all, n| all + n + ":" + request.header(n).unwrap_or("") + "\n");
    let payload = request.header("x-amz-content-sha256").ok_or("no payload hash")?;
    if payload.len() == 64 && payload != hex(&Sha256::digest(&request.body)) {
        return Err("the payload is another".to_owned());
    }
    let canonical =
        [&request.method, &canonical(path), &query.join("&"), &headers, &signed.join(";"), &payload.to_owned()]
            .map(String::as_str)
            .join("\n");
    let date = request.header("x-amz-date").ok_or("no date")?;
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{}\n{}", scope.join("/"), hex(&Sha256::digest(canonical)));
    let mut secret = format!("AWS4{SECRET_KEY}").into_bytes();
    for part in &scope {
        secret = hmac(&secret, part.as_bytes());
    }
    if hex(&hmac(&secret, text.as_bytes())) == fields["Signature"] { Ok(()) } else { Err("it is wrong".to_owned()) }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let padded = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

pub fn check_digests(request: &Request) -> Result<(), &'static str> {
    if let Some(md5) = request.header("content-md5")
        && md5 != STANDARD.encode(Md5::digest(&request.body))
    {
        return Err("BadDigest");
    }
    let mut crc = flate2::Crc::new();
    crc.update(&request.body);
    let crc = STANDARD.encode(crc.sum().to_be_bytes());
    match request.header("x-amz-checksum-crc32") {
        Some(sent) if sent != crc => Err("BadDigest"),
        None if request.method == "PUT" => Err("InvalidRequest"),
        _ => Ok(()),
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).unwrap()
}

pub fn encode(text: &str, slashes: bool) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            b'/' if slashes => "/".to_owned(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}
