use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::secret::Secret;

/// 2023-09-02T12:26:00Z.
const NOW_US: i64 = 1_693_657_560_000_000;

fn webhooks(value: &Value) -> Webhooks {
    serde_json::from_value(value.clone()).unwrap()
}

/// As HubSpot signs, version 3.
fn timed() -> Webhooks {
    webhooks(
        &json!({"max_age_s": 300, "url_unescaped": ":/?@!$'()*,;", "signature": {"secret": "client_secret", "encoding": "base64",
        "name": "X-Signature-v3", "signs": ["method", "url", "body", "timestamp"], "timestamp": {"name": "X-Time", "form": "milliseconds"}}}),
    )
}

/// As Shopify signs.
fn untimed() -> Webhooks {
    webhooks(&json!({"signature": {"secret": "client_secret", "encoding": "base64", "name": "X-Hmac", "signs": ["body"]},
        "requests": {"header": "X-Topic", "topics": ["customers/redact", "shop/redact"], "about": "/customer/id"}}))
}

fn request(headers: &[(&str, &str)], body: &str) -> WebhookRequest {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    WebhookRequest { method: "POST".to_owned(), headers, body: body.as_bytes().to_vec() }
}

fn checked(webhooks: &Webhooks, url: &str, request: &WebhookRequest, now_us: i64, secret: &str) -> WebhookCheck {
    verify(webhooks, Some(url), request, now_us, &|_| Ok(Arc::new(Secret::new(secret.to_owned())))).unwrap()
}

fn is_genuine(check: &WebhookCheck) -> bool {
    matches!(check, WebhookCheck::Genuine(_))
}

