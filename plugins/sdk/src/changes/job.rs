//! A list of everything that the service prepares by itself, for so many records that paging through them costs too much.

use serde::{Deserialize, Serialize};

use super::Found;
use crate::runtime;

/// Milliseconds before the second question after a job; the time doubles with each, up to the longest.
const WAIT_MS: u32 = 500;
const WAIT_MS_MAX: u32 = 30_000;

/// A job that gives everything as it was when it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    id: String,
    /// By the service's clock.
    pub(super) begun_us: i64,
    questions: u32,
}

/// What a question after a job came to.
#[derive(Debug, Clone, PartialEq)]
pub enum JobPart {
    /// It is not over.
    Running,
    /// A part of its result; [`Found::next`] leads to the next one.
    Ready(Found),
    /// It failed, was cancelled or is not known any more: everything is listed instead.
    Lost,
}

impl Job {
    /// A job that the service began at an instant of its own clock ([`crate::http::Response::date_us`]); the host's counts without.
    pub fn begun(id: impl Into<String>, at_us: Option<i64>) -> Self {
        Self { id: id.into(), begun_us: at_us.unwrap_or_else(runtime::now_us), questions: 0 }
    }

    /// Its id at the service.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits, longer each time; the job as one that was asked after once more, so that no two places of a read are the same.
    pub(super) fn wait(self) -> Self {
        runtime::sleep_ms((WAIT_MS << self.questions.min(6)).min(WAIT_MS_MAX));
        Self { questions: self.questions.saturating_add(1), ..self }
    }
}
