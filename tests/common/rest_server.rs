//! A small REST catalog server for tests, on a port of this machine: it keeps tables in memory and their metadata files in a
//! local folder, checks who signs in, remembers every request, and fails as it is told.
#![allow(dead_code, missing_docs, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use iceberg::spec::{FormatVersion, SortOrder, TableMetadata, TableMetadataBuilder};
use iceberg::{TableRequirement, TableUpdate};
use serde_json::{Value, json};
use uuid::Uuid;

#[path = "s3_signature.rs"]
#[allow(clippy::duplicate_mod, reason = "the other server has it too")]
mod signature;

use signature::{check_for, decode, encode};

pub const ACCESS_KEY: &str = "AKIDTEST";
pub const SECRET_KEY: &str = "not-a-secret";
pub const REGION: &str = "eu-north-1";
/// What the server puts into paths.
pub const PREFIX: &str = "cat%3Aalog/one";

/// What the server does when asked to stage a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staging {
    Yes,
    /// It says no, with this status.
    Refused(u16),
    /// It creates the table.
    Ignored,
}

/// Who may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    Open,
    Token(String),
    /// Id, secret, and for how many seconds a token lasts.
    OAuth(String, String, Option<u32>),
    /// Signed for this service.
    Signed(String),
}

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, and this is the answer.
    Answer(u16),
    /// It is done, and this is the answer.
    DoneBut(u16),
    /// Nothing is done, and the answer is this text with this status.
    Text(u16, String),
    /// It is done, and the connection closed without an answer.
    Unanswered,
    /// The connection is closed and nothing done.
    Reset,
    /// It is done, this is the answer, and from then on no connection is taken until [`RestServer::reopen`].
    DoneThenGone(u16),
}

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Whether it is a commit to a table (also one that creates it).
    pub fn is_commit(&self) -> bool {
        self.method == "POST" && self.target.rsplit('/').nth(1) == Some("tables")
    }

    pub fn is_creation(&self) -> bool {
        self.method == "POST" && self.target.ends_with("/tables")
    }
}

#[derive(Clone)]
pub struct Table {
    pub metadata: TableMetadata,
    pub location: String,
}

type Faults = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;
type Alter = Box<dyn Fn(&mut Value) + Send>;
type Name = (Vec<String>, String);

struct State {
    warehouse: String,
    staging: Staging,
    login: Login,
    tokens: BTreeSet<String>,
    namespaces: BTreeSet<Vec<String>>,
    tables: BTreeMap<Name, Table>,
    requests: Vec<Request>,
    faults: Option<Faults>,
    /// `config` of every table, and what `credentials` answers.
    config: Value,
    credentials: Option<Value>,
    overrides: BTreeMap<String, String>,
    /// `storage-credentials` of every table.
    prefixes: Option<Value>,
    /// So many loads of a table are answered with what a cache has kept from before the last commit.
    stale: usize,
    before: BTreeMap<Name, Table>,
    /// What it makes of new tables, beside what it was asked for.
    alter: Option<Alter>,
    closed: bool,
}

/// The server; it lives as long as the process.
#[derive(Clone)]
pub struct RestServer {
    state: Arc<Mutex<State>>,
    port: u16,
}

