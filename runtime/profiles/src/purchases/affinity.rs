//! Which things are bought together more often than chance would have it, and what that recommends to whom.

use std::collections::HashMap;

use serde::Serialize;

use super::metrics::{count, ratio};

/// Things in one basket that pairs are made of; a larger one is left out, as its pairs grow with the square.
pub const BASKET_THINGS_MAX: usize = 200;
/// G² above which chance explains a pair in less than one of a thousand cases (χ², one degree of freedom).
pub const G2_MIN: f64 = 10.828;

/// Baskets that must hold both things of a pair before it says anything.
pub const TOGETHER_MIN: u64 = 10;

/// Two things, `a < b`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pair {
    pub a: u32,
    pub b: u32,
    /// Baskets with both.
    pub together: u64,
    /// Of all baskets.
    pub support: f64,
    /// `P(a ∧ b) / (P(a) P(b))`: above 1 they attract each other.
    pub lift: f64,
    /// Likelihood ratio of dependence against independence, `2 Σ observed ln(observed / expected)`.
    pub g2: f64,
    /// Probability of such a G² by chance.
    pub p_value: f64,
}

/// Pairs that at least `together_min` baskets hold, the highest lift first. `held` is (basket, thing): a basket is an
/// order, or all that a customer ever bought.
#[must_use]
pub fn pairs(mut held: Vec<(u32, u32)>, together_min: u64) -> Vec<Pair> {
    held.sort_unstable();
    held.dedup();
    let mut alone: HashMap<u32, u64> = HashMap::new();
    let mut both: HashMap<(u32, u32), u64> = HashMap::new();
    let mut baskets = 0_u64;
    for basket in held.chunk_by(|a, b| a.0 == b.0).filter(|basket| basket.len() <= BASKET_THINGS_MAX) {
        baskets += 1;
        for (place, (_, thing)) in basket.iter().enumerate() {
            *alone.entry(*thing).or_default() += 1;
            for (_, other) in basket.iter().skip(place + 1) {
                *both.entry((*thing, *other)).or_default() += 1;
            }
        }
    }
    let known = |thing: u32| alone.get(&thing).copied().unwrap_or(0);
    let frequent = both.into_iter().filter(|(_, together)| *together >= together_min.max(1));
    let mut pairs: Vec<Pair> = frequent.map(|((a, b), together)| pair((a, known(a)), (b, known(b)), together, baskets)).collect();
    pairs.sort_by(|one, other| other.lift.total_cmp(&one.lift).then((one.a, one.b).cmp(&(other.a, other.b))));
    pairs
}

fn pair((a, with_a): (u32, u64), (b, with_b): (u32, u64), together: u64, baskets: u64) -> Pair {
    let (all, in_a, in_b, in_both) = (count(baskets), count(with_a), count(with_b), count(together));
    let cells = [
        (in_both, in_a * in_b),
        (in_a - in_both, in_a * (all - in_b)),
        (in_b - in_both, (all - in_a) * in_b),
        (all - in_a - in_b + in_both, (all - in_a) * (all - in_b)),
    ];
    let seen = cells.into_iter().filter(|(observed, _)| *observed > 0.0);
    let g2 = 2.0 * seen.map(|(observed, expected)| observed * (observed * all / expected).ln()).sum::<f64>();
    let g2 = g2.max(0.0);
    Pair {
        a,
        b,
        together,
        support: ratio(in_both, all),
        lift: ratio(in_both * all, in_a * in_b),
        g2,
        p_value: libm::erfc((g2 / 2.0).sqrt()),
    }
}

/// The thing not yet bought with the highest lift to one that was, among pairs that chance does not explain.
#[must_use]
pub fn recommend(bought: &[u32], pairs_by_lift: &[Pair]) -> Option<u32> {
    let has = |thing: u32| bought.contains(&thing);
    let mut strong = pairs_by_lift.iter().filter(|pair| pair.lift > 1.0 && pair.g2 >= G2_MIN);
    strong.find(|pair| has(pair.a) != has(pair.b)).map(|pair| if has(pair.a) { pair.b } else { pair.a })
}

/// What each customer is recommended, sorted by customer; who has nothing that goes with what they have is left out. `held`
/// is (customer, thing), in any order and also more than once; of two things with the same lift the smaller number wins.
#[must_use]
pub fn recommendations(mut held: Vec<(u32, u32)>, together_min: u64) -> Vec<(u32, u32)> {
    held.sort_unstable();
    held.dedup();
    let mut strong = pairs(held.clone(), together_min);
    strong.retain(|pair| pair.lift > 1.0 && pair.g2 >= G2_MIN);
    let mut found = Vec::new();
    for of_customer in held.chunk_by(|a, b| a.0 == b.0) {
        let bought: Vec<u32> = of_customer.iter().map(|(_, thing)| *thing).collect();
        let customer = of_customer.first().map(|(customer, _)| *customer);
        found.extend(customer.zip(recommend(&bought, &strong)));
    }
    found
}

#[cfg(test)]
mod recommendation_tests {
    use super::*;

    /// Customers 0..30 buy 1 and 2, 30..60 buy 3 and 4, 60 buys 1 alone, 61 buys 9, 62 both sorts.
    fn held() -> Vec<(u32, u32)> {
        let teas = (0..30).flat_map(|customer| [(customer, 2), (customer, 1), (customer, 1)]);
        let coffees = (30..60).flat_map(|customer| [(customer, 3), (customer, 4)]);
        teas.chain(coffees).chain([(60, 1), (61, 9), (62, 1), (62, 2), (62, 3), (62, 4)]).collect()
    }

    #[test]
    fn what_goes_with_what_one_has_is_recommended_to_whom_it_is_new() {
        assert_eq!(recommendations(held(), TOGETHER_MIN), [(60, 2)]);
    }

    #[test]
    fn pairs_of_too_few_recommend_nothing() {
        assert!(recommendations(held(), 32).is_empty());
    }

    #[test]
    fn the_order_of_what_was_bought_changes_nothing() {
        let mut turned = held();
        turned.reverse();

        assert_eq!(recommendations(turned, TOGETHER_MIN), recommendations(held(), TOGETHER_MIN));
    }
}
