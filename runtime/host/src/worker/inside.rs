//! The worker's own side. It limits itself first, takes the compiled component, locks itself in, and then does what it is
//! ordered, one thing at a time. It believes the program and nothing else.

mod confine;
mod imports;
mod line;
mod session;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use wasmtime::Engine;

use self::confine::Confinement;
use self::line::Line;

pub(crate) use self::imports::Proxy;
use super::message::{Bytes, RETURNED, STOPPED};
use super::{COMPILE, RUN};

/// The worker cannot go on; the program sees it by its socket.
type Broken = Box<dyn std::error::Error + Send + Sync>;

/// Does the work of a worker process, which a host has started through its [`WorkerCommand`](crate::WorkerCommand): the
/// program calls this with the arguments after those of the command, before it does anything else, and ends with what it
/// gives.
#[must_use]
pub fn run_worker(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let work = arguments.next().unwrap_or_default();
    let done = match work.to_str() {
        Some(RUN) => session::run(),
        Some(COMPILE) => compile(arguments.next()),
        _ => Err("a worker is started by a host".into()),
    };
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Compiles the component that is the standard output.
fn compile(seconds: Option<OsString>) -> Result<(), Broken> {
    let seconds = seconds.as_ref().and_then(|seconds| seconds.to_str()).unwrap_or_default().parse()?;
    confine::limit_to_compiling(seconds)?;
    let line = Line::open()?;
    let mut component = Vec::new();
    io::Read::read_to_end(&mut line::input()?, &mut component)?;
    drop(confine::lock_in(Confinement::Threads));
    let engine = Engine::new(&crate::engine::config())?;
    match engine.precompile_component(&component) {
        Ok(code) => line.say(RETURNED, &Bytes::owned(code)),
        Err(error) => line.say(STOPPED, &format!("{error:#}")),
    }
}
