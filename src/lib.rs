//! `ddb-iceberg` turns DynamoDB's S3 exports into Apache Iceberg tables and keeps them fresh.
//!
//! [`commands`] is the front door: fill in a request, get a report. The modules are floors; one imports only from floors
//! below its own:
//!
//! | floor | modules |
//! |---|---|
//! | 5 | [`commands`] |
//! | 4 | [`load`], [`merge`], [`maintenance`], [`verify`], [`windows`] |
//! | 3 | [`table`], [`catalog`] |
//! | 2 | [`columns`] |
//! | 1 | [`schema`], [`export`] |
//! | 0 | [`attribute`], [`storage`], [`percent`], [`pool`], [`progress`], [`run`], [`secrets`], [`spelling`], [`time`], [`error`] |

pub mod attribute;
pub mod catalog;
pub mod columns;
pub mod commands;
pub mod error;
pub mod export;
pub mod load;
pub mod maintenance;
pub mod merge;
pub mod percent;
pub mod pool;
pub mod progress;
pub mod run;
pub mod schema;
pub mod secrets;
pub mod spelling;
pub mod storage;
pub mod table;
pub mod time;
pub mod verify;
pub mod windows;
