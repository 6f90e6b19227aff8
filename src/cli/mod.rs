//! The command line: arguments, progress, output and exit codes. No logic.
//!
//! The arguments ([`args`]) are converted to an [`Invocation`](invocation::Invocation); [`run`] executes it and prints its result. Only for
//! this crate's program: users of the library call [`ddb_iceberg::commands`].

mod args;
mod commands;
mod config;
mod invocation;
mod pages;
mod refusal;
pub(crate) mod render;
pub(crate) mod run;

pub use invocation::parse;
