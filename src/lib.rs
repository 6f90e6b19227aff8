//! `ddb-iceberg` turns DynamoDB's S3 exports into Apache Iceberg tables and keeps them up to date.
//!
//! [`commands`] is the front door: fill in a request, get events and a report. The rooms (top-level modules) stand on floors. A
//! room uses only rooms on lower floors, and its own files:
//!
//! | floor | rooms |
//! |---|---|
//! | 9 | `commands` |
//! | 8 | `load`, `merge`, `maintenance`, `profile`, `verify`, `windows` |
//! | 7 | `table` |
//! | 6 | `catalog`, `columns`, `export`, `sort` |
//! | 5 | `engine`, `schema`, `storage` |
//! | 4 | `attribute`, `aws`, `runtime` |
//! | 3 | `error` |
//! | 2 | `secrets` |
//! | 1 | `percent`, `spelling`, `time` |

// Tests of the library use the files of `tests/common`, which name the crate.
#[cfg(test)]
extern crate self as ddb_iceberg;

pub mod catalog;
pub mod commands;
pub mod error;
pub mod runtime;
pub mod storage;
pub mod time;

// Of no use to users of the library: public for this crate's program, tests and benches.
#[doc(hidden)]
pub mod attribute;
#[doc(hidden)]
pub mod columns;
#[doc(hidden)]
pub mod export;
#[doc(hidden)]
pub mod load;
#[doc(hidden)]
pub mod merge;
#[doc(hidden)]
pub mod schema;
#[doc(hidden)]
pub mod secrets;
#[doc(hidden)]
pub mod spelling;
#[doc(hidden)]
pub mod table;

mod aws;
mod engine;
mod maintenance;
mod percent;
mod profile;
mod sort;
mod verify;
mod windows;
