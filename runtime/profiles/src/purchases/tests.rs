//! What is known of the CDNOW sample, and rules on small histories.

mod golden;
mod rules;

use super::calendar::day_of;
use super::orders::{FreeOrders, History, Order};

/// Every row of the sample: customer, day, value.
pub(super) fn sample_orders() -> Vec<Order> {
    include_str!("../../testdata/cdnow_sample.txt").lines().filter_map(order).collect()
}

fn order(line: &str) -> Option<Order> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let customer = fields.next()?.parse().ok()?;
    let date: u32 = fields.next()?.parse().ok()?;
    let value: f64 = fields.nth(1)?.parse().ok()?;
    let day = day_of(i32::try_from(date / 10_000).ok()?, date / 100 % 100, date % 100)?;
    Some(Order { customer, day, net_micros: (value * 1e6).round() as i64 })
}

/// Each row is an order, also the eight of value zero: the published values count them.
pub(super) fn rows_as_orders() -> History {
    History::new(sample_orders(), FreeOrders::Count)
}

/// The rows of one day are one order.
pub(super) fn sample() -> History {
    rows_as_orders().with_one_order_a_day()
}

pub(super) fn day(year: i32, month: u32, day: u32) -> i32 {
    day_of(year, month, day).unwrap()
}
