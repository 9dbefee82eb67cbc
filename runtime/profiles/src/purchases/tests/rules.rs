//! Definitions, on histories small enough to count by hand, and what holds for any.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{day, rows_as_orders, sample};
use crate::purchases::affinity::{pairs, recommend};
use crate::purchases::categories::{CategoryCounts, Line, Popularity, ranking, top_categories};
use crate::purchases::cohorts::cohorts;
use crate::purchases::gate::{Refusal, admit};
use crate::purchases::holdout::{Ranking, auc};
use crate::purchases::metrics::{gaps, months, quantile, repeat_rate_within, retention_rate, totals};
use crate::purchases::models::{Model, ModelKind};
use crate::purchases::next_order::{Rhythms, next_order};
use crate::purchases::orders::{FreeOrders, History, Order, is_completed};
use crate::purchases::predict::{Settings, Terms, predict};
use crate::purchases::rfm::{CutPoints, rfm};
use crate::purchases::summary::Pattern;

/// `customer day value` per order.
fn history(orders: &[(u32, i32, i64)]) -> History {
    let order =
        |(customer, day, value): &(u32, i32, i64)| Order { customer: *customer, day: *day, net_micros: value * 1_000_000 };
    History::new(orders.iter().map(order).collect(), FreeOrders::LeaveOut)
}

#[test]
fn a_refund_lowers_the_value_and_not_the_count_unless_it_is_whole() {
    let history = history(&[(1, 10, 50), (1, 12, -20), (2, 10, 30), (2, 15, -30), (3, 10, 0), (4, 9, -5)]);

    let all = totals(&history);

    assert_eq!((all.orders, all.buyers, all.revenue), (1, 1, 30.0));
}

#[test]
fn orders_in_several_currencies_all_count_and_refunds_stay_in_theirs() {
    let euros = history(&[(1, 1, 100), (1, 3, -100), (2, 2, 50)]);
    let dollars = history(&[(1, 2, 50), (2, 2, 70), (2, 5, 10)]);
    let all = History::of_currencies([euros, dollars]);

    let told: Vec<(u32, i32, u32, i64)> =
        all.visits().iter().map(|visit| (visit.customer, visit.day, visit.orders, visit.net_micros / 1_000_000)).collect();
    assert_eq!(told, [(1, 2, 1, 0), (2, 2, 2, 50), (2, 5, 1, 0)]);
}

#[test]
fn an_order_in_an_open_or_unknown_state_counts_and_a_cancelled_one_does_not() {
    let cases = [
        ("paid", true),
        ("", true),
        ("PARTIALLY_REFUNDED", true),
        ("Cancelled", false),
        ("VOIDED", false),
        (" refunded ", false),
    ];
    for (status, expected) in cases {
        assert_eq!(is_completed(status), expected, "{status}");
    }
}

#[test]
fn the_repeat_rate_within_a_time_leaves_out_who_is_too_new_to_tell() {
    let history = history(&[(1, 0, 1), (1, 20, 1), (2, 0, 1), (2, 40, 1), (3, 95, 1)]);

    assert_eq!(repeat_rate_within(&history, 30, 100), 0.5);
}

#[test]
fn classic_retention_leaves_out_who_was_acquired() {
    assert_eq!(retention_rate(100, 30, 90), Some(0.6));
    assert_eq!(retention_rate(0, 30, 30), None);
}

#[test]
fn months_without_orders_are_there_and_a_buyer_is_new_once() {
    let history = history(&[(1, day(2026, 1, 5), 10), (1, day(2026, 3, 1), 10), (2, day(2026, 3, 2), 5)]);

    let found: Vec<_> = months(&history).iter().map(|one| (one.orders, one.buyers, one.new_buyers, one.revenue)).collect();

    assert_eq!(found, [(1, 1, 1, 10.0), (0, 0, 0, 0.0), (2, 2, 1, 15.0)]);
}

