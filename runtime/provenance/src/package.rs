//! A plugin on its way into a project: its bytes, the signature beside them, and where they came from.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use affluent_model::lock::PluginSource;
use affluent_model::{Error, Result};
use sha2::{Digest, Sha256};

/// Bytes of a signature file at most; minisign's have about 300.
const SIGNATURE_BYTES_MAX: usize = 4 << 10;

/// A component with what came along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub bytes: Vec<u8>,
    /// Text of the `.minisig` file.
    pub signature: Option<String>,
    pub source: PluginSource,
    /// Name and version under which a registry or a layout holds it; the component must say the same.
    pub listed_as: Option<(String, String)>,
}

/// SHA-256, hex.
#[must_use]
pub fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Letters, digits, `-` and `_`, with at most one `/` between two such words: safe as a relative path.
#[must_use]
pub fn is_plugin_name(name: &str) -> bool {
    let is_word = |word: &str| {
        (1..=64).contains(&word.len())
            && word.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_'))
    };
    name.split('/').count() <= 2 && name.split('/').all(is_word)
}

/// A semantic version of at most 64 characters: safe as a part of a file name.
#[must_use]
pub fn is_version(version: &str) -> bool {
    version.len() <= 64 && semver::Version::parse(version).is_ok()
}

/// Where the detached signature of a file is.
fn signature_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".minisig");
    PathBuf::from(name)
}

/// The text of the signature beside a file; `None` when there is none.
///
/// # Errors
/// `E0957` when it is too long to be one, `E0966` when it cannot be read.
pub fn signature_beside(file: &Path) -> Result<Option<String>> {
    let path = signature_path(file);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_at_most(&path, SIGNATURE_BYTES_MAX)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Error::configuration("E0957", format!("`{}` is not a signature of minisign", path.display()))
            .help("sign the plugin again")
    })?;
    Ok(Some(text))
}

/// A whole file.
///
/// # Errors
/// `E0966` when it cannot be read or is larger than `bytes_max`.
pub fn read_at_most(path: &Path, bytes_max: usize) -> Result<Vec<u8>> {
    let unreadable = |why: String| Error::configuration("E0966", format!("`{}` {why}", path.display()));
    let file = File::open(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    if bytes.len() > bytes_max {
        return Err(unreadable(format!("is larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Writes a file whole or not at all: beside its place first, then moved there. Folders on the way are made.
///
/// # Errors
/// `E0966` when it cannot be written; what was there stays.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error: std::io::Error| Error::external("E0966", format!("`{}` cannot be written: {error}", path.display()));
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // One writer of a process at a time, and processes have numbers of their own.
    let partial = folder.join(format!(".{name}.{}.partial", std::process::id()));
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    });
    if written.is_err() {
        drop(fs::remove_file(&partial));
    }
    written.map_err(failed)
}

impl Package {
    /// A component file with the signature beside it.
    ///
    /// # Errors
    /// `E0966` when it cannot be read or has more than `bytes_max`.
    pub fn from_file(path: &Path, bytes_max: usize) -> Result<Self> {
        let bytes = read_at_most(path, bytes_max)?;
        Ok(Self { bytes, signature: signature_beside(path)?, source: PluginSource::File, listed_as: None })
    }

    /// Puts the component and its signature where a project finds them.
    ///
    /// # Errors
    /// `E0966`.
    pub fn write_to(&self, path: &Path) -> Result<()> {
        match &self.signature {
            Some(signature) => write_new(&signature_path(path), signature.as_bytes())?,
            None => drop(fs::remove_file(signature_path(path))),
        }
        write_new(path, &self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_and_versions_reach_a_path() {
        for (name, plain) in [
            ("shop", true),
            ("acme/order-tagger", true),
            ("../x", false),
            ("a/../b", false),
            ("/etc", false),
            ("a/b/c", false),
            ("", false),
            ("a\\b", false),
            ("a.b", false),
        ] {
            assert_eq!(is_plugin_name(name), plain, "{name}");
        }
        for (version, plain) in
            [("1.0.0", true), ("1.0.0-rc.1+b.2", true), ("1", false), ("../1.0.0", false), ("1.0.0/..", false)]
        {
            assert_eq!(is_version(version), plain, "{version}");
        }
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/x.wasm");

        write_new(&path, b"one").unwrap();
        write_new(&path, b"two").unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(read_at_most(&path, 2).unwrap_err().code, "E0966");
    }
}
