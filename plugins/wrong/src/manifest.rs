//! The manifest. It is asked for without a configuration, so its mistakes are chosen by bytes that a test writes into
//! the component.

use std::sync::atomic::{AtomicU32, Ordering};

use affluent_sdk::manifest::{Assertion, AuthSlot, HmacSignature, OauthClient};
use affluent_sdk::{Manifest, PluginKind};

use crate::Config;

/// Overwritten in the component by tests: a name of the same length, filled up with dots.
#[used]
static SWITCH: [u8; 40] = *b"affluent-wrong-switch:..................";

static CALLS: AtomicU32 = AtomicU32::new(0);

fn is(mistake: &str) -> bool {
    // Read in a way that the compiler cannot foresee: the bytes are other ones when it runs.
    let switch = std::hint::black_box(&SWITCH);
    let name = String::from_utf8_lossy(switch);
    name.split(':').nth(1).is_some_and(|name| name.trim_end_matches('.') == mistake)
}

pub(crate) fn manifest() -> Manifest {
    let kinds = [PluginKind::Source, PluginKind::Destination, PluginKind::Transform];
    let name = if is("bad_name") { "Wrong Plugin" } else { "wrong" };
    let mut manifest = Manifest::new::<Config>(name, env!("CARGO_PKG_VERSION"), kinds)
        .host("{config.base_url}", &[])
        .auth("token", AuthSlot::bearer("token"))
        .secret("token", "any text", &[]);
    manifest.formats.accepts.push("ndjson".to_owned());
    if is("unstable_manifest") {
        manifest = manifest.description(&format!("call {}", CALLS.fetch_add(1, Ordering::Relaxed)));
    }
    if is("unknown_host_var") {
        manifest = manifest.host("{config.shop}.example.org", &[]);
    }
    if is("undeclared_secret") {
        manifest = manifest.auth("spare", AuthSlot::bearer("other"));
    }
    if is("signs_nothing") {
        manifest = manifest.auth("signed", HmacSignature::new("X-Signature", "token", []));
    }
    manifest = with_tokens(manifest);
    let of = |side: &str, request: &str| format!(r#"{{ "{side}": {{ "nothing": [{{ "request": "{request}" }}] }} }}"#);
    for (mistake, costs) in [
        ("costs_no_json", "{".to_owned()),
        ("costs_no_request", of("read", "nothing")),
        ("costs_no_stream", of("read", "GET /nothing")),
        ("costs_no_object", of("write", "POST /nothing")),
    ] {
        if is(mistake) {
            manifest = manifest.costs(&costs);
        }
    }
    if is("bad_schema")
        && let Some(kind) = manifest.config_schema.get_mut("type")
    {
        *kind = "objekt".into();
    }
    if is("secret_in_config")
        && let Some(api_key) = manifest.config_schema.get_mut("properties")
    {
        api_key["api_key"] = serde_json::json!({"type": "string"});
    }
    if is("unused_files") {
        manifest = manifest.with_files();
    }
    if is("unknown_feature") {
        manifest.required_features.push("teleport".to_owned());
    }
    manifest
}

/// With slots whose tokens are asked for.
fn with_tokens(mut manifest: Manifest) -> Manifest {
    for (mistake, url) in [
        ("foreign_token_url", "https://tokens.example.org/token"),
        ("unknown_token_var", "{config.base_url}/{config.shop}/token"),
    ] {
        if is(mistake) {
            let client = OauthClient::new(&[url], "token", "token");
            manifest = manifest.auth("api", AuthSlot::client_credentials(client));
        }
    }
    // No mistake: what the slot's requests carry is got by a refresh token.
    if is("refreshes") {
        let client = OauthClient::new(&["{config.base_url}/oauth/token"], "client_id", "client_secret");
        manifest = manifest.auth("token", AuthSlot::refresh(client, "token")).secret("client_id", "any text", &[]).secret(
            "client_secret",
            "any text",
            &[],
        );
    }
    let signed = |subject: &str| {
        let client = OauthClient::without_secret(&["{config.base_url}/oauth/token"], "client_id");
        AuthSlot::jwt_bearer(client, Assertion::new("key").subject(subject))
    };
    let with_key = |manifest: Manifest| manifest.secret("client_id", "any text", &[]).secret("key", "RSA private key", &[]);
    if is("signs_for_nobody") {
        manifest = with_key(manifest.auth("api", signed("{config.user}")));
    }
    // No mistake: the slot's requests carry what is given for an assertion.
    if is("signs") {
        manifest.secrets.clear();
        manifest = with_key(manifest.auth("token", signed("{config.label}")));
    }
    manifest
}