#[test]
fn rolling_retention_counts_who_comes_later_too() {
    let history = history(&[(1, day(2026, 1, 5), 1), (1, day(2026, 4, 1), 1), (2, day(2026, 1, 6), 1), (2, day(2026, 2, 6), 1)]);

    let [cohort] = <[_; 1]>::try_from(cohorts(&history, day(2026, 4, 30))).unwrap();

    assert_eq!((cohort.size, cohort.ordering, cohort.ordering_since), (2, vec![1, 0, 1], vec![2, 1, 1]));
}

#[test]
fn who_bought_last_and_most_is_in_the_best_cell() {
    let orders: Vec<(u32, i32, i64)> =
        (1..=5).flat_map(|who| (0..who).map(move |n| (who as u32, n * 10, i64::from(who)))).collect();

    let (_, placed) = rfm(&history(&orders), 5, 50);

    let cells: Vec<u32> = placed.iter().map(|(_, rfm)| rfm.cell()).collect();
    assert_eq!(cells, [111, 222, 333, 444, 555]);
}

fn percent_rank_bin(values: &[i64], value: i64, bins: usize) -> usize {
    let below = values.iter().filter(|other| **other < value).count();
    if values.len() < 2 { 1 } else { (1 + bins * below / (values.len() - 1)).min(bins) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn cut_points_bin_by_percent_rank(values in prop::collection::vec(-20_i64..20, 1..40), bins in 2_u8..=9) {
        let cuts = CutPoints::new(values.clone(), bins);
        for value in &values {
            prop_assert_eq!(usize::from(cuts.bin(*value)), percent_rank_bin(&values, *value, usize::from(bins)));
        }
    }

    #[test]
    fn the_history_does_not_depend_on_the_order_of_arrival(
        orders in prop::collection::vec((0_u32..4, 0_i32..9, -3_i64..9), 0..20), turn in 0_usize..20,
    ) {
        let mut turned = orders.clone();
        turned.rotate_left(turn % orders.len().max(1));
        turned.reverse();
        prop_assert_eq!(history(&orders), history(&turned));
    }

    #[test]
    fn probabilities_are_probabilities_and_more_time_brings_more(
        r in 0.05_f64..20.0, alpha in 0.05_f64..200.0, a in 0.05_f64..20.0, b in 0.05_f64..200.0,
        repeats in 0_u32..300, recency in 0.0_f64..1.0, age in 0.0_f64..300.0, ahead in 0.1_f64..100.0, which in 0_usize..3,
    ) {
        let kind = [ModelKind::MbgNbd, ModelKind::BgNbd, ModelKind::ParetoNbd][which];
        let model = Model { kind, parameters: [r, alpha, a, b] };
        let recency_weeks = if repeats == 0 { 0.0 } else { recency * age };
        let pattern = Pattern { repeats: f64::from(repeats), recency_weeks, age_weeks: age };
        let (alive, within) = (model.alive(&pattern), model.order_within(&pattern, ahead));
        prop_assert!((0.0..=1.0).contains(&alive), "alive {}", alive);
        prop_assert!((0.0..=1.0).contains(&within) && within <= alive + 1e-6, "{} within, alive {}", within, alive);
        let (sooner, later) = (model.expected_orders(&pattern, ahead), model.expected_orders(&pattern, 2.0 * ahead));
        prop_assert!(sooner >= 0.0 && later >= sooner * (1.0 - 1e-9), "{} then {}", sooner, later);
        prop_assert!(within <= sooner + 1e-6, "{} within, {} expected", within, sooner);
    }
}

#[test]
fn the_area_under_the_curve_shares_ties() {
    assert_eq!(auc(&[3.0, 2.0, 1.0], &[true, true, false]), 1.0);
    assert_eq!(auc(&[1.0, 1.0, 1.0], &[true, false, false]), 0.5);
    assert_eq!(auc(&[1.0, 2.0], &[true, true]), 0.5);
}

#[test]
fn quantiles_fall_between_neighbours() {
    assert_eq!((quantile(&[1, 2, 3, 4], 0.25), quantile(&[7], 0.75), quantile(&[], 0.5)), (1.75, 7.0, 0.0));
}

#[test]
fn the_next_order_is_drawn_to_the_rhythm_of_all() {
    let history = history(&[(1, 0, 1), (1, 10, 1), (2, 0, 1), (2, 40, 1), (2, 80, 1), (3, 0, 1)]);
    let all = gaps(&history);
    let visits: Vec<_> = history.customers().collect();

    // The gaps 10, 40, 40 have the median 40: (1 × 10 + 3 × 40) / 4 = 32.5 days after day 10.
    assert_eq!(next_order(visits[0], &all, 0.9, 20).map(|next| next.day), Some(43));
    assert_eq!(next_order(visits[0], &all, 0.2, 20).map(|next| next.day), Some(43));
    assert_eq!(next_order(visits[0], &all, 0.2, 60), None);
    assert_eq!(next_order(visits[2], &all, 0.9, 20), None);
}

#[test]
fn popularity_has_three_rankings() {
    let line = |customer, order, category, units, value: i64| Line {
        customer,
        order,
        category,
        units,
        net_micros: value * 1_000_000,
        currency: 0,
    };
    let lines =
        [line(1, 1, 0, 1.0, 5), line(1, 2, 0, 1.0, 5), line(1, 2, 1, 9.0, 4), line(2, 3, 2, 2.0, 90), line(2, 3, 2, 1.0, 10)];
    let mut counts = CategoryCounts::default();
    lines.iter().for_each(|line| counts.add(line));
    counts.add(&Line { currency: 2, ..line(2, 1, 1, 0.5, 1_000) });
    let (totals, held) = counts.finish();
    let first = |by| ranking(&totals, by).first().map(|one| one.category);

    assert_eq!((first(Popularity::Orders), first(Popularity::Units), first(Popularity::Revenue(0))), (Some(0), Some(1), Some(2)));
    assert_eq!(first(Popularity::Revenue(2)), Some(1));
    let cups = &totals[1];
    assert_eq!((cups.orders, cups.buyers, cups.units, cups.revenue.as_slice()), (2, 2, 9.5, &[4.0, 0.0, 1_000.0][..]));
    assert_eq!(totals[2].orders, 1);
    assert_eq!(held, [(1, 0), (1, 1), (2, 1), (2, 2)]);
    let names = ["books".to_owned(), "cups".to_owned(), "art".to_owned()];
    assert_eq!(top_categories(&lines, &names).get(&1), Some(&0));
}

#[test]
fn what_is_bought_together_more_than_by_chance_is_recommended() {
    // 100 baskets: 40 with bread and butter, 60 with tea alone.
    let held = (0..40).flat_map(|basket| [(basket, 0), (basket, 1)]).chain((40..100).map(|basket| (basket, 2))).collect();

    let pairs = pairs(held, 5);

    let [pair] = <[_; 1]>::try_from(pairs).unwrap();
    assert_eq!((pair.a, pair.b, pair.together, pair.support, pair.lift), (0, 1, 40, 0.4, 2.5));
    assert!((pair.g2 - 134.602).abs() < 1e-3 && pair.p_value < 1e-6, "{pair:?}");
    assert_eq!((recommend(&[1], &[pair]), recommend(&[2], &[pair]), recommend(&[0, 1], &[pair])), (Some(0), None, None));
}

#[test]
fn too_little_data_is_refused_with_the_reason() {
    let many = |buyers: u32| -> Vec<(u32, i32, i64)> {
        (0..buyers).flat_map(|who| [(who, 0, 9), (who, 30, 9), (who, 400, 9)]).collect()
    };
    let cases = [
        (history(&[]), 10, Refusal::NoOrders),
        (history(&many(499)), 400, Refusal::FewBuyers { buyers: 499 }),
        (history(&many(500)).until(30), 40, Refusal::ShortHistory { days: 40 }),
        (history(&many(500)), 431, Refusal::Silent { days: 31 }),
        (history(&many(500)).until(30), 60, Refusal::ShortHistory { days: 60 }),
    ];
    for (history, end, expected) in cases {
        assert_eq!(admit(&history, end), Err(expected));
    }
    assert_eq!(admit(&history(&many(500)), 410), Ok(()));
}

fn settings(kind: ModelKind) -> Settings {
    Settings { kind, with_values: true, horizon_days: 365, terms: Terms::default(), ranking: Ranking::OrderWithin }
}

#[test]
fn a_prediction_of_the_sample_has_its_card() {
    let predicted = predict(&rows_as_orders(), day(1998, 6, 30), &settings(ModelKind::MbgNbd));

    let card = predicted.card;
    assert_eq!((card.buyers, card.orders, card.refusal.as_deref()), (2357, 6696, None));
    assert_eq!((card.first_order_on.as_str(), card.end_on.as_str()), ("1997-01-01", "1998-06-30"));
    let models: Vec<&str> = card.fits.iter().map(|fit| fit.model.as_str()).collect();
    assert_eq!(models, ["mbg_nbd", "gamma_gamma"]);
    let holdout = card.holdout.unwrap();
    assert_eq!((holdout.days, holdout.fitted_until.as_str()), (181, "1997-12-31"));
    assert_eq!(predicted.predictions.len(), 2357);
    assert!(predicted.predictions.iter().all(|one| one.lifetime_value.is_some_and(|value| value >= 0.0)));
}

#[test]
fn a_card_says_when_recency_alone_is_as_good() {
    let card = predict(&sample(), day(1998, 6, 30), &settings(ModelKind::BgNbd)).card;

    let holdout = card.holdout.unwrap();
    assert_eq!(holdout.verdict == "model_wins", holdout.auc_order_within > holdout.auc_recency);
    assert!(card.notes.contains(&holdout.sentence()));
}

#[test]
fn a_base_that_went_silent_gets_no_prediction() {
    let predicted = predict(&sample(), day(1998, 9, 1), &settings(ModelKind::MbgNbd));

    assert_eq!(predicted.card.refusal.as_deref(), Some("the last order is 63 days old, it may be 30"));
    assert_eq!(predicted.predictions, []);
}

#[test]
fn a_next_order_is_drawn_to_the_rhythm_of_the_category_where_that_has_one() {
    // Fifteen buyers of category 0 come every 10 days, fifteen of category 1 every 60; category 2 has one buyer.
    let mut orders = Vec::new();
    for customer in 0..30_u32 {
        let gap = if customer < 15 { 10 } else { 60 };
        orders.extend((0..3).map(|time| Order { customer, day: time * gap, net_micros: 1_000_000 }));
    }
    for customer in [40, 41, 42] {
        orders.extend([0, 20].map(|day| Order { customer, day, net_micros: 1_000_000 }));
    }
    let history = History::new(orders, FreeOrders::LeaveOut);
    let mut category_of: HashMap<u32, u32> = (0..30).map(|customer| (customer, u32::from(customer >= 15))).collect();
    category_of.extend([(40, 0), (41, 1), (42, 2)]);

    let rhythms = Rhythms::new(&history, &category_of);
    let day_of = |customer: u32| {
        let visits = history.customers().find(|visits| visits[0].customer == customer).unwrap();
        next_order(visits, rhythms.of(customer), 1.0, 0).unwrap().day
    };

    assert_eq!(rhythms.categories(), 2);
    // (1 · 20 + 3 · 10) / 4 = 12.5, (1 · 20 + 3 · 60) / 4 = 50; of all, the median is 20.
    assert_eq!([40, 41, 42].map(day_of), [20 + 13, 20 + 50, 20 + 20]);
}
