//! A folder in the OCI image layout with plugins in it, as any registry tool copies it: `oci-layout`, `index.json`, and
//! `blobs/sha256/…`. A plugin is an artefact of the CNCF's Wasm layout (tag-runtime.cncf.io, "Wasm OCI Artifact layout",
//! read 2026-11-27): a config of the type [`CONFIG_TYPE`] and one layer of the type [`LAYER_TYPE`]. Nothing is fetched;
//! every blob is checked against the digest that names it.

use std::path::{Path, PathBuf};

use affluent_model::lock::{PluginSource, plain};
use affluent_model::{Error, Result};
use serde_json::{Value, json};

use crate::package::{Package, hex_digest, read_at_most, write_new};

const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
const LAYER_TYPE: &str = "application/wasm";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// Keys of annotations that the OCI image specification defines.
const TITLE: &str = "org.opencontainers.image.title";
const VERSION: &str = "org.opencontainers.image.version";
const REFERENCE: &str = "org.opencontainers.image.ref.name";
/// The text of the plugin's `.minisig` file; other tools ignore it.
const SIGNATURE: &str = "dev.affluent.signature.minisign";
const LAYOUT_FILE: &str = "oci-layout";
const INDEX_FILE: &str = "index.json";
/// Bytes of an index, a manifest or a config at most.
const JSON_BYTES_MAX: usize = 1 << 20;

/// What a layout is asked to hold.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub description: &'a str,
    /// RFC 3339.
    pub created: &'a str,
    pub imports: &'a [String],
    pub exports: &'a [String],
}

/// True for a folder in the OCI image layout.
#[must_use]
pub fn is_layout(folder: &Path) -> bool {
    folder.join(LAYOUT_FILE).is_file()
}

/// Takes a plugin out of a layout: the artefact with this title, or the only one there is.
///
/// # Errors
/// `E0960` no layout that this release reads, `E0961` no such artefact, `E0962` a blob with another digest, `E0963` a
/// digest that is none.
pub fn read(folder: &Path, name: &str, version: Option<&str>, bytes_max: usize) -> Result<(PathBuf, Package)> {
    let layout = parse(&read_at_most(&folder.join(LAYOUT_FILE), JSON_BYTES_MAX)?)?;
    if layout.get("imageLayoutVersion").and_then(Value::as_str) != Some("1.0.0") {
        return Err(broken("its `imageLayoutVersion` is not 1.0.0"));
    }
    let index = parse(&read_at_most(&folder.join(INDEX_FILE), JSON_BYTES_MAX)?)?;
    let listed = index.get("manifests").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut artefacts = Vec::new();
    for descriptor in listed.iter().filter(|descriptor| text(descriptor, "mediaType") == MANIFEST_TYPE) {
        let manifest = parse(&blob(folder, descriptor, JSON_BYTES_MAX)?.1)?;
        let is_wasm = manifest.get("config").is_some_and(|config| text(config, "mediaType") == CONFIG_TYPE);
        if is_wasm && is_asked_for((descriptor, &manifest), listed.len() == 1, name, version) {
            artefacts.push(manifest);
        }
    }
    let [manifest] = artefacts.as_slice() else {
        let asked = version.map_or_else(|| name.to_owned(), |version| format!("{name}@{version}"));
        let found = if artefacts.is_empty() { "no plugin" } else { "more than one plugin" };
        return Err(Error::configuration("E0961", format!("the layout has {found} `{}`", plain(&asked)))
            .help(format!("artefacts are told apart by the annotations {TITLE} and {VERSION}: name the version too")));
    };
    let layers = manifest.get("layers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let [layer] = layers else { return Err(broken("a Wasm artefact has one layer")) };
    if text(layer, "mediaType") != LAYER_TYPE {
        return Err(broken("its layer is not `application/wasm`"));
    }
    let (path, bytes) = blob(folder, layer, bytes_max)?;
    let signature = annotation(manifest, SIGNATURE).map(str::to_owned);
    let listed_as = annotation(manifest, TITLE)
        .zip(annotation(manifest, VERSION))
        .map(|(name, version)| (name.to_owned(), version.to_owned()));
    Ok((path, Package { bytes, signature, source: PluginSource::Oci, listed_as }))
}

/// Annotations stand on the manifest, and some tools repeat them in the index.
fn is_asked_for((descriptor, manifest): (&Value, &Value), is_only_one: bool, name: &str, version: Option<&str>) -> bool {
    let either = |key: &str| annotation(manifest, key).or_else(|| annotation(descriptor, key));
    let title_fits = either(TITLE).map_or(is_only_one, |title| title == name);
    let found = either(VERSION).or_else(|| either(REFERENCE));
    let version_fits = version.is_none_or(|version| found.map_or(is_only_one, |found| found == version));
    title_fits && version_fits
}

/// The blob that a descriptor names, checked.
fn blob(folder: &Path, descriptor: &Value, bytes_max: usize) -> Result<(PathBuf, Vec<u8>)> {
    let digest = text(descriptor, "digest");
    let hex =
        digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')));
    let Some(hex) = hex else {
        return Err(Error::configuration(
            "E0963",
            format!("the layout names a blob `{}`, which is no digest of sha256", plain(digest)),
        ));
    };
    let path = folder.join("blobs/sha256").join(hex);
    let size = descriptor.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
    let size = size.filter(|size| *size <= bytes_max).ok_or_else(|| broken("a blob has no size, or one that is too large"))?;
    let bytes = read_at_most(&path, size)?;
    if bytes.len() != size || hex_digest(&bytes) != hex {
        let message = format!("`{}` is not what its name says: its digest differs", path.display());
        return Err(Error::configuration("E0962", message).help("the layout was damaged or tampered with: do not use it"));
    }
    Ok((path, bytes))
}

fn parse(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| broken(&plain(&error.to_string())))
}

