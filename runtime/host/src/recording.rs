//! Record and replay (plugins.md §12): what plugins sent and got, kept as files from which the same run can be played
//! without a network. An exchange is taken after the grant checks, before credentials are added, so that no secret can
//! be in it; personal values are replaced by pseudonyms before anything is written, and what cannot be searched for
//! them is not written at all.

mod file;
mod json_text;
mod pseudonyms;
mod record;
mod redact;
mod replay;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use affluent_model::batch::{Outcome, OutgoingBatch, Page};
use affluent_model::connector::{BoxFuture, Destination, Failure, PageLimits, Source};
use affluent_model::manifest::DestinationInfo;
use affluent_model::schema::{Field, StreamSchema};
use sha2::{Digest, Sha256};

use crate::options::{Clock, RandomSource};

pub(crate) use file::Failed;
pub use record::Recorder;
pub(crate) use record::{Taken, TakenAnswer};
pub(crate) use replay::Wanted;
pub use replay::{Repeats, Replay};

/// Where the answers to plugins' requests come from.
#[derive(Clone, Default)]
pub enum Exchanges {
    /// From the network.
    #[default]
    Live,
    /// From the network, and kept; [`Recorder::write`] writes them at the end.
    Record(Arc<Recorder>),
    /// From a recording; nothing leaves.
    Replay(Arc<Replay>),
}

/// How a request finds its recorded answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matching {
    /// By method, URL and body: what a source asks for decides what it gets.
    Exact,
    /// By method and URL when no body is the same: rows for a destination hold personal values, which the recording
    /// does not.
    Target,
}

/// A guest's wall clock that stands still at the time of the recording, so that what a guest makes of the time is the
/// same in both runs.
#[derive(Debug)]
pub(crate) struct RecordedClock {
    now_us: i64,
    /// `None` = nothing takes time: sleeping moves the clock forward at once.
    live: Option<Instant>,
    slept: AtomicU64,
}

impl RecordedClock {
    pub(crate) fn live(now_us: i64) -> Self {
        Self { now_us, live: Some(Instant::now()), slept: AtomicU64::new(0) }
    }

    pub(crate) fn jumping(now_us: i64) -> Self {
        Self { now_us, live: None, slept: AtomicU64::new(0) }
    }
}

impl Clock for RecordedClock {
    fn now_us(&self) -> i64 {
        self.now_us
    }

    fn monotonic(&self) -> Duration {
        self.live.map_or_else(|| Duration::from_nanos(self.slept.load(Ordering::Relaxed)), |since| since.elapsed())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if self.live.is_some() {
            return Box::pin(tokio::time::sleep(duration));
        }
        self.slept.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Box::pin(tokio::task::yield_now())
    }
}

/// Bytes that are the same in the same order for the same seed.
pub(crate) fn seeded(seed: [u8; 32]) -> RandomSource {
    let drawn = AtomicU64::new(0);
    Arc::new(move |bytes: &mut [u8]| {
        for piece in bytes.chunks_mut(32) {
            let block = Sha256::new().chain_update(seed).chain_update(drawn.fetch_add(1, Ordering::Relaxed).to_le_bytes());
            piece.iter_mut().zip(block.finalize()).for_each(|(byte, drawn)| *byte = drawn);
        }
    })
}

/// A source whose pages tell the recorder which values are personal.
pub(crate) struct RecordedSource {
    pub(crate) source: Box<dyn Source>,
    pub(crate) streams: Vec<StreamSchema>,
    pub(crate) recorder: Arc<Recorder>,
}

impl Source for RecordedSource {
    fn next(&mut self, limits: PageLimits) -> BoxFuture<'_, Result<Page, Failure>> {
        Box::pin(async move {
            let page = self.source.next(limits).await?;
            for part in &page.parts {
                if let Some(stream) = self.streams.iter().find(|stream| stream.name == part.stream) {
                    self.recorder.note(&stream.fields, &part.records);
                }
            }
            Ok(page)
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.source.close()
    }
}

/// A destination whose batches tell the recorder which values are personal.
pub(crate) struct RecordedDestination {
    pub(crate) destination: Box<dyn Destination>,
    pub(crate) fields: Vec<Field>,
    pub(crate) recorder: Arc<Recorder>,
}

impl Destination for RecordedDestination {
    fn info(&self) -> &DestinationInfo {
        self.destination.info()
    }

    fn write(&mut self, batch: OutgoingBatch) -> BoxFuture<'_, Result<Outcome, Failure>> {
        self.recorder.note(&self.fields, &batch.records);
        self.destination.write(batch)
    }

    fn poll<'a>(&'a mut self, token: &'a str, batch: &'a OutgoingBatch) -> BoxFuture<'a, Result<Outcome, Failure>> {
        self.destination.poll(token, batch)
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), Failure>> {
        self.destination.close()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
