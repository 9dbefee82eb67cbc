//! The suite against a connector that keeps all rules, and against the same with one mistake each: every mistake is found,
//! and under its own rule.

mod clock;
mod service;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use affluent_host::{ApproveAll, Backoff, CALL_TIMEOUT_MAX, Exchanges, HostOptions, Secret, TokenKey, system_resolver};
use affluent_model::diagnostic::Location;
use affluent_model::plan::{Connection, ConnectionLimits, Egress, FileGrants};
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::report::Report;
use crate::{Subject, run};
use service::{Service, TOKEN};

/// Mistakes in the configuration, and the rules that tell of them.
const MISTAKES: &[(&str, &[&str])] = &[
    ("", &[]),
    ("check_refuses", &["check.accepts"]),
    ("check_calls_it_internal", &["check.config"]),
    ("check_is_blind", &["check.credential"]),
    ("check_takes_401_for_trouble", &["check.credential"]),
    ("check_repeats_the_answer", &["check.secrecy"]),
    ("unstable_discover", &["discover.stable"]),
    ("odd_names", &["discover.valid"]),
    ("wrong_type", &["discover.types"]),
    ("repeats_keys", &["discover.keys"]),
    ("email_without_class", &["discover.pii"]),
    ("ignores_limits", &["read.limits"]),
    ("state_stands_still", &["read.cursor"]),
    ("state_of_this_page", &["read.resume"]),
    ("state_skips", &["read.resume"]),
    ("remembers_pages", &["read.idempotent"]),
    ("reads_everything_again", &["read.incremental"]),
    ("ends_at_empty_page", &["read.empty_page"]),
    ("counts_pages", &["read.cursor_loop"]),
    ("takes_429_for_the_end", &["read.throttled"]),
    ("takes_500_for_the_end", &["read.server_error"]),
    ("takes_500_for_a_bug", &["read.server_error"]),
    ("takes_half_for_all", &["read.truncated"]),
    ("unwraps_the_answer", &["read.truncated", "hygiene.no_trap"]),
    ("takes_401_for_data", &["read.credential"]),
    ("gives_up_soon", &["read.slow"]),
    ("fails_at_the_end", &["read.ends"]),
    ("match_is_no_field", &["targets.valid"]),
    ("counts_short", &["write.outcomes"]),
    ("takes_no_full_batch", &["write.sizes"]),
    ("second_report_differs", &["write.same_key"]),
    ("needs_every_value", &["write.nulls"]),
    ("joins_strings", &["write.unicode"]),
    ("forgets_deletes", &["write.deletes"]),
    ("refuses_the_batch", &["write.poison"]),
    ("stays_broken", &["write.recovers"]),
    ("takes_429_for_refusal", &["write.throttled"]),
    ("takes_500_for_refusal", &["write.server_error"]),
    ("takes_half_for_refusal", &["write.truncated"]),
    ("takes_401_for_refusal", &["write.credential"]),
    ("erases_no_strangers", &["erase.accepts"]),
    ("cannot_erase", &["erase.accepts"]),
    ("sees_ghosts", &["erase.verifies"]),
    ("will_not_open", &["transform.opens"]),
    ("returns_other_columns", &["transform.schema"]),
    ("drops_rows", &["transform.counts"]),
    ("counts_rows_of_a_batch", &["transform.split"]),
    ("rolls_dice", &["transform.deterministic"]),
    ("shouts_in_ndjson", &["transform.formats"]),
    ("rejects_the_next", &["transform.poison"]),
    ("state_holds_the_secret", &["hygiene.secrets"]),
    ("logs_people", &["hygiene.personal"]),
    ("state_names_people", &["hygiene.personal"]),
    ("logs_too_much", &["hygiene.log_volume"]),
];

