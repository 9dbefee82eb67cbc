//! What services tell by webhooks: that there is something to read, and what they ask of a person. A webhook is answered when
//! it is written down here, so that what was answered outlives the process.

use affluent_model::Result;

/// A pipeline that is due because its source has news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewsRow {
    pub pipeline: String,
    /// Grows with everything that is told, over all pipelines.
    pub number: i64,
}

/// Something that a service asks of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRequest {
    pub connection: String,
    /// The service's word: `customers/redact`.
    pub topic: String,
    /// The id at the service of whom it is about.
    pub about: Option<String>,
    /// By which the same request is known when it comes again.
    pub mark: Vec<u8>,
    pub asked_at_us: i64,
    /// By when it is to be answered.
    pub due_at_us: i64,
    /// What the audit says of it.
    pub audited: String,
}

/// How a request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestEnd {
    /// What was done, never a personal value.
    pub answer: String,
    pub closed_by: String,
    pub closed_at_us: i64,
    /// What the audit says of it.
    pub audited: String,
}

/// A request, open or closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRow {
    pub request: i64,
    pub connection: String,
    pub topic: String,
    pub about: Option<String>,
    pub asked_at_us: i64,
    pub due_at_us: i64,
    /// With what was done and by whom; `None` while it is open.
    pub closed_at_us: Option<i64>,
    pub answer: Option<String>,
    pub closed_by: Option<String>,
}

pub trait Webhooks {
    /// There is something to read for these pipelines, until a run that began later has ended well
    /// ([`super::runs::RunEnd::news_read`]).
    ///
    /// # Errors
    /// Those of the store.
    fn tell_news(&self, pipelines: &[String]) -> Result<()>;

    /// What no run has read yet, by pipeline.
    ///
    /// # Errors
    /// Those of the store.
    fn news(&self) -> Result<Vec<NewsRow>>;

    /// Writes a request down and into the audit; false where the same one of the connection is open already.
    ///
    /// # Errors
    /// Those of the store.
    fn add_request(&self, request: &NewRequest) -> Result<bool>;

    /// Requests, those that are due first first; with closed ones, newest first.
    ///
    /// # Errors
    /// Those of the store.
    fn requests(&self, with_closed: bool, limit: usize) -> Result<Vec<RequestRow>>;

    /// The request of a number.
    ///
    /// # Errors
    /// Those of the store.
    fn request(&self, request: i64) -> Result<Option<RequestRow>>;

    /// Closes a request and says so in the audit; false where it is not open.
    ///
    /// # Errors
    /// Those of the store.
    fn close_request(&self, request: i64, end: &RequestEnd) -> Result<bool>;
}