fn broken(why: &str) -> Error {
    Error::configuration("E0960", format!("the OCI layout is broken: {why}"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn annotation<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get("annotations")?.get(key)?.as_str()
}

/// Puts a plugin into a layout, which is made when there is none. An artefact of the same name and version is replaced in
/// the index; its blobs stay.
///
/// # Errors
/// `E0960` the folder's layout is broken, `E0966` it cannot be written.
pub fn write(folder: &Path, package: &Package, described: Described<'_>) -> Result<()> {
    let layer = put(folder, LAYER_TYPE, &package.bytes)?;
    let config = json!({
        "created": described.created,
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [text(&layer, "digest")],
        "component": { "exports": described.exports, "imports": described.imports },
    });
    let mut annotations = json!({
        TITLE: described.name, VERSION: described.version,
        "org.opencontainers.image.description": described.description,
        "org.opencontainers.image.created": described.created,
    });
    if let (Some(signature), Some(map)) = (&package.signature, annotations.as_object_mut()) {
        map.insert(SIGNATURE.to_owned(), signature.as_str().into());
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
        "config": put(folder, CONFIG_TYPE, config.to_string().as_bytes())?,
        "layers": [layer], "annotations": annotations,
    });
    let mut descriptor = put(folder, MANIFEST_TYPE, manifest.to_string().as_bytes())?;
    if let Some(map) = descriptor.as_object_mut() {
        let names = json!({ TITLE: described.name, VERSION: described.version, REFERENCE: described.version });
        map.insert("annotations".to_owned(), names);
    }
    let index_path = folder.join(INDEX_FILE);
    let index = if index_path.is_file() { parse(&read_at_most(&index_path, JSON_BYTES_MAX)?)? } else { json!({}) };
    let before = index.get("manifests").and_then(Value::as_array).cloned().unwrap_or_default();
    let is_other =
        |one: &Value| annotation(one, TITLE) != Some(described.name) || annotation(one, VERSION) != Some(described.version);
    let manifests: Vec<Value> = before.into_iter().filter(is_other).chain([descriptor]).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests });
    write_new(&index_path, index.to_string().as_bytes())?;
    write_new(&folder.join(LAYOUT_FILE), br#"{"imageLayoutVersion":"1.0.0"}"#)
}

