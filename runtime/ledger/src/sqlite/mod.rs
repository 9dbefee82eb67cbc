//! The ledger in one SQLite file.

/// A ledger in one SQLite file.
pub struct SqliteLedger;
