//! Compiles a component in a worker, which the kernel ends when it takes too long (security B-6).

use std::io;
use std::time::Duration;

use super::frame;
use super::message::{Bytes, RETURNED};
use super::process::{WorkerCommand, WorkerError, WorkerProcess};
use super::{COMPILE, Sealed};

/// Between the start of a compilation and its end, whatever it waits for.
const WALL_TIME_MAX: Duration = Duration::from_secs(180);

/// Why there is no compiled code.
#[derive(Debug)]
pub(crate) enum CompileError {
    /// It is no valid component; why.
    Invalid(String),
    /// It took too long.
    OutOfTime,
    /// The worker.
    Worker(WorkerError),
}

/// The compiled code of a component.
///
/// # Errors
/// Those of [`CompileError`].
pub(crate) fn compile(command: &WorkerCommand, component: &[u8]) -> Result<Vec<u8>, CompileError> {
    let unstartable = |error: io::Error| CompileError::Worker(WorkerError::Unstartable(error.to_string()));
    let input = Sealed::new(component).map_err(unstartable)?;
    let (mut process, mut stream) = WorkerProcess::start(command, COMPILE, &input.0).map_err(CompileError::Worker)?;
    stream.set_read_timeout(Some(WALL_TIME_MAX)).map_err(unstartable)?;
    let frame = match frame::read_waiting(&mut stream) {
        Ok(frame) => frame,
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            return Err(CompileError::OutOfTime);
        }
        Err(_) => {
            return Err(match process.ended() {
                WorkerError::OutOfTime => CompileError::OutOfTime,
                other => CompileError::Worker(other),
            });
        }
    };
    let garbled = |_| CompileError::Worker(WorkerError::Ended("gave something else than code".to_owned()));
    if frame.tag == RETURNED {
        return frame.decode::<Bytes<'_>>().map(Bytes::into_vec).map_err(garbled);
    }
    Err(CompileError::Invalid(frame.decode::<String>().map_err(garbled)?))
}
