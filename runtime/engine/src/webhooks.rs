//! What becomes of a webhook: the pipelines that read its connection are due, once for any number of them, or a person is told
//! what the service asks. Both are in the ledger before it is answered, so that a process that ends loses none. The same webhook
//! is acted on once. Nothing that it says is taken for data: the runs read what is there.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use affluent_model::limits::{WEBHOOK_REMEMBERED_MS, WEBHOOKS_REMEMBERED_MAX};
use affluent_model::plan::{Connection, PipelineSource};
use affluent_model::webhook::{Asked, Webhook, WebhookCheck, WebhookRequest};
use affluent_model::{Error, Result};
use tokio::sync::Mutex;

use crate::engine::Engine;

/// What a webhook is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookAnswer {
    /// Acted on, or already.
    Taken,
    /// It is not from the service, or too old.
    Refused,
    /// The connection takes no webhooks.
    NotOffered,
}

/// Where the webhooks of a connection come in.
#[derive(Debug, Clone)]
pub struct WebhookAddress {
    pub connection: Arc<Connection>,
    /// Name of the secret that they are signed with.
    pub secret: String,
    /// Those that they start: with a schedule, since without one a pipeline is run by hand only.
    pub pipelines: Vec<String>,
}

/// Told of what a service asks of a person.
pub(crate) type OnAsked = Box<dyn Fn(&str, &Asked) + Send + Sync>;

/// The webhooks of one process.
pub struct Webhooks {
    engine: Arc<Engine>,
    addresses: BTreeMap<String, WebhookAddress>,
    /// By connection; held while one is written down, so that the same one at the same time is not answered before.
    seen: BTreeMap<String, Mutex<Seen>>,
    on_asked: OnAsked,
}

impl Webhooks {
    /// Asks the plugins of the plan which connections take webhooks.
    ///
    /// # Errors
    /// When a plugin cannot be loaded.
    pub async fn open(engine: Arc<Engine>, on_asked: OnAsked) -> Result<Self> {
        let mut addresses = BTreeMap::new();
        for connection in engine.plan.connections.values() {
            let manifest = engine.connectors.manifest(&connection.plugin).await.map_err(Error::from)?;
            let Some(webhooks) = manifest.webhooks_of(connection) else { continue };
            let address = WebhookAddress {
                connection: Arc::clone(connection),
                secret: webhooks.signature.secret.clone(),
                pipelines: readers_of(&engine, &connection.name),
            };
            addresses.insert(connection.name.clone(), address);
        }
        let seen = addresses.keys().map(|connection| (connection.clone(), Mutex::default())).collect();
        Ok(Self { engine, addresses, seen, on_asked })
    }

    /// Whether a connection takes any.
    #[must_use]
    pub fn are_offered(&self, connection: &str) -> bool {
        self.addresses.contains_key(connection)
    }

    /// By the name of the connection.
    pub fn addresses(&self) -> impl Iterator<Item = &WebhookAddress> {
        self.addresses.values()
    }

    /// Takes one in. Waits for no run: it returns when what is to be done is written down.
    ///
    /// # Errors
    /// When its secret cannot be had or it cannot be written down; the service sends it again then.
    pub async fn receive(&self, connection: &str, request: &WebhookRequest) -> Result<WebhookAnswer> {
        let (Some(address), Some(seen)) = (self.addresses.get(connection), self.seen.get(connection)) else {
            return Ok(WebhookAnswer::NotOffered);
        };
        let webhook = match self.engine.connectors.check_webhook(Arc::clone(&address.connection), request).await? {
            WebhookCheck::Refused(_) => return Ok(WebhookAnswer::Refused),
            WebhookCheck::Genuine(webhook) => webhook,
        };
        let mut seen = seen.lock().await;
        if seen.is_new(&webhook, self.engine.now_us()) {
            let asked = self.write_down(address, &webhook).await?;
            seen.remember(&webhook, self.engine.now_us());
            if let Some(asked) = asked {
                (self.on_asked)(connection, &asked);
            }
        }
        Ok(WebhookAnswer::Taken)
    }

