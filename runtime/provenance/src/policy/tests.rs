//! The table of the policy: what is in the lock, what is found, what becomes of it.

use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::package::hex_digest;
use crate::secret_key::{NewKey, new_key};
use crate::section::with_manifest;
use crate::signature::sign;

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn manifest(changes: &Value) -> Manifest {
    let mut json = json!({
        "manifest_version": 1, "name": "acme/x", "version": "1.1.0", "kinds": ["source"], "config_schema": {},
        "hosts": [{"pattern": "a.example"}]
    });
    for (key, value) in changes.as_object().into_iter().flatten() {
        json[key] = value.clone();
    }
    serde_json::from_value(json).unwrap()
}

fn said(manifest: &Manifest) -> Said<'_> {
    Said { manifest, contract: "0.1.0", imports: &[] }
}

/// A component that has its manifest written in it.
fn component(manifest: &Manifest) -> Vec<u8> {
    with_manifest(COMPONENT, &serde_json::to_string(manifest).unwrap()).unwrap()
}

fn candidate<'a>(bytes: &'a [u8], digest: &'a str, origin: Origin<'a>) -> Candidate<'a> {
    Candidate { name: "acme/x", digest, bytes, origin }
}

/// The lock with this plugin in it.
fn locked(manifest: &Manifest, source: PluginSource) -> Lock {
    let bytes = component(manifest);
    let digest = hex_digest(&bytes);
    let entry = pinned(&candidate(&bytes, &digest, Origin::Embedded), said(manifest), source).unwrap();
    Lock { plugins: BTreeMap::from([("acme/x".to_owned(), entry)]) }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Open,
    Locked,
}

fn rules(mode: Mode) -> PluginRules {
    PluginRules { locked: mode == Mode::Locked, ..PluginRules::default() }
}

/// Both questions, and the code of the refusal.
fn verdict(policy: &Policy, manifest: &Manifest, origin: Origin<'_>) -> &'static str {
    let bytes = component(manifest);
    let digest = hex_digest(&bytes);
    let candidate = candidate(&bytes, &digest, origin);
    let answer = policy.admit(&candidate).and_then(|()| policy.grant(&candidate, said(manifest)));
    answer.map_or_else(|error| error.code, |()| "runs")
}

#[test]
fn a_plugin_from_outside_runs_as_it_was_approved_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.wasm");
    let approved = manifest(&json!({}));
    let cases = [
        (json!({}), "runs"),
        (json!({"description": "other bytes"}), "E0951"),
        (json!({"hosts": []}), "E0951"),
        (json!({"version": "1.0.0"}), "E0951"),
    ];
    for (changes, open) in cases {
        for (mode, expected) in [(Mode::Open, open), (Mode::Locked, if open == "runs" { "runs" } else { "E0958" })] {
            let policy = Policy::new(locked(&approved, PluginSource::File), rules(mode)).unwrap();

            assert_eq!(verdict(&policy, &manifest(&changes), Origin::File(&file)), expected, "{changes} {mode:?}");
            assert!(policy.take_changes().is_empty(), "{changes}");
        }
    }
    for (mode, expected) in [(Mode::Open, "E0950"), (Mode::Locked, "E0958")] {
        let policy = Policy::new(Lock::default(), rules(mode)).unwrap();
        assert_eq!(verdict(&policy, &approved, Origin::File(&file)), expected);
    }
}

#[test]
fn the_refusal_says_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.wasm");
    let policy = Policy::new(locked(&manifest(&json!({})), PluginSource::File), PluginRules::default()).unwrap();
    let changed = manifest(&json!({"version": "1.0.9", "hosts": [{"pattern": "a.example"}, {"pattern": "evil.example"}]}));
    let bytes = component(&changed);
    let digest = hex_digest(&bytes);

    let error = policy.admit(&candidate(&bytes, &digest, Origin::File(&file))).unwrap_err();

    for part in ["1.0.9 instead of 1.1.0, which is lower", "hosts: https://evil.example", "affluent plugin add acme/x --approve"]
    {
        assert!(format!("{} {}", error.message, error.help).contains(part), "{error:?}");
    }
}

