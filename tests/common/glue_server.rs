//! A small Glue server for tests, on a port of this machine: JSON 1.1 over HTTP, five actions, entries in memory. It holds
//! `UpdateTable` to its `VersionId` (as Glue does, and moto does not) and entries to the limits of Glue's API reference,
//! remembers every request, and fails as it is told. It stands in for Glue; only AWS shows what Glue really does.
#![allow(dead_code, missing_docs, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value, json};

pub const ACCESS_KEY: &str = "AKIDTEST";
pub const SECRET_KEY: &str = "not-a-secret";
pub const REGION: &str = "eu-north-1";

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done; this status, code and message are the answer.
    Answer(u16, &'static str, &'static str),
    /// It is done, and this is the answer.
    DoneBut(u16, &'static str, &'static str),
    /// It is done, and the connection closed without an answer.
    Unanswered,
    /// The connection is closed and nothing done.
    Reset,
    /// Another client changes the entry's owner just before.
    ChangedBefore,
    /// It is done so much later; the connection is closed at once.
    Late(Duration),
}

/// A request, as it came in.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GetTable`, …
    pub action: String,
    pub body: Value,
}

type Faults = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;

#[derive(Default)]
struct State {
    databases: BTreeMap<String, Value>,
    tables: BTreeMap<(String, String), Value>,
    archived: usize,
    requests: Vec<Request>,
    faults: Option<Faults>,
    largest_payload: Option<usize>,
}

/// The server; it lives as long as the process.
#[derive(Clone)]
pub struct GlueServer {
    state: Arc<Mutex<State>>,
    port: u16,
}

impl GlueServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
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
            ("type", "glue"),
            ("glue.endpoint", &self.endpoint()),
            ("glue.region", REGION),
            ("glue.access-key-id", ACCESS_KEY),
            ("glue.secret-access-key", SECRET_KEY),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
    }

    /// Asked about every request, before it is done.
    pub fn fail(&self, faults: impl FnMut(&Request) -> Option<Fault> + Send + 'static) {
        self.state.lock().unwrap().faults = Some(Box::new(faults));
    }

    /// The next so many requests of this action fail so.
    pub fn fail_next(&self, action: &'static str, mut times: usize, fault: Fault) {
        self.fail(move |request| {
            let hit = request.action == action && times > 0;
            times -= usize::from(hit);
            hit.then(|| fault.clone())
        });
    }

    pub fn heal(&self) {
        self.state.lock().unwrap().faults = None;
    }

    pub fn limit_payload(&self, bytes: usize) {
        self.state.lock().unwrap().largest_payload = Some(bytes);
    }

    /// The entry of a table, as `GetTable` gives it.
    pub fn table(&self, database: &str, name: &str) -> Option<Value> {
        self.state.lock().unwrap().tables.get(&(database.to_owned(), name.to_owned())).cloned()
    }

    /// Changes an entry as another client would, to a new version.
    pub fn edit(&self, database: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut state = self.state.lock().unwrap();
        let table = state.tables.get_mut(&(database.to_owned(), name.to_owned())).unwrap();
        edit(table);
        let version = table["VersionId"].as_str().unwrap().parse::<u64>().unwrap() + 1;
        table["VersionId"] = json!(version.to_string());
    }

    /// Puts an entry there.
    pub fn put_table(&self, database: &str, name: &str, input: Value) {
        let mut state = self.state.lock().unwrap();
        let table = entry(database, name, &input, 1);
        state.tables.insert((database.to_owned(), name.to_owned()), table);
    }

    pub fn put_database(&self, name: &str, input: Value) {
        self.state.lock().unwrap().databases.insert(name.to_owned(), input);
    }

    pub fn database(&self, name: &str) -> Option<Value> {
        self.state.lock().unwrap().databases.get(name).cloned()
    }

    /// Versions of entries that were archived.
    pub fn archived(&self) -> usize {
        self.state.lock().unwrap().archived
    }

    /// Takes the requests that came since the last call.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

type Answer = (u16, Value);

fn error(status: u16, code: &str, message: &str) -> Answer {
    (status, json!({"__type": code, "Message": message}))
}

fn serve(stream: &TcpStream, state: &Arc<Mutex<State>>) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    while let Some((request, length, authorization)) = read_request(&mut reader) {
        let fault = {
            let mut state = state.lock().unwrap();
            state.requests.push(request.clone());
            let mut faults = state.faults.take();
            let fault = faults.as_mut().and_then(|faults| faults(&request));
            state.faults = faults;
            fault
        };
        let (status, body) = match fault {
            Some(Fault::Answer(status, code, message)) => error(status, code, message),
            Some(Fault::Reset) => return,
            Some(Fault::Late(time)) => {
                let state = Arc::clone(state);
                std::thread::spawn(move || {
                    std::thread::sleep(time);
                    answer(&request, length, &authorization, &mut state.lock().unwrap());
                });
                return;
            }
            fault => {
                if fault == Some(Fault::ChangedBefore) {
                    let name = request.body["TableInput"]["Name"].as_str().unwrap();
                    let server = GlueServer { state: Arc::clone(state), port: 0 };
                    server.edit(request.body["DatabaseName"].as_str().unwrap(), name, |t| t["Owner"] = json!("other"));
                }
                let done = answer(&request, length, &authorization, &mut state.lock().unwrap());
                match fault {
                    Some(Fault::Unanswered) => return,
                    Some(Fault::DoneBut(status, code, message)) => error(status, code, message),
                    _ => done,
                }
            }
        };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\nx-amzn-requestid: REQUEST1\r\ncontent-type: application/x-amz-json-1.1\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = stream;
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).is_err() {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<(Request, usize, String)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    assert!(line.starts_with("POST / "), "{line}");
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers["content-length"].parse::<usize>().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let action = headers["x-amz-target"].strip_prefix("AWSGlue.").unwrap().to_owned();
    let authorization = headers.get("authorization").cloned().unwrap_or_default();
    Some((Request { action, body: serde_json::from_slice(&body).unwrap() }, length, authorization))
}

