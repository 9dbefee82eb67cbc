//! What becomes of a webhook: the pipelines that read its connection are due, once for any number of them, or a person is told
//! what the service asks. The same webhook is acted on once. Nothing that it says is taken for data: the runs read what is
//! there.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use affluent_model::limits::{WEBHOOK_REMEMBERED_MS, WEBHOOK_REQUEST_SHOWN_US, WEBHOOKS_REMEMBERED_MAX};
use affluent_model::plan::{Connection, PipelineSource};
use affluent_model::webhook::{Asked, Webhook, WebhookCheck, WebhookRequest};
use affluent_model::{Error, Result};
use serde::Serialize;

use crate::engine::Engine;
use crate::erase::instant;
use crate::schedule::News;

/// The audit's word for what a service asked of a person.
const ASKED: &str = "webhook.asked";
/// Of them, how many `status` shows.
const QUESTIONS_MAX: usize = 100;

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

/// What a service asked, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WebhookQuestion {
    /// RFC 3339.
    pub at: String,
    /// `connection shop: customers/redact about 191167`.
    pub asked: String,
}

/// Told of what a service asks of a person.
pub(crate) type OnAsked = Box<dyn Fn(&str, &Asked) + Send + Sync>;

/// The webhooks of one process.
pub struct Webhooks {
    engine: Arc<Engine>,
    addresses: BTreeMap<String, WebhookAddress>,
    news: News,
    seen: Mutex<BTreeMap<String, Seen>>,
    on_asked: OnAsked,
}

impl Webhooks {
    /// Asks the plugins of the plan which connections take webhooks.
    ///
    /// # Errors
    /// When a plugin cannot be loaded.
    pub async fn open(engine: Arc<Engine>, news: News, on_asked: OnAsked) -> Result<Self> {
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
        Ok(Self { engine, addresses, news, seen: Mutex::default(), on_asked })
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

    /// Takes one in. Waits for no run: it returns when what is to be done is known.
    ///
    /// # Errors
    /// When its secret cannot be had or what it asks cannot be written down; the service sends it again then.
    pub async fn receive(&self, connection: &str, request: &WebhookRequest) -> Result<WebhookAnswer> {
        let Some(address) = self.addresses.get(connection) else { return Ok(WebhookAnswer::NotOffered) };
        let webhook = match self.engine.connectors.check_webhook(Arc::clone(&address.connection), request).await? {
            WebhookCheck::Refused(_) => return Ok(WebhookAnswer::Refused),
            WebhookCheck::Genuine(webhook) => webhook,
        };
        let now_us = self.engine.now_us();
        if !self.seen(connection, |seen| seen.is_new(&webhook, now_us)) {
            return Ok(WebhookAnswer::Taken);
        }
        match &webhook.asks {
            None => self.news.tell(&address.pipelines),
            Some(asked) => {
                if let Err(error) = self.engine.ledger.audit(now_us, ASKED, &question(connection, asked)) {
                    self.seen(connection, |seen| seen.forget(&webhook.signature));
                    return Err(error);
                }
                (self.on_asked)(connection, asked);
            }
        }
        Ok(WebhookAnswer::Taken)
    }

    fn seen<T>(&self, connection: &str, act: impl FnOnce(&mut Seen) -> T) -> T {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        act(seen.entry(connection.to_owned()).or_default())
    }
}

impl Engine {
    /// What services asked of a person within the last month, newest first.
    ///
    /// # Errors
    /// Those of the store.
    pub fn webhook_questions(&self) -> Result<Vec<WebhookQuestion>> {
        let rows = self.ledger.audit_rows_of(ASKED, self.now_us() - WEBHOOK_REQUEST_SHOWN_US, QUESTIONS_MAX)?;
        Ok(rows.into_iter().map(|row| WebhookQuestion { at: instant(row.at_us), asked: row.detail }).collect())
    }
}

fn question(connection: &str, asked: &Asked) -> String {
    let about = asked.about.as_ref().map_or(String::new(), |id| format!(" about {id}"));
    format!("connection {connection}: {}{about}", asked.topic)
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
    /// False for one that was taken and could still be taken again. Of more than [`WEBHOOKS_REMEMBERED_MAX`] the oldest are
    /// forgotten: only genuine ones get here, and one of them again costs a run that finds nothing.
    fn is_new(&mut self, webhook: &Webhook, now_us: i64) -> bool {
        while self.until_us.len() >= WEBHOOKS_REMEMBERED_MAX || self.until_us.front().is_some_and(|(until, _)| *until < now_us) {
            if let Some((_, signature)) = self.until_us.pop_front() {
                self.signatures.remove(&signature);
            }
        }
        let kept_ms = webhook.expires_after_ms.unwrap_or(WEBHOOK_REMEMBERED_MS);
        let until_us = now_us.saturating_add(i64::try_from(kept_ms.saturating_mul(1_000)).unwrap_or(i64::MAX));
        let is_new = self.signatures.insert(webhook.signature.clone());
        if is_new {
            self.until_us.push_back((until_us, webhook.signature.clone()));
        }
        is_new
    }

    fn forget(&mut self, signature: &[u8]) {
        self.signatures.remove(signature);
        self.until_us.retain(|(_, one)| one != signature);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(number: usize, expires_after_ms: Option<u64>) -> Webhook {
        Webhook { signature: number.to_be_bytes().to_vec(), expires_after_ms, asks: None }
    }

    #[test]
    fn a_webhook_is_new_once_for_as_long_as_it_could_be_taken() {
        let mut seen = Seen::default();
        assert!(seen.is_new(&webhook(1, Some(300_000)), 0));
        assert!(!seen.is_new(&webhook(1, Some(1_000)), 299_000_000));
        assert!(seen.is_new(&webhook(2, Some(300_000)), 299_000_000));
        assert!(seen.is_new(&webhook(1, None), 300_000_001));
        assert!(!seen.is_new(&webhook(1, None), 86_700_000_000));
    }

    #[test]
    fn one_that_could_not_be_acted_on_is_new_again() {
        let mut seen = Seen::default();
        assert!(seen.is_new(&webhook(1, None), 0));
        seen.forget(&webhook(1, None).signature);
        assert!(seen.is_new(&webhook(1, None), 1));
    }

    #[test]
    fn of_too_many_the_oldest_are_forgotten() {
        let mut seen = Seen::default();
        assert!((0..WEBHOOKS_REMEMBERED_MAX + 10).all(|number| seen.is_new(&webhook(number, None), 0)));
        assert_eq!((seen.signatures.len(), seen.until_us.len()), (WEBHOOKS_REMEMBERED_MAX, WEBHOOKS_REMEMBERED_MAX));
        assert!(!seen.is_new(&webhook(WEBHOOKS_REMEMBERED_MAX, None), 0));
        assert!(seen.is_new(&webhook(0, None), 0));
    }
}