#[test]
fn a_plugin_from_outside_that_no_trusted_key_signed_runs_in_a_process_of_its_own() {
    use IsolationRule::{None as Never, Process, Unsigned};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.wasm");
    let bytes = component(&manifest(&json!({})));
    let digest = hex_digest(&bytes);
    let isolation = |isolation, trust: &[String], origin| {
        let rules = PluginRules { isolation, trust: trust.to_vec(), ..PluginRules::default() };
        Policy::new(Lock::default(), rules).unwrap().isolation(&candidate(&bytes, &digest, origin)).as_str()
    };
    let outside = Origin::File(&file);
    for (rule, origin, expected) in [
        (Unsigned, outside, "process"),
        (Unsigned, Origin::Develop(&file), "process"),
        (Unsigned, Origin::Embedded, "none"),
        (Process, outside, "process"),
        (Process, Origin::Embedded, "none"),
        (Never, outside, "none"),
    ] {
        assert_eq!(isolation(rule, &[], origin), expected, "{rule:?} {origin:?}");
    }
    let key = new_key(None).unwrap();
    let trust = [key.public.clone()];
    assert_eq!(isolation(Unsigned, &trust, outside), "process", "not signed");
    write_signature(&file, &manifest(&json!({})), &key, &comment_for("acme/x", "1.1.0", &digest));
    assert_eq!(isolation(Unsigned, &trust, outside), "none");
    assert_eq!(isolation(Process, &trust, outside), "process");
    assert_eq!(isolation(Unsigned, &[], outside), "process", "signed by nobody who is trusted");
}

#[test]
fn a_plugin_of_the_program_follows_it_without_growing() {
    let approved = manifest(&json!({}));
    let grown = json!([{"pattern": "a.example"}, {"pattern": "b.example"}]);
    for (changes, open, closed, is_written) in [
        (json!({}), "runs", "runs", false),
        (json!({"version": "1.2.0"}), "runs", "E0958", true),
        (json!({"version": "1.2.0", "hosts": []}), "runs", "E0958", true),
        (json!({"version": "1.2.0", "hosts": grown}), "E0952", "E0958", false),
        (json!({"version": "1.0.0"}), "E0954", "E0958", false),
    ] {
        for (mode, expected) in [(Mode::Open, open), (Mode::Locked, closed)] {
            let policy = Policy::new(locked(&approved, PluginSource::Embedded), rules(mode)).unwrap();

            assert_eq!(verdict(&policy, &manifest(&changes), Origin::Embedded), expected, "{changes} {mode:?}");
            assert_eq!(!policy.take_changes().is_empty(), is_written && mode == Mode::Open, "{changes} {mode:?}");
        }
    }
    let first = Policy::new(Lock::default(), PluginRules::default()).unwrap();
    assert_eq!(verdict(&first, &approved, Origin::Embedded), "runs");
    assert_eq!(first.take_changes(), locked(&approved, PluginSource::Embedded).plugins);
    let closed = Policy::new(Lock::default(), rules(Mode::Locked)).unwrap();
    assert_eq!(verdict(&closed, &approved, Origin::Embedded), "E0958");
}

#[test]
fn another_build_is_told_apart_from_another_release() {
    let approved = manifest(&json!({}));
    for (changes, expected) in [
        (json!({"version": "1.2.0"}), "plugin `acme/x` came with this release: 1.2.0 instead of 1.1.0"),
        (json!({"hosts": []}), "plugin `acme/x` came with this release: another build of 1.1.0"),
    ] {
        let policy = Policy::new(locked(&approved, PluginSource::Embedded), PluginRules::default()).unwrap();

        assert_eq!(verdict(&policy, &manifest(&changes), Origin::Embedded), "runs");
        assert_eq!(policy.take_notes(), [expected]);
    }
}

#[test]
fn one_name_does_not_change_its_kind_of_source() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.wasm");
    let approved = manifest(&json!({}));
    for (source, origin) in [(PluginSource::File, Origin::Embedded), (PluginSource::Embedded, Origin::File(&file))] {
        let policy = Policy::new(locked(&approved, source), PluginRules::default()).unwrap();
        assert_eq!(verdict(&policy, &approved, origin), "E0951", "{source:?}");
    }
}

#[test]
fn a_plugin_under_development_runs_unpinned_and_never_locked() {
    let file = std::path::Path::new("x.wasm");
    for (mode, expected) in [(Mode::Open, "runs"), (Mode::Locked, "E0958")] {
        let policy = Policy::new(Lock::default(), rules(mode)).unwrap();

        assert_eq!(verdict(&policy, &manifest(&json!({})), Origin::Develop(file)), expected);
        assert!(policy.take_changes().is_empty());
        assert_eq!(policy.take_notes().len(), usize::from(mode == Mode::Open));
    }
}

