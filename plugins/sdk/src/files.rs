//! Inputs and outputs that the connection grants by name. There is no path and no directory: a name that is not
//! granted cannot be opened.

use crate::error::{Error, Result};
use crate::host::files as host;

/// A granted input: its name, its size in bytes and when it was last changed (microseconds since the epoch).
pub use crate::bindings::imports::affluent::plugin::files::Input;

/// The granted inputs that match the connection's patterns, sorted by name.
pub fn inputs() -> Vec<Input> {
    host::inputs()
}

/// An open input.
#[derive(Debug)]
pub struct Reader(host::Reader);

impl Reader {
    /// Opens a granted input at its start.
    ///
    /// # Errors
    /// `not_found` when it is not granted or is gone.
    pub fn open(name: &str) -> Result<Self> {
        host::open_input(name).map(Self).map_err(|reason| Error::not_found(reason).code("files.open"))
    }

    /// Reads up to `bytes_max` bytes; `None` at the end.
    ///
    /// # Errors
    /// `transient` with the host's reason.
    pub fn read(&self, bytes_max: u32) -> Result<Option<Vec<u8>>> {
        self.0.read(bytes_max).map_err(|reason| Error::transient(reason).code("files.read"))
    }

    /// Goes to a byte offset.
    ///
    /// # Errors
    /// `transient` with the host's reason.
    pub fn seek(&self, offset: u64) -> Result<()> {
        self.0.seek(offset).map_err(|reason| Error::transient(reason).code("files.seek"))
    }
}

/// An output that nobody sees before [`Writer::commit`]; dropped without it, nothing remains.
#[derive(Debug)]
pub struct Writer(host::Writer);

impl Writer {
    /// Opens a granted output, replacing an earlier one of the same name at commit.
    ///
    /// # Errors
    /// `config` when it is not granted.
    pub fn open(name: &str) -> Result<Self> {
        host::open_output(name).map(Self).map_err(|reason| Error::config(reason).code("files.open"))
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// `transient` with the host's reason, such as a full disk.
    pub fn write(&self, data: &[u8]) -> Result<()> {
        self.0.write(data).map_err(|reason| Error::transient(reason).code("files.write"))
    }

    /// Flushes to disk and makes the output visible under its name, atomically.
    ///
    /// # Errors
    /// `transient` with the host's reason.
    pub fn commit(self) -> Result<()> {
        self.0.commit().map_err(|reason| Error::transient(reason).code("files.commit"))
    }
}
