use std::collections::BTreeMap;

use affluent_model::expression::{ConsentReach, EventStep, ExpressionMistake, PlannedSegment, SegmentCall, SegmentScope};

use super::*;
use crate::Expressions;

const fn reach(purpose: &'static str, channel: Option<&'static str>, scope: Option<&'static str>) -> ConsentReach<'static> {
    ConsentReach { purpose, channel, scope }
}

/// `news` by mail and by phone everywhere; `offers` of one shop on every channel.
const CONSENTS: &[ConsentReach<'static>] =
    &[reach("news", Some("email"), None), reach("news", Some("phone"), None), reach("offers", None, Some("shop_fr"))];

fn plan(text: &str) -> Result<PlannedSegment, ExpressionMistake> {
    let columns = schema(&[("country", FieldType::Text), ("spent", FieldType::Decimal)]);
    let orders = schema(&[("net", FieldType::Decimal), ("status", FieldType::Text), ("at", FieldType::Timestamp)]);
    let streams = BTreeMap::from([("orders".to_owned(), Some(orders.as_ref().clone())), ("visits".to_owned(), None)]);
    let scope = SegmentScope { columns: &columns, streams: &streams, segments: &["vip"], consents: CONSENTS, is_partial: false };
    Expressions::new().plan_segment(text, &scope)
}

fn step(stream: &str, condition: Option<&str>) -> EventStep {
    EventStep { stream: stream.to_owned(), condition: condition.map(str::to_owned) }
}

#[test]
fn calls_are_typed_like_columns_and_their_conditions_like_those_of_records() {
    let cases = [
        "did('orders') >= 2",
        "did('orders', '90d') * 2 > 3 AND country = 'FR'",
        "did('orders', net > 50) = 1",
        "DID('orders', '12h', status = 'paid' AND at > now() - INTERVAL '1 day') = 1",
        "did_not('orders', '90d') OR NOT did_not('visits', anything = 1)",
        "did_sequence('7d', 'visits', step('orders', net > 5))",
        "consent('news') = 'granted'",
        "consent('news', channel => 'email') = 'granted' AND consent('news', CHANNEL => 'phone', scope => 'any') <> 'denied'",
        "consent('offers', scope => 'shop_fr', channel => 'any') = 'granted'",
        "in_segment('vip') AND spent > 3",
    ];
    for text in cases {
        let planned = plan(text).map(|planned| planned.expression.data_type);
        assert_eq!(planned, Ok(DataType::Boolean), "{text}");
    }
}

#[test]
fn what_a_condition_reads_is_told_by_table() {
    let planned = plan("did('orders', net > 5 AND status = 'paid') > 0 AND country = 'FR'").unwrap();

    assert_eq!(planned.expression.columns, ["country"]);
    assert_eq!(planned.read, [("orders".to_owned(), vec!["net".to_owned(), "status".to_owned()])]);
}

#[test]
fn a_mistake_points_at_its_place_also_inside_of_a_call() {
    let cases = [
        ("did('ordrs') > 1", "no pipeline leads a stream `ordrs` into profiles", "'ordrs'"),
        ("did('orders', nett > 5) > 1", "unknown column `nett`", "nett"),
        ("did('orders', net) > 1", "the condition on records yields decimal, this must be true or false", "net"),
        ("did(\"orders\") > 1", "this must be a name", "\"orders\""),
        ("did('orders', '90 days') > 1", "`90 days` is not a duration", "'90 days'"),
        ("did('orders', '0d') > 1", "`0d` is no time at all", "'0d'"),
        ("did() > 1", "`did` names no stream", "did"),
        ("did('orders', '1d', net > 1, net > 2) > 1", "`did` takes a stream, a time and one condition", "did"),
        ("did_sequence('7d', 'orders')", "`did_sequence` takes a time and 2 to 8 steps", "did_sequence"),
        ("did_sequence('7d', 'orders', stepp('orders', net > 1))", "`stepp` is no step", "stepp"),
        ("in_segment('vips')", "there is no segment `vips`", "'vips'"),
        ("consent('mail') = 'granted'", "there is no purpose with consent `mail`", "'mail'"),
        ("consent('news', channel => 'emial') = 'x'", "no pipeline maps consent to `news` for the channel `emial`", "'emial'"),
        ("consent('offers', scope => 'shop') = 'x'", "no pipeline maps consent to `offers` for the scope `shop`", "'shop'"),
        ("consent('news', 'email') = 'x'", "`consent` takes a purpose and, by name, a channel and a scope", "consent"),
        ("consent('news', way => 'email') = 'x'", "`consent` takes a purpose and, each once, `channel` and `scope`", "consent"),
        ("consent(channel => 'email') = 'x'", "`consent` names no purpose", "consent"),
        ("in_segment(channel => 'email')", "`in_segment` is not written so", "in_segment"),
        ("did('orders', did('orders') > 1) > 1", "unknown function `did`", "did"),
        ("did('orders') > 1 AND cuntry = 'FR'", "unknown column `cuntry`", "cuntry"),
        ("did('orders') + country", "", ""),
    ];
    for (text, message, place) in cases {
        let mistake = plan(text).unwrap_err();
        if message.is_empty() {
            continue;
        }
        let start = mistake.offset.unwrap_or(usize::MAX);
        let pointed: String = text.chars().skip(start).take(mistake.length).collect();
        assert_eq!((mistake.message.as_str(), pointed.as_str()), (message, place), "{text}");
    }
}

#[test]
fn equal_calls_of_several_conditions_are_one_column() {
    let expressions = Expressions::new();
    let mut calls = Vec::new();

    let first = expressions.normalise_segment("did('orders', '90d', net>5) > 1 AND in_segment('vip')", &mut calls).unwrap();
    let second = expressions.normalise_segment("did_not('orders', '90d', net > 5)", &mut calls).unwrap();

    assert_eq!(first, ("\"_call_0\" > 1 AND \"_call_1\"".to_owned(), vec![0, 1]));
    assert_eq!(second, ("(\"_call_0\" = 0)".to_owned(), vec![0]));
    let did = SegmentCall::Did { step: step("orders", Some("\"net\" > 5")), window_ms: Some(90 * 86_400_000) };
    assert_eq!(calls, [did, SegmentCall::InSegment { segment: "vip".to_owned() }]);
}
