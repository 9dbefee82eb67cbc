//! When time alone next changes something about a profile: a record leaves its window, a grant ends or begins.

/// The next such time of each profile, by the number of the profile.
pub struct Expiries {
    /// Microseconds UTC; [`NEVER`] for none.
    next_us: Vec<i64>,
}

const NEVER: i64 = i64::MAX;

impl Expiries {
    /// None yet, of so many profiles.
    #[must_use]
    pub fn new(profiles: usize) -> Self {
        Self { next_us: vec![NEVER; profiles] }
    }

    /// Something about a profile changes at a time; a profile that is not there is left out.
    pub fn note(&mut self, profile: usize, at_us: i64) {
        if let Some(next) = self.next_us.get_mut(profile) {
            *next = at_us.min(*next);
        }
    }

    /// A record of a profile leaves a window that began at `at_us` and lasts `window_ms`.
    pub fn note_window(&mut self, profile: usize, at_us: i64, window_ms: u64) {
        let window_us = i64::try_from(window_ms.saturating_mul(1_000)).unwrap_or(NEVER);
        self.note(profile, at_us.saturating_add(window_us));
    }

    /// The profiles for which there is such a time, with it.
    pub fn iter(&self) -> impl Iterator<Item = (usize, i64)> {
        self.next_us.iter().copied().enumerate().filter(|(_, next)| *next != NEVER)
    }
}
