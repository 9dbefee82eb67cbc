//! A plugin file on its way to something that can be instantiated: size, contract version and imports are checked
//! before any of its code runs, then the manifest is asked for in a store where every service traps (security B-6, B-8).

use std::sync::Arc;

use affluent_model::connector::Failure;
use affluent_model::limits::GUEST_MESSAGE_BYTES_MAX;
use affluent_model::lock::Isolation;
use affluent_model::manifest::{Manifest, PluginKind};
use sha2::{Digest, Sha256};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Engine, Store};

use crate::binary::{Summary, summarize};
use crate::contract::{Exports, Version};
use crate::failure::{clean_text, configuration_failure};
use crate::instance::{Instance, no_manifest, read_manifest};
use crate::limits::{COMPONENT_BYTES_MAX, COMPONENT_CODE_BYTES_MAX, COMPONENT_FUNCTIONS_MAX, FUNCTION_BYTES_MAX, MEMORY_MIB_MAX};
use crate::options::HostOptions;
use crate::state::{Services, State};
use crate::worker::Distant;

const REBUILD: &str = "rebuild the plugin with the SDK of this release";
/// Interfaces of WASI that every toolchain imports; empty here.
const WASI_PACKAGES: [&str; 4] = ["wasi:io/", "wasi:cli/", "wasi:clocks/", "wasi:random/"];
/// Words of `required_features` that this host knows.
pub(crate) const FEATURES: [&str; 4] = ["columns", "ndjson", "cost_feedback", "child_streams"];

/// A plugin ready to be instantiated.
pub(crate) struct LoadedPlugin {
    pub(crate) name: String,
    /// SHA-256 of the component, hex.
    pub(crate) digest: String,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) engine: Engine,
    pub(crate) seat: Seat,
    pub(crate) exports: Box<dyn Exports>,
}

/// Where the instances of a plugin are.
pub(crate) enum Seat {
    /// In this process.
    Here(InstancePre<State>),
    /// Each in a worker of its own.
    Worker(Distant),
}

impl LoadedPlugin {
    pub(crate) fn isolation(&self) -> Isolation {
        match self.seat {
            Seat::Here(_) => Isolation::None,
            Seat::Worker(_) => Isolation::Process,
        }
    }
}

/// A compiled component of which nothing is believed yet.
pub(crate) struct Unchecked {
    pub(crate) component: Component,
    /// SHA-256 of its bytes, hex.
    pub(crate) digest: String,
    /// What its section `affluent:api` says.
    pub(crate) version: Version,
}

/// The linkers of the process.
pub(crate) struct Linkers {
    pub(crate) wasi: Linker<State>,
    pub(crate) plugin: Linker<State>,
}

/// SHA-256, hex.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The interfaces a component imports, sorted.
pub(crate) fn imports(component: &Component) -> Vec<String> {
    let component_type = component.component_type();
    let mut imports: Vec<String> =
        component_type.imports(component.engine()).map(|(import, _)| clean_text(import, 128)).collect();
    imports.sort();
    imports
}

/// The version of the contract that checked bytes were built for.
pub(crate) fn contract(bytes: &[u8]) -> String {
    summarize(bytes).and_then(|summary| summary.api).unwrap_or_default()
}

/// Refuses what must not even be compiled; gives the version of the contract that the component speaks.
///
/// # Errors
/// `E0501` no component or too large, `E0502` another version of the contract, `E0530` too much code.
pub(crate) fn check_bytes(name: &str, bytes: &[u8]) -> Result<Version, Failure> {
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(configuration_failure(
            "E0501",
            format!("plugin `{name}` is larger than 20 MiB"),
            "strip its debug information",
        ));
    }
    let Some(summary) = summarize(bytes) else {
        return Err(configuration_failure(
            "E0501",
            format!("plugin `{name}` is no WebAssembly component"),
            "build it for wasm32-wasip2",
        ));
    };
    check_code(name, &summary)?;
    let Some(api) = summary.api else {
        let message = format!("plugin `{name}` does not say which version of the plugin contract it was built for");
        return Err(configuration_failure("E0502", message, REBUILD));
    };
    Version::of(&api).ok_or_else(|| {
        let spoken: Vec<&str> = Version::LIVE.iter().map(|version| version.major_minor()).collect();
        let message = format!(
            "plugin `{name}` was built for version `{}` of the plugin contract, this host speaks {}",
            clean_text(&api, 32),
            spoken.join(" and ")
        );
        configuration_failure("E0502", message, REBUILD)
    })
}

