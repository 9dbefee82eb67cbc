//! The value of a secret on its way from the resolver to an outgoing request: wiped from memory when it is dropped,
//! and without `Debug`, `Clone` or `Serialize`, so that it cannot reach a log by accident.

use zeroize::Zeroizing;

/// A credential. Read it with [`Secret::expose`] at the place that needs it, nowhere else.
pub struct Secret(Zeroizing<String>);

impl Secret {
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}
