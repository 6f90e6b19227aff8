//! Options of a merge that the user chooses.

/// How old rows are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Position deletes.
    MergeOnRead,
    /// Rewrite the files that contain old rows.
    CopyOnWrite,
}

/// How attributes that the table does not have are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewAttributes {
    /// They become columns.
    #[default]
    Add,
    /// They are kept in `_ddb_rescued`.
    Rescue,
    /// The command stops before any commit.
    Fail,
}
