use affluent_model::connector::FailureKind;

use super::*;

#[track_caller]
fn expect_code(result: Result<Page, Failure>, behaviour: &str, codes: &[&str]) {
    let Err(failure) = result else { panic!("{behaviour} was accepted") };
    assert!(codes.contains(&failure.error.code), "{behaviour}: {failure}");
    assert!(failure.error.message.len() < 5_000, "{behaviour}: a message of {} bytes", failure.error.message.len());
    assert!(!failure.error.message.contains("ada@"), "{behaviour}: {failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_uses_up_its_instance_is_stopped_with_its_cause() {
    // Memory is given slowly on a busy machine: the deadline is not what stops it.
    let test_host = TestHost::new().with_plugins(plugins_built()).with_call_timeout(Duration::from_secs(60));
    let host = Host::new(test_host.split().0).unwrap();
    for (behaviour, code, cause) in [
        ("panic", "E0510", "panicked at `src/acts.rs:"),
        ("allocate_forever", "E0511", "256 MiB"),
        ("recurse_forever", "E0514", "stack"),
        ("exit", "E0515", "ended itself"),
        ("flood_random", "E0516", "random-bytes"),
    ] {
        let result = first_page(&host, behaving(behaviour)).await;
        let failure = result.as_ref().err().cloned();
        expect_code(result, behaviour, &[code]);
        let failure = failure.unwrap();
        assert_eq!(failure.kind, FailureKind::Trap, "{behaviour}");
        assert!(failure.error.message.contains(cause), "{behaviour}: {failure}");
    }
    assert!(first_page(&host, hostile(json!({}))).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_does_not_return_is_given_up_at_its_deadline() {
    let test_host = TestHost::new().with_plugins(plugins_built()).with_real_clock().with_call_timeout(Duration::from_millis(500));
    let host = Host::new(test_host.split().0).unwrap();

    for behaviour in ["sleep_long", "loop_forever"] {
        expect_code(first_page(&host, behaving(behaviour)).await, behaviour, &["E0512"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_fill_neither_the_log_nor_the_memory() {
    for behaviour in ["flood_logs", "flood_metrics", "flood_stderr", "huge_log"] {
        let (host, recorded) = host();
        // Ends, or is stopped in the middle of it; both are well.
        drop(first_page(&host, behaving(behaviour)).await);
        let recorded = recorded.log.lock().unwrap();
        let lines: Vec<_> = recorded.iter().filter(|line| !matches!(line.event, crate::LogEvent::Usage { .. })).collect();
        assert!(lines.len() <= 101, "{behaviour}: {} lines", lines.len());
        let bytes: usize = lines.iter().map(|line| format!("{:?}", line.event).len()).sum();
        assert!(bytes < 200_000, "{behaviour}: {bytes} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reported_errors_keep_their_kind() {
    let (host, _) = host();
    for (behaviour, kind, code) in [
        ("huge_error_message", FailureKind::Internal, "E0408"),
        ("rate_limited_forever", FailureKind::RateLimited, "E0404"),
        ("auth_error", FailureKind::Auth, "E0401"),
        ("config_error", FailureKind::Config, "E0409"),
        ("file_not_granted", FailureKind::NotFound, "E0403"),
        ("output_not_granted", FailureKind::Config, "E0409"),
        ("transient_once", FailureKind::Transient, "E0405"),
    ] {
        let result = first_page(&host, behaving(behaviour)).await;
        assert_eq!(result.as_ref().err().map(|failure| failure.kind), Some(kind), "{behaviour}");
        expect_code(result, behaviour, &[code]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_of_a_plugin_is_bounded() {
    let (host, _) = host();
    for behaviour in ["flood_kv", "huge_kv_value"] {
        assert!(first_page(&host, behaving(behaviour)).await.is_err(), "{behaviour}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_but_what_is_granted_and_refusals_are_audited() {
    for behaviour in [
        "http_get",
        "http_not_granted",
        "http_header_flood",
        "http_forbidden_headers",
        "http_broken_header",
        "http_broken_method",
        "http_unknown_slot",
        "http_flood",
        "http_huge_body",
    ] {
        let (host, recorded) = host();
        expect_code(first_page(&host, behaving(behaviour)).await, behaviour, &["E0409"]);
        assert!(recorded.audit.lock().unwrap().iter().any(|event| event.action == "egress"), "{behaviour}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_pages_are_refused_and_end_the_instance() {
    let (host, _) = host();
    for behaviour in [
        "offsets_not_monotone",
        "offsets_beyond_data",
        "offsets_too_few",
        "offsets_not_from_zero",
        "invalid_utf8",
        "split_character",
        "invalid_json",
        "invalid_decimal",
        "huge_decimal",
        "bad_boolean",
        "wrong_row_count",
        "forged_row_count",
        "short_validity",
        "wrong_type",
        "extra_column",
        "duplicate_column",
        "null_in_key",
        "huge_value",
        "garbage_ndjson",
        "wrong_ndjson_type",
        "unknown_stream",
        "rejected_of_unknown_stream",
        "huge_state",
    ] {
        let mut source = open_source(&host, behaving(behaviour), None).await.unwrap();
        expect_code(source.next(LIMITS).await, behaviour, &["E0520"]);
        expect_code(source.next(LIMITS).await, behaviour, &["E0517"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_are_too_much_are_refused() {
    let (host, _) = host();
    for behaviour in ["too_many_rows", "many_parts", "many_rejected"] {
        let connection = hostile(json!({"behaviour": behaviour, "records": 20_000}));
        expect_code(first_page(&host, connection).await, behaviour, &["E0516", "E0520", "E0512", "E0511"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_gets_nowhere_is_a_loop() {
    let (host, _) = host();
    for behaviour in ["same_state", "nothing_forever"] {
        let mut source = open_source(&host, behaving(behaviour), None).await.unwrap();
        let failure = loop {
            if let Err(failure) = source.next(LIMITS).await {
                break failure;
            }
        };
        assert_eq!((failure.kind, failure.error.code), (FailureKind::CursorLoop, "E0522"), "{behaviour}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_texts_of_a_rejected_row_are_cut_and_a_missing_column_is_null() {
    let (host, _) = host();

    let page = first_page(&host, behaving("huge_rejected")).await.unwrap();
    let rejected = &page.rejected[0];
    assert!(rejected.place.len() <= 256 && rejected.code.len() <= 64 && rejected.raw.as_ref().unwrap().len() <= 64 << 10);

    let page = first_page(&host, behaving("missing_column")).await.unwrap();
    assert_eq!(page.parts[0].records.column(9).null_count(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_is_not_what_was_asked_for_is_refused() {
    let (host, _) = host();
    for behaviour in ["garbage_json", "huge_json", "deep_json", "wrong_json"] {
        for failure in [
            host.discover_streams(behaving(behaviour)).await.err(),
            host.discover_targets(behaving(behaviour)).await.err(),
            open_destination(&host, behaving(behaviour)).await.err(),
        ] {
            assert_eq!(failure.map(|failure| failure.error.code), Some("E0507"), "{behaviour}");
        }
    }
}
