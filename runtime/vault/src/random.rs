//! Randomness as a parameter: [`OsRandom`] for the product, anything else for tests. Nonces and keys come from here and from
//! nowhere else.

use affluent_model::Result;
use zeroize::{Zeroize, Zeroizing};

use crate::errors;

/// Bytes drawn from the operating system at a time: one system call then serves about a hundred sealed subjects.
const BUFFER_BYTES: usize = 8 << 10;

/// A source of unpredictable bytes.
pub trait Random {
    /// Fills all of `bytes`.
    ///
    /// # Errors
    /// `E0610` when the source gives nothing; `bytes` must then not be used.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<()>;
}

/// The operating system's generator, read in blocks of 8 KiB; each byte is handed out once and wiped.
///
/// One per thread. A process must not fork while it holds one (starting a program is fine): both sides would draw the same
/// nonces.
pub struct OsRandom {
    buffer: Zeroizing<Vec<u8>>,
    used_bytes: usize,
}

impl OsRandom {
    /// An empty buffer: the first draw fills it.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: Zeroizing::new(vec![0; BUFFER_BYTES]), used_bytes: BUFFER_BYTES }
    }

    fn refill(&mut self) -> Result<()> {
        fill_from_system(&mut self.buffer)?;
        self.used_bytes = 0;
        Ok(())
    }
}

impl Default for OsRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl Random for OsRandom {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        if bytes.len() > BUFFER_BYTES {
            return fill_from_system(bytes);
        }
        if self.buffer.len() - self.used_bytes < bytes.len() {
            self.refill()?;
        }
        let end = self.used_bytes + bytes.len();
        let Some(fresh) = self.buffer.get_mut(self.used_bytes..end) else {
            return Err(errors::randomness("the buffer is shorter than its own length"));
        };
        bytes.copy_from_slice(fresh);
        fresh.zeroize();
        self.used_bytes = end;
        Ok(())
    }
}

fn fill_from_system(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| errors::randomness(&error.to_string()))
}
