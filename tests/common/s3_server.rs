//! A small S3 server for tests, on a port of this machine: it checks signatures (SigV4) and digests, keeps objects in
//! memory, remembers every request, and fails as it is told.
#![allow(dead_code, missing_docs, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::format_collect, clippy::cast_possible_truncation)]
#![allow(clippy::needless_pass_by_value, clippy::format_push_string)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use md5::{Digest, Md5};

#[path = "s3_signature.rs"]
#[allow(clippy::duplicate_mod, reason = "the other server has it too")]
mod signature;

use signature::{check_digests, check_signature, decode, encode, hex};

pub const ACCESS_KEY: &str = "AKIDTEST";
pub const SECRET_KEY: &str = "not-a-secret";
pub const REGION: &str = "eu-north-1";

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done; this status and code are the answer.
    Answer(u16, &'static str),
    /// Nothing is done; the answer has status 200, and the error in its body.
    Inside200(&'static str),
    /// It is done, and the connection closed without an answer.
    Unanswered,
    /// The connection is closed and nothing done.
    Reset,
    /// The answer's body breaks off after so many bytes.
    Cut(usize),
    /// This text in the answer's body is replaced.
    Garble(&'static str, &'static str),
    /// The answer comes late.
    Slow(Duration),
    /// Nothing is done; the answer is an error of this status, with this code and message.
    Say(u16, String, String),
    /// Nothing is done; the answer has this status and says that the object has so many bytes. Its body never ends.
    Endless(u16, u64),
    /// Nothing is done; these bytes are the answer, and the connection is closed.
    Bytes(Vec<u8>),
    /// A part travels until whoever sends it gives up. One that still travels when its upload is aborted is stored after that,
    /// and stays: it is counted in [`S3Server::stray_parts`].
    Travels,
}

/// A request, as it came in.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub bucket: String,
    pub key: String,
    pub query: BTreeMap<String, String>,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub target: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// `PUT b/k?uploadId` and the like, for lists of what was asked.
    pub fn line(&self) -> String {
        let query: Vec<&str> = self.query.keys().map(String::as_str).filter(|k| *k != "x-id").collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        format!("{} {}/{}{query}", self.method, self.bucket, self.key)
    }
}

#[derive(Debug, Clone, Default)]
pub struct Object {
    pub bytes: Vec<u8>,
    pub etag: String,
    /// `x-amz-meta-…` and encryption headers of the request that wrote it.
    pub headers: BTreeMap<String, String>,
    /// When it was written; what was put directly has no time in listings.
    pub modified: Option<DateTime<Utc>>,
}

#[derive(Default)]
struct Upload {
    bucket: String,
    key: String,
    headers: BTreeMap<String, String>,
    parts: BTreeMap<u32, Vec<u8>>,
}

type Faults = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;

#[derive(Default)]
struct State {
    buckets: BTreeMap<String, BTreeMap<String, Object>>,
    uploads: BTreeMap<String, Upload>,
    requests: Vec<Request>,
    faults: Option<Faults>,
    page: usize,
    uploads_begun: usize,
    in_flight: usize,
    most_in_flight: usize,
    no_conditions: bool,
    stray_parts: usize,
}

/// The server; it lives as long as the process.
#[derive(Clone)]
pub struct S3Server {
    state: Arc<Mutex<State>>,
    port: u16,
}

