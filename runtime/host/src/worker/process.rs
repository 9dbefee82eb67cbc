//! A worker process, from the program's side. It has no environment, no descriptors but its socket and what it is to read,
//! a process group of its own, and ends with this value, whatever it is doing.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// How to start this program as a worker: it calls [`run_worker`](crate::run_worker) with the arguments that come after these.
#[derive(Debug, Clone)]
pub struct WorkerCommand {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// Processor time that a compilation may take, seconds.
    pub compile_seconds: u64,
}

/// Why there is no answer of a worker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    /// It could not be started.
    #[error("{0}")]
    Unstartable(String),
    /// It used more of the processor than the kernel was told to give it.
    #[error("processor limit reached")]
    OutOfTime,
    /// It ended in the middle of a call: killed, crashed, or out of memory.
    #[error("{0}")]
    Ended(String),
}

/// A running worker.
pub(super) struct WorkerProcess {
    child: Child,
}

impl WorkerProcess {
    /// Starts a worker that does `work`, with `input` as its standard output; gives our side of its socket.
    ///
    /// # Errors
    /// [`WorkerError::Unstartable`].
    pub(super) fn start(command: &WorkerCommand, work: &str, input: &File) -> Result<(Self, UnixStream), WorkerError> {
        let start = || -> io::Result<(Child, UnixStream)> {
            let (ours, theirs) = UnixStream::pair()?;
            let mut worker = Command::new(&command.program);
            worker
                .args(&command.arguments)
                .arg(work)
                .arg(command.compile_seconds.to_string())
                .env_clear()
                .current_dir("/")
                .process_group(0);
            worker.stdin(OwnedFd::from(theirs)).stdout(input.try_clone()?).stderr(Stdio::null());
            Ok((worker.spawn()?, ours))
        };
        let (child, stream) = start().map_err(|error| WorkerError::Unstartable(error.to_string()))?;
        Ok((Self { child }, stream))
    }

    /// Why it ended, after its socket was closed.
    pub(super) fn ended(&mut self) -> WorkerError {
        self.kill();
        let Ok(status) = self.child.wait() else { return WorkerError::Ended("ended".to_owned()) };
        match status.signal() {
            Some(signal) if signal == Signal::XCPU.as_raw() => WorkerError::OutOfTime,
            Some(signal) if signal == Signal::KILL.as_raw() => WorkerError::Ended("was killed".to_owned()),
            Some(signal) => WorkerError::Ended(format!("ended by signal {signal}")),
            None => WorkerError::Ended(format!("ended with status {}", status.code().unwrap_or_default())),
        }
    }

    fn kill(&mut self) {
        // Both fail only where there is nothing left to kill.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process_group(group, Signal::KILL).ok();
        }
        self.child.kill().ok();
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
            // A process that was killed is gone in no time; waiting leaves no zombie.
            drop(self.child.wait());
        }
    }
}

/// A file with these bytes that nobody can change and that has no name.
///
/// # Errors
/// When the system gives no memory for it.
#[cfg(target_os = "linux")]
pub(super) fn sealed(bytes: &[u8]) -> io::Result<File> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let mut file = File::from(memfd_create("affluent-plugin", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(bytes)?;
    fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(file)
}

/// A file with these bytes that has no name any more, open for reading.
///
/// # Errors
/// When it cannot be written to the temporary folder.
#[cfg(not(target_os = "linux"))]
pub(super) fn sealed(bytes: &[u8]) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("affluent-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    let opened = file.write_all(bytes).and_then(|()| File::open(&path));
    std::fs::remove_file(&path)?;
    opened
}
