//! `incremental`: its entry in the table of commands, and its arguments.

use clap::{Args, ValueEnum};
use ddb_iceberg::commands::{Incremental, Maintenance, NewAttributes, WriteMode};

use crate::cli::args::shared::{Key, Shared, Table};
use crate::cli::commands::listed::{Form, Listed};

pub(crate) const INCREMENTAL: Listed = Listed {
    name: "incremental",
    form: Form::Windows,
    alike: &["apply", "increment", "merge", "refresh", "sync", "update", "upsert"],
    examples: "\
Examples:
  Apply every due window of all exports below a folder. It is safe to run this again, so the same
  command can be scheduled:
    ddb-iceberg incremental s3://bucket/AWSDynamoDB --table shop.orders

  Apply one export:
    ddb-iceberg incremental s3://bucket/AWSDynamoDB/01700000900000-e5f6a7b8 --table shop.orders

  Print the result for a program:
    ddb-iceberg incremental s3://bucket/AWSDynamoDB --table shop.orders --format json",
};

/// `incremental`.
#[derive(Args)]
pub(crate) struct IncrementalArgs {
    /// Exports, or folders with exports below them; s3:// or local
    ///
    /// Of windows that overlap, the chain that reaches furthest is applied. Below a folder, full exports and exports of
    /// other tables are skipped, and an export that has not completed yet is counted as pending. If one is damaged, the
    /// windows before it are applied, and the exit code is 3.
    #[arg(value_name = "EXPORT|PREFIX", required = true)]
    pub exports: Vec<String>,
    #[command(flatten)]
    pub table: Table,
    #[command(flatten)]
    pub key: Key,
    /// How to remove old rows [default: the table property write.merge.mode]
    #[arg(long, value_name = "merge-on-read|copy-on-write", value_enum, hide_possible_values = true)]
    pub write_mode: Option<WriteModeArg>,
    /// What to do with attributes that the table does not have
    ///
    /// add: add columns for them. rescue: keep them in the column _ddb_rescued. fail: stop before any commit.
    #[arg(long, value_name = "add|rescue|fail", value_enum, default_value_t = NewAttributesArg::Add, hide_possible_values = true)]
    pub new_attributes: NewAttributesArg,
    /// Apply a window that starts after the time up to which the table is complete
    ///
    /// Changes between the two times are lost; the table records the gap. A gap is not skipped while an export that has
    /// not completed yet could fill it.
    #[arg(long)]
    pub allow_gap: bool,
    /// Apply a window that starts before the time up to which the table is complete, and ends after it
    ///
    /// Only if no window starts at that time. An item that was inserted before that time and deleted after it has no
    /// record in such a window, so its row remains.
    #[arg(long)]
    pub allow_overlap: bool,
    /// Whether to compact the table and expire old snapshots when this is due
    ///
    /// auto: after the windows, occasionally and in small steps; a failure is only a warning. off: leave it to another
    /// tool, such as the optimizer of AWS Glue or Amazon S3 Tables.
    #[arg(long, value_name = "auto|off", value_enum, default_value_t = MaintenanceArg::Auto, hide_possible_values = true)]
    pub maintenance: MaintenanceArg,
    #[command(flatten)]
    pub shared: Shared,
}

/// `--write-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WriteModeArg {
    MergeOnRead,
    CopyOnWrite,
}

/// `--new-attributes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NewAttributesArg {
    Add,
    Rescue,
    Fail,
}

/// `--maintenance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MaintenanceArg {
    Auto,
    Off,
}

impl IncrementalArgs {
    /// The request, and the shared options.
    pub fn request(self) -> (Incremental, Shared) {
        let request = Incremental {
            exports: self.exports,
            table: self.table.ident,
            key: self.key.attributes,
            write_mode: self.write_mode.map(|mode| match mode {
                WriteModeArg::MergeOnRead => WriteMode::MergeOnRead,
                WriteModeArg::CopyOnWrite => WriteMode::CopyOnWrite,
            }),
            new_attributes: match self.new_attributes {
                NewAttributesArg::Add => NewAttributes::Add,
                NewAttributesArg::Rescue => NewAttributes::Rescue,
                NewAttributesArg::Fail => NewAttributes::Fail,
            },
            allow_gap: self.allow_gap,
            allow_overlap: self.allow_overlap,
            maintenance: match self.maintenance {
                MaintenanceArg::Auto => Maintenance::Auto,
                MaintenanceArg::Off => Maintenance::Off,
            },
            dry_run: false,
        };
        (request, self.shared)
    }
}
