//! Where a guest's stdout and stderr go: into a small buffer that forgets what exceeds it. Its content is sensitive
//! (a panic's text may hold record values); only `trap` looks at it, for the place of a panic.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::limits::STDIO_BYTES_MAX;

/// The last bytes written, at most [`STDIO_BYTES_MAX`].
#[derive(Debug, Clone, Default)]
pub(crate) struct CappedPipe(Arc<Mutex<Vec<u8>>>);

impl CappedPipe {
    pub(crate) fn contents(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn append(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let surplus = bytes.len().saturating_sub(STDIO_BYTES_MAX);
        kept.extend_from_slice(bytes.get(surplus..).unwrap_or_default());
        let surplus = kept.len().saturating_sub(STDIO_BYTES_MAX);
        kept.drain(..surplus);
    }
}

impl IsTerminal for CappedPipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for CappedPipe {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for CappedPipe {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for CappedPipe {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(STDIO_BYTES_MAX)
    }
}

impl AsyncWrite for CappedPipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_keeps_only_its_end() {
        let pipe = CappedPipe::default();

        pipe.append(&vec![b'a'; 3 * STDIO_BYTES_MAX]);
        pipe.append(b"end");

        assert_eq!(pipe.contents().len(), STDIO_BYTES_MAX);
        assert!(pipe.contents().ends_with(b"aend"));
    }
}