impl S3Server {
    pub fn start(buckets: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let buckets = buckets.iter().map(|name| ((*name).to_owned(), BTreeMap::new())).collect();
        let state = Arc::new(Mutex::new(State { buckets, page: 1000, ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { state, port }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The catalog's properties that lead here.
    pub fn properties(&self) -> BTreeMap<String, String> {
        [
            ("s3.endpoint", self.endpoint().as_str()),
            ("s3.region", REGION),
            ("s3.access-key-id", ACCESS_KEY),
            ("s3.secret-access-key", SECRET_KEY),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
    }

    /// Decides of each request from now on whether it fails.
    pub fn fail(&self, faults: impl FnMut(&Request) -> Option<Fault> + Send + 'static) {
        self.state.lock().unwrap().faults = Some(Box::new(faults));
    }

    /// The first `times` requests for which `which` holds fail.
    pub fn fail_times(&self, times: usize, fault: Fault, which: impl Fn(&Request) -> bool + Send + 'static) {
        let mut left = times;
        self.fail(move |request| {
            if left > 0 && which(request) {
                left -= 1;
                return Some(fault.clone());
            }
            None
        });
    }

    pub fn heal(&self) {
        self.state.lock().unwrap().faults = None;
    }

    /// Keys in one page of a listing.
    pub fn page(&self, keys: usize) {
        self.state.lock().unwrap().page = keys;
    }

    /// Answers 501 to `If-None-Match`, as some servers do.
    pub fn without_conditions(&self) {
        self.state.lock().unwrap().no_conditions = true;
    }

    pub fn put(&self, bucket: &str, key: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        let object = Object { etag: etag(&bytes), bytes, ..Object::default() };
        self.state.lock().unwrap().buckets.get_mut(bucket).unwrap().insert(key.to_owned(), object);
    }

    /// Puts a folder's files into a bucket, keys relative to the folder.
    pub fn remove(&self, bucket: &str, key: &str) {
        self.state.lock().unwrap().buckets.get_mut(bucket).unwrap().remove(key);
    }

    pub fn put_folder(&self, bucket: &str, folder: &Path) {
        let mut waiting = vec![folder.to_path_buf()];
        while let Some(path) = waiting.pop() {
            for entry in std::fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    waiting.push(path);
                } else {
                    let key = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                    self.put(bucket, &key, std::fs::read(path).unwrap());
                }
            }
        }
    }

    /// Makes objects look as if they had been written so long ago.
    pub fn age(&self, bucket: &str, by: TimeDelta, which: impl Fn(&str) -> bool) {
        let mut state = self.state.lock().unwrap();
        for (key, object) in state.buckets.get_mut(bucket).unwrap() {
            if which(key) {
                object.modified = Some(Utc::now() - by);
            }
        }
    }

    pub fn get(&self, bucket: &str, key: &str) -> Option<Object> {
        self.state.lock().unwrap().buckets.get(bucket)?.get(key).cloned()
    }

    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.state.lock().unwrap().buckets[bucket].keys().cloned().collect()
    }

    /// Takes the requests that came since the last call.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// Multipart uploads that are neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.state.lock().unwrap().uploads.len()
    }

    pub fn uploads_begun(&self) -> usize {
        self.state.lock().unwrap().uploads_begun
    }

    /// Parts that were still on their way when their upload was aborted, once all requests have ended.
    pub fn stray_parts(&self) -> usize {
        while self.state.lock().unwrap().in_flight > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.state.lock().unwrap().stray_parts
    }

    /// The most requests that were in work at one time.
    pub fn most_in_flight(&self) -> usize {
        self.state.lock().unwrap().most_in_flight
    }
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    fn xml(status: u16, body: String) -> Self {
        let headers = vec![("content-type".to_owned(), "application/xml".to_owned())];
        Self { status, headers, body: body.into_bytes() }
    }

    fn error(status: u16, code: &str) -> Self {
        Self::xml(
            status,
            format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>it is {code}</Message></Error>"),
        )
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let fault = {
            let mut state = state.lock().unwrap();
            state.requests.push(request.clone());
            state.in_flight += 1;
            state.most_in_flight = state.most_in_flight.max(state.in_flight);
            let mut faults = state.faults.take();
            let fault = faults.as_mut().and_then(|faults| faults(&request));
            state.faults = faults;
            fault
        };
        if let Some(Fault::Slow(time)) = fault {
            std::thread::sleep(time);
        }
        if fault == Some(Fault::Travels) {
            travel(stream, &request, state);
        }
        let mut answer = match &fault {
            Some(Fault::Answer(301, code)) => Answer::error(301, code).with("x-amz-bucket-region", "eu-west-3"),
            Some(Fault::Answer(status, code)) => Answer::error(*status, code),
            Some(Fault::Inside200(code)) => Answer::error(200, code),
            Some(Fault::Say(status, code, message)) => Answer::xml(
                *status,
                format!(
                    "<Error><Code>{code}</Code><Message>{message}</Message><StringToSign>{message}</StringToSign></Error>"
                ),
            ),
            Some(Fault::Bytes(bytes)) => {
                state.lock().unwrap().in_flight -= 1;
                let mut stream = stream;
                let _ = stream.write_all(bytes);
                return;
            }
            Some(Fault::Endless(status, size)) => {
                state.lock().unwrap().in_flight -= 1;
                let _ = endless(stream, &request, *status, *size);
                return;
            }
            Some(Fault::Reset | Fault::Travels) => Answer::new(500),
            _ => answer(&request, state),
        };
        if let Some(Fault::Garble(from, to)) = fault {
            answer.body = String::from_utf8(answer.body).unwrap().replacen(from, to, 1).into_bytes();
        }
        state.lock().unwrap().in_flight -= 1;
        if matches!(fault, Some(Fault::Unanswered | Fault::Reset | Fault::Travels)) {
            return;
        }
        let cut = if let Some(Fault::Cut(at)) = fault { Some(at) } else { None };
        if send(stream, &request, answer, cut).is_err() || cut.is_some() {
            return;
        }
    }
}

fn endless(mut stream: &TcpStream, request: &Request, status: u16, size: u64) -> std::io::Result<()> {
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")).unwrap_or("0-0");
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-range: bytes {range}/{size}\r\netag: \"x\"\r\ntransfer-encoding: chunked\r\n\r\n"
    )?;
    let piece = format!("10000\r\n{}\r\n", "x".repeat(1 << 16));
    loop {
        stream.write_all(piece.as_bytes())?;
    }
}

