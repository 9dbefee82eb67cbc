//! The second wall (security B-11): a guest in a process of its own, without keys, stores, files or network. The program
//! keeps the store with everything that was granted and answers what the guest imports; the worker has the compiled code
//! and a socket. If the sandbox or the worker breaks, one call fails. Components from outside are compiled in such a process
//! too, because no deadline can end a compilation (security B-6).

mod answer;
mod compile;
mod frame;
mod guest;
mod inside;
mod load;
mod message;
mod payload;
mod process;

use std::fs::File;
use std::io;

pub(crate) use compile::{CompileError, compile};
pub(crate) use frame::Garbled;
pub(crate) use guest::Worker;
pub(crate) use inside::Proxy;
pub use inside::run_worker;
pub(crate) use load::{Distant, Unseen, load, start};
pub(crate) use message::Stopped;
pub use process::WorkerCommand;
pub(crate) use process::WorkerError;

/// What a worker may be started for.
const RUN: &str = "run";
const COMPILE: &str = "compile";

/// Bytes for workers to read, that nobody can change.
pub(crate) struct Sealed(File);

impl Sealed {
    /// # Errors
    /// When the system gives no memory for it.
    pub(crate) fn new(bytes: &[u8]) -> io::Result<Self> {
        process::sealed(bytes).map(Self)
    }
}
