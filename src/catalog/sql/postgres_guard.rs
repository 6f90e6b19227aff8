//! A guard between the driver and an untrusted server.
//!
//! The driver answers whatever a server asks and accepts whatever it sends, and has no hook for either. So it connects
//! to a socket of this process, which forwards each byte to the server and back. On the way:
//!
//! - A server that asks for the password in clear over an unencrypted connection does not get it
//!   ([`Refusal::ClearPassword`]). The driver does TLS end to end; encrypted bytes are not inspected.
//! - A server may send at most [`MOST`] bytes per connection.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, PgConnection};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;
use uuid::Uuid;

/// Maximum bytes from a server per connection. The longest valid answer is a thousand table names of 255 characters
/// each.
pub(super) const MOST: usize = 4 << 20;
/// The driver's first message if it requests TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// The answer of a server that supports TLS.
const HAS_TLS: u8 = b'S';
/// The message that requests authentication, and its code for a cleartext password.
const AUTHENTICATION: u8 = b'R';
const CLEARTEXT: u32 = 3;
/// Time limit for the server to say whether it supports TLS.
const LONGEST_ANSWER: Duration = Duration::from_mins(2);
/// Time limit for the driver to connect to us.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why this side closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The server asks for the password in clear, and the connection is not encrypted.
    ClearPassword,
    /// The server sends more than [`MOST`] bytes.
    TooLong,
    /// What the server sends is not a sequence of messages.
    NoProtocol,
}

/// State of the connections to one server.
#[derive(Debug, Clone, Default)]
pub(super) struct Guard {
    refusal: Arc<Mutex<Option<Refusal>>>,
    told: Arc<AtomicBool>,
}

impl Guard {
    /// Why this side closed the last connection, if it did.
    pub fn refusal(&self) -> Option<Refusal> {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Refusal>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects and signs in. `place` describes the server in messages.
    pub async fn connect(&self, options: &PgConnectOptions, place: &str) -> sqlx::Result<PgConnection> {
        *self.lock() = None;
        let (server, is_here) = dial(options).await?;
        let (path, listener, folder) = listen(options.get_port())?;
        let watch = Watch {
            // By disabling TLS, the user has declared the network trusted.
            clear_is_fine: folder_of(options).is_some() || matches!(options.get_ssl_mode(), PgSslMode::Disable),
            ..Watch::default()
        };
        // With a stricter mode the driver closes unencrypted connections.
        let may_be_clear = matches!(options.get_ssl_mode(), PgSslMode::Allow | PgSslMode::Prefer);
        let tell = !watch.clear_is_fine && !is_here && may_be_clear;
        let (guard, place) = (self.clone(), place.to_owned());
        tokio::spawn(async move {
            let driver = timeout(PATIENCE, accept(&listener)).await;
            drop((listener, folder));
            let Ok(Ok(driver)) = driver else { return };
            let on_clear = || {
                if tell && !guard.told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "{place}: the connection is not encrypted. Set sslmode=verify-full in \
                         the catalog's uri, or sslmode=disable if this network is trusted"
                    );
                }
            };
            // The driver notices that a side has closed.
            if let Ok(Some(why)) = pass(driver, server, watch, on_clear, |why| *guard.lock() = Some(why)).await {
                tracing::debug!("{place}: the connection was ended: {why:?}");
            }
        });
        options.clone().socket(path).connect().await
    }
}

/// Any byte stream.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The server, and whether it is on this machine.
async fn dial(options: &PgConnectOptions) -> io::Result<(Box<dyn Stream>, bool)> {
    if let Some(folder) = folder_of(options) {
        return Ok((Box::new(UnixStream::connect(socket_in(folder, options.get_port())).await?), true));
    }
    let host = options.get_host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, options.get_port())).await?;
    stream.set_nodelay(true)?;
    let is_here = stream.peer_addr()?.ip().to_canonical().is_loopback();
    Ok((Box::new(stream), is_here))
}

/// The path of the server's Unix socket, if it is reached that way.
fn folder_of(options: &PgConnectOptions) -> Option<&Path> {
    let host = Some(options.get_host()).filter(|host| host.starts_with('/'));
    options.get_socket().map(PathBuf::as_path).or(host.map(Path::new))
}

/// The name that libpq and the driver use.
fn socket_in(folder: &Path, port: u16) -> PathBuf {
    // Not `join`: a name that starts with a zero byte is not a path.
    format!("{}/.s.PGSQL.{port}", folder.display()).into()
}

/// Our own socket, by its folder: without a file on Linux, elsewhere in a folder that nobody else can enter.
fn listen(port: u16) -> io::Result<(PathBuf, UnixListener, Option<tempfile::TempDir>)> {
    let folder = if cfg!(target_os = "linux") { None } else { Some(tempfile::tempdir()?) };
    let path = match &folder {
        Some(folder) => folder.path().to_owned(),
        None => format!("\0ddb-iceberg-{}", Uuid::new_v4().simple()).into(),
    };
    let listener = UnixListener::bind(socket_in(&path, port))?;
    Ok((path, listener, folder))
}

/// Accepts the driver's connection: other processes on this machine can also connect to a socket without a file.
async fn accept(listener: &UnixListener) -> io::Result<UnixStream> {
    loop {
        let (stream, _) = listener.accept().await?;
        let pid = stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok());
        if !cfg!(target_os = "linux") || pid == Some(std::process::id()) {
            return Ok(stream);
        }
    }
}

