//! What all instances on a connection share in this process: the access token at hand, the one exchange that may be under
//! way, a failure that is still fresh, and every token that was met, for blotting out.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use affluent_model::credential::CredentialId;

use super::NoAccess;
use crate::secret::Secret;

/// Tokens of a connection that are blotted out: the newest. An older one was revoked or has expired long before.
const KNOWN_TOKENS_MAX: usize = 64;
/// How long a refusal is taken for the answer to the next question, too: nobody mends a credential sooner.
const REFUSAL_KEPT: Duration = Duration::from_secs(60);
/// The same for trouble: those who waited meanwhile share it.
const TROUBLE_KEPT: Duration = Duration::from_secs(5);
/// A token that was refused before it ever worked, and is younger than this, is not asked for again.
const UNPROVEN_KEPT: Duration = Duration::from_secs(60);
/// A token is renewed this long before it expires, or a tenth of its life where that is less.
const MARGIN_US_MAX: i64 = 60_000_000;

/// The tokens of all connections in this process.
#[derive(Default)]
pub(crate) struct AccessTokens {
    slots: Mutex<HashMap<CredentialId, Arc<SlotTokens>>>,
    known: Mutex<HashMap<String, Arc<KnownTokens>>>,
}

impl AccessTokens {
    pub(super) fn of(&self, id: &CredentialId) -> Arc<SlotTokens> {
        Arc::clone(lock(&self.slots).entry(id.clone()).or_default())
    }

    /// The tokens of a connection, whichever slot they are for.
    pub(crate) fn known(&self, connection: &str) -> Arc<KnownTokens> {
        Arc::clone(lock(&self.known).entry(connection.to_owned()).or_default())
    }
}

/// Tokens to blot out of everything that a guest or a person sees.
#[derive(Default)]
pub(crate) struct KnownTokens(Mutex<VecDeque<Arc<Secret>>>);

impl KnownTokens {
    pub(super) fn add(&self, token: &Arc<Secret>) {
        let mut known = lock(&self.0);
        if known.iter().any(|one| one.expose() == token.expose()) {
            return;
        }
        if known.len() == KNOWN_TOKENS_MAX {
            known.pop_front();
        }
        known.push_back(Arc::clone(token));
    }

    pub(crate) fn all(&self) -> Vec<Arc<Secret>> {
        lock(&self.0).iter().map(Arc::clone).collect()
    }
}

/// One slot of one connection.
#[derive(Default)]
pub(super) struct SlotTokens {
    current: Mutex<Option<Arc<Access>>>,
    failed: Mutex<Option<(Duration, NoAccess)>>,
    /// Held by whoever asks for tokens; the others wait and find them.
    pub(super) flight: tokio::sync::Mutex<()>,
}

/// An access token at hand.
pub(crate) struct Access {
    pub(super) token: Arc<Secret>,
    pub(super) issued_for: [u8; 32],
    pub(super) configured: [u8; 32],
    /// `None`: until it is refused.
    pub(super) expires_at_us: Option<i64>,
    /// By the clock of this process.
    pub(super) obtained_at: Duration,
    /// A request got another answer than 401 with it.
    pub(super) has_worked: AtomicBool,
}

impl Access {
    pub(super) fn is_alive(&self, now_us: i64) -> bool {
        self.expires_at_us.is_none_or(|expires_at_us| now_us < expires_at_us)
    }

    pub(crate) fn expose(&self) -> &str {
        self.token.expose()
    }

    pub(crate) fn note_worked(&self) {
        self.has_worked.store(true, Ordering::Relaxed);
    }

    /// Whether another token may be accepted where this one is not: one that is new and never worked says that the
    /// service refuses the client as such, and asking again and again would be its next complaint.
    pub(crate) fn may_be_stale(&self, now: Duration) -> bool {
        self.has_worked.load(Ordering::Relaxed) || now.saturating_sub(self.obtained_at) >= UNPROVEN_KEPT
    }
}

/// When a token that lives for `lifetime_us` from now on is to be renewed.
pub(super) fn renewal_at(now_us: i64, lifetime_us: i64) -> i64 {
    now_us.saturating_add(lifetime_us.saturating_sub((lifetime_us / 10).min(MARGIN_US_MAX)))
}

impl SlotTokens {
    /// The token at hand, unless it is this one that was refused.
    pub(super) fn current(&self, refused: Option<&Access>) -> Option<Arc<Access>> {
        let current = lock(&self.current).clone()?;
        refused.is_none_or(|refused| refused.token.expose() != current.token.expose()).then_some(current)
    }

    pub(super) fn set_current(&self, access: &Arc<Access>) {
        *lock(&self.current) = Some(Arc::clone(access));
        *lock(&self.failed) = None;
    }

    /// A failure so fresh that another try would say the same.
    pub(super) fn failed_lately(&self, now: Duration) -> Option<NoAccess> {
        let failed = lock(&self.failed);
        let (at, failure) = failed.as_ref()?;
        let kept = if failure.is_final() { REFUSAL_KEPT } else { TROUBLE_KEPT };
        (now.saturating_sub(*at) < kept).then(|| failure.clone())
    }

    pub(super) fn set_failed(&self, now: Duration, failure: &NoAccess) {
        *lock(&self.failed) = Some((now, failure.clone()));
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_a_minute_before_its_end_or_a_tenth_of_its_life() {
        let seconds = |lifetime: i64| renewal_at(0, lifetime * 1_000_000) / 1_000_000;

        assert_eq!([0, 10, 100, 600, 1_800, 86_400].map(seconds), [0, 9, 90, 540, 1_740, 86_340]);
    }

    #[test]
    fn the_newest_tokens_are_known_and_each_once() {
        let known = KnownTokens::default();
        for number in 0..100 {
            known.add(&Arc::new(Secret::new(format!("token-{number}"))));
            known.add(&Arc::new(Secret::new("token-99".to_owned())));
        }

        let all = known.all();

        assert_eq!(all.len(), KNOWN_TOKENS_MAX);
        assert_eq!(all.iter().filter(|token| token.expose() == "token-99").count(), 1);
    }
}
