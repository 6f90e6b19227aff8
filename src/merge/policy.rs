//! What a user decides of a merge.

/// How old rows are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Position deletes.
    MergeOnRead,
    /// Rewrite the files that hold old rows.
    CopyOnWrite,
}

/// What happens to an attribute that the table does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewAttributes {
    /// It becomes a column.
    #[default]
    Add,
    /// It goes into `_ddb_rescued`.
    Rescue,
    /// The command stops before any commit.
    Fail,
}