/// Forwards bytes until a side closes, or until what the server sends is refused.
async fn pass(
    mut driver: UnixStream,
    mut server: Box<dyn Stream>,
    mut watch: Watch,
    on_clear: impl FnOnce() + Send,
    on_refusal: impl FnOnce(Refusal) + Send,
) -> io::Result<Option<Refusal>> {
    let mut first = [0; SSL_REQUEST.len()];
    driver.read_exact(&mut first).await?;
    server.write_all(&first).await?;
    if first == SSL_REQUEST {
        // A driver that has given up meanwhile is not noticed.
        let Ok(answer) = timeout(LONGEST_ANSWER, server.read_u8()).await else { return Ok(None) };
        let answer = answer?;
        driver.write_u8(answer).await?;
        watch.is_encrypted = answer == HAS_TLS;
    }
    if !watch.is_encrypted {
        on_clear();
    }
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let (mut from_driver, mut to_driver) = driver.split();
    let down = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from_server.read(&mut buffer).await?;
            let bytes = buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(None);
            }
            if let Err(why) = watch.look(bytes) {
                // Before the driver notices that the connection has closed.
                on_refusal(why);
                return Ok(Some(why));
            }
            to_driver.write_all(bytes).await?;
        }
    };
    let up = async {
        match tokio::io::copy(&mut from_driver, &mut to_server).await {
            Ok(_) => Ok(None),
            // A server that accepts nothing more may still have sent the reason.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = down => ended,
        ended = up => ended,
    }
}

/// Parses what a server sends.
#[derive(Debug, Default)]
struct Watch {
    clear_is_fine: bool,
    is_encrypted: bool,
    total: usize,
    /// The start of a message: its type, its length, and for [`AUTHENTICATION`] the code.
    head: Vec<u8>,
    /// Remaining bytes of the message whose header is known.
    left: usize,
}

impl Watch {
    fn look(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        self.total = self.total.saturating_add(bytes.len());
        if self.total > MOST {
            return Err(Refusal::TooLong);
        }
        while !self.is_encrypted && !bytes.is_empty() {
            let (passed, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.left -= passed.len();
            bytes = rest;
            let Some((first, rest)) = bytes.split_first() else { break };
            self.head.push(*first);
            bytes = rest;
            self.judge()?;
        }
        Ok(())
    }

    /// Checks a message once its header is complete.
    fn judge(&mut self) -> Result<(), Refusal> {
        let Some((&kind, rest)) = self.head.split_first() else { return Ok(()) };
        let Some((length, rest)) = rest.split_first_chunk() else { return Ok(()) };
        let (length, code) = (u32::from_be_bytes(*length), rest.first_chunk().map(|code| u32::from_be_bytes(*code)));
        // The length includes itself.
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let least = if kind == AUTHENTICATION { 8 } else { 4 };
        if length < least {
            return Err(Refusal::NoProtocol);
        }
        if length > MOST {
            return Err(Refusal::TooLong);
        }
        if kind == AUTHENTICATION && code.is_none() {
            // The code is in the next four bytes.
            return Ok(());
        }
        if code == Some(CLEARTEXT) && !self.clear_is_fine {
            return Err(Refusal::ClearPassword);
        }
        self.left = (length + 1).saturating_sub(self.head.len());
        self.head.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind], &length[..], body].concat()
    }

    #[test]
    fn a_request_for_the_password_is_found_however_it_comes() {
        let clear = message(b'R', &CLEARTEXT.to_be_bytes());
        for before in [
            vec![],
            message(b'S', b"name\0value\0"),
            message(b'N', &[b'R'; 100]),
            message(b'R', &[0, 0, 0, 0]),
            message(b'R', &[0, 0, 0, 5, 1, 2, 3, 4]),
            message(b'Z', b""),
        ] {
            let all = [before.clone(), clear.clone()].concat();
            for piece in 1..=all.len() {
                let mut watch = Watch::default();
                let found = all.chunks(piece).find_map(|bytes| watch.look(bytes).err());
                assert_eq!(found, Some(Refusal::ClearPassword), "{before:?} by {piece}");
                let mut watch = Watch { clear_is_fine: true, ..Watch::default() };
                assert!(all.chunks(piece).all(|bytes| watch.look(bytes).is_ok()));
            }
        }
    }

    #[test]
    fn what_is_too_long_or_no_message_is_refused() {
        let look = |bytes: &[u8]| Watch::default().look(bytes);
        assert_eq!(look(&[b'D', 0xff, 0xff, 0xff, 0xff]), Err(Refusal::TooLong));
        assert_eq!(look(&[b'D', 0, 0, 0, 3]), Err(Refusal::NoProtocol));
        assert_eq!(look(&[b'R', 0, 0, 0, 7]), Err(Refusal::NoProtocol));
        let mut watch = Watch { is_encrypted: true, ..Watch::default() };
        let bytes = vec![0xff; MOST / 4];
        let looks: Vec<_> = (0..6).map(|_| watch.look(&bytes).is_err()).collect();
        assert_eq!(looks, [false, false, false, false, true, true]);
        // A message as long as all that may come is none that is too long.
        let longest = u32::try_from(MOST).unwrap();
        assert!(look(&[&[b'D'][..], &longest.to_be_bytes()].concat()).is_ok());
        assert!(look(&[&[b'D'][..], &(longest + 1).to_be_bytes()].concat()).is_err());
    }
}