/// Mistakes of the manifest, which is asked for without a configuration.
const MANIFEST_MISTAKES: &[(&str, &str)] = &[
    ("unknown_feature", "manifest.loads"),
    ("costs_no_json", "manifest.loads"),
    ("costs_no_request", "manifest.loads"),
    ("costs_no_stream", "discover.valid"),
    ("costs_no_object", "targets.valid"),
    ("unused_files", "manifest.imports"),
    ("unstable_manifest", "manifest.stable"),
    ("bad_name", "manifest.identity"),
    ("bad_schema", "manifest.config_schema"),
    ("unknown_host_var", "manifest.hosts"),
    ("undeclared_secret", "manifest.auth"),
    ("signs_nothing", "manifest.auth"),
    ("foreign_token_url", "manifest.auth"),
    ("unknown_token_var", "manifest.auth"),
    ("signs_for_nobody", "manifest.auth"),
    ("secret_in_config", "manifest.secrets"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_is_found_under_its_own_rule() {
    let service = Service::start().await;
    let mut wrong = Vec::new();
    for (mistake, rules) in MISTAKES {
        let report = run(subject(folder(), "wrong", mistake, &service.origin)).await.unwrap();
        if report.broken() != *rules {
            wrong.push(format!("{mistake}: expected {rules:?}, found {}", shown(&report)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_of_a_manifest_is_found_under_its_own_rule() {
    let service = Service::start().await;
    let patched = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (mistake, rule) in MANIFEST_MISTAKES {
        let name = mistake.replace('_', "-");
        fs::write(patched.path().join(format!("{name}.wasm")), switched(mistake)).unwrap();
        let report = run(subject(patched.path(), &name, "", &service.origin)).await.unwrap();
        if report.broken() != [*rule] {
            wrong.push(format!("{mistake}: expected {rule}, found {}", shown(&report)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_connector_is_asked_every_rule_and_the_figures_are_told() {
    let service = Service::start().await;

    let report = run(subject(folder(), "wrong", "", &service.origin)).await.unwrap();

    let skipped: Vec<&str> =
        report.rules.iter().filter(|finding| finding.verdict == crate::Verdict::Skipped).map(|finding| finding.rule).collect();
    assert!(skipped.is_empty() && report.failed == 0, "{}", shown(&report));
    assert_eq!(report.passed, crate::rules::RULES.len());
    let figures = &report.figures;
    assert!(figures.component_bytes > 10_000 && figures.memory_peak_bytes > 64 << 10 && figures.rows > 0 && figures.requests > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_signs_is_tried_with_a_made_up_key_and_with_another_one() {
    let service = Service::start().await;
    let patched = tempfile::tempdir().unwrap();
    fs::write(patched.path().join("signs.wasm"), switched("signs")).unwrap();
    let mut subject = subject(patched.path(), "signs", "", &service.origin);
    subject.fixture.secrets.clear();

    let report = run(subject).await.unwrap();

    assert!(report.failed == 0, "{}", shown(&report));
    let verdict = |id: &str| report.rules.iter().find(|rule| rule.rule == id).map(|rule| rule.verdict);
    assert_eq!(verdict("check.credential"), Some(crate::Verdict::Passed), "{}", shown(&report));
}

#[test]
fn every_rule_has_a_mistake_that_breaks_it() {
    let broken: Vec<&str> = MISTAKES
        .iter()
        .flat_map(|(_, rules)| rules.iter().copied())
        .chain(MANIFEST_MISTAKES.iter().map(|(_, rule)| *rule))
        .collect();

    let without: Vec<&str> = crate::rules::RULES.iter().map(|rule| rule.id).filter(|id| !broken.contains(id)).collect();

    assert!(without.is_empty(), "{without:?}");
}

/// The broken rules with their evidence.
fn shown(report: &Report) -> String {
    let bad = report.rules.iter().filter(|finding| finding.verdict != crate::Verdict::Passed);
    bad.map(|finding| format!("\n    {:?} {}: {}", finding.verdict, finding.rule, finding.because.join("; "))).collect()
}

fn subject(folder: &Path, plugin: &str, mistake: &str, origin: &str) -> Subject {
    let at = Location { file: "contract.yaml".into(), line: 1, column: 1, length: 1 };
    let connection = Connection {
        name: "contract".to_owned(),
        plugin: plugin.to_owned(),
        config: Value::Null,
        secrets: BTreeMap::new(),
        limits: ConnectionLimits::default(),
        egress: Egress::default(),
        files: FileGrants::default(),
        at: at.clone(),
        webhook_url: None,
        config_at: at,
    };
    let folder = folder.to_owned();
    let options = Box::new(move || options(&folder));
    Subject {
        plugin: plugin.to_owned(),
        options,
        connection,
        fixture: fixture(mistake, origin),
        secrets: None,
        undisturbed: None,
    }
}

fn fixture(mistake: &str, origin: &str) -> Fixture {
    let fixture = json!({
        "config": {"base_url": origin, "mistake": mistake, "label": TOKEN},
        "bad_config": {"base_url": origin, "mistake": mistake, "account": 7},
        "secrets": {"token": TOKEN},
        "destination": {
            "mode": "mirror",
            "rows": [
                {"id": "1", "name": "Ada Lovelace", "email": "ada.lovelace@people.example"},
                {"id": "2", "name": "Grace Hopper", "email": "grace.hopper@people.example"},
                {"id": "3", "name": "Alan Turing", "email": null}
            ],
            "poison": {"id": "9", "name": "poison", "email": null}
        },
        "transform": {
            "stream": {
                "name": "items",
                "fields": [
                    {"name": "id", "type": "integer", "nullable": false},
                    {"name": "name", "type": "text", "pii": "name"},
                    {"name": "email", "type": "text", "pii": "email"}
                ],
                "primary_key": ["id"],
                "sync_modes": ["full_refresh"]
            },
            "poison": {"id": 9, "name": "poison"}
        }
    });
    serde_json::from_value(fixture).unwrap()
}

fn options(folder: &Path) -> HostOptions {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    HostOptions {
        worker: None,
        plugin_dirs: vec![folder.to_owned()],
        embedded: &[],
        develop: Default::default(),
        approvals: Arc::new(ApproveAll),
        cache_dir: Some(self::folder().join("contract-test-cache")),
        project_root: std::env::temp_dir(),
        output_root: None,
        exchanges: Exchanges::Live,
        clock: Arc::new(clock::JumpingClock::default()),
        random: Arc::new(|buffer: &mut [u8]| {
            let unique = u64::from(std::process::id()) << 32 | NEXT.fetch_add(1, Ordering::Relaxed);
            buffer.iter_mut().zip(unique.to_le_bytes().iter().cycle()).for_each(|(byte, unique)| *byte = *unique);
        }),
        secrets: Arc::new(|_, name| Ok(Secret::new(name.to_owned()))),
        addresses: system_resolver(),
        token_keys: Arc::new(|_| Ok(TokenKey::new([7; 32]))),
        credentials: None,
        key_value: Arc::new(crate::bench::MemoryStore::default()),
        log: Arc::new(|_| {}),
        audit: Arc::new(|_| {}),
        cancelled: Arc::new(AtomicBool::new(false)),
        backoff: Backoff::default(),
        call_timeout_max: CALL_TIMEOUT_MAX,
    }
}

/// The folder of the connector, built once from its sources.
fn folder() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = root.join("target/plugin-build");
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(&root).args(["build", "--quiet", "--profile", "plugin", "--target", "wasm32-wasip2"]);
        build.args(["-p", "affluent-plugin-wrong", "--target-dir"]).arg(&target);
        // Flags for the host's build are not for guests.
        build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        assert!(build.status().unwrap().success(), "the connector could not be built");
        target.join("wasm32-wasip2/plugin")
    })
}

/// The component with a mistake switched on.
fn switched(mistake: &str) -> Vec<u8> {
    const SWITCH: &str = "affluent-wrong-switch:..................";
    let mut bytes = fs::read(folder().join("affluent_plugin_wrong.wasm")).unwrap();
    let place = bytes.windows(SWITCH.len()).position(|window| window == SWITCH.as_bytes()).unwrap();
    let text = format!("{:.<width$}", format!("affluent-wrong-switch:{mistake}"), width = SWITCH.len());
    bytes[place..place + SWITCH.len()].copy_from_slice(text.as_bytes());
    bytes
}
