//! The way of one request through its redirects: at most three, never with a body to another origin, and without the
//! credential from the first foreign origin on, also when the way leads back (security B-23).

use url::Origin;

use super::attempt::Credential;
use super::request::Outgoing;
use crate::bindings::affluent::plugin::http::HttpError;

/// Redirects followed within one request (security B-23).
const REDIRECTS_MAX: u32 = 3;

/// Where a request is on its way.
pub(super) struct Trail<'a> {
    pub(super) next: Outgoing,
    /// The credential that goes along; `None` for ever once the request was at another origin.
    pub(super) auth: Option<&'a Credential<'a>>,
    home: Origin,
    redirects: u32,
}

impl<'a> Trail<'a> {
    pub(super) fn new(first: Outgoing, auth: Option<&'a Credential<'a>>) -> Self {
        let home = first.url.origin();
        Self { next: first, auth, home, redirects: 0 }
    }

    /// Goes on to where an answer leads; false when the answer is for the guest.
    ///
    /// # Errors
    /// `invalid` after the third redirect.
    pub(super) fn follow(&mut self, status: u16, location: Option<&str>) -> Result<bool, HttpError> {
        let Some(to) = self.next.redirected(status, location) else { return Ok(false) };
        self.redirects += 1;
        if self.redirects > REDIRECTS_MAX {
            return Err(HttpError::Invalid("more than three redirects".to_owned()));
        }
        if to.url.origin() != self.home {
            self.auth = None;
        }
        self.next = to;
        Ok(true)
    }
}
