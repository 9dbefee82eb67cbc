//! The worker's end of the socket. Everything waits in place: while the program answers, the guest has nothing to do.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Broken;
use crate::worker::frame::{self, Frame, Garbled};
use crate::worker::message::{ANSWER, Bytes, IMPORT, ImportCall, ORDER};

/// The socket to the program.
#[derive(Clone)]
pub(super) struct Line(Arc<Mutex<UnixStream>>);

/// What stands as the standard output: the bytes to work on. They are read from their start, whoever else reads them.
///
/// # Errors
/// When there is none.
pub(super) fn input() -> io::Result<File> {
    use std::io::Seek;
    let mut file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    file.rewind()?;
    Ok(file)
}

impl Line {
    /// # Errors
    /// When the standard input is no socket.
    pub(super) fn open() -> io::Result<Self> {
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        stream.peer_addr()?;
        Ok(Self(Arc::new(Mutex::new(stream))))
    }

    /// A thread that ends the process when the program is gone, whatever the guest is doing. It runs when this returns: what
    /// a thread begins with is not among the calls that are left to a worker.
    ///
    /// # Errors
    /// When there can be none.
    pub(super) fn watch(&self) -> io::Result<()> {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).try_clone()?;
        let (begun, begins) = std::sync::mpsc::channel();
        let watch = move || {
            drop(begun);
            loop {
                let mut polled = [PollFd::new(&stream, PollFlags::empty())];
                let is_interrupted = poll(&mut polled, None) == Err(rustix::io::Errno::INTR);
                if !is_interrupted {
                    // Nobody is left to whom this process could matter.
                    std::process::exit(1);
                }
            }
        };
        std::thread::Builder::new().name("watch".to_owned()).stack_size(64 << 10).spawn(watch)?;
        // Ends when the other side of the channel is dropped.
        begins.recv().or(Ok::<(), io::Error>(()))
    }

    /// # Errors
    /// When the program is gone.
    pub(super) fn order(&self) -> Result<Frame, Broken> {
        let frame = frame::read_waiting(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        if frame.tag == ORDER { Ok(frame) } else { Err(Garbled("is no order").into()) }
    }

    /// # Errors
    /// When the program is gone, or the value is too large.
    pub(super) fn say(&self, tag: u8, value: &impl Serialize) -> Result<(), Broken> {
        self.write(&frame::encode(tag, value)?)
    }

    /// # Errors
    /// When the program is gone.
    pub(super) fn write(&self, frame: &[u8]) -> Result<(), Broken> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(frame)?)
    }

    fn ask_for(&self, call: &ImportCall<'_>) -> wasmtime::Result<Frame> {
        let frame = frame::encode(IMPORT, call)?;
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write_all(&frame)?;
        let frame = frame::read_waiting(&mut *stream)?;
        if frame.tag == ANSWER { Ok(frame) } else { Err(Garbled("is no answer").into()) }
    }

    /// Asks the program for what a guest calls.
    ///
    /// # Errors
    /// When the program is gone, which ends the guest.
    pub(super) fn ask<T: DeserializeOwned>(&self, call: &ImportCall<'_>) -> wasmtime::Result<T> {
        Ok(self.ask_for(call)?.decode()?)
    }

    /// As [`Line::ask`], for answers of size.
    ///
    /// # Errors
    /// As [`Line::ask`].
    pub(super) fn ask_for_bytes(&self, call: &ImportCall<'_>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.ask_for(call)?.decode::<Bytes<'_>>()?.into_vec())
    }

    /// As [`Line::ask`], for pieces of size; `None` at the end.
    ///
    /// # Errors
    /// As [`Line::ask`].
    pub(super) fn ask_for_piece<E: DeserializeOwned>(
        &self,
        call: &ImportCall<'_>,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, E>> {
        let frame = self.ask_for(call)?;
        let piece: Result<Option<Bytes<'_>>, E> = frame.decode()?;
        Ok(piece.map(|piece| piece.map(Bytes::into_vec)))
    }

    /// As [`Line::ask`], with what to make of the answer while it is there.
    ///
    /// # Errors
    /// As [`Line::ask`].
    pub(super) fn ask_and<T>(
        &self,
        call: &ImportCall<'_>,
        make: impl FnOnce(&Frame) -> Result<T, Garbled>,
    ) -> wasmtime::Result<T> {
        Ok(make(&self.ask_for(call)?)?)
    }
}
