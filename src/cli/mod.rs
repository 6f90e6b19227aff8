//! The command line: arguments, progress, printing and exit codes. No logic.
//!
//! What was typed ([`args`]) becomes an [`Invocation`]; [`run`] carries it out and prints its result. For use by the
//! program of this crate: a library's user calls [`ddb_iceberg::commands`].

mod args;
mod commands;
mod config;
mod invocation;
mod pages;
mod refusal;
pub(crate) mod render;
pub(crate) mod run;

pub use invocation::parse;