impl RestServer {
    /// `warehouse` is a folder.
    pub fn start(warehouse: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State {
            warehouse: format!("file://{}", warehouse.display()),
            staging: Staging::Yes,
            login: Login::Open,
            tokens: BTreeSet::new(),
            namespaces: BTreeSet::new(),
            tables: BTreeMap::new(),
            requests: Vec::new(),
            faults: None,
            config: json!({}),
            credentials: None,
            overrides: BTreeMap::new(),
            prefixes: None,
            stale: 0,
            before: BTreeMap::new(),
            alter: None,
            closed: false,
        }));
        take_connections(listener, Arc::clone(&state));
        Self { state, port }
    }

    /// Takes connections again.
    pub fn reopen(&self) {
        self.state.lock().unwrap().closed = false;
        take_connections(TcpListener::bind(("127.0.0.1", self.port)).unwrap(), Arc::clone(&self.state));
    }

    /// Tables that it makes from now on are other ones than they were to be.
    pub fn alter_new_tables(&self, alter: impl Fn(&mut Value) + Send + 'static) {
        self.state.lock().unwrap().alter = Some(Box::new(alter));
    }

    pub fn uri(&self) -> String {
        format!("http://127.0.0.1:{}/api", self.port)
    }

    pub fn staging(&self, staging: Staging) {
        self.state.lock().unwrap().staging = staging;
    }

    pub fn login(&self, login: Login) {
        self.state.lock().unwrap().login = login;
    }

    /// No token that was given is good any more.
    pub fn revoke(&self) {
        self.state.lock().unwrap().tokens.clear();
    }

    /// What is said of every table's storage.
    pub fn lend(&self, config: Value, credentials: Option<Value>) {
        let mut state = self.state.lock().unwrap();
        state.config = config;
        state.credentials = credentials;
    }

    /// What is said of every table's storage by prefix.
    pub fn lend_below(&self, credentials: Value) {
        self.state.lock().unwrap().prefixes = Some(credentials);
    }

    /// After the next commit so many loads are answered as before it.
    pub fn answer_stale(&self, times: usize) {
        self.state.lock().unwrap().stale = times;
    }

    /// New tables go there, and metadata files stay in memory.
    pub fn warehouse(&self, warehouse: &str) {
        warehouse.clone_into(&mut self.state.lock().unwrap().warehouse);
    }

    /// What a table's metadata says from now on.
    pub fn edit_table(&self, namespace: &[&str], name: &str, edit: impl FnOnce(&mut Value)) {
        let namespace = namespace.iter().map(|level| (*level).to_owned()).collect();
        let mut state = self.state.lock().unwrap();
        let table = state.tables.get_mut(&(namespace, name.to_owned())).unwrap();
        let mut metadata = serde_json::to_value(&table.metadata).unwrap();
        edit(&mut metadata);
        table.metadata = serde_json::from_value(metadata).unwrap();
    }

    /// There is no table any more.
    pub fn forget(&self) {
        self.state.lock().unwrap().tables.clear();
    }

    pub fn override_with(&self, key: &str, value: &str) {
        self.state.lock().unwrap().overrides.insert(key.to_owned(), value.to_owned());
    }

    pub fn fail(&self, faults: impl FnMut(&Request) -> Option<Fault> + Send + 'static) {
        self.state.lock().unwrap().faults = Some(Box::new(faults));
    }

    /// The first `times` requests for which `which` holds fail.
    pub fn fail_times(&self, times: usize, fault: Fault, which: impl Fn(&Request) -> bool + Send + 'static) {
        let mut left = times;
        self.fail(move |request| {
            let meets = left > 0 && which(request);
            left -= usize::from(meets);
            meets.then(|| fault.clone())
        });
    }

    pub fn heal(&self) {
        self.state.lock().unwrap().faults = None;
    }

    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    pub fn table(&self, namespace: &[&str], name: &str) -> Option<Table> {
        let namespace = namespace.iter().map(|level| (*level).to_owned()).collect();
        self.state.lock().unwrap().tables.get(&(namespace, name.to_owned())).cloned()
    }

    pub fn namespaces(&self) -> Vec<String> {
        self.state.lock().unwrap().namespaces.iter().map(|levels| levels.join(".")).collect()
    }
}

fn take_connections(listener: TcpListener, state: Arc<Mutex<State>>) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if state.lock().unwrap().closed {
                return;
            }
            let state = Arc::clone(&state);
            std::thread::spawn(move || serve(&stream, &state));
        }
    });
}

