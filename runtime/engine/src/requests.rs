//! What services ask of a person by webhooks: to tell what is held of somebody, to erase somebody. Each stays open until a
//! person closes it and says with what; the audit has both. Nothing is done by the request itself.

use affluent_ledger::{ErasureRow, NewRequest, RequestEnd, RequestRow};
use affluent_model::identity::ProfileId;
use affluent_model::webhook::{Asked, Webhook};
use affluent_model::{Error, Result};
use serde::Serialize;

use crate::engine::Engine;
use crate::erase::{EXPORTED, instant, view_of};

/// Of those that are closed, how many are shown.
const CLOSED_SHOWN_MAX: usize = 1_000;
/// Exports that are looked through for the one that answers a request.
const EXPORTS_MAX: usize = 10_000;
const DAY_US: i64 = 86_400_000_000;

/// With what a request is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestAnswer {
    /// Number of an erasure that has ended here.
    Erasure(i64),
    /// The profile, as `profile export` takes it, that was exported since the request.
    Export(String),
    /// Nothing is held of whom it is about.
    NothingHeld,
    /// A law has the data kept.
    KeptByLaw,
    /// It was done by other means.
    DoneElsewhere,
}

/// One request, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestView {
    pub request: i64,
    pub connection: String,
    /// The service's word: `customers/redact`.
    pub topic: String,
    /// The id at the service of whom it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// RFC 3339, as all of them.
    pub asked_at: String,
    pub due_at: String,
    /// True for an open one whose time is over.
    pub is_overdue: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<String>,
    /// What was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

impl Engine {
    /// What services ask and nobody has answered, the most urgent first; with closed ones, newest first.
    ///
    /// # Errors
    /// Those of the store.
    pub fn requests(&self, with_closed: bool) -> Result<Vec<RequestView>> {
        let limit = if with_closed { CLOSED_SHOWN_MAX } else { usize::MAX };
        let now_us = self.now_us();
        Ok(self.ledger.requests(with_closed, limit)?.into_iter().map(|row| view(row, now_us)).collect())
    }

    /// Closes a request; noted in the audit with what answers it.
    ///
    /// # Errors
    /// `E0830` when it is not open, or when what is named does not answer it; `E0813` when no profile is meant; those of the store.
    pub fn close_request(&self, request: i64, answer: &RequestAnswer, by: &str) -> Result<RequestView> {
        let row = self.ledger.request(request)?.filter(|row| row.closed_at_us.is_none()).ok_or_else(|| not_open(request))?;
        let answer = self.told(&row, answer)?;
        let asked = asked(&row.connection, &row.topic, row.about.as_deref());
        let audited = format!("request {request}, {asked}: {answer}; by {by}");
        let end = RequestEnd { answer, closed_by: by.to_owned(), closed_at_us: self.now_us(), audited };
        if !self.ledger.close_request(request, &end)? {
            return Err(not_open(request));
        }
        let closed = self.ledger.request(request)?.ok_or_else(|| Error::bug("a request that was closed is not in the ledger"))?;
        Ok(view(closed, self.now_us()))
    }

    /// Writes down what a webhook asks; false where it is open already.
    pub(crate) fn add_request(&self, connection: &str, webhook: &Webhook, asks: &Asked) -> Result<bool> {
        let now_us = self.now_us();
        self.ledger.add_request(&NewRequest {
            connection: connection.to_owned(),
            topic: asks.topic.clone(),
            about: asks.about.clone(),
            mark: webhook.signature.clone(),
            asked_at_us: now_us,
            due_at_us: now_us.saturating_add(i64::from(asks.within_days) * DAY_US),
            audited: asked(connection, &asks.topic, asks.about.as_deref()),
        })
    }

    /// What is said of an answer, where it is one.
    fn told(&self, row: &RequestRow, answer: &RequestAnswer) -> Result<String> {
        match answer {
            RequestAnswer::Erasure(number) => self.erasure_told(row, *number),
            RequestAnswer::Export(reference) => {
                let profile = self.find_profile(reference)?;
                let exported = format!("profile {profile}");
                if !self.is_profile_of(profile, row, about(row)?)? {
                    return Err(of_another(row, &exported));
                }
                let exports = self.ledger.audit_rows_of(EXPORTED, row.asked_at_us, EXPORTS_MAX)?;
                let export = exports.into_iter().find(|export| export.detail == exported);
                let export = export.ok_or_else(|| {
                    Error::configuration("E0830", format!("{exported} was not exported since the request"))
                        .help(format!("run `affluent profile export {reference}` and send its result to whom it is about"))
                })?;
                Ok(format!("{exported} exported at {}", instant(export.at_us)))
            }
            RequestAnswer::NothingHeld => Ok("nothing is held".to_owned()),
            RequestAnswer::KeptByLaw => Ok("kept by law".to_owned()),
            RequestAnswer::DoneElsewhere => Ok("done elsewhere".to_owned()),
        }
    }

