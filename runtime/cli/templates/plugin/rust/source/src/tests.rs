//! `cargo test`: no wasm and no network, the tests play the host.

use affluent_sdk::rest::RestSource;
use affluent_sdk::testing::{self, response};
use affluent_sdk::{ErrorKind, Result};
use serde_json::json;

use crate::{Config, MyPlugin};

type Customers = RestSource<MyPlugin>;

fn config() -> Config {
    Config { base_url: "https://x.test".to_owned() }
}

/// Two pages: ids 1 and 2, then 3.
fn serve_two_pages() {
    testing::on_http(|request| {
        assert_eq!(request.auth.as_deref(), Some("token"));
        let customer = |id: u32| json!({ "id": id, "email": "ada@example.org", "updated_at": format!("2026-01-0{id}T00:00:00Z") });
        let answer = if request.url.contains("cursor=b") {
            json!({ "items": [customer(3)], "next_cursor": null })
        } else {
            json!({ "items": [customer(1), customer(2)], "next_cursor": "b" })
        };
        Ok(response(200, &answer.to_string()))
    });
}

#[test]
fn pages_are_read_to_the_end_from_wherever_a_run_stopped() -> Result<()> {
    serve_two_pages();

    testing::assert_resumable::<Customers>(config, "customers")?;

    assert_eq!(testing::read_all::<Customers>(config, "customers")?.rows("customers"), 3);
    Ok(())
}

#[test]
fn the_next_read_asks_only_for_what_changed_since() -> Result<()> {
    serve_two_pages();
    let first = testing::read_all::<Customers>(config, "customers")?;
    testing::on_http(|request| {
        assert!(request.url.contains("updated_since=2026-01-03T00%3A00%3A00Z"), "{}", request.url);
        Ok(response(200, r#"{ "items": [], "next_cursor": null }"#))
    });

    let second = testing::read_on::<Customers>(config, "customers", first.state())?;

    assert_eq!(second.rows("customers"), 0);
    Ok(())
}

#[test]
fn a_record_that_does_not_fit_is_rejected_alone() -> Result<()> {
    testing::on_http(|_| {
        let items = json!([{ "id": "x" }, { "id": 2, "updated_at": "2026-01-02T00:00:00Z" }]);
        Ok(response(200, &json!({ "items": items, "next_cursor": null }).to_string()))
    });

    let read = testing::read_all::<Customers>(config, "customers")?;

    assert_eq!((read.rows("customers"), read.rejected()), (1, 1));
    Ok(())
}

#[test]
fn a_status_becomes_what_the_host_should_do() {
    for (status, kind) in [(401, ErrorKind::Auth), (429, ErrorKind::RateLimited), (503, ErrorKind::Transient)] {
        testing::on_http(move |_| Ok(response(status, "")));

        assert_eq!(testing::read_all::<Customers>(config, "customers").unwrap_err().kind, kind);
    }
}
