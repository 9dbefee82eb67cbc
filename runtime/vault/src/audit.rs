//! Every opening of a value has a [`Purpose`], and the vault counts openings and refusals per purpose. The counts are numbers
//! only: who asked and for which subject is written by the caller, who knows it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a value is read in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// Sent to a destination that was granted the field.
    Activation,
    /// Shown to a person who may see the profile.
    ProfileShow,
    /// Handed to the data subject, or to whom answers for them.
    SubjectExport,
    /// A refused record is shown.
    DeadLetterShow,
    /// A refused record is tried again.
    DeadLetterRetry,
    /// Identifiers are compared or normalised again.
    IdentityResolution,
    /// Rules of identity compare attributes; each run writes how many were opened.
    Matching,
    /// A credential is put on a request to the vendor.
    ConnectionUse,
    /// A session of the web console is checked.
    SessionCheck,
    /// The value is sealed again under another key.
    Rekey,
    /// Keys are checked by `doctor`.
    Diagnosis,
}

impl Purpose {
    /// Every purpose, in the order of their counters.
    pub const ALL: [Self; 11] = [
        Self::Activation,
        Self::ProfileShow,
        Self::SubjectExport,
        Self::DeadLetterShow,
        Self::DeadLetterRetry,
        Self::IdentityResolution,
        Self::Matching,
        Self::ConnectionUse,
        Self::SessionCheck,
        Self::Rekey,
        Self::Diagnosis,
    ];

    /// The word in the audit.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Activation => "activation",
            Self::ProfileShow => "profile_show",
            Self::SubjectExport => "subject_export",
            Self::DeadLetterShow => "dead_letter_show",
            Self::DeadLetterRetry => "dead_letter_retry",
            Self::IdentityResolution => "identity_resolution",
            Self::Matching => "matching",
            Self::ConnectionUse => "connection_use",
            Self::SessionCheck => "session_check",
            Self::Rekey => "rekey",
            Self::Diagnosis => "diagnosis",
        }
    }
}

/// How many values were opened for a purpose, and how many refused to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurposeCount {
    pub purpose: Purpose,
    pub opened: u64,
    pub refused: u64,
}

#[derive(Default)]
struct Counter {
    opened: AtomicU64,
    refused: AtomicU64,
}

/// Shared by a vault and every key made from it.
#[derive(Default)]
pub(crate) struct AuditCounters([Counter; Purpose::ALL.len()]);

impl AuditCounters {
    pub(crate) fn note(&self, purpose: Purpose, was_opened: bool) {
        if let Some(counter) = self.0.get(purpose as usize) {
            let side = if was_opened { &counter.opened } else { &counter.refused };
            side.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counts so far, purposes without any left out.
    pub(crate) fn read(&self) -> Vec<PurposeCount> {
        self.collect(|count| count.load(Ordering::Relaxed))
    }

    /// The counts since the last call, which start again at zero.
    pub(crate) fn take(&self) -> Vec<PurposeCount> {
        self.collect(|count| count.swap(0, Ordering::Relaxed))
    }

    fn collect(&self, value: impl Fn(&AtomicU64) -> u64) -> Vec<PurposeCount> {
        let counts = Purpose::ALL.into_iter().zip(&self.0).map(|(purpose, counter)| PurposeCount {
            purpose,
            opened: value(&counter.opened),
            refused: value(&counter.refused),
        });
        counts.filter(|count| count.opened + count.refused > 0).collect()
    }
}