/// Refuses what would take too long to compile.
fn check_code(name: &str, summary: &Summary) -> Result<(), Failure> {
    let counts = [
        (summary.functions, COMPONENT_FUNCTIONS_MAX, "functions"),
        (summary.code_bytes, COMPONENT_CODE_BYTES_MAX, "bytes of code"),
        (summary.largest_function_bytes, FUNCTION_BYTES_MAX, "bytes in one function"),
    ];
    let Some((count, most, what)) = counts.into_iter().find(|(count, most, _)| count > most) else { return Ok(()) };
    let message = format!("plugin `{name}` has {count} {what}, {most} are allowed: compiling it would take too long");
    Err(configuration_failure("E0530", message, "build it with optimisation for size, or split it"))
}

/// Checks the imports, asks for the manifest and links the plugin.
///
/// # Errors
/// `E0503` an import that is not granted, `E0504` exports that do not fit the manifest, `E0505` a manifest that is not
/// valid, `E0506` a feature that this host does not have; traps of the manifest call.
pub(crate) async fn load(
    name: &str,
    unchecked: Unchecked,
    linkers: &Linkers,
    options: &Arc<HostOptions>,
) -> Result<LoadedPlugin, Failure> {
    let component = &unchecked.component;
    let imports = imports(component);
    check_imports(name, &imports, is_known, options)?;
    let manifest = read_manifest(name, &unchecked, &linkers.wasi, options).await?;
    check_manifest(name, &manifest)?;
    check_imports(name, &imports, |import| is_allowed(import, &manifest), options)?;
    let refused = |error: wasmtime::Error| misfit(name, &format!("{error:#}"));
    let pre = linkers.plugin.instantiate_pre(component).map_err(refused)?;
    let exports = unchecked.version.exports(&pre, &manifest.kinds).map_err(refused)?;
    let (name, manifest, engine) = (name.to_owned(), Arc::new(manifest), component.engine().clone());
    let plugin = LoadedPlugin { name, digest: unchecked.digest, manifest, engine, seat: Seat::Here(pre), exports };
    check_exports(&plugin, options).await?;
    Ok(plugin)
}

/// The types of exports show only in an instance: one is made without any grant, and nothing of it is called.
async fn check_exports(plugin: &LoadedPlugin, options: &Arc<HostOptions>) -> Result<(), Failure> {
    let services = Services::none(options, &plugin.name);
    let (mut instance, guest) = Instance::start(plugin, services, Arc::default()).await?;
    let checked = instance.begin()?.run(async |store: &mut Store<State>| Ok(plugin.exports.check_types(store, &guest)));
    let checked = checked.await;
    instance.settle(checked)?.map_err(|error| misfit(&plugin.name, &format!("{error:#}")))
}

/// # Errors
/// `E0503` with the first import that is not allowed.
pub(crate) fn check_imports(
    name: &str,
    imports: &[String],
    allowed: impl Fn(&str) -> bool,
    options: &Arc<HostOptions>,
) -> Result<(), Failure> {
    let Some(import) = imports.iter().find(|import| !allowed(import)) else { return Ok(()) };
    Services::none(options, name).caller().audit("import", import, "not granted to a plugin of its kind");
    let message = format!("plugin `{name}` imports `{import}`, which a plugin of its kind does not get");
    Err(configuration_failure("E0503", message, "plugins reach the outside only through the `affluent:plugin` interfaces"))
}

pub(crate) fn is_known(import: &str) -> bool {
    let affluent = ["types", "runtime", "kv", "crypto", "http", "files"];
    is_wasi(import) || affluent.into_iter().any(|interface| is_interface(import, interface))
}

pub(crate) fn is_allowed(import: &str, manifest: &Manifest) -> bool {
    let connects = manifest.kinds.iter().any(|kind| *kind != PluginKind::Transform);
    let outside: &[&str] = if connects { &["kv", "crypto", "http"] } else { &[] };
    let files: &[&str] = if manifest.files && connects { &["files"] } else { &[] };
    let mut interfaces = ["types", "runtime"].iter().chain(outside).chain(files);
    is_wasi(import) || interfaces.any(|interface| is_interface(import, interface))
}

fn is_wasi(import: &str) -> bool {
    WASI_PACKAGES.iter().any(|package| import.starts_with(package))
}

fn is_interface(import: &str, interface: &str) -> bool {
    let rest = import.strip_prefix("affluent:plugin/").and_then(|rest| rest.strip_prefix(interface));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
}