    /// Whom a request is about is known as a record of the connection, or by an identifier of any kind.
    fn is_profile_of(&self, profile: ProfileId, row: &RequestRow, about: &str) -> Result<bool> {
        let kinds = self.plan.identity.identifiers.iter().map(|rule| format!("{}:{about}", rule.name));
        for reference in kinds.chain([format!("{}/{about}", row.connection)]) {
            for carrier in self.find_nodes(&reference)?.iter().filter_map(|node| node.profile) {
                if self.ledger.resolve_alias(carrier)? == profile {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The same of an erasure: its records stay as marks, and its identifiers as what keeps the person out.
    fn is_erasure_of(&self, erasure: &ErasureRow, row: &RequestRow, about: &str) -> Result<bool> {
        let key = self.vault.blind_indexer(&format!("subject/{}", row.connection))?.index(about.as_bytes());
        let mut records = self.ledger.find_nodes(&[key])?.into_iter().flatten();
        if records.any(|record| erasure.nodes.contains(&record.node)) {
            return Ok(true);
        }
        let kinds = self.plan.identity.identifiers.iter().map(|rule| (rule.name.clone(), about.to_owned()));
        let kept_out = self.ledger.suppressed_by(erasure.erasure)?;
        Ok(self.suppression_hashes(kinds.collect())?.iter().any(|hash| kept_out.contains(hash)))
    }

    fn erasure_told(&self, row: &RequestRow, number: i64) -> Result<String> {
        let known = self.ledger.erasures(false)?.into_iter().find(|erasure| erasure.erasure == number).ok_or_else(|| {
            Error::configuration("E0830", format!("there is no erasure {number}")).help("`affluent profile erasures` lists them")
        })?;
        if !self.is_erasure_of(&known, row, about(row)?)? {
            return Err(of_another(row, &format!("erasure {number}")));
        }
        let erasure = view_of(known);
        let Some(forgotten_at) = erasure.forgotten_at else {
            return Err(Error::configuration("E0830", format!("erasure {number} has begun and not ended"))
                .help("`affluent profile erase --resume` goes on with it"));
        };
        let receipts = erasure.receipts.iter().map(|receipt| format!(", {} {}", receipt.destination, receipt.state));
        Ok(format!("erasure {number} of profile {} at {forgotten_at}{}", erasure.profile, receipts.collect::<String>()))
    }
}

fn asked(connection: &str, topic: &str, about: Option<&str>) -> String {
    let about = about.map_or(String::new(), |id| format!(" about {id}"));
    format!("connection {connection}: {topic}{about}")
}

/// The id of whom a request is about.
fn about(row: &RequestRow) -> Result<&str> {
    row.about.as_deref().ok_or_else(|| {
        Error::configuration("E0830", format!("request {} is about nobody in particular", row.request))
            .help("`--because` says how it was answered")
    })
}

fn of_another(row: &RequestRow, what: &str) -> Error {
    let RequestRow { request, connection, .. } = row;
    let about = row.about.as_deref().unwrap_or_default();
    Error::configuration("E0830", format!("{what} is not known to be of {about}, whom request {request} is about")).help(format!(
        "it has no record `{connection}/{about}`, and no identifier of that value: name that of this person, or say \
         `--because done-elsewhere` where you know it by something else"
    ))
}

fn not_open(request: i64) -> Error {
    Error::configuration("E0830", format!("there is no open request {request}"))
        .help("`affluent requests list` shows those that are open")
}

fn view(row: RequestRow, now_us: i64) -> RequestView {
    RequestView {
        request: row.request,
        connection: row.connection,
        topic: row.topic,
        about: row.about,
        asked_at: instant(row.asked_at_us),
        due_at: instant(row.due_at_us),
        is_overdue: row.closed_at_us.is_none() && row.due_at_us < now_us,
        closed_at: row.closed_at_us.map(instant),
        closed_by: row.closed_by,
        answer: row.answer,
    }
}
