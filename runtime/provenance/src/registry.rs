//! A folder registry: plugins in a directory, or under a prefix of an object store that was copied or mounted, with an
//! index of what is there. The index is signed like a plugin; where a plugin's file is follows from its name and version,
//! so that an index cannot point anywhere else. Versions are never replaced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use affluent_model::lock::{PluginSource, plain};
use affluent_model::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::package::{Package, hex_digest, is_plugin_name, is_version, read_at_most, signature_beside, write_new};
use crate::signature::verify;

/// The index in a registry's folder; its signature is beside it.
pub const INDEX_FILE: &str = "index.json";
/// Bytes of an index at most: some twenty thousand versions.
const INDEX_BYTES_MAX: usize = 8 << 20;

/// Signs bytes with a trusted comment; gives the text of a `.minisig` file.
pub type Sign<'a> = dyn Fn(&[u8], &str) -> Result<String> + 'a;

/// What is in a registry: plugin → version → entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Always 1.
    pub format: u32,
    pub plugins: BTreeMap<String, BTreeMap<String, Entry>>,
}

/// One version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// SHA-256 of the component, hex.
    pub sha256: String,
    /// Bytes of the component.
    pub size: u64,
    /// Version of the plugin contract.
    pub contract: String,
    pub kinds: Vec<String>,
    #[serde(default)]
    pub description: String,
    /// Id of the key that signed it, for people; the signature beside the file counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
}

impl Default for Index {
    fn default() -> Self {
        Self { format: 1, plugins: BTreeMap::new() }
    }
}

/// What the trusted comment of an index's signature says.
#[must_use]
pub fn comment_for_index(index: &[u8]) -> String {
    format!("affluent-registry-index {}", hex_digest(index))
}

/// Reads the index of a registry. With trusted keys, it must be signed by one of them.
///
/// # Errors
/// `E0960` no index, a broken one, or names in it that are none; `E0956`, `E0957` its signature.
pub fn read_index(folder: &Path, trust: &[String]) -> Result<Index> {
    let path = folder.join(INDEX_FILE);
    let bytes = read_at_most(&path, INDEX_BYTES_MAX)?;
    let place = |error: Error| error.at(path.display().to_string());
    if !trust.is_empty() {
        let signature = signature_beside(&path)?.ok_or_else(|| {
            let error = Error::configuration(
                "E0956",
                "the index of the registry is not signed, and this project trusts signed ones alone",
            );
            place(error.help("sign it: `affluent plugin pack FILE --registry DIR --key KEYFILE`"))
        })?;
        let signed = verify(&bytes, &signature, trust).map_err(place)?;
        if signed.comment != comment_for_index(&bytes) {
            let message = format!("the index of the registry was signed as something else: `{}`", plain(&signed.comment));
            return Err(place(Error::configuration("E0957", message)));
        }
    }
    parse(&bytes).map_err(place)
}

fn parse(bytes: &[u8]) -> Result<Index> {
    let broken = |why: String| Error::configuration("E0960", format!("the index of the registry is broken: {why}"));
    let index: Index = serde_json::from_slice(bytes).map_err(|error| broken(plain(&error.to_string())))?;
    if index.format != 1 {
        return Err(broken(format!("its format is {}, this release reads 1", index.format)));
    }
    for (name, versions) in &index.plugins {
        if !is_plugin_name(name) {
            return Err(Error::configuration(
                "E0963",
                format!("the registry names a plugin `{}`, which is no name", plain(name)),
            ));
        }
        if let Some(version) = versions.keys().find(|version| !is_version(version)) {
            let message = format!("the registry has a version `{}` of `{name}`, which is no semantic version", plain(version));
            return Err(Error::configuration("E0963", message));
        }
    }
    Ok(index)
}

/// `NAME-VERSION.wasm` below the folder.
#[must_use]
pub fn file_of(folder: &Path, name: &str, version: &str) -> PathBuf {
    folder.join(format!("{name}-{version}.wasm"))
}

