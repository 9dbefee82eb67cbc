//! Purchase behaviour: from the orders of all customers to counts, cohorts, RFM bins, fitted models and what they predict.
//! Values in, values out; a customer is a number here, and the caller knows which profile it is. Days are counted from
//! 1970-01-01 UTC, money is in millionths of one currency, so that sums do not depend on the order of the orders.

pub mod affinity;
pub mod calendar;
pub mod card;
pub mod categories;
pub mod cohorts;
pub mod gate;
pub mod holdout;
pub mod insights;
pub mod metrics;
pub mod models;
pub mod next_order;
pub mod orders;
pub mod predict;
pub mod rfm;
pub mod summary;
#[cfg(test)]
mod tests;
