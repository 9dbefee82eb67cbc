//! `affluent plugin pack`: a component with its manifest written in it, as a file, in a folder registry, in an OCI layout.

use std::path::{Path, PathBuf};

use affluent_host::Inspection;
use affluent_model::lock::PluginSource;
use affluent_model::{Error, Result};
use affluent_provenance::{Package, comment_for, hex_digest, oci, registry, with_manifest};
use serde_json::json;

use super::sign::{SigningKey, comment_of, inspected};
use crate::arguments::PackArguments;
use crate::failure::{Exit, Outcome};
use crate::render::screen::Screen;

/// Where builds of a plugin's folder leave its component, in this order.
const BUILD_FOLDERS: [&str; 3] = ["dist", "target/wasm32-wasip2/plugin", "target/wasm32-wasip2/release"];

pub(crate) async fn run(screen: &Screen, arguments: &PackArguments) -> Outcome {
    let file = component_of(&arguments.plugin)?;
    let (package, inspection) = inspected(&file).await?;
    comment_of(&inspection)?;
    let key = arguments.key.as_deref().map(SigningKey::open).transpose()?;
    let packed = packed(&package, &inspection, key.as_ref())?;
    let manifest = &inspection.manifest;
    let mut places = Vec::new();
    if let Some(folder) = &arguments.out {
        let path = registry::file_of(folder, &manifest.name, &manifest.version);
        packed.write_to(&path)?;
        places.push(path);
    }
    if let Some(folder) = &arguments.registry {
        places.push(register(folder, &packed, &inspection, key.as_ref())?);
    }
    if let Some(folder) = &arguments.oci {
        lay_out(folder, &packed, &inspection)?;
        places.push(folder.clone());
    }
    let digest = hex_digest(&packed.bytes);
    let result = json!({
        "plugin": manifest.name, "version": manifest.version, "sha256": digest, "bytes": packed.bytes.len(),
        "key": key.as_ref().map(|key| &key.id), "places": places,
    });
    let shown: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    screen.result(&result, || format!("{} {} is packed: {}", manifest.name, manifest.version, shown.join(", ")))?;
    Ok(Exit::Done)
}

/// The component itself, or the only one that a build left in a plugin's folder.
fn component_of(plugin: &Path) -> Result<PathBuf> {
    if !plugin.is_dir() {
        return Ok(plugin.to_owned());
    }
    for folder in BUILD_FOLDERS.map(|folder| plugin.join(folder)) {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let is_component = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wasm");
        let found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_component).collect();
        match found.as_slice() {
            [only] => return Ok(only.clone()),
            [] => {}
            _ => {
                let message = format!("`{}` has more than one component", folder.display());
                return Err(Error::configuration("E0961", message).help("name the file to pack"));
            }
        }
    }
    let message = format!("`{}` has no component that was built", plugin.display());
    Err(Error::configuration("E0961", message).help(format!("build it first; {} are looked at", BUILD_FOLDERS.join(", "))))
}

fn packed(package: &Package, inspection: &Inspection, key: Option<&SigningKey>) -> Result<Package> {
    let manifest = &inspection.manifest;
    let json = serde_json::to_string(manifest).map_err(|error| Error::bug(error.to_string()))?;
    let bytes = with_manifest(&package.bytes, &json).ok_or_else(|| Error::bug("a component that was inspected is none"))?;
    let comment = comment_for(&manifest.name, &manifest.version, &hex_digest(&bytes));
    let signature = key.map(|key| key.sign(&bytes, &comment)).transpose()?;
    Ok(Package { bytes, signature, source: PluginSource::File, listed_as: None })
}

fn register(folder: &Path, packed: &Package, inspection: &Inspection, key: Option<&SigningKey>) -> Result<PathBuf> {
    let manifest = &inspection.manifest;
    let entry = registry::Entry {
        sha256: hex_digest(&packed.bytes),
        size: u64::try_from(packed.bytes.len()).unwrap_or(u64::MAX),
        contract: inspection.contract.clone(),
        kinds: manifest.kinds.iter().map(|kind| kind.as_str().to_owned()).collect(),
        description: manifest.description.clone(),
        signer: key.map(|key| key.id.clone()),
    };
    let sign = key.map(|key| |bytes: &[u8], comment: &str| key.sign(bytes, comment));
    registry::write(folder, (&manifest.name, &manifest.version), packed, entry, sign.as_ref().map(|sign| sign as _))
}

fn lay_out(folder: &Path, packed: &Package, inspection: &Inspection) -> Result<()> {
    let manifest = &inspection.manifest;
    let interface = |name: &str| format!("affluent:plugin/{name}@{}", inspection.contract);
    let kinds = manifest.kinds.iter().map(|kind| interface(kind.as_str()));
    let exports: Vec<String> = std::iter::once(interface("plugin")).chain(kinds).collect();
    let created = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let described = oci::Described {
        name: &manifest.name,
        version: &manifest.version,
        description: &manifest.description,
        created: &created,
        imports: &inspection.imports,
        exports: &exports,
    };
    oci::write(folder, packed, described)
}
