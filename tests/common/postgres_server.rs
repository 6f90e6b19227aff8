//! A server for tests that speaks just enough of PostgreSQL's protocol to do harm, on a port of this machine: what it does with
//! a connection is a script. It keeps all that clients send.
#![allow(dead_code, missing_docs, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Codes of the message that says how to sign in.
pub const SIGNED_IN: u32 = 0;
pub const CLEARTEXT: u32 = 3;
pub const MD5: u32 = 5;

const SSL_REQUEST: u32 = 80_877_103;

/// The server; it lives as long as the process.
pub struct PostgresServer {
    port: u16,
    received: Arc<Mutex<Vec<u8>>>,
}

/// A connection, behind its startup message. Nothing is encrypted.
pub struct Client {
    stream: TcpStream,
    received: Arc<Mutex<Vec<u8>>>,
    /// It asked for TLS, and was told that there is none.
    pub asked_for_tls: bool,
}

impl PostgresServer {
    /// Does this with every connection, until the script ends or the client goes.
    pub fn start(script: impl Fn(&mut Client) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (kept, script) = (Arc::clone(&received), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (received, script) = (Arc::clone(&kept), Arc::clone(&script));
                std::thread::spawn(move || {
                    let mut client = Client { stream, received, asked_for_tls: false };
                    let done = client.startup().and_then(|()| script(&mut client));
                    // What was not read would take away what was sent.
                    if client.stream.shutdown(Shutdown::Write).is_ok() {
                        let _ = io::copy(&mut client.stream, &mut io::sink());
                    }
                    done
                });
            }
        });
        Self { port, received }
    }

    /// The catalog's `uri`; `user` may have a password in it.
    pub fn uri(&self, user: &str, parameters: &str) -> String {
        format!("postgresql://{user}@127.0.0.1:{}/lake{parameters}", self.port)
    }

    /// All that clients have sent.
    pub fn received(&self) -> Vec<u8> {
        self.received.lock().unwrap().clone()
    }
}

impl Client {
    fn read(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        self.received.lock().unwrap().extend_from_slice(&bytes);
        Ok(bytes)
    }

    fn number(&mut self) -> io::Result<u32> {
        Ok(u32::from_be_bytes(self.read(4)?.try_into().unwrap()))
    }

    fn startup(&mut self) -> io::Result<()> {
        loop {
            let (length, code) = (self.number()?, self.number()?);
            if code != SSL_REQUEST {
                self.read(length as usize - 8)?;
                return Ok(());
            }
            self.asked_for_tls = true;
            self.stream.write_all(b"N")?;
        }
    }

    /// The next message: its kind and what is in it.
    pub fn message(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let kind = self.read(1)?;
        let length = self.number()?;
        Ok((kind[0], self.read(length as usize - 4)?))
    }

    /// Waits for the password, as the client was asked for it.
    pub fn password(&mut self) -> io::Result<String> {
        let (_, bytes) = self.message()?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned())
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Asks for a sign-in of this kind, or says that it is done.
    pub fn authentication(&mut self, code: u32, more: &[u8]) -> io::Result<()> {
        self.send(&message(b'R', &[&code.to_be_bytes(), more].concat()))
    }

    /// Signed in and ready for a question.
    pub fn ready(&mut self) -> io::Result<()> {
        self.authentication(SIGNED_IN, b"")?;
        self.send(&message(b'K', &[0; 8]))?;
        self.send(&message(b'Z', b"I"))
    }
}

/// A message of the server's.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], &length[..], body].concat()
}

/// An error (`E`) or a notice (`N`).
pub fn said(kind: u8, severity: &str, code: &str, text: &str) -> Vec<u8> {
    message(kind, format!("S{severity}\0V{severity}\0C{code}\0M{text}\0\0").as_bytes())
}