#[test]
fn a_denied_plugin_does_not_run_even_if_it_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.wasm");
    let key = new_key(None).unwrap();
    let approved = manifest(&json!({}));
    let digest = hex_digest(&component(&approved));
    write_signature(&file, &approved, &key, &comment_for("acme/x", "1.1.0", &digest));
    let versions = |versions: &str| DeniedPlugin::Versions { name: "acme/x".to_owned(), versions: versions.to_owned() };
    use affluent_model::lock::DeniedPlugin;
    for (what, expected) in [
        (DeniedPlugin::Digest(digest), "E0955"),
        (DeniedPlugin::Digest("00".repeat(32)), "runs"),
        (DeniedPlugin::Key(key.id.clone()), "E0955"),
        (DeniedPlugin::Key(key.public), "E0955"),
        (DeniedPlugin::Key(new_key(None).unwrap().public), "runs"),
        (versions("<1.2.0"), "E0955"),
        (versions(">=1.2.0"), "runs"),
        (versions("*"), "E0955"),
    ] {
        let rules =
            PluginRules { deny: vec![Denied { what: what.clone(), reason: "leaks".to_owned() }], ..PluginRules::default() };
        let policy = Policy::new(locked(&approved, PluginSource::File), rules).unwrap();

        assert_eq!(verdict(&policy, &approved, Origin::File(&file)), expected, "{what:?}");
    }
}

fn write_signature(file: &std::path::Path, manifest: &Manifest, key: &NewKey, comment: &str) {
    let text = sign(&component(manifest), &key.secret, None, comment).unwrap();
    fs::write(format!("{}.minisig", file.display()), text).unwrap();
}

#[test]
fn with_trusted_keys_only_what_they_signed_runs() {
    let (own, other) = (new_key(None).unwrap(), new_key(None).unwrap());
    let approved = manifest(&json!({}));
    let digest = hex_digest(&component(&approved));
    let right = comment_for("acme/x", "1.1.0", &digest);
    for (signer, comment, expected) in [
        (None, String::new(), "E0956"),
        (Some(&other), right.clone(), "E0956"),
        (Some(&own), right, "runs"),
        (Some(&own), comment_for("acme/y", "1.1.0", &digest), "E0957"),
        (Some(&own), comment_for("acme/x", "1.2.0", &digest), "E0957"),
        (Some(&own), comment_for("acme/x", "1.1.0", &"0".repeat(64)), "E0957"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.wasm");
        if let Some(key) = signer {
            write_signature(&file, &approved, key, &comment);
        }
        let rules = PluginRules { trust: vec![own.public.clone()], ..PluginRules::default() };
        let policy = Policy::new(locked(&approved, PluginSource::File), rules).unwrap();

        assert_eq!(verdict(&policy, &approved, Origin::File(&file)), expected, "{comment}");
        assert_eq!(verdict(&policy, &approved, Origin::Embedded), "E0951", "what the program holds needs no signature");
    }
}

#[test]
fn a_component_is_what_it_says_and_says_what_is_written_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.wasm");
    let approved = manifest(&json!({}));
    for lies in [json!({"name": "acme/y"}), json!({"hosts": [{"pattern": "b.example"}]})] {
        let bytes = component(&approved);
        let digest = hex_digest(&bytes);
        let candidate = candidate(&bytes, &digest, Origin::File(&file));
        let policy = Policy::new(locked(&approved, PluginSource::File), PluginRules::default()).unwrap();

        assert_eq!(policy.grant(&candidate, said(&manifest(&lies))).unwrap_err().code, "E0953", "{lies}");
    }
    // One that has nothing written in it is compared with the lock alone.
    let digest = hex_digest(COMPONENT);
    let bare = Candidate { name: "acme/x", digest: &digest, bytes: COMPONENT, origin: Origin::File(&file) };
    let policy = Policy::new(locked(&approved, PluginSource::File), PluginRules::default()).unwrap();
    let grown = manifest(&json!({"files": true}));
    assert_eq!(policy.grant(&bare, said(&grown)).unwrap_err().code, "E0952");
}
