//! One batch to a destination and back to an answer that stands: waits, reopens after a trap, polls an import to its end.

use affluent_model::batch::{DeliveryReport, Outcome, OutgoingBatch};
use affluent_model::connector::{Destination, DestinationRequest, Failure};
use affluent_model::limits::{BACKOFF_LONGEST_MS, POLLS_MAX};
use affluent_model::manifest::DestinationInfo;
use affluent_model::{Error, Result};
use affluent_vault::{OsRandom, Random};

use crate::attempts::{Attempts, Verdict, begun};
use crate::engine::Engine;
use crate::run::paused;

/// What must be durable before the next step is taken.
pub(crate) trait Durable: Send {
    /// An import was started at the destination under this token.
    fn import_started(&mut self, token: &str) -> Result<()>;

    /// The batch is handed over once more.
    fn sent_again(&mut self) -> Result<()>;
}

/// Why a batch did not come to an end.
pub(crate) enum Stopped {
    /// The destination refuses the batch as a whole.
    Refused(Failure),
    /// The destination surely did not take it; wait so many milliseconds.
    NotSent(Error, u64),
    /// It may have been taken: it stays in doubt, and the next run settles it.
    InFlight(Error),
}

/// An open destination.
pub(crate) struct Sender<'a> {
    engine: &'a Engine,
    pub(crate) request: DestinationRequest,
    destination: Box<dyn Destination>,
    attempts: Attempts,
    random: OsRandom,
}

impl<'a> Sender<'a> {
    /// Opens a destination.
    ///
    /// # Errors
    /// `E0802` when the remote's limit is spent; what the plugin reports.
    pub(crate) async fn open(engine: &'a Engine, request: DestinationRequest) -> Result<Self> {
        let destination = begun(engine, || engine.connectors.open_destination(request.clone())).await?;
        Ok(Self { engine, request, destination, attempts: Attempts::default(), random: OsRandom::new() })
    }

    pub(crate) fn info(&self) -> &DestinationInfo {
        self.destination.info()
    }

    /// Writes until the destination gives an answer that stands.
    pub(crate) async fn write(&mut self, outgoing: OutgoingBatch, durable: &mut dyn Durable) -> Result<DeliveryReport, Stopped> {
        loop {
            match self.destination.write(outgoing.clone()).await {
                Ok(Outcome::Done(report)) => {
                    self.attempts.succeeded();
                    return Ok(report);
                }
                Ok(Outcome::Pending { token, after_ms }) => {
                    durable.import_started(&token).map_err(Stopped::InFlight)?;
                    self.engine.wait("an import runs at the destination", after_ms).await.map_err(Stopped::InFlight)?;
                    return self.poll_to_end(token, &outgoing).await;
                }
                Err(failure) => {
                    self.after_failure(failure).await?;
                    durable.sent_again().map_err(Stopped::InFlight)?;
                }
            }
        }
    }

    /// Asks after an import until it is finished.
    pub(crate) async fn poll_to_end(&mut self, token: String, outgoing: &OutgoingBatch) -> Result<DeliveryReport, Stopped> {
        for _ in 0..POLLS_MAX {
            match self.destination.poll(&token, outgoing).await {
                Ok(Outcome::Done(report)) => {
                    self.attempts.succeeded();
                    return Ok(report);
                }
                Ok(Outcome::Pending { after_ms, .. }) => {
                    self.engine.wait("an import runs at the destination", after_ms.max(1)).await.map_err(Stopped::InFlight)?;
                }
                Err(failure) => self.after_failure(failure).await?,
            }
        }
        let waiting = Error::external("E0802", "an import at the destination is not finished yet");
        Err(Stopped::InFlight(paused(&waiting, BACKOFF_LONGEST_MS)))
    }

    /// Ends the writing.
    ///
    /// # Errors
    /// What the plugin reports; for a destination that is durable at its close, nothing is visible then.
    pub(crate) async fn close(self) -> Result<()> {
        Ok(self.destination.close().await?)
    }

    /// Waits or reopens where that may help; else says how the batch stopped.
    async fn after_failure(&mut self, failure: Failure) -> Result<(), Stopped> {
        let mut bytes = [0u8; 1];
        self.random.fill(&mut bytes).map_err(Stopped::InFlight)?;
        match self.attempts.judge(&failure, f64::from(bytes[0]) / 255.0) {
            Verdict::Retry(wait_ms) => self.engine.wait(&failure.error.message, wait_ms).await.map_err(Stopped::InFlight),
            Verdict::Reopen => {
                let opened = self.engine.connectors.open_destination(self.request.clone()).await;
                self.destination = opened.map_err(|failure| Stopped::InFlight(failure.error))?;
                Ok(())
            }
            Verdict::Pause(wait_ms) => Err(Stopped::NotSent(paused(&failure.error, wait_ms), wait_ms)),
            Verdict::Bisect => Err(Stopped::Refused(failure)),
            Verdict::Fail => Err(Stopped::InFlight(failure.error)),
        }
    }
}