/// Takes one version out of a registry, the newest release when none is asked for.
///
/// # Errors
/// Those of [`read_index`]; `E0961` not in it; `E0962` the file is not what the index says.
pub fn read(folder: &Path, name: &str, version: Option<&str>, trust: &[String]) -> Result<(PathBuf, Package)> {
    let index = read_index(folder, trust)?;
    let versions = index.plugins.get(name).filter(|versions| !versions.is_empty()).ok_or_else(|| {
        let known: Vec<&str> = index.plugins.keys().map(String::as_str).take(20).collect();
        Error::configuration("E0961", format!("the registry has no plugin `{}`", plain(name)))
            .help(format!("it has {}", known.join(", ")))
    })?;
    let version = version.map_or_else(|| newest(versions).unwrap_or_default(), str::to_owned);
    let entry = versions.get(&version).ok_or_else(|| {
        let known: Vec<&str> = versions.keys().map(String::as_str).collect();
        Error::configuration("E0961", format!("the registry has no version `{}` of `{name}`", plain(&version)))
            .help(format!("it has {}", known.join(", ")))
    })?;
    let path = file_of(folder, name, &version);
    let size = usize::try_from(entry.size).unwrap_or(usize::MAX);
    let bytes = read_at_most(&path, size)?;
    if bytes.len() != size || hex_digest(&bytes) != entry.sha256 {
        let message = format!("`{}` is not what the registry's index says: its digest differs", path.display());
        return Err(Error::configuration("E0962", message).help("the registry was damaged or tampered with: do not use it"));
    }
    let signature = signature_beside(&path)?;
    Ok((path, Package { bytes, signature, source: PluginSource::Registry, listed_as: Some((name.to_owned(), version)) }))
}

/// The highest version that is no pre-release; the highest of all when there are only such.
fn newest(versions: &BTreeMap<String, Entry>) -> Option<String> {
    let mut parsed: Vec<semver::Version> = versions.keys().filter_map(|version| semver::Version::parse(version).ok()).collect();
    parsed.sort_by(|a, b| (a.pre.is_empty(), a).cmp(&(b.pre.is_empty(), b)));
    parsed.last().map(ToString::to_string)
}

