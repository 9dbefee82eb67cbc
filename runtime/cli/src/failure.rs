//! How a command ends: its exit code, and what is printed of its error.

use affluent_model::diagnostic::Diagnostic;
use affluent_model::error::Domain;
use affluent_model::report::RunOutcome;

/// Exit codes, as documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Bug = 1,
    /// Configuration or usage.
    Configuration = 2,
    /// The outside world failed; safe to run again.
    External = 3,
    /// Done, with refused records.
    Refused = 4,
    /// Held for approval.
    Held = 5,
    /// Keys are missing, wrong or unsafe.
    Keys = 78,
    Interrupted = 130,
}

impl Exit {
    /// The exit code of an error.
    pub(crate) fn of_error(error: &affluent_model::Error) -> Self {
        match error.domain {
            _ if error.code == "E0801" => Self::Interrupted,
            Domain::Configuration => Self::Configuration,
            Domain::Keys => Self::Keys,
            Domain::External => Self::External,
            Domain::Held => Self::Held,
            Domain::Internal => Self::Bug,
        }
    }

    /// The exit code of a run that was reported.
    pub(crate) fn of_outcome(outcome: RunOutcome) -> Self {
        match outcome {
            RunOutcome::Succeeded => Self::Done,
            RunOutcome::Partial => Self::Refused,
            RunOutcome::Paused | RunOutcome::Failed => Self::External,
            RunOutcome::Held => Self::Held,
            RunOutcome::Cancelled => Self::Interrupted,
        }
    }

    /// The graver of two.
    pub(crate) fn and(self, other: Self) -> Self {
        const GRAVITY: [Exit; 8] = [
            Exit::Done,
            Exit::Refused,
            Exit::Held,
            Exit::External,
            Exit::Interrupted,
            Exit::Configuration,
            Exit::Keys,
            Exit::Bug,
        ];
        let place = |exit: Self| GRAVITY.iter().position(|one| *one == exit);
        if place(other) > place(self) { other } else { self }
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    Error(affluent_model::Error),
    /// Mistakes in the project's files.
    Mistakes(Vec<Diagnostic>),
}

impl From<affluent_model::Error> for Failure {
    fn from(error: affluent_model::Error) -> Self {
        Self::Error(error)
    }
}

impl From<affluent_model::connector::Failure> for Failure {
    fn from(failure: affluent_model::connector::Failure) -> Self {
        Self::Error(failure.error)
    }
}

pub(crate) type Outcome = Result<Exit, Failure>;
