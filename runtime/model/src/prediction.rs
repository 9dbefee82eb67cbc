//! Predictions of the plan: which model of repeat buying, which of its values, over which horizon.

use crate::schema::FieldType;

/// A prediction over the orders of all streams.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PredictPlan {
    pub value: PredictedValue,
    pub model: RepeatModel,
    /// At least 1.
    pub horizon_days: u32,
    /// Part of the revenue that counts, 0 to 1.
    pub margin: f64,
    /// Money in a month is worth `1 / (1 + d)` of money now.
    pub discount_monthly: f64,
}

/// Which value of a prediction a trait shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictedValue {
    /// Days with orders within the horizon.
    ExpectedOrders,
    /// Discounted margin of the orders within the horizon.
    LifetimeValue,
    /// Probability of no order within the horizon.
    Churn,
    /// Probability that the customer has not stopped.
    Alive,
    /// Date of the next order.
    NextOrder,
}

impl PredictedValue {
    /// The type of the trait.
    #[must_use]
    pub fn kind(self) -> FieldType {
        match self {
            Self::ExpectedOrders | Self::Churn | Self::Alive => FieldType::Float,
            Self::LifetimeValue => FieldType::Decimal,
            Self::NextOrder => FieldType::Date,
        }
    }
}

/// Model of repeat buying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepeatModel {
    MbgNbd,
    BgNbd,
    ParetoNbd,
}