/// Returns when the port is closed: whoever takes connections looks at each whether it is the last.
fn close(port: u16, state: &Mutex<State>) {
    state.lock().unwrap().closed = true;
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

type Answer = (u16, Value);

fn error(status: u16, kind: &str, message: &str) -> Answer {
    (status, json!({"error": {"message": message, "type": kind, "code": status}}))
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let fault = {
            let mut state = state.lock().unwrap();
            state.requests.push(request.clone());
            let mut faults = state.faults.take();
            let fault = faults.as_mut().and_then(|faults| faults(&request));
            state.faults = faults;
            fault
        };
        let made = match &fault {
            Some(Fault::Answer(status)) => error(*status, "InjectedException", "injected"),
            Some(Fault::Text(..) | Fault::Reset) => (0, Value::Null),
            _ => answer(&request, &mut state.lock().unwrap()),
        };
        if matches!(fault, Some(Fault::DoneThenGone(_))) {
            close(stream.local_addr().unwrap().port(), state);
        }
        let (status, body) = match fault {
            Some(Fault::Unanswered | Fault::Reset) => return,
            Some(Fault::Text(status, text)) => (status, text),
            Some(Fault::DoneBut(status) | Fault::DoneThenGone(status)) => {
                (status, error(status, "InjectedException", "injected").1.to_string())
            }
            _ => (made.0, if made.1.is_null() { String::new() } else { made.1.to_string() }),
        };
        let mut head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n");
        if status == 302 {
            head.push_str("location: http://127.0.0.1:1/\r\n");
        }
        if status != 204 {
            write!(head, "content-length: {}\r\n", body.len()).unwrap();
        }
        head.push_str("\r\n");
        let mut stream = stream;
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).is_err() {
            return;
        }
    }
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
    let length = headers.get("content-length").map_or(0, |l| l.parse::<usize>().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, target, headers, body })
}

fn may_enter(request: &Request, state: &State) -> Result<(), String> {
    let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    match &state.login {
        Login::Open => Ok(()),
        Login::Token(token) if bearer == Some(token) => Ok(()),
        Login::OAuth(..) if bearer.is_some_and(|token| state.tokens.contains(token)) => Ok(()),
        Login::Signed(service) => check_for(request, service, |path| encode(path, true)),
        // A server that repeats what it was given.
        Login::Token(_) | Login::OAuth(..) => Err(format!("not authorized: {}", bearer.unwrap_or_default())),
    }
}

fn give_token(request: &Request, state: &mut State) -> Answer {
    let body = String::from_utf8(request.body.clone()).unwrap();
    let fields: BTreeMap<&str, String> =
        body.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k, decode(v))).collect();
    let Login::OAuth(id, secret, lasts) = &state.login else { return error(404, "NotFoundException", "no sign-in") };
    assert_eq!(fields["grant_type"], "client_credentials");
    assert_eq!(fields["scope"], "catalog");
    if fields.get("client_id") != Some(id) || fields.get("client_secret") != Some(secret) {
        let said = format!("wrong secret {}", fields["client_secret"]);
        return (401, json!({"error": "invalid_client", "error_description": said}));
    }
    let token = format!("token-{}", Uuid::new_v4());
    state.tokens.insert(token.clone());
    (200, json!({"access_token": token, "token_type": "bearer", "expires_in": lasts}))
}

