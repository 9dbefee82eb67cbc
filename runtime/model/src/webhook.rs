//! A webhook on its way from the address where it came in to whoever decides what becomes of it.

/// A request to the webhook address of a connection, as it came. Nothing of it is to be believed before it was checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookRequest {
    /// `POST`.
    pub method: String,
    /// In their order; a name may come twice.
    pub headers: Vec<(String, Vec<u8>)>,
    /// As it was sent, of at most [`crate::limits::WEBHOOK_BYTES_MAX`].
    pub body: Vec<u8>,
}

/// What the host finds of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookCheck {
    /// Signed by the service, and not too long ago.
    Genuine(Webhook),
    /// Why not; nothing of the request is in it.
    Refused(&'static str),
}

/// A genuine one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The bytes of its signature: the same request has the same, whatever is not signed was changed.
    pub signature: Vec<u8>,
    /// Milliseconds after which the same request would be refused for its age; `None` = never.
    pub expires_after_ms: Option<u64>,
    /// What it asks of a person, where it tells no news.
    pub asks: Option<Asked>,
}

/// What a service asks of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// One of the manifest's words: `customers/redact`.
    pub topic: String,
    /// The id at the service of whom it is about: letters, digits, `-` and `_`.
    pub about: Option<String>,
    /// Days within which it is to be answered.
    pub within_days: u16,
}
