//! What data a prediction needs, and why it is refused without.

use std::fmt;

use super::orders::History;

/// Buyers below which nothing is fitted (Klaviyo's public minimum for predictions).
pub const BUYERS_MIN: u64 = 500;
/// Days from the first order to the end of the data (Klaviyo).
pub const HISTORY_DAYS_MIN: i32 = 180;
/// Days since the last order of anybody (Klaviyo).
pub const SILENT_DAYS_MAX: i32 = 30;
/// Buyers with at least three days of orders: without some, nothing tells a slow buyer from one who stopped.
pub const FREQUENT_BUYERS_MIN: u64 = 10;
/// Buyers with repeat orders of positive value, for a model of values.
pub const VALUED_BUYERS_MIN: u64 = 100;
/// Correlation of frequency and value, either sign, above which Gamma-Gamma does not apply (Fader and Hardie 2013).
pub const CORRELATION_MAX: f64 = 0.3;

/// Why there is no prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refusal {
    NoOrders,
    FewBuyers {
        buyers: u64,
    },
    ShortHistory {
        days: i32,
    },
    Silent {
        days: i32,
    },
    FewFrequentBuyers {
        buyers: u64,
    },
    FewValuedBuyers {
        buyers: u64,
    },
    ValuesDependOnFrequency {
        correlation: f64,
    },
    /// The values of the base have no finite mean under the model.
    HeavyValues,
    /// No parameters could be found.
    NoFit,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOrders => write!(f, "there are no orders"),
            Self::FewBuyers { buyers } => write!(f, "{buyers} customers bought, it takes {BUYERS_MIN}"),
            Self::ShortHistory { days } => write!(f, "the orders go back {days} days, it takes {HISTORY_DAYS_MIN}"),
            Self::Silent { days } => write!(f, "the last order is {days} days old, it may be {SILENT_DAYS_MAX}"),
            Self::FewFrequentBuyers { buyers } => {
                write!(f, "{buyers} customers bought on three days or more, it takes {FREQUENT_BUYERS_MIN}")
            }
            Self::FewValuedBuyers { buyers } => {
                write!(f, "{buyers} customers have repeat orders of some value, it takes {VALUED_BUYERS_MIN}")
            }
            Self::ValuesDependOnFrequency { correlation } => write!(
                f,
                "who buys often spends differently: the correlation of frequency and value is {correlation:.2}, it may be {CORRELATION_MAX} either way"
            ),
            Self::HeavyValues => write!(f, "a few orders are so large that the mean of the fitted values is not finite"),
            Self::NoFit => write!(f, "no parameters explain the orders"),
        }
    }
}

/// Whether the history is enough for a model of repeat buying, seen on the evening of `end_day`.
///
/// # Errors
/// The first thing that is missing.
pub fn admit(history: &History, end_day: i32) -> Result<(), Refusal> {
    let Some((first, last)) = history.days() else { return Err(Refusal::NoOrders) };
    let (mut buyers, mut frequent) = (0_u64, 0_u64);
    for visits in history.customers() {
        buyers += 1;
        frequent += u64::from(visits.len() >= 3);
    }
    let (age, silent) = (end_day.saturating_sub(first), end_day.saturating_sub(last));
    if buyers < BUYERS_MIN {
        Err(Refusal::FewBuyers { buyers })
    } else if age < HISTORY_DAYS_MIN {
        Err(Refusal::ShortHistory { days: age })
    } else if silent > SILENT_DAYS_MAX {
        Err(Refusal::Silent { days: silent })
    } else if frequent < FREQUENT_BUYERS_MIN {
        Err(Refusal::FewFrequentBuyers { buyers: frequent })
    } else {
        Ok(())
    }
}
