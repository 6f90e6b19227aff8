//! The meaning of PostgreSQL's errors, by SQLSTATE ("PostgreSQL Error Codes", appendix A of its manual).

use std::io::ErrorKind;

use super::postgres_address::Address;
use super::postgres_guard::{MOST, Refusal};
use crate::error::Error;
use crate::secrets;

/// The phase of a failure.
#[derive(Debug, Clone, Copy)]
pub(super) enum Moment<'a> {
    /// While connecting and signing in.
    Connect,
    /// Later; the text is the action that failed.
    Work(&'a str),
}

/// The error as plain text. Only the server's own message is taken from it: the driver's other texts may contain
/// secrets.
pub(super) fn explain(address: &Address, moment: Moment<'_>, error: sqlx::Error) -> Error {
    let what = match moment {
        Moment::Connect => "the catalog could not be opened",
        Moment::Work(what) => what,
    };
    let failed =
        |what: &str, why: &str| Error::failed(format!("{what}: {}", secrets::strike(why))).in_file(&address.place);
    // Certificate errors found by rustls are reported as connection errors.
    let no_tls = |why: &str| {
        failed(what, &format!("TLS: {why}")).advice(
            "Check sslmode and sslrootcert in the catalog's uri, or PGSSLMODE and PGSSLROOTCERT; with verify-full the uri has \
             to name the server as its certificate does",
        )
    };
    match address.refusal() {
        Some(Refusal::ClearPassword) => {
            return failed(
                what,
                "the server asks for the password as it is, and the connection is not encrypted; it was not sent",
            )
            .advice(
                "Turn TLS on in the server, and set sslmode=verify-full in the catalog's uri; or let the server ask by \
                 scram-sha-256. If this network is trusted, sslmode=disable sends the password as it is",
            );
        }
        Some(Refusal::TooLong) => {
            return failed(what, &format!("what the server sends is longer than {} MiB", MOST >> 20))
                .advice("Check host and port in the catalog's uri: this is no catalog");
        }
        Some(Refusal::NoProtocol) => return no_protocol(failed, what),
        None => {}
    }
    let Some(said) = error.as_database_error() else {
        return match (moment, error) {
            (Moment::Connect, sqlx::Error::Io(error)) if is_of_certificates(address, error.kind()) => {
                no_tls(&error.to_string())
            }
            (Moment::Connect, sqlx::Error::Io(error)) => address.unreachable(&error.to_string()),
            (Moment::Work(_), sqlx::Error::Io(error)) => {
                failed(what, &format!("the connection was lost: {error}")).advice("Run the same command again")
            }
            (_, sqlx::Error::Tls(error)) => no_tls(&error.to_string()),
            (_, sqlx::Error::Protocol(_)) => no_protocol(failed, what),
            (_, error) => failed(what, &error.to_string()),
        };
    };
    let (code, message) = (said.code().unwrap_or_default(), said.message());
    let user = address.options.get_username();
    match &*code {
        "28P01" | "28000" => failed("the catalog's server refused the sign-in", message)
            .advice("Check user and password: in the catalog's uri, in PGUSER and PGPASSWORD, or in ~/.pgpass"),
        "3D000" => failed("the catalog's database is missing", message)
            .advice("Check the database's name in the catalog's uri, or create it"),
        "42501" => failed(what, message).advice(format!(
            "Let the owner GRANT {user:?} what is missing: SELECT, INSERT and UPDATE on iceberg_tables and \
             iceberg_namespace_properties, and CREATE on the schema where these are to be made"
        )),
        "25006" | "0A000" => failed(what, message)
            .advice("This server takes no changes: give the address of the primary, not of a standby"),
        "53300" => failed(what, message).advice("Run the same command again when others have disconnected"),
        "57P01" | "57P02" | "57P03" => failed(what, message).advice("Run the same command again when the server is up"),
        "55P03" => failed(what, "another program holds the table's row, and has not let go of it for 10 s")
            .advice("Look for its transaction in pg_stat_activity, and run the same command again"),
        "22001" => failed(what, "a name is longer than 255 characters, or a location longer than 1000")
            .advice("Choose a shorter warehouse, namespace or table"),
        _ => failed(what, message),
    }
}

/// Whether a connection failed because of an invalid certificate or a missing certificate file.
fn is_of_certificates(address: &Address, kind: ErrorKind) -> bool {
    let of_socket = address.place.starts_with("postgresql:///");
    kind == ErrorKind::InvalidData || (kind == ErrorKind::NotFound && !of_socket)
}

fn no_protocol(failed: impl Fn(&str, &str) -> Error, what: &str) -> Error {
    failed(what, "what answered does not speak PostgreSQL's protocol as expected")
        .advice("Check host and port in the catalog's uri")
}

/// Whether `CREATE TABLE IF NOT EXISTS` failed because another session was creating the same table.
pub(super) fn is_lost_race(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    // Unique violation in the system's tables, duplicate table, duplicate object, "tuple concurrently updated".
    code.is_some_and(|code| matches!(&*code, "23505" | "42P07" | "42710" | "XX000"))
}
