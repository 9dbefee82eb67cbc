//! What the SDK writes is what the host reads: the two descriptions of manifests, streams and targets stay one.

use affluent_sdk::manifest::{
    Assertion, AuthSlot, BinaryEncoding, BodyDigest, DestinationInfo, Durable, HashAlgorithm, HmacSignature, Idempotence,
    Manifest, OauthClient, PluginLimits, RateLimit, SecretForm, SignedPart, TargetSchema, TimestampForm, ValueForm, Webhooks,
    WriteMode,
};
use affluent_sdk::{Field, FieldType, PiiClass, PluginKind, StreamSchema};
use schemars::JsonSchema;

use crate::manifest as model;

#[derive(JsonSchema)]
struct Config {
    #[expect(dead_code, reason = "only its schema is used")]
    shop: String,
}

fn example() -> Manifest {
    Manifest::new::<Config>("shop", "0.1.0", [PluginKind::Source, PluginKind::Destination])
        .description("a shop")
        .host("{config.shop}.example.org", &[("config.shop", "^[a-z]+$")])
        .auth("token", AuthSlot::header("X-Token", "Key ", "access_token"))
        .auth("other", AuthSlot::basic("me", "access_token"))
        .auth("bearer", AuthSlot::bearer("access_token"))
        .auth("query", AuthSlot::query("key", "access_token"))
        .auth("signed", signature())
        .auth("client", AuthSlot::client_credentials(oauth()))
        .auth("refreshed", AuthSlot::refresh(oauth(), "access_token"))
        .auth("asserted", AuthSlot::jwt_bearer(oauth(), Assertion::new("access_token").subject("{config.shop}").audience("a")))
        .secret("access_token", "API token", &["read"])
        .webhooks(webhooks())
        .rate_limit(RateLimit::new(10, 1_000).burst(3).matching("POST /bulk"))
        .costs(r#"{ "requests_per_day": 9, "read": { "lines": [{ "request": "GET /lines", "requests": 2, "per_rows": 500, "of": "listed" }] } }"#)
        .limits(PluginLimits { memory_mib: Some(64), ..PluginLimits::default() })
        .with_files()
}

fn webhooks() -> Webhooks {
    let signature = HmacSignature::new("X-Signature", "access_token", [SignedPart::Body, SignedPart::Timestamp]);
    let signature = signature.timestamp("X-Time", TimestampForm::Milliseconds);
    Webhooks::signed(signature).max_age_s(300).url_unescaped(":/").requests("X-Topic", &["erase"], "/id")
}

fn oauth() -> OauthClient {
    let urls = ["https://{config.shop}.example.org/token"];
    OauthClient::new(&urls, "access_token", "access_token").scopes(&["read"]).basic().parameter("audience", "a").header("X-Token")
}

/// With everything that is not usual.
fn signature() -> HmacSignature {
    let texts =
        [SignedPart::Text("\n".to_owned()), SignedPart::Header("X-Id".to_owned()), SignedPart::Secret("access_token".to_owned())];
    let words = [
        SignedPart::Method,
        SignedPart::Url,
        SignedPart::Host,
        SignedPart::Path,
        SignedPart::Query,
        SignedPart::PathAndQuery,
        SignedPart::Body,
        SignedPart::BodyDigest,
        SignedPart::Timestamp,
    ];
    let digest = BodyDigest { algorithm: HashAlgorithm::Sha1, name: Some("Digest".to_owned()), ..BodyDigest::default() };
    HmacSignature::new("X-Signature", "access_token", words.into_iter().chain(texts))
        .algorithm(HashAlgorithm::Sha512)
        .encoding(BinaryEncoding::Base64)
        .secret_form(SecretForm::Hex)
        .prefix("v1=")
        .timestamp("X-Time", TimestampForm::HttpDate)
        .body_digest(digest)
        .key("X-Key", "access_token")
}

#[test]
fn the_host_reads_the_manifest_as_written() {
    let written = serde_json::to_value(example()).unwrap();

    let read: model::Manifest = serde_json::from_value(written.clone()).unwrap();

    assert_eq!((read.auth_mistakes(), read.webhook_mistakes()), Default::default());
    assert_eq!(serde_json::to_value(read).unwrap(), written);
}

#[test]
fn the_host_reads_streams_as_written() {
    let types = [FieldType::Decimal, FieldType::Timestamp, FieldType::Json, FieldType::Binary];
    let fields = types.map(|kind| Field::new(kind.as_str(), kind).pii(PiiClass::BirthDate).description("d"));
    let stream = StreamSchema::new("lines", fields.to_vec()).primary_key(["decimal"]).incremental(Some("timestamp"));
    let written = serde_json::to_value(stream.child_of("orders", "json")).unwrap();

    let read: crate::schema::StreamSchema = serde_json::from_value(written.clone()).unwrap();

    assert_eq!(serde_json::to_value(read).unwrap(), written);
}

#[test]
fn the_host_reads_targets_and_promises_as_written() {
    let target = TargetSchema {
        name: "profiles".to_owned(),
        fields: vec![Field::new("email", FieldType::Text)],
        any_fields: false,
        open_fields: vec!["properties.".to_owned()],
        match_fields: vec!["email".to_owned()],
        modes: vec![WriteMode::Upsert, WriteMode::Mirror],
        lists: true,
        plaintext: vec!["email".to_owned()],
        max_rows: Some(100),
    };
    let info = DestinationInfo::new(Durable::Write, Idempotence::ByKey).max_rows(1_000).form("phone", ValueForm::E164);
    let (target, info) = (serde_json::to_value(target).unwrap(), serde_json::to_value(info).unwrap());

    let read_target: model::TargetSchema = serde_json::from_value(target.clone()).unwrap();
    let read_info: model::DestinationInfo = serde_json::from_value(info.clone()).unwrap();

    assert_eq!(serde_json::to_value(read_target).unwrap(), target);
    assert_eq!(serde_json::to_value(read_info).unwrap(), info);
}
