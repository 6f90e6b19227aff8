//! `ddb-iceberg` turns DynamoDB's S3 exports into Apache Iceberg tables and keeps them up to date.
//!
//! [`commands`] is the front door: fill in a request, get a report. The rooms (top-level modules) stand on floors. A
//! room uses only rooms on lower floors, and its own files:
//!
//! | floor | rooms |
//! |---|---|
//! | 9 | [`commands`] |
//! | 8 | [`load`], [`merge`], [`maintenance`], [`profile`], [`verify`], [`windows`] |
//! | 7 | [`table`] |
//! | 6 | [`catalog`], [`columns`], [`export`], [`sort`] |
//! | 5 | [`engine`], [`schema`], [`storage`] |
//! | 4 | [`attribute`], [`aws`], [`runtime`] |
//! | 3 | [`error`] |
//! | 2 | [`secrets`] |
//! | 1 | [`percent`], [`spelling`], [`time`] |

// Tests of the library use the files of `tests/common`, which name the crate.
#[cfg(test)]
extern crate self as ddb_iceberg;

pub mod attribute;
pub mod aws;
pub mod catalog;
pub mod columns;
pub mod commands;
pub mod engine;
pub mod error;
pub mod export;
pub mod load;
pub mod maintenance;
pub mod merge;
pub mod percent;
pub mod profile;
pub mod runtime;
pub mod schema;
pub mod secrets;
pub mod sort;
pub mod spelling;
pub mod storage;
pub mod table;
pub mod time;
pub mod verify;
pub mod windows;
