//! Why a guest stopped, in plain words. What it wrote to stderr may hold record values and never gets into a message;
//! only the place in the plugin's own source does.

use std::time::Duration;

use affluent_model::Error;
use affluent_model::connector::{Failure, FailureKind};
use affluent_model::error::Retry;
use serde::{Deserialize, Serialize};
use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use crate::failure::{clean_text, host_failure};
use crate::worker::{Garbled, Stopped, WorkerError};

/// The memory limit was reached.
#[derive(Debug, thiserror::Error)]
#[error("memory limit of {0} MiB reached")]
pub(crate) struct MemoryExceeded(pub(crate) usize);

/// The guest computed for longer than its call may take.
#[derive(Debug, thiserror::Error)]
#[error("processor budget used up")]
pub(crate) struct BudgetExceeded;

/// The guest called something that it may not call now.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Forbidden(pub(crate) &'static str);

/// Why a guest did not return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stop {
    Memory {
        mib: u64,
    },
    Time,
    Forbidden(String),
    Exit,
    Panic,
    Stack,
    OutsideOfMemory,
    /// In the words of the engine.
    Sandbox(String),
    /// What it gave is not of the contract's form, or too much.
    Form,
}

impl Stop {
    pub(crate) fn of(error: &wasmtime::Error) -> Self {
        if let Some(MemoryExceeded(mib)) = error.downcast_ref::<MemoryExceeded>() {
            return Self::Memory { mib: u64::try_from(*mib).unwrap_or_default() };
        }
        if error.downcast_ref::<BudgetExceeded>().is_some() {
            return Self::Time;
        }
        if let Some(Forbidden(what)) = error.downcast_ref::<Forbidden>() {
            return Self::Forbidden((*what).to_owned());
        }
        if error.downcast_ref::<I32Exit>().is_some() {
            return Self::Exit;
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::UnreachableCodeReached) => Self::Panic,
            Some(Trap::StackOverflow) => Self::Stack,
            Some(Trap::MemoryOutOfBounds) => Self::OutsideOfMemory,
            Some(Trap::Interrupt | Trap::OutOfFuel) => Self::Time,
            Some(trap) => Self::Sandbox(trap.to_string()),
            None => Self::Form,
        }
    }

    /// The code, and what the plugin did.
    fn explain(&self, stderr: &[u8]) -> (&'static str, String) {
        match self {
            Self::Memory { mib } => ("E0511", format!("needed more than its {mib} MiB of memory")),
            Self::Time => ("E0512", "computed for longer than a call may take".to_owned()),
            Self::Forbidden(what) => ("E0516", format!("called {}", clean_text(what, 128))),
            Self::Exit => ("E0515", "ended itself instead of returning".to_owned()),
            Self::Panic => ("E0510", panicked(stderr)),
            Self::Stack => ("E0514", "used up its stack".to_owned()),
            Self::OutsideOfMemory => ("E0514", "left its memory, most likely by using up its stack".to_owned()),
            Self::Sandbox(trap) => ("E0516", format!("was stopped by the sandbox: {}", clean_text(trap, 128))),
            Self::Form => {
                ("E0516", "gave something that is not of the contract's form, or asked for too much at once".to_owned())
            }
        }
    }
}

/// The failure of a call that did not return.
pub(crate) fn trap_failure(plugin: &str, error: &wasmtime::Error, stderr: &[u8]) -> Failure {
    let (code, what) = explain(error, stderr);
    let error = Error::external(code, format!("plugin `{plugin}` {what}")).retry(Retry::Never);
    host_failure(FailureKind::Trap, "trap", error.help(help_for(code)))
}

/// The failure of a worker that could not do its work.
pub(crate) fn worker_failure(plugin: &str, error: &WorkerError) -> Failure {
    let (code, what) = explain_worker(error);
    let error = Error::external(code, format!("plugin `{plugin}` {what}")).retry(Retry::Never);
    host_failure(FailureKind::Trap, "worker", error.help(help_for(code)))
}

/// The failure of a call that took too long.
pub(crate) fn deadline_failure(plugin: &str, limit: Duration) -> Failure {
    let message = format!("plugin `{plugin}` did not return within {limit:?}");
    let error = Error::external("E0512", message).retry(Retry::Never).help(help_for("E0512"));
    host_failure(FailureKind::Trap, "deadline", error)
}

/// The failure of a call into an instance that is gone.
pub(crate) fn gone_failure(plugin: &str) -> Failure {
    let error = Error::external("E0517", format!("plugin `{plugin}` was stopped earlier and cannot be called again"));
    host_failure(FailureKind::Trap, "gone", error.retry(Retry::Never).help("open it again from the last checkpoint"))
}

fn explain(error: &wasmtime::Error, stderr: &[u8]) -> (&'static str, String) {
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        return stopped.stop.explain(&stopped.stderr);
    }
    if let Some(worker) = error.downcast_ref::<WorkerError>() {
        return explain_worker(worker);
    }
    if let Some(garbled) = error.downcast_ref::<Garbled>() {
        return ("E0531", format!("has a worker that is broken: {garbled}"));
    }
    Stop::of(error).explain(stderr)
}

fn explain_worker(error: &WorkerError) -> (&'static str, String) {
    match error {
        WorkerError::OutOfTime => Stop::Time.explain(&[]),
        WorkerError::Ended(how) => ("E0531", format!("lost its worker process: it {how}")),
        WorkerError::Unstartable(why) => ("E0532", format!("gets no worker process: {}", clean_text(why, 256))),
    }
}

fn panicked(stderr: &[u8]) -> String {
    match panic_place(&String::from_utf8_lossy(stderr)) {
        Some(place) => format!("panicked at `{place}`"),
        None => "panicked".to_owned(),
    }
}

/// The last `src/….rs:LINE` after "panicked at"; only characters of a plain path.
fn panic_place(stderr: &str) -> Option<String> {
    let (_, after) = stderr.rsplit_once("panicked at ")?;
    let token = after.split_whitespace().next()?;
    let (path, rest) = token.split_once(".rs:")?;
    let line: String = rest.chars().take_while(char::is_ascii_digit).take(7).collect();
    let path = path.rsplit_once("src/").map_or(path, |(_, path)| path);
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '/' | '_' | '-');
    let fits = !line.is_empty() && !path.is_empty() && path.len() <= 100 && path.chars().all(is_plain);
    fits.then(|| format!("src/{path}.rs:{line}"))
}

fn help_for(code: &str) -> &'static str {
    match code {
        "E0511" => "read smaller pages, or raise `limits.memory_mib` in the plugin's manifest (at most 256)",
        "E0512" => {
            "the plugin may be stuck; if it only needs longer, raise `limits.call_timeout_s` in its manifest (at most 600)"
        }
        "E0531" => "the batch failed and nothing of it counts; the next one gets a new worker",
        "E0532" => "see that this program may start itself; `plugins: { isolation: none }` in affluent.yaml does without",
        _ => "this is a mistake in the plugin; report it to its author",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_shows_its_place_and_never_its_text() {
        let stderr = "thread 'main' panicked at plugins/csv/src/read/rows.rs:42:7:\nbad value ada@example.org\n";

        assert_eq!(panicked(stderr.as_bytes()), "panicked at `src/read/rows.rs:42`");
    }

    #[test]
    fn a_forged_place_is_left_out() {
        for stderr in ["panicked at ada@example.org.rs:1:1:", "panicked at src/.rs:1", "panicked at src/a.rs:x", ""] {
            assert_eq!(panicked(stderr.as_bytes()), "panicked", "{stderr}");
        }
    }
}
