//! What is frozen, and what may change: components made from edited copies of the contract against today's host.

use std::sync::Arc;

use affluent_model::manifest::PluginKind;
use sha2::{Digest, Sha256};
use wasmtime::Store;
use wasmtime::component::Component;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

use super::{Guest, Version};
use crate::engine::TickingEngine;
use crate::linker::plugin_linker;
use crate::state::{Services, State};
use crate::test_support::TestHost;

const CONTRACT: &str = include_str!("../../../../schemas/wit/v0.1/affluent-plugin.wit");
/// SHA-256 of the contract at each version of it. A function that was added to an imported interface makes a new line
/// with the next last number; everything else is a folder `v0.2` and a module beside `v0_1`.
const FROZEN: &[(&str, &str)] = &[("0.1.0", "28956834c231d5e552d329af68e15c69d63dbcd99932e453950bbbf9ab647188")];

/// A component of this contract that does nothing but have the right types.
fn component_of(contract: &str) -> Vec<u8> {
    let world = "world everything { include source-plugin; include destination-plugin; include transform-plugin; }";
    let mut resolve = Resolve::default();
    let package = resolve.push_str("edited.wit", &format!("{contract}\n{world}")).unwrap();
    let world = resolve.select_world(&[package], Some("everything")).unwrap();
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

/// Whether the host links a component of this contract and finds what its kinds need, of the right types.
async fn link(contract: &str) -> wasmtime::Result<()> {
    let ticking = TickingEngine::start().unwrap();
    let component = Component::new(&ticking.engine, component_of(contract)).unwrap();
    let pre = plugin_linker(&ticking.engine).unwrap().instantiate_pre(&component)?;
    let kinds = [PluginKind::Source, PluginKind::Transform, PluginKind::Destination];
    let exports = Version::V0_1.exports(&pre, &kinds)?;
    let state = State::new(Services::none(&TestHost::new().options(), "edited"), None, Arc::default());
    let mut store = Store::new(&ticking.engine, state);
    store.set_epoch_deadline(1_000);
    let instance = pre.instantiate_async(&mut store).await?;
    exports.check_types(&mut store, &Guest::Here(instance))
}

fn edited(from: &str, to: &str) -> String {
    assert!(CONTRACT.contains(from), "{from}");
    CONTRACT.replacen(from, to, 1)
}

#[test]
fn the_contract_is_frozen() {
    let found: String = Sha256::digest(CONTRACT).iter().map(|byte| format!("{byte:02x}")).collect();
    let (version, frozen) = FROZEN.last().unwrap();

    assert!(CONTRACT.contains(&format!("package affluent:plugin@{version};")));
    assert_eq!(&found, frozen, "see plugins/README.md: what may change in a frozen contract");
}

#[tokio::test]
async fn the_contract_as_it_is_runs() {
    link(CONTRACT).await.unwrap();
}

#[tokio::test]
async fn a_plugin_that_does_not_know_a_newer_function_of_the_host_runs() {
    let metric = "  metric: func(name: string, value: f64, labels: list<tuple<string, string>>);\n";

    link(&edited(metric, "")).await.unwrap();
}

#[tokio::test]
async fn a_plugin_of_another_patch_version_runs() {
    link(&edited("@0.1.0;", "@0.1.7;")).await.unwrap();
}

#[tokio::test]
async fn every_other_difference_refuses_the_plugin() {
    let cases = [
        ("a new major or minor version", "@0.1.0;", "@0.2.0;"),
        ("a function that this host does not have", "  now-us: func() -> s64;", "  now-us: func() -> s64;\n  later: func();"),
        ("one parameter more", "  sleep-ms: func(ms: u32);", "  sleep-ms: func(ms: u32, why: string);"),
        ("another type of a parameter", "  sleep-ms: func(ms: u32);", "  sleep-ms: func(ms: u64);"),
        ("an export less", "  finish: func() -> result<option<output>, plugin-error>;\n", ""),
        ("a field more", "    remote-ids: list", "    note: string,\n    remote-ids: list"),
        ("a field less", "    retry-after-ms: option<u64>,\n", ""),
        ("a field under another name", "    retry-after-ms: option<u64>,", "    wait-ms: option<u64>,"),
        ("one more word of an enum", "    internal,\n  }", "    internal,\n    unknown,\n  }"),
        ("one more case of a variant", "    binaries(bytes-column),", "    binaries(bytes-column),\n    uuids(bytes-column),"),
    ];
    for (what, from, to) in cases {
        assert!(link(&edited(from, to)).await.is_err(), "{what}");
    }
}
