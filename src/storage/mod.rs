//! `s3://` and local locations behind iceberg's public `Storage` trait: exports and tables share one client stack.
//!
//! [`Store`] is the handle that all other rooms use; backends implement [`ObjectStore`], which tests wrap to inject
//! faults. Locations are plain strings, never percent-encoded: see [`Location`].
//!
//! A table's files are accessed through its [`Place`], which refuses files outside.
//!
//! [`Store::routed`] serves both kinds; [`Store::local`] refuses `s3://`, in one place ([`LocalStore`]).

pub(crate) mod backend;
mod failure;
pub mod guard;
pub(crate) mod listing;
mod local;
pub(crate) mod location;
pub mod read;
mod routed;
mod s3;
mod staging;
pub(crate) mod store;

pub use backend::ObjectStore;
pub use guard::allowed::{ALLOWED_LOCATIONS, AllowedLocations, Lent};

pub use failure::into_iceberg;
pub use guard::place::{Deleted, Place, is_table_folder};
pub use listing::{FileEntry, Listing};
pub use local::LocalStore;
pub use location::Location;

pub use read::chunks::{CHUNK, Lookahead, ReadAhead};
pub use read::inflate_budget::{Buffer, InflateBudget};
pub use read::limits::set_memory_limit;
pub(crate) use read::limits::{most_inflated, most_of_a_file, most_of_data, too_large};
pub use routed::RoutedStore;
pub use s3::S3Store;
pub use s3::access::S3Access;
pub(crate) use s3::address::strip_scheme;
pub use s3::config::{Encryption, RetryPolicy, S3Config, Transfer};
pub use s3::keys::{CredentialsProvider, VendedCredentials};
pub use staging::Staging;
pub use store::Store;