/// How long a sender whose upload is aborted may take to give up: it has closed its connection before, or never does.
const GRACE: Duration = Duration::from_secs(3);

/// Returns when the sender has given up, or the upload was aborted and it has not.
fn travel(stream: &TcpStream, request: &Request, state: &Mutex<State>) {
    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let id = &request.query["uploadId"];
    let begun = Instant::now();
    let mut aborted: Option<Instant> = None;
    loop {
        let waits = |error: &std::io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        if !stream.peek(&mut [0]).is_err_and(|error| waits(&error)) {
            return;
        }
        let gone = !state.lock().unwrap().uploads.contains_key(id);
        let late = gone && aborted.get_or_insert_with(Instant::now).elapsed() > GRACE;
        if late || begun.elapsed() > 10 * GRACE {
            state.lock().unwrap().stray_parts += 1;
            return;
        }
    }
}

fn send(mut stream: &TcpStream, request: &Request, answer: Answer, cut: Option<usize>) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\nx-amz-request-id: REQUEST1\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !answer.headers.iter().any(|(name, _)| name == "content-length") && answer.status != 204 {
        head.push_str(&format!("content-length: {}\r\n", answer.body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if request.method != "HEAD" {
        let end = cut.unwrap_or(answer.body.len()).min(answer.body.len());
        stream.write_all(&answer.body[..end])?;
    }
    stream.flush()
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    if headers.get("expect").is_some_and(|e| e.eq_ignore_ascii_case("100-continue")) {
        let mut stream = *reader.get_ref();
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    assert!(!headers.contains_key("transfer-encoding"), "bodies are sent with their length");
    let length = headers.get("content-length").map_or(0, |l| l.parse::<usize>().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let path = decode(path.trim_start_matches('/'));
    let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    });
    Some(Request {
        method,
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        query: query.collect(),
        headers,
        body,
        target: target.clone(),
    })
}

fn answer(request: &Request, state: &Mutex<State>) -> Answer {
    if let Err(why) = check_signature(request) {
        eprintln!("signature of {}: {why}", request.line());
        return Answer::error(403, "SignatureDoesNotMatch");
    }
    if let Err(code) = check_digests(request) {
        return Answer::error(400, code);
    }
    let mut state = state.lock().unwrap();
    if !state.buckets.contains_key(&request.bucket) {
        return Answer::error(404, "NoSuchBucket");
    }
    if state.no_conditions && request.headers.contains_key("if-none-match") {
        return Answer::error(501, "NotImplemented");
    }
    let asked = |name: &str| request.query.contains_key(name);
    match request.method.as_str() {
        "GET" if asked("uploads") => list_uploads(request, &state),
        "GET" if request.key.is_empty() => list(request, &state),
        "GET" | "HEAD" => read(request, &state),
        "POST" if asked("delete") => delete_many(request, &mut state),
        "POST" if asked("uploads") => begin(request, &mut state),
        "POST" => complete(request, &mut state),
        "PUT" if asked("uploadId") => part(request, &mut state),
        "PUT" => put(request, &mut state),
        "DELETE" if asked("uploadId") => match state.uploads.remove(&request.query["uploadId"]) {
            Some(_) => Answer::new(204),
            None => Answer::error(404, "NoSuchUpload"),
        },
        "DELETE" => {
            state.buckets.get_mut(&request.bucket).unwrap().remove(&request.key);
            Answer::new(204)
        }
        _ => Answer::error(405, "MethodNotAllowed"),
    }
}

fn read(request: &Request, state: &State) -> Answer {
    let Some(object) = state.buckets[&request.bucket].get(&request.key) else {
        return Answer::error(404, "NoSuchKey");
    };
    if request.header("if-match").is_some_and(|etag| etag != object.etag) {
        return Answer::error(412, "PreconditionFailed");
    }
    let size = object.bytes.len();
    let mut answer = Answer::new(200).with("etag", object.etag.clone()).with("accept-ranges", "bytes");
    for (name, value) in &object.headers {
        answer = answer.with(name, value.clone());
    }
    let Some(range) = request.header("range").and_then(|range| range.strip_prefix("bytes=")) else {
        answer = answer.with("content-length", size.to_string());
        answer.body.clone_from(&object.bytes);
        return answer;
    };
    let (first, last) = range.split_once('-').unwrap();
    let (first, last) = (first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap_or(usize::MAX));
    if first >= size {
        return Answer::error(416, "InvalidRange");
    }
    let end = last.saturating_add(1).min(size);
    answer.status = 206;
    answer.body = object.bytes[first..end].to_vec();
    answer.with("content-range", format!("bytes {first}-{}/{size}", end - 1))
}

/// Whether the object may be written.
fn may_write(request: &Request, state: &State) -> bool {
    request.header("if-none-match") != Some("*") || !state.buckets[&request.bucket].contains_key(&request.key)
}

fn kept_headers(request: &Request) -> BTreeMap<String, String> {
    let kept = |name: &str| name.starts_with("x-amz-meta-") || name.starts_with("x-amz-server-side-encryption");
    request.headers.iter().filter(|(name, _)| kept(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

fn put(request: &Request, state: &mut State) -> Answer {
    if !may_write(request, state) {
        return Answer::error(412, "PreconditionFailed");
    }
    let object = Object {
        etag: etag(&request.body),
        bytes: request.body.clone(),
        headers: kept_headers(request),
        modified: Some(Utc::now()),
    };
    let answer = Answer::new(200).with("etag", object.etag.clone());
    state.buckets.get_mut(&request.bucket).unwrap().insert(request.key.clone(), object);
    answer
}

fn begin(request: &Request, state: &mut State) -> Answer {
    state.uploads_begun += 1;
    let id = format!("upload-{}", state.uploads_begun);
    let upload = Upload {
        bucket: request.bucket.clone(),
        key: request.key.clone(),
        headers: kept_headers(request),
        parts: BTreeMap::new(),
    };
    state.uploads.insert(id.clone(), upload);
    Answer::xml(
        200,
        format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"),
    )
}

fn part(request: &Request, state: &mut State) -> Answer {
    let number = request.query["partNumber"].parse().unwrap();
    let Some(upload) = state.uploads.get_mut(&request.query["uploadId"]) else {
        return Answer::error(404, "NoSuchUpload");
    };
    upload.parts.insert(number, request.body.clone());
    let mut answer = Answer::new(200).with("etag", etag(&request.body));
    if let Some(crc) = request.header("x-amz-checksum-crc32") {
        answer = answer.with("x-amz-checksum-crc32", crc);
    }
    answer
}

fn complete(request: &Request, state: &mut State) -> Answer {
    let id = &request.query["uploadId"];
    let Some(upload) = state.uploads.get(id) else {
        return Answer::error(404, "NoSuchUpload");
    };
    assert_eq!((&upload.bucket, &upload.key), (&request.bucket, &request.key));
    if !may_write(request, state) {
        return Answer::error(412, "PreconditionFailed");
    }
    let text = String::from_utf8(request.body.clone()).unwrap();
    let mut bytes = Vec::new();
    let mut last = 0;
    for listed in text.split("<Part>").skip(1) {
        let number: u32 = tag(listed, "PartNumber").unwrap().parse().unwrap();
        let Some(part) = upload.parts.get(&number) else {
            return Answer::error(400, "InvalidPart");
        };
        if tag(listed, "ETag").map(|tag| tag.replace("&quot;", "\"")) != Some(etag(part)) {
            return Answer::error(400, "InvalidPart");
        }
        if number <= last {
            return Answer::error(400, "InvalidPartOrder");
        }
        last = number;
        bytes.extend_from_slice(part);
    }
    let object = Object {
        etag: format!("\"{}-{last}\"", hex(&Md5::digest(&bytes))),
        bytes,
        headers: upload.headers.clone(),
        modified: Some(Utc::now()),
    };
    let etag = object.etag.clone();
    state.uploads.remove(id);
    state.buckets.get_mut(&request.bucket).unwrap().insert(request.key.clone(), object);
    Answer::xml(200, format!("<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>"))
}

fn delete_many(request: &Request, state: &mut State) -> Answer {
    let text = String::from_utf8(request.body.clone()).unwrap();
    let objects = state.buckets.get_mut(&request.bucket).unwrap();
    let keys: Vec<&str> = text.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap()).collect();
    assert!(keys.len() <= 1000, "S3 takes 1000 keys");
    for key in keys {
        objects.remove(&unescape(key));
    }
    Answer::xml(200, "<DeleteResult></DeleteResult>".to_owned())
}

fn list_uploads(request: &Request, state: &State) -> Answer {
    let prefix = request.query.get("prefix").map_or("", String::as_str);
    let listed =
        state.uploads.iter().filter(|(_, upload)| upload.bucket == request.bucket && upload.key.starts_with(prefix));
    let body: String = listed
        .map(|(id, upload)| format!("<Upload><Key>{}</Key><UploadId>{id}</UploadId></Upload>", upload.key))
        .collect();
    Answer::xml(200, format!("<ListMultipartUploadsResult>{body}</ListMultipartUploadsResult>"))
}

fn list(request: &Request, state: &State) -> Answer {
    let get = |name: &str| request.query.get(name).map_or("", String::as_str);
    let (prefix, delimiter) = (get("prefix"), get("delimiter"));
    let after = match get("continuation-token") {
        "" => get("start-after"),
        token => &decode(token),
    };
    assert_eq!(get("encoding-type"), "url");
    let (mut body, mut count, mut truncated, mut last) = (String::new(), 0, false, String::new());
    let mut group: Option<String> = None;
    let from = (Bound::Excluded(after.to_owned()), Bound::Unbounded);
    for (key, object) in state.buckets[&request.bucket].range::<String, _>(from) {
        let Some(rest) = key.strip_prefix(prefix) else { continue };
        if group.as_ref().is_some_and(|group| key.starts_with(group)) {
            last.clone_from(key);
            continue;
        }
        if count == state.page {
            truncated = true;
            break;
        }
        count += 1;
        last.clone_from(key);
        match rest.split_once(delimiter).filter(|_| !delimiter.is_empty()) {
            Some((name, _)) => {
                let whole = format!("{prefix}{name}{delimiter}");
                // A group that the page before has named already.
                if after.starts_with(&whole) {
                    count -= 1;
                } else {
                    body.push_str(&format!(
                        "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>",
                        encode(&whole, true)
                    ));
                }
                group = Some(whole);
            }
            None => body.push_str(&format!(
                "<Contents><Key>{}</Key><Size>{}</Size>{}</Contents>",
                encode(key, true),
                object.bytes.len(),
                object.modified.map_or_else(String::new, |at| {
                    format!("<LastModified>{}</LastModified>", at.to_rfc3339_opts(SecondsFormat::Millis, true))
                }),
            )),
        }
    }
    let next = if truncated {
        format!("<NextContinuationToken>{}</NextContinuationToken>", encode(&last, false))
    } else {
        String::new()
    };
    Answer::xml(
        200,
        format!(
            "<ListBucketResult><EncodingType>url</EncodingType><KeyCount>{count}</KeyCount><IsTruncated>{truncated}</IsTruncated>{next}{body}</ListBucketResult>"
        ),
    )
}

fn tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split_once(&format!("<{name}>"))?.1.split_once(&format!("</{name}>")).map(|(value, _)| value)
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", hex(&Md5::digest(bytes)))
}
