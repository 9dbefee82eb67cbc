//! Orders as they came, and the history that is made of them: which orders count, and the days on which a customer bought.

use std::collections::HashMap;

use crate::by_number::by_number;

/// Millionths in one unit of a currency.
pub const MICROS: f64 = 1_000_000.0;

/// One order of one customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// The caller's number of the customer.
    pub customer: u32,
    /// Days since 1970-01-01 UTC.
    pub day: i32,
    /// What is left after refunds, in millionths of the currency. Negative: a refund that is a record of its own.
    pub net_micros: i64,
}

/// The orders of one customer on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    pub customer: u32,
    /// Days since 1970-01-01 UTC.
    pub day: i32,
    /// Orders of the day, at least 1.
    pub orders: u32,
    /// Their net value after refunds, in millionths of the currency.
    pub net_micros: i64,
}

/// Days with orders of all customers, sorted by customer and day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    visits: Vec<Visit>,
}

/// Whether an order of value zero counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FreeOrders {
    #[default]
    LeaveOut,
    Count,
}

/// States, in lower case, in which an order is not a purchase: it was taken back, paid back whole, or never completed.
const NOT_COMPLETED: [&str; 12] = [
    "cancelled",
    "canceled",
    "voided",
    "void",
    "refunded",
    "expired",
    "failed",
    "declined",
    "rejected",
    "abandoned",
    "draft",
    "checkout-draft",
];

/// True when an order in this state is a purchase; an order without a state is one.
#[must_use]
pub fn is_completed(status: &str) -> bool {
    !NOT_COMPLETED.iter().any(|state| status.trim().eq_ignore_ascii_case(state))
}

/// The states in which an order does not count, in lower case.
#[must_use]
pub fn not_completed() -> &'static [&'static str] {
    &NOT_COMPLETED
}

impl History {
    /// The history of completed orders. A negative one is a refund: it lowers the value of the customer's last visit until
    /// then and no count, and is left out when there was none. A visit of one order that is paid back whole is left out.
    #[must_use]
    pub fn new(orders: Vec<Order>, free: FreeOrders) -> Self {
        let mut orders = by_number(orders, |order| order.customer);
        for of_customer in orders.chunk_by_mut(|one, other| one.customer == other.customer) {
            of_customer.sort_unstable_by_key(|order| (order.day, order.net_micros < 0, order.net_micros));
        }
        let mut visits: Vec<Visit> = Vec::new();
        let mut paid_back = false;
        for order in orders {
            let last = visits.last_mut().filter(|visit| visit.customer == order.customer);
            let is_order = order.net_micros > 0 || (order.net_micros == 0 && free == FreeOrders::Count);
            match last {
                Some(visit) if order.net_micros < 0 => {
                    visit.net_micros = visit.net_micros.saturating_add(order.net_micros);
                    paid_back |= visit.orders == 1 && visit.net_micros <= 0;
                }
                Some(visit) if visit.day == order.day && is_order => {
                    visit.orders = visit.orders.saturating_add(1);
                    visit.net_micros = visit.net_micros.saturating_add(order.net_micros);
                }
                _ if is_order => {
                    let Order { customer, day, net_micros } = order;
                    visits.push(Visit { customer, day, orders: 1, net_micros });
                }
                _ => {}
            }
        }
        if paid_back {
            let is_paid_back = |visit: &Visit| visit.orders == 1 && visit.net_micros <= 0;
            visits.retain(|visit| !is_paid_back(visit) || (visit.net_micros == 0 && free == FreeOrders::Count));
        }
        Self { visits }
    }

    /// The history of orders in several currencies, from the history of each: they count, and the values of the first one
    /// alone stay.
    #[must_use]
    pub fn of_currencies(histories: impl IntoIterator<Item = Self>) -> Self {
        let mut histories = histories.into_iter();
        let mut visits = histories.next().unwrap_or_default().visits;
        let first = visits.len();
        for other in histories {
            visits.extend(other.visits.into_iter().map(|visit| Visit { net_micros: 0, ..visit }));
        }
        if visits.len() > first {
            visits.sort_unstable_by_key(|visit| (visit.customer, visit.day));
            visits.dedup_by(|next, visit| {
                let is_same_day = (next.customer, next.day) == (visit.customer, visit.day);
                if is_same_day {
                    visit.orders = visit.orders.saturating_add(next.orders);
                    visit.net_micros = visit.net_micros.saturating_add(next.net_micros);
                }
                is_same_day
            });
        }
        Self { visits }
    }

    /// All visits, by customer and day.
    #[must_use]
    pub fn visits(&self) -> &[Visit] {
        &self.visits
    }

    /// The visits of each customer who bought, by customer.
    pub fn customers(&self) -> impl Iterator<Item = &[Visit]> {
        self.visits.chunk_by(|a, b| a.customer == b.customer)
    }

    /// The histories of groups of customers; who is in none is left out.
    #[must_use]
    pub fn by_group(&self, group_of: &HashMap<u32, u32>) -> HashMap<u32, Self> {
        let mut groups: HashMap<u32, Self> = HashMap::new();
        for visits in self.customers() {
            let group = visits.first().and_then(|visit| group_of.get(&visit.customer));
            if let Some(group) = group {
                groups.entry(*group).or_default().visits.extend_from_slice(visits);
            }
        }
        groups
    }

    /// Orders of all days.
    #[must_use]
    pub fn orders(&self) -> u64 {
        self.visits.iter().map(|visit| u64::from(visit.orders)).sum()
    }

    /// True when nobody bought.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.visits.is_empty()
    }

    /// The first and the last day with an order.
    #[must_use]
    pub fn days(&self) -> Option<(i32, i32)> {
        let first = self.visits.iter().map(|visit| visit.day).min()?;
        let last = self.visits.iter().map(|visit| visit.day).max()?;
        Some((first, last))
    }

    /// The same with the orders of one day taken as one order.
    #[must_use]
    pub fn with_one_order_a_day(mut self) -> Self {
        self.visits.iter_mut().for_each(|visit| visit.orders = 1);
        self
    }

    /// What was known on the evening of `day`.
    #[must_use]
    pub fn until(mut self, day: i32) -> Self {
        self.visits.retain(|visit| visit.day <= day);
        self
    }

    /// The history of every n-th customer, so that at most `customers_max` are left.
    #[must_use]
    pub fn sample(&self, customers_max: usize) -> Self {
        let step = self.customers().count().div_ceil(customers_max.max(1)).max(1);
        Self { visits: self.customers().step_by(step).flatten().copied().collect() }
    }
}
