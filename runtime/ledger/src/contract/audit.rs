//! The audit trail: who let what happen, in order, only ever appended to.

use affluent_model::Result;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Grows with each entry; a gap means that entries are missing.
    pub id: i64,
    pub at_us: i64,
    /// "keys.created", "profile.revealed".
    pub action: String,
    /// Never a personal value.
    pub detail: String,
}

pub trait Audit {
    /// Appends an entry; durable when it returns.
    ///
    /// # Errors
    /// Those of the store.
    fn audit(&self, at_us: i64, action: &str, detail: &str) -> Result<()>;

    /// The newest entries, newest first.
    ///
    /// # Errors
    /// Those of the store.
    fn audit_rows(&self, limit: usize) -> Result<Vec<AuditRow>>;

    /// The newest entries of one action since an instant, newest first.
    ///
    /// # Errors
    /// Those of the store.
    fn audit_rows_of(&self, action: &str, since_us: i64, limit: usize) -> Result<Vec<AuditRow>>;
}