/// The first two are those of HubSpot's own clients for Python and Ruby (tests of `signature`, read 2026-11-28), the fifth that
/// of GitHub's documentation ("Validating webhook deliveries", 2026-11-28); all were worked out again with `openssl dgst -hmac`.
#[test]
fn signatures_are_those_of_the_services_themselves() {
    let example =
        ("https://www.example.com/webhook_uri", "{'example_field':'example_value'}", "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy");
    let hub = json!({"signature": {"secret": "s", "name": "X-Hub-Signature-256", "prefix": "sha256=", "signs": ["body"]}});
    let versioned = json!({"max_age_s": 300, "signature": {"secret": "s", "name": "X-Signature", "prefix": "v0=", "timestamp": {"name": "X-Time"},
        "signs": [{"text": "v0:"}, "timestamp", {"text": ":"}, "body"]}});
    let cases = [
        (timed(), example, vec![("X-Time", "1693657560000"), ("X-Signature-v3", "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=")]),
        (timed(), example, vec![("X-Time", "1700000300000"), ("X-Signature-v3", "RnbPH7+UMKVkbV32P8bz450N4M56aPmcru1+D3kSDtw=")]),
        (
            timed(),
            ("https://hooks.example.test/webhooks%2fcrm?to=a%3Ab/c%40d%20e", r#"[{"objectId":901}]"#, "client-secret-1"),
            vec![("X-Time", "1764300000000"), ("X-Signature-v3", "VZwBWEYlkUWLKSNrn68vcUa1DDFPjDXvhaRp9XOAvpA=")],
        ),
        (
            untimed(),
            ("https://any.test/", r#"{"id":7,"email":"ann@x.test"}"#, "shop-secret"),
            vec![("X-Hmac", "eibcc7rphSpSSKs88PW124C4SaxJ8b4SEg98aBiQ0W4=")],
        ),
        (
            webhooks(&hub),
            ("https://any.test/", "Hello, World!", "It's a Secret to Everybody"),
            vec![("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")],
        ),
        (
            webhooks(&versioned),
            ("https://any.test/", "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J", "8f742231b10e8888abcd99yyyzzz85a5"),
            vec![
                ("X-Time", "1531420618"),
                ("X-Signature", "v0=bca5eef5dd737ed259b428b18cd24f679baa18c3fc5f1cb2a6ac9f03e717969a"),
            ],
        ),
    ];
    for (webhooks, (url, body, secret), headers) in cases {
        let time = headers.iter().find(|(name, _)| *name == "X-Time").map_or("0", |(_, time)| time);
        let form = webhooks.signature.timestamp.as_ref().map_or(TimestampForm::Seconds, |timestamp| timestamp.form);
        let now_us = instant_us(time, form).unwrap();

        let check = checked(&webhooks, url, &request(&headers, body), now_us, secret);

        assert!(is_genuine(&check), "{url} {body}: {check:?}");
    }
}

/// A request that is genuine at [`NOW_US`].
fn genuine() -> WebhookRequest {
    let headers = [("X-Time", "1693657560000"), ("X-Signature-v3", "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=")];
    request(&headers, "{'example_field':'example_value'}")
}

const URL: &str = "https://www.example.com/webhook_uri";
const SECRET: &str = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy";

#[test]
fn five_minutes_are_the_age_at_which_a_webhook_ends_and_clocks_may_differ_as_much() {
    for (minutes_s, expected) in [(0, true), (300, true), (301, false), (86_400, false), (-300, true), (-301, false)] {
        let check = checked(&timed(), URL, &genuine(), NOW_US + minutes_s * 1_000_000, SECRET);

        assert_eq!(is_genuine(&check), expected, "{minutes_s} s: {check:?}");
    }
    let WebhookCheck::Genuine(webhook) = checked(&timed(), URL, &genuine(), NOW_US + 100_000_000, SECRET) else { panic!() };
    assert_eq!(webhook.expires_after_ms, Some(200_001));
}

#[test]
fn a_request_that_is_not_written_as_the_service_writes_it_is_refused_without_being_repeated() {
    let signature = "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=";
    let cases: [(&[(&str, &str)], &str); 11] = [
        (&[], "lacks a header"),
        (&[("X-Time", "1693657560000")], "lacks a header"),
        (&[("X-Signature-v3", signature)], "lacks a header"),
        (&[("X-Time", "1693657560000"), ("X-Signature-v3", signature), ("x-signature-V3", signature)], "twice"),
        (&[("X-Time", "1693657560000"), ("X-Time", "1"), ("X-Signature-v3", signature)], "twice"),
        (&[("X-Time", "1693657560000"), ("X-Signature-v3", "\u{e9}")], "no text"),
        (&[("X-Time", "1693657560000"), ("X-Signature-v3", "not base64!")], "not written as"),
        (&[("X-Time", "1693657560000"), ("X-Signature-v3", "K36d")], "does not fit"),
        (&[("X-Time", "1693657560000"), ("X-Signature-v3", "")], "does not fit"),
        (&[("X-Time", "+1693657560000"), ("X-Signature-v3", signature)], "its time is not written"),
        (&[("X-Time", "99999999999999999999"), ("X-Signature-v3", signature)], "its time is not written"),
    ];
    for (headers, expected) in cases {
        let check = checked(&timed(), URL, &request(headers, "{'example_field':'example_value'}"), NOW_US, SECRET);

        let WebhookCheck::Refused(why) = check else { panic!("{headers:?}") };
        assert!(why.contains(expected), "{headers:?}: {why}");
    }
}

#[test]
fn only_the_escapes_that_the_service_undoes_are_undone_and_once() {
    let cases = [
        ("a%3Ab%3ac", "a:b:c"),
        ("%2F%3F%40", "/?@"),
        ("%20%26%3D", "%20%26%3D"),
        ("%253A", "%253A"),
        ("100%", "100%"),
        ("%+3A%3", "%+3A%3"),
        ("%é%3A", "%é:"),
    ];
    for (text, expected) in cases {
        assert_eq!(unescaped(text, ":/?@!$'()*,;"), expected, "{text}");
    }
}

#[test]
fn what_a_person_is_asked_is_told_with_an_id_and_nothing_else() {
    let secret = "shop-secret";
    let cases = [
        (r#"{"customer":{"id":191167,"email":"ann@x.test"}}"#, "customers/redact", Some(("customers/redact", Some("191167")))),
        (r#"{"customer":{"id":"ann@x.test"}}"#, "customers/redact", Some(("customers/redact", None))),
        (r#"{"shop_id":9}"#, "shop/redact", Some(("shop/redact", None))),
        ("no json", "shop/redact", Some(("shop/redact", None))),
        (r#"{"customer":{"id":191167}}"#, "customers/update", None),
    ];
    for (body, topic, expected) in cases {
        let key = key_bytes(secret, untimed().signature.secret_form).unwrap();
        let mac = crate::signing::mac(untimed().signature.algorithm, &key, &[body.as_bytes().into()]).unwrap();
        let signature = crate::signing::encoded(&mac, untimed().signature.encoding);
        let request = request(&[("X-Hmac", &signature), ("X-Topic", topic)], body);

        let WebhookCheck::Genuine(webhook) = checked(&untimed(), URL, &request, NOW_US, secret) else { panic!("{body}") };

        let asked = webhook.asks.as_ref().map(|asked| (asked.topic.as_str(), asked.about.as_deref()));
        assert_eq!(asked, expected, "{body}");
        assert_eq!((webhook.signature, webhook.expires_after_ms), (mac, None), "{body}");
    }
}

#[test]
fn a_secret_that_cannot_be_had_is_an_error_and_no_refusal() {
    let missing = |_: &str| Err(Error::configuration("E0819", "nowhere to be found"));

    assert_eq!(verify(&timed(), Some(URL), &genuine(), NOW_US, &missing).unwrap_err().code, "E0819");
}

/// The same text with one bit of it flipped, where that is a text.
fn flipped(text: &str, at: usize) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let place = at / 8 % bytes.len();
    bytes[place] ^= 1 << (at % 7);
    String::from_utf8(bytes).ok()
}

proptest! {
    #[test]
    fn one_bit_of_what_is_signed_and_it_is_refused(at in 0usize..100_000, what in 0usize..6) {
        let (mut request, mut url, mut secret) = (genuine(), URL.to_owned(), SECRET.to_owned());
        let changed = match what {
            0 => { let place = at / 8 % request.body.len(); request.body[place] ^= 1 << (at % 8); true }
            1 => flipped(&request.method, at).map(|text| request.method = text).is_some(),
            2 => flipped(&url, at).filter(|text| Url::parse(text).is_ok()).map(|text| url = text).is_some(),
            3 => flipped(&secret, at).map(|text| secret = text).is_some(),
            // Of the time, only what is an instant near the clock says anything of the signature.
            4 => { request.headers[0].1 = (1_693_657_560_000 + i64::try_from(at).unwrap() + 1).to_string().into_bytes(); true }
            _ => { let place = at / 8 % 43; request.headers[1].1[place] ^= 1 << (at % 7); true }
        };
        prop_assume!(changed);
        prop_assert!(!is_genuine(&checked(&timed(), &url, &request, NOW_US, &secret)));
    }

    #[test]
    fn nothing_that_comes_in_is_too_strange(headers in prop::collection::vec((".{0,20}", prop::collection::vec(any::<u8>(), 0..40)), 0..6),
        body in prop::collection::vec(any::<u8>(), 0..100), method in ".{0,10}", time in any::<i64>()) {
        let mut headers: Vec<(String, Vec<u8>)> = headers;
        headers.push(("X-Time".to_owned(), time.to_string().into_bytes()));
        headers.push(("X-Signature-v3".to_owned(), body.clone()));
        let request = WebhookRequest { method, headers, body };
        prop_assert!(!is_genuine(&checked(&timed(), URL, &request, NOW_US, SECRET)));
        prop_assert!(!is_genuine(&checked(&untimed(), URL, &request, NOW_US, SECRET)));
    }

    #[test]
    fn any_escapes_end(text in ".{0,60}") {
        prop_assert!(unescaped(&text, ":/?").len() <= text.len());
    }
}