fn answer(request: &Request, state: &mut State) -> Answer {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let Some(path) = path.strip_prefix("/api/v1/") else { return (404, Value::Null) };
    if path == "oauth/tokens" {
        return give_token(request, state);
    }
    if let Err(why) = may_enter(request, state) {
        return error(401, "NotAuthorizedException", &why);
    }
    if path == "config" {
        if query == "warehouse=missing" {
            return error(404, "NotFoundException", "there is no warehouse \"missing\"");
        }
        let mut overrides = state.overrides.clone();
        overrides.insert("prefix".to_owned(), PREFIX.to_owned());
        let mut endpoints = vec!["GET /v1/{prefix}/namespaces/{namespace}/tables/{table}"];
        if state.credentials.is_some() {
            endpoints.push("GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials");
        }
        return (
            200,
            json!({"defaults": {"uri": "http://127.0.0.1:1"}, "overrides": overrides, "endpoints": endpoints}),
        );
    }
    let Some(path) = path.strip_prefix(PREFIX) else { return (404, Value::Null) };
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let levels = |text: &str| -> Vec<String> { text.split("%1F").map(decode).collect() };
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    match (request.method.as_str(), parts.as_slice()) {
        ("POST", ["namespaces"]) => {
            let levels: Vec<String> = serde_json::from_value(body["namespace"].clone()).unwrap();
            if levels.len() > 1 && !state.namespaces.contains(&levels[..levels.len() - 1]) {
                return error(404, "NoSuchNamespaceException", "the level above does not exist");
            }
            if state.namespaces.insert(levels) {
                (200, json!({}))
            } else {
                error(409, "AlreadyExistsException", "it exists")
            }
        }
        ("GET", ["namespaces", namespace]) if state.namespaces.contains(&levels(namespace)) => (200, json!({})),
        ("GET", ["namespaces", _]) => error(404, "NoSuchNamespaceException", "no such namespace"),
        ("POST", ["namespaces", namespace, "tables"]) => create(state, levels(namespace), &body),
        ("GET", ["namespaces", namespace, "tables"]) => {
            let namespace = levels(namespace);
            let found = state.tables.keys().filter(|(levels, _)| *levels == namespace);
            let found: Vec<Value> = found.map(|(levels, name)| json!({"namespace": levels, "name": name})).collect();
            (200, json!({"identifiers": found}))
        }
        ("GET", ["namespaces", namespace, "tables", name]) => {
            let name = (levels(namespace), decode(name));
            if state.stale > 0
                && let Some(table) = state.before.get(&name)
            {
                let answer = result(state, &table.metadata, Some(&table.location));
                state.stale -= 1;
                return (200, answer);
            }
            match state.tables.get(&name) {
                Some(table) => (200, result(state, &table.metadata, Some(&table.location))),
                None => error(404, "NoSuchTableException", "no such table"),
            }
        }
        ("GET", ["namespaces", _, "tables", _, "credentials"]) => match &state.credentials {
            Some(credentials) => (200, json!({"storage-credentials": credentials})),
            None => (404, Value::Null),
        },
        ("POST", ["namespaces", namespace, "tables", name]) => commit(state, (levels(namespace), decode(name)), &body),
        _ => (404, Value::Null),
    }
}

fn result(state: &State, metadata: &TableMetadata, location: Option<&str>) -> Value {
    let mut result = json!({"metadata-location": location, "metadata": metadata, "config": state.config});
    if let Some(prefixes) = &state.prefixes {
        result["storage-credentials"] = prefixes.clone();
    }
    result
}

fn create(state: &mut State, namespace: Vec<String>, body: &Value) -> Answer {
    let name = (namespace, body["name"].as_str().unwrap().to_owned());
    if !state.namespaces.contains(&name.0) {
        return error(404, "NoSuchNamespaceException", "no such namespace");
    }
    if state.tables.contains_key(&name) {
        return error(409, "AlreadyExistsException", "the table exists");
    }
    let stage = body["stage-create"] == json!(true);
    if let (true, Staging::Refused(status)) = (stage, state.staging) {
        return error(status, "UnsupportedOperationException", "no staging here");
    }
    let mut properties: HashMap<String, String> = serde_json::from_value(body["properties"].clone()).unwrap();
    assert_eq!(properties.remove("format-version").as_deref(), Some("2"));
    let made = TableMetadataBuilder::new(
        serde_json::from_value(body["schema"].clone()).unwrap(),
        serde_json::from_value::<iceberg::spec::UnboundPartitionSpec>(body["partition-spec"].clone()).unwrap(),
        serde_json::from_value(body["write-order"].clone()).unwrap(),
        format!("{}/{}/{}", state.warehouse, name.0.join("."), name.1),
        FormatVersion::V2,
        properties,
    );
    let mut metadata = made.unwrap().build().unwrap().metadata;
    if let Some(alter) = &state.alter {
        let mut value = serde_json::to_value(&metadata).unwrap();
        alter(&mut value);
        metadata = serde_json::from_value(value).unwrap();
    }
    if stage && state.staging == Staging::Yes {
        return (200, result(state, &metadata, None));
    }
    let location = write(&metadata, 0);
    let answer = result(state, &metadata, Some(&location));
    state.tables.insert(name, Table { metadata, location });
    (200, answer)
}

