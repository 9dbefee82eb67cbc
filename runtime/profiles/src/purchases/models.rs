//! "Buy till you die": models of customers who buy at a rate of their own until they stop. Fitted by maximum likelihood
//! to the summaries of all customers, they say of each what to expect of her.
//!
//! Sources: Fader, Hardie and Lee 2005 (BG/NBD); Batislam, Denizel and Filiztekin 2007 (MBG/NBD); Schmittlein, Morrison
//! and Colombo 1987 with Fader and Hardie's notes (Pareto/NBD); Fader and Hardie 2013 (Gamma-Gamma).

pub mod beta_geometric;
pub mod fit;
pub mod gamma_gamma;
pub mod pareto;
pub mod special;

use serde::Serialize;

use super::summary::{Pattern, Weighted};

/// Which model of repeat buying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// May stop after any order, the first one included.
    MbgNbd,
    /// May stop after a repeat order only: whoever bought once is alive by construction.
    BgNbd,
    /// May stop at any time.
    ParetoNbd,
}

impl ModelKind {
    /// As configuration and model cards write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MbgNbd => "mbg_nbd",
            Self::BgNbd => "bg_nbd",
            Self::ParetoNbd => "pareto_nbd",
        }
    }

    /// Its four parameters in their order.
    #[must_use]
    pub fn parameter_names(self) -> [&'static str; 4] {
        match self {
            Self::MbgNbd | Self::BgNbd => ["r", "alpha", "a", "b"],
            Self::ParetoNbd => ["r", "alpha", "s", "beta"],
        }
    }
}

/// A model with its parameters, all positive; time is in weeks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Model {
    pub kind: ModelKind,
    /// See [`ModelKind::parameter_names`].
    pub parameters: [f64; 4],
}

impl Model {
    /// Sum over all customers of the logarithm of the likelihood; not finite where it cannot be computed.
    #[must_use]
    pub fn ln_likelihood(&self, patterns: &[Weighted]) -> f64 {
        let of_group = |group: &[Weighted]| {
            let Some(repeats) = group.first().map(|one| one.pattern.repeats) else { return 0.0 };
            let common = Common::new(self, repeats);
            group.iter().map(|one| one.customers * common.ln_likelihood(&one.pattern)).sum::<f64>()
        };
        patterns.chunk_by(|a, b| a.pattern.repeats.to_bits() == b.pattern.repeats.to_bits()).map(of_group).sum()
    }

    /// The logarithm of the likelihood of one customer.
    #[must_use]
    pub fn ln_likelihood_of(&self, pattern: &Pattern) -> f64 {
        Common::new(self, pattern.repeats).ln_likelihood(pattern)
    }

    /// The probability that she has not stopped. Under [`ModelKind::BgNbd`] it is 1 for whoever bought once.
    #[must_use]
    pub fn alive(&self, pattern: &Pattern) -> f64 {
        Common::new(self, pattern.repeats).alive(pattern)
    }

    /// Days with orders to expect in the next `weeks`, `E[Y(t)]`.
    #[must_use]
    pub fn expected_orders(&self, pattern: &Pattern, weeks: f64) -> f64 {
        self.alive(pattern) * self.expected_if_alive(pattern, weeks)
    }

    /// The same for a customer who is known not to have stopped.
    #[must_use]
    pub fn expected_if_alive(&self, pattern: &Pattern, weeks: f64) -> f64 {
        match self.kind {
            ModelKind::MbgNbd | ModelKind::BgNbd => beta_geometric::expected_if_alive(self, pattern, weeks),
            ModelKind::ParetoNbd => pareto::expected_if_alive(self, pattern, weeks),
        }
    }

    /// The probability of at least one order in the next `weeks`: without one, she would be seen with the same orders at a
    /// greater age, so it is 1 minus the ratio of the two likelihoods.
    #[must_use]
    pub fn order_within(&self, pattern: &Pattern, weeks: f64) -> f64 {
        let later = Pattern { age_weeks: pattern.age_weeks + weeks, ..*pattern };
        let common = Common::new(self, pattern.repeats);
        let silent = (common.ln_likelihood(&later) - common.ln_likelihood(pattern)).exp();
        (1.0 - silent).clamp(0.0, 1.0)
    }
}

/// What all customers with as many repeats share.
enum Common {
    BetaGeometric(beta_geometric::Common),
    Pareto(pareto::Common),
}

impl Common {
    fn new(model: &Model, repeats: f64) -> Self {
        match model.kind {
            ModelKind::MbgNbd | ModelKind::BgNbd => Self::BetaGeometric(beta_geometric::Common::new(model, repeats)),
            ModelKind::ParetoNbd => Self::Pareto(pareto::Common::new(model, repeats)),
        }
    }

    fn ln_likelihood(&self, pattern: &Pattern) -> f64 {
        match self {
            Self::BetaGeometric(common) => common.ln_likelihood(pattern),
            Self::Pareto(common) => common.ln_likelihood(pattern),
        }
    }

    fn alive(&self, pattern: &Pattern) -> f64 {
        match self {
            Self::BetaGeometric(common) => common.alive(pattern),
            Self::Pareto(common) => common.alive(pattern),
        }
    }
}