/// # Errors
/// `E0505` and `E0506`.
pub(crate) fn check_manifest(name: &str, manifest: &Manifest) -> Result<(), Failure> {
    if manifest.manifest_version != 1 || manifest.kinds.is_empty() {
        let message = format!(
            "plugin `{name}` has a manifest of version {} with {} kinds",
            manifest.manifest_version,
            manifest.kinds.len()
        );
        return Err(configuration_failure("E0505", message, "this host reads version 1, with at least one kind"));
    }
    if let Some(feature) = manifest.required_features.iter().find(|feature| !FEATURES.contains(&feature.as_str())) {
        let message = format!("plugin `{name}` needs the feature `{}`, which this host does not have", clean_text(feature, 64));
        return Err(configuration_failure("E0506", message, "use a newer release of Affluent, or an older one of the plugin"));
    }
    if manifest.limits.memory_mib.is_some_and(|mib| mib > MEMORY_MIB_MAX) {
        let message = format!("plugin `{name}` asks for more than {MEMORY_MIB_MAX} MiB of memory");
        return Err(configuration_failure("E0505", message, "read smaller pages"));
    }
    let mistakes = manifest.cost_mistakes();
    if !mistakes.is_empty() {
        return Err(no_manifest(name, &clean_text(&mistakes.join("; "), GUEST_MESSAGE_BYTES_MAX)));
    }
    let mut mistakes = manifest.auth_mistakes();
    mistakes.extend(manifest.webhook_mistakes());
    if mistakes.is_empty() {
        return Ok(());
    }
    let message = clean_text(&format!("plugin `{name}`: {}", mistakes.join("; ")), GUEST_MESSAGE_BYTES_MAX);
    Err(configuration_failure(
        "E0508",
        message,
        "mend the manifest's `auth` or `webhooks` and build the plugin again, or tell its author",
    ))
}

/// wasmtime names the interface and what differs; the text comes from types, not from data.
pub(crate) fn misfit(name: &str, error: &str) -> Failure {
    let detail = clean_text(error, 512);
    let message = format!("plugin `{name}` does not fit the plugin contract or its own manifest: {detail}");
    configuration_failure("E0504", message, REBUILD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(kinds: &[PluginKind], files: bool) -> Manifest {
        let json = serde_json::json!({"manifest_version": 1, "name": "p", "version": "1", "kinds": kinds, "config_schema": {}, "files": files});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn imports_follow_from_kind_and_manifest() {
        let (transform, source) = (manifest(&[PluginKind::Transform], true), manifest(&[PluginKind::Source], false));
        let filed = manifest(&[PluginKind::Destination], true);
        for (import, by_transform, by_source, by_filed) in [
            ("affluent:plugin/runtime@0.1.0", true, true, true),
            ("wasi:io/poll@0.2.6", true, true, true),
            ("affluent:plugin/http@0.1.0", false, true, true),
            ("affluent:plugin/kv@0.1.0", false, true, true),
            ("affluent:plugin/files@0.1.0", false, false, true),
            ("wasi:filesystem/types@0.2.6", false, false, false),
            ("wasi:sockets/tcp@0.2.6", false, false, false),
            ("wasi:http/outgoing-handler@0.2.6", false, false, false),
            ("wasi:iota/x", false, false, false),
            ("affluent:plugin/httpx@0.1.0", false, false, false),
            ("evil", false, false, false),
        ] {
            let allowed = [&transform, &source, &filed].map(|manifest| is_allowed(import, manifest));
            assert_eq!(allowed, [by_transform, by_source, by_filed], "{import}");
        }
    }

    #[test]
    fn a_file_without_the_contracts_version_is_refused() {
        let code = |bytes: &[u8]| check_bytes("p", bytes).unwrap_err().error.code;
        let built_for = |version: &[u8]| {
            [b"\0asm\x0d\0\x01\0\0", [u8::try_from(13 + version.len()).unwrap()].as_slice(), b"\x0caffluent:api", version]
                .concat()
        };

        assert_eq!(code(b"MZ"), "E0501");
        assert_eq!(code(&vec![0; COMPONENT_BYTES_MAX + 1]), "E0501");
        assert_eq!(code(b"\0asm\x0d\0\x01\0"), "E0502");
        assert_eq!([built_for(b"0.2.0"), built_for(b"0.10.0"), built_for(b"1")].map(|bytes| code(&bytes)), ["E0502"; 3]);
        assert!(check_bytes("p", &built_for(b"0.1.7")).is_ok());
    }
}
