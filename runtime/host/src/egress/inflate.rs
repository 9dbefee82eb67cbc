//! Inflates gzip that comes in pieces, up to a number of bytes: what a piece inflates to is never held whole before it is counted.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

/// One inflated piece of a stream: what a network read can inflate to is bounded by it.
const PIECE_BYTES_MAX: usize = 64 << 20;

/// One layer of gzip.
pub(super) struct Inflater(MultiGzDecoder<CappedBuffer>);

impl Inflater {
    pub(super) fn new() -> Self {
        Self(MultiGzDecoder::new(CappedBuffer::default()))
    }

    /// What a piece inflates to.
    ///
    /// # Errors
    /// `StorageFull` when that is more than `bytes_max`; others when it is no gzip.
    pub(super) fn push(&mut self, piece: &[u8], bytes_max: u64) -> io::Result<Vec<u8>> {
        self.0.get_mut().capacity = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(PIECE_BYTES_MAX);
        self.0.write_all(piece).and_then(|()| self.0.flush())?;
        Ok(std::mem::take(&mut self.0.get_mut().bytes))
    }

    /// What is left at the end.
    ///
    /// # Errors
    /// As [`Self::push`]; also where it is cut off.
    pub(super) fn finish(&mut self) -> io::Result<Vec<u8>> {
        self.0.try_finish()?;
        Ok(std::mem::take(&mut self.0.get_mut().bytes))
    }
}

/// Takes what is inflated up to a capacity.
#[derive(Debug, Default)]
struct CappedBuffer {
    bytes: Vec<u8>,
    capacity: usize,
}

impl Write for CappedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