    /// Gives what a person is to be told. Beside everything else: the ledger may be busy with the commit of a run.
    async fn write_down(&self, address: &WebhookAddress, webhook: &Webhook) -> Result<Option<Asked>> {
        let (engine, address, webhook) = (Arc::clone(&self.engine), address.clone(), webhook.clone());
        let written = tokio::task::spawn_blocking(move || match &webhook.asks {
            None if address.pipelines.is_empty() => Ok(None),
            None => engine.ledger.tell_news(&address.pipelines).map(|()| None),
            Some(asks) => Ok(engine.add_request(&address.connection.name, &webhook, asks)?.then(|| asks.clone())),
        });
        written.await.map_err(|error| Error::bug(format!("a webhook was not written down: {error}")))?
    }
}

/// The pipelines with a schedule that read a connection.
fn readers_of(engine: &Engine, connection: &str) -> Vec<String> {
    let scheduled = engine.plan.pipelines.values().filter(|pipeline| pipeline.schedule.is_some());
    let reading = scheduled
        .filter(|pipeline| matches!(&pipeline.source, PipelineSource::Connection { connection: name, .. } if name == connection));
    reading.map(|pipeline| pipeline.name.clone()).collect()
}

/// The webhooks of a connection that were taken, by their signatures: whatever was not signed may be another in a repetition.
#[derive(Debug, Default)]
struct Seen {
    signatures: HashSet<Vec<u8>>,
    /// With the instant from which each is not needed any more, in the order in which they came.
    until_us: VecDeque<(i64, Vec<u8>)>,
}

impl Seen {
    /// False for one that was taken and could still be taken again.
    fn is_new(&mut self, webhook: &Webhook, now_us: i64) -> bool {
        while self.until_us.len() >= WEBHOOKS_REMEMBERED_MAX || self.until_us.front().is_some_and(|(until, _)| *until < now_us) {
            if let Some((_, signature)) = self.until_us.pop_front() {
                self.signatures.remove(&signature);
            }
        }
        !self.signatures.contains(&webhook.signature)
    }

    /// Of more than [`WEBHOOKS_REMEMBERED_MAX`] the oldest are forgotten: only genuine ones get here, and one of them again
    /// costs a run that finds nothing.
    fn remember(&mut self, webhook: &Webhook, now_us: i64) {
        let kept_ms = webhook.expires_after_ms.unwrap_or(WEBHOOK_REMEMBERED_MS);
        let until_us = now_us.saturating_add(i64::try_from(kept_ms.saturating_mul(1_000)).unwrap_or(i64::MAX));
        if self.signatures.insert(webhook.signature.clone()) {
            self.until_us.push_back((until_us, webhook.signature.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(number: usize, expires_after_ms: Option<u64>) -> Webhook {
        Webhook { signature: number.to_be_bytes().to_vec(), expires_after_ms, asks: None }
    }

    fn takes(seen: &mut Seen, webhook: &Webhook, now_us: i64) -> bool {
        let is_new = seen.is_new(webhook, now_us);
        if is_new {
            seen.remember(webhook, now_us);
        }
        is_new
    }

    #[test]
    fn a_webhook_is_new_once_for_as_long_as_it_could_be_taken() {
        let mut seen = Seen::default();
        assert!(takes(&mut seen, &webhook(1, Some(300_000)), 0));
        assert!(!takes(&mut seen, &webhook(1, Some(1_000)), 299_000_000));
        assert!(takes(&mut seen, &webhook(2, Some(300_000)), 299_000_000));
        assert!(takes(&mut seen, &webhook(1, None), 300_000_001));
        assert!(!takes(&mut seen, &webhook(1, None), 86_700_000_000));
    }

    #[test]
    fn one_that_was_not_written_down_is_new_again() {
        let mut seen = Seen::default();
        assert!(seen.is_new(&webhook(1, None), 0));
        assert!(seen.is_new(&webhook(1, None), 1));
    }

    #[test]
    fn of_too_many_the_oldest_are_forgotten() {
        let mut seen = Seen::default();
        assert!((0..WEBHOOKS_REMEMBERED_MAX + 10).all(|number| takes(&mut seen, &webhook(number, None), 0)));
        assert_eq!((seen.signatures.len(), seen.until_us.len()), (WEBHOOKS_REMEMBERED_MAX, WEBHOOKS_REMEMBERED_MAX));
        assert!(!takes(&mut seen, &webhook(WEBHOOKS_REMEMBERED_MAX + 9, None), 0));
        assert!(takes(&mut seen, &webhook(0, None), 0));
    }
}