/// Puts a version into a registry: the file, its signature, and the index with the signature that `sign` gives it.
///
/// # Errors
/// `E0960` the version is there with other bytes, or the index is signed and would not be any more; `E0966`.
pub fn write(
    folder: &Path,
    (name, version): (&str, &str),
    package: &Package,
    entry: Entry,
    sign: Option<&Sign<'_>>,
) -> Result<PathBuf> {
    let path = folder.join(INDEX_FILE);
    let mut index = if path.is_file() { parse(&read_at_most(&path, INDEX_BYTES_MAX)?)? } else { Index::default() };
    if sign.is_none() && signature_beside(&path)?.is_some() {
        return Err(Error::configuration("E0960", "the index of this registry is signed: what is added must be signed too")
            .help("give `--key KEYFILE`"));
    }
    let versions = index.plugins.entry(name.to_owned()).or_default();
    if versions.get(version).is_some_and(|known| known.sha256 != entry.sha256) {
        let message = format!("the registry has `{name}` {version} with another content, and a version is never replaced");
        return Err(Error::configuration("E0960", message).help("raise the plugin's version"));
    }
    versions.insert(version.to_owned(), entry);
    let file = file_of(folder, name, version);
    package.write_to(&file)?;
    let mut bytes = serde_json::to_vec_pretty(&index).map_err(|error| Error::bug(error.to_string()))?;
    bytes.push(b'\n');
    if let Some(sign) = sign {
        let signature = sign(&bytes, &comment_for_index(&bytes))?;
        write_new(&folder.join(format!("{INDEX_FILE}.minisig")), signature.as_bytes())?;
    }
    write_new(&path, &bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::secret_key::{NewKey, new_key};
    use crate::signature::sign;

    fn package(bytes: &[u8]) -> Package {
        Package { bytes: bytes.to_vec(), signature: None, source: PluginSource::File, listed_as: None }
    }

    fn put(folder: &Path, version: &str, bytes: &[u8], key: Option<&NewKey>) -> Result<PathBuf> {
        let entry = Entry {
            sha256: hex_digest(bytes),
            size: u64::try_from(bytes.len()).unwrap(),
            contract: "0.1.0".to_owned(),
            kinds: vec!["source".to_owned()],
            description: String::new(),
            signer: None,
        };
        let signer = key.map(|key| move |bytes: &[u8], comment: &str| sign(bytes, &key.secret, None, comment));
        write(folder, ("acme/x", version), &package(bytes), entry, signer.as_ref().map(|sign| sign as _))
    }

    fn code<T>(result: Result<T>) -> &'static str {
        result.map_or_else(|error| error.code, |_| "fine")
    }

    #[test]
    fn the_newest_release_comes_out_unless_another_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["1.9.0", "1.10.0", "2.0.0-rc.1"] {
            put(folder.path(), version, version.as_bytes(), None).unwrap();
        }

        for (asked, expected) in [(None, "1.10.0"), (Some("1.9.0"), "1.9.0"), (Some("2.0.0-rc.1"), "2.0.0-rc.1")] {
            let (_, found) = read(folder.path(), "acme/x", asked, &[]).unwrap();
            assert_eq!(found.bytes, expected.as_bytes());
            assert_eq!(found.listed_as, Some(("acme/x".to_owned(), expected.to_owned())));
        }
        assert_eq!(code(read(folder.path(), "acme/x", Some("3.0.0"), &[])), "E0961");
        assert_eq!(code(read(folder.path(), "../x", None, &[])), "E0961");
    }

    #[test]
    fn a_version_is_never_replaced_and_a_signed_index_stays_signed() {
        let folder = tempfile::tempdir().unwrap();
        let key = new_key(None).unwrap();
        put(folder.path(), "1.0.0", b"one", Some(&key)).unwrap();

        assert_eq!(code(put(folder.path(), "1.0.0", b"one", Some(&key))), "fine");
        assert_eq!(code(put(folder.path(), "1.0.0", b"two", Some(&key))), "E0960");
        assert_eq!(code(put(folder.path(), "1.1.0", b"two", None)), "E0960");
    }

    #[test]
    fn what_was_tampered_with_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (key, other) = (new_key(None).unwrap(), new_key(None).unwrap());
        put(folder.path(), "1.0.0", b"component", Some(&key)).unwrap();
        let trust = [key.public];
        let (index, file) = (folder.path().join(INDEX_FILE), folder.path().join("acme/x-1.0.0.wasm"));
        let (sound, signature) = (fs::read(&index).unwrap(), fs::read(folder.path().join("index.json.minisig")).unwrap());
        let edited = String::from_utf8(sound.clone()).unwrap();

        assert_eq!(code(read(folder.path(), "acme/x", None, &trust)), "fine");
        assert_eq!(code(read(folder.path(), "acme/x", None, &[other.public])), "E0956");
        for (text, trusted, untrusting) in [
            (edited.replace("1.0.0", "1.0.1"), "E0957", "E0966"),
            (edited.replace("acme/x", "../../x"), "E0957", "E0963"),
            (edited.replace("\"1.0.0\": {", "\"1.0.0/../../y\": {"), "E0957", "E0963"),
            (edited.replace("\"format\": 1", "\"format\": 2"), "E0957", "E0960"),
            (edited.replace("\"sha256\"", "\"url\": \"http://a.example\", \"sha256\""), "E0957", "E0960"),
            ("{".to_owned(), "E0957", "E0960"),
        ] {
            fs::write(&index, &text).unwrap();
            assert_eq!(code(read(folder.path(), "acme/x", None, &trust)), trusted, "{text}");
            assert_eq!(code(read(folder.path(), "acme/x", None, &[])), untrusting, "{text}");
        }
        fs::write(&index, sound).unwrap();
        for bytes in [&b"Component"[..], b"comp", b"component and more"] {
            fs::write(&file, bytes).unwrap();
            assert!(["E0962", "E0966"].contains(&code(read(folder.path(), "acme/x", None, &trust))));
        }
        fs::write(&file, b"component").unwrap();
        fs::remove_file(folder.path().join("index.json.minisig")).unwrap();
        assert_eq!(code(read(folder.path(), "acme/x", None, &trust)), "E0956");
        fs::write(folder.path().join("index.json.minisig"), signature).unwrap();
        assert_eq!(code(read(folder.path(), "acme/x", None, &trust)), "fine");
    }
}