fn answer(request: &Request, length: usize, authorization: &str, state: &mut State) -> Answer {
    // Who asks for which region and service; what is signed is checked by the S3 server of the tests.
    let signed = authorization.contains(&format!("Credential={ACCESS_KEY}/"))
        && authorization.contains(&format!("/{REGION}/glue/aws4_request"));
    if !signed {
        return error(400, "UnrecognizedClientException", "The security token included in the request is invalid.");
    }
    if state.largest_payload.is_some_and(|largest| length > largest) {
        return error(400, "InvalidInputException", "Payload size of request exceeded limit");
    }
    let body = &request.body;
    let text = |value: &Value| value.as_str().unwrap().to_lowercase();
    let missing = |what: &str| error(400, "EntityNotFoundException", &format!("Entity Not Found: {what}"));
    match request.action.as_str() {
        "GetDatabase" => match state.databases.get(&text(&body["Name"])) {
            Some(database) => (200, json!({"Database": database})),
            None => missing("database"),
        },
        "CreateDatabase" => {
            let input = &body["DatabaseInput"];
            let name = text(&input["Name"]);
            if state.databases.contains_key(&name) {
                return error(400, "AlreadyExistsException", "Database already exists.");
            }
            state.databases.insert(name, input.clone());
            (200, json!({}))
        }
        "GetTable" => match state.tables.get(&(text(&body["DatabaseName"]), text(&body["Name"]))) {
            Some(table) => (200, json!({"Table": table})),
            None => missing("table"),
        },
        "CreateTable" | "UpdateTable" => {
            let input = &body["TableInput"];
            if let Err(why) = check(input) {
                return error(400, "ValidationException", &why);
            }
            let place = (text(&body["DatabaseName"]), text(&input["Name"]));
            if !state.databases.contains_key(&place.0) {
                return missing("database");
            }
            let old = state.tables.get(&place);
            let version = match (request.action.as_str(), old) {
                ("CreateTable", None) => 0,
                ("CreateTable", Some(_)) => return error(400, "AlreadyExistsException", "Table already exists."),
                (_, None) => return missing("table"),
                (_, Some(old)) => {
                    if body.get("VersionId").is_some_and(|version| *version != old["VersionId"]) {
                        let message = "Update table failed due to concurrent modifications.";
                        return error(400, "ConcurrentModificationException", message);
                    }
                    old["VersionId"].as_str().unwrap().parse::<u64>().unwrap() + 1
                }
            };
            if version > 0 && body["SkipArchive"] != json!(true) {
                state.archived += 1;
            }
            state.tables.insert(place.clone(), entry(&place.0, &place.1, input, version));
            (200, json!({}))
        }
        other => error(400, "UnknownOperationException", other),
    }
}

/// What Glue makes of a `TableInput`: nothing of an older version stays.
fn entry(database: &str, name: &str, input: &Value, version: u64) -> Value {
    let mut table: Map<String, Value> = input.as_object().unwrap().clone();
    table.insert("Name".to_owned(), json!(name));
    table.insert("DatabaseName".to_owned(), json!(database));
    table.insert("VersionId".to_owned(), json!(version.to_string()));
    table.insert("CreateTime".to_owned(), json!(1_768_385_130.0));
    table.insert("CatalogId".to_owned(), json!("123456789012"));
    table.insert("IsRegisteredWithLakeFormation".to_owned(), json!(false));
    Value::Object(table)
}

/// The constraints of `TableInput`, `Column` and their parts in Glue's API reference.
fn check(input: &Value) -> Result<(), String> {
    let line = |value: &Value, least: usize, most: usize, what: &str| {
        let text = value.as_str().unwrap_or_default();
        let fits = (least..=most).contains(&text.len()) && !text.chars().any(|c| c.is_control() && c != '\t');
        if fits { Ok(()) } else { Err(format!("{what} failed to satisfy constraint")) }
    };
    line(&input["Name"], 1, 255, "name")?;
    for (key, value) in input["Parameters"].as_object().into_iter().flatten() {
        line(&json!(key), 1, 255, "parameter key")?;
        if value.as_str().unwrap().len() > 512_000 {
            return Err("parameter value failed to satisfy constraint".to_owned());
        }
    }
    let columns = input["StorageDescriptor"]["Columns"].as_array().into_iter().flatten();
    let mut names = std::collections::BTreeSet::new();
    for column in columns {
        line(&column["Name"], 1, 255, "column name")?;
        line(&column["Type"], 0, 131_072, "column type")?;
        line(&column["Comment"], 0, 255, "column comment")?;
        if !names.insert(column["Name"].as_str().unwrap().to_lowercase()) {
            return Err("duplicate column".to_owned());
        }
    }
    Ok(())
}