/// Writes a blob and describes it.
fn put(folder: &Path, media_type: &str, bytes: &[u8]) -> Result<Value> {
    let hex = hex_digest(bytes);
    write_new(&folder.join("blobs/sha256").join(&hex), bytes)?;
    Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len() }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const BYTES_MAX: usize = 1 << 20;

    fn layout(versions: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for version in versions {
            let bytes = version.as_bytes().to_vec();
            let package = Package { bytes, signature: Some("sig".to_owned()), source: PluginSource::File, listed_as: None };
            let described = Described {
                name: "acme/x",
                version,
                description: "",
                created: "2026-01-01T00:00:00Z",
                imports: &[],
                exports: &[],
            };
            write(folder.path(), &package, described).unwrap();
        }
        folder
    }

    fn code(folder: &Path, name: &str, version: Option<&str>) -> &'static str {
        read(folder, name, version, BYTES_MAX).map_or_else(|error| error.code, |_| "fine")
    }

    #[test]
    fn what_was_put_in_comes_out() {
        let folder = layout(&["1.0.0", "1.1.0", "1.1.0"]);

        let (_, found) = read(folder.path(), "acme/x", Some("1.1.0"), BYTES_MAX).unwrap();

        assert_eq!((found.bytes.as_slice(), found.signature.as_deref()), (&b"1.1.0"[..], Some("sig")));
        assert_eq!(found.listed_as, Some(("acme/x".to_owned(), "1.1.0".to_owned())));
        assert_eq!(code(folder.path(), "acme/x", None), "E0961", "two versions, none named");
        assert_eq!(code(folder.path(), "acme/y", Some("1.1.0")), "E0961");
        assert_eq!(code(layout(&["1.0.0"]).path(), "acme/x", None), "fine");
    }

    #[test]
    fn blobs_that_were_touched_and_digests_that_lead_elsewhere_are_refused() {
        let digest = hex_digest(b"1.0.0");
        for (file, from, to, expected) in [
            (format!("blobs/sha256/{digest}"), "1.0.0".to_owned(), "2.0.0".to_owned(), "E0962"),
            (format!("blobs/sha256/{digest}"), "1.0.0".to_owned(), "1.0".to_owned(), "E0962"),
            ("index.json".to_owned(), "sha256:".to_owned(), "sha256:../../../../etc/passwd?".to_owned(), "E0963"),
            ("index.json".to_owned(), "sha256:".to_owned(), "sha512:".to_owned(), "E0963"),
            ("index.json".to_owned(), "\"size\":".to_owned(), "\"size\":9999999999999, \"s\":".to_owned(), "E0960"),
            ("index.json".to_owned(), "{".to_owned(), "[".to_owned(), "E0960"),
            ("oci-layout".to_owned(), "1.0.0".to_owned(), "2.0.0".to_owned(), "E0960"),
        ] {
            let folder = layout(&["1.0.0"]);
            let path = folder.path().join(&file);
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replacen(&from, &to, 1)).unwrap();

            assert_eq!(code(folder.path(), "acme/x", None), expected, "{file} {to}");
        }
    }

    #[test]
    fn a_manifest_that_was_touched_is_refused() {
        let folder = layout(&["1.0.0"]);
        let index: Value = serde_json::from_slice(&fs::read(folder.path().join(INDEX_FILE)).unwrap()).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap().replace("sha256:", "");
        let path = folder.path().join("blobs/sha256").join(digest);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("acme/x", "acme/y")).unwrap();

        assert_eq!(code(folder.path(), "acme/x", None), "E0962");
    }
}