fn commit(state: &mut State, name: Name, body: &Value) -> Answer {
    assert_eq!(body["identifier"], json!({"namespace": name.0, "name": name.1}));
    let requirements: Vec<TableRequirement> = serde_json::from_value(body["requirements"].clone()).unwrap();
    let updates: Vec<TableUpdate> = serde_json::from_value(body["updates"].clone()).unwrap();
    let old = state.tables.get(&name);
    if old.is_none() && !requirements.contains(&TableRequirement::NotExist) {
        return error(404, "NoSuchTableException", "no such table");
    }
    for requirement in &requirements {
        if let Err(why) = requirement.check(old.map(|table| &table.metadata)) {
            return error(409, "CommitFailedException", &why.to_string());
        }
    }
    let changed = match old {
        Some(old) => apply(old.metadata.clone().into_builder(Some(old.location.clone())), updates),
        None => build(updates),
    };
    let metadata = match changed {
        Ok(metadata) => metadata,
        Err(why) => return error(400, "ValidationException", &why.to_string()),
    };
    let location = write(&metadata, metadata.metadata_log().len());
    let answer = json!({"metadata-location": location, "metadata": metadata});
    if let Some(old) = state.tables.insert(name.clone(), Table { metadata, location }) {
        state.before.insert(name, old);
    }
    (200, answer)
}

fn apply(builder: TableMetadataBuilder, updates: Vec<TableUpdate>) -> iceberg::Result<TableMetadata> {
    let builder = updates.into_iter().try_fold(builder, |builder, update| update.apply(builder))?;
    Ok(builder.build()?.metadata)
}

/// A table of nothing but updates.
fn build(updates: Vec<TableUpdate>) -> iceberg::Result<TableMetadata> {
    let (mut uuid, mut schema, mut spec, mut order, mut location) = (None, None, None, None, None);
    let mut rest = Vec::new();
    for update in updates {
        match update {
            TableUpdate::AssignUuid { uuid: id } => uuid = Some(id),
            TableUpdate::UpgradeFormatVersion { format_version } => assert_eq!(format_version, FormatVersion::V2),
            TableUpdate::AddSchema { schema: s } => schema = Some(s),
            TableUpdate::AddSpec { spec: s } => spec = Some(s),
            TableUpdate::AddSortOrder { sort_order } => order = Some(sort_order),
            TableUpdate::SetLocation { location: l } => location = Some(l),
            TableUpdate::SetCurrentSchema { schema_id: -1 }
            | TableUpdate::SetDefaultSpec { spec_id: -1 }
            | TableUpdate::SetDefaultSortOrder { sort_order_id: -1 } => {}
            other => rest.push(other),
        }
    }
    let builder = TableMetadataBuilder::new(
        schema.unwrap(),
        spec.unwrap(),
        order.unwrap_or_else(SortOrder::unsorted_order),
        location.unwrap(),
        FormatVersion::V2,
        HashMap::new(),
    )?;
    apply(builder.assign_uuid(uuid.unwrap()), rest)
}

/// Writes a metadata file, if the table is on disk.
fn write(metadata: &TableMetadata, version: usize) -> String {
    let location = format!("{}/metadata/{version:05}-{}.metadata.json", metadata.location(), Uuid::new_v4());
    if let Some(path) = location.strip_prefix("file://") {
        std::fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, serde_json::to_vec(metadata).unwrap()).unwrap();
    }
    location
}
