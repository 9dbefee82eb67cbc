//! `affluent plugin sign` and `verify`: detached signatures of minisign, whose trusted comment says for which plugin,
//! version and digest they are.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_host::Inspection;
use affluent_model::{Error, Result};
use affluent_provenance::{
    Package, check_comment, comment_for, hex_digest, is_encrypted, is_version, key_id, new_key, public_key_of, read_at_most,
    verify as verify_bytes, write_new,
};
use serde_json::json;

use super::add::COMPONENT_BYTES_MAX;
use crate::arguments::{Shared, SignArguments};
use crate::failure::{Exit, Failure, Outcome};
use crate::render::screen::Screen;
use crate::{project, wire};

/// Where a passphrase comes from when nobody is at a terminal.
const PASSPHRASE_VARIABLE: &str = "AFFLUENT_SIGNING_PASSPHRASE";
/// Bytes of a key file at most; minisign's have about 350.
const KEY_BYTES_MAX: usize = 4 << 10;

/// A secret key that was read, ready to sign.
pub(super) struct SigningKey {
    secret: String,
    passphrase: Option<String>,
    /// Its id, 16 hex digits.
    pub(super) id: String,
}

impl SigningKey {
    /// Reads a key file and asks for its passphrase where it has one.
    ///
    /// # Errors
    /// `E0965` when others can read it, when it is no key, or when there is no passphrase to be had.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let secret = String::from_utf8(read_at_most(path, KEY_BYTES_MAX)?)
            .map_err(|_| Error::configuration("E0965", format!("`{}` is not a key of minisign", path.display())))?;
        let encrypted = is_encrypted(&secret);
        let mode = std::fs::metadata(path).map(|metadata| metadata.mode() & 0o777).unwrap_or_default();
        if !encrypted && mode & 0o077 != 0 {
            let message =
                format!("`{}` has no passphrase and others may read it: its mode is {mode:03o}, wanted 600", path.display());
            return Err(Error::configuration("E0965", message).help("chmod 600; if others had access to it, make a new key"));
        }
        let passphrase = if encrypted { Some(passphrase("passphrase of the signing key: ")?) } else { None };
        let public = public_key_of(&secret, passphrase.as_deref())?;
        let id = key_id(&public).unwrap_or_default();
        Ok(Self { secret, passphrase, id })
    }

    /// The text of a `.minisig` file.
    ///
    /// # Errors
    /// `E0965`.
    pub(super) fn sign(&self, bytes: &[u8], comment: &str) -> Result<String> {
        affluent_provenance::sign(bytes, &self.secret, self.passphrase.as_deref(), comment)
    }
}

fn passphrase(prompt: &str) -> Result<String> {
    if let Ok(passphrase) = std::env::var(PASSPHRASE_VARIABLE) {
        return Ok(passphrase);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::configuration("E0965", "there is no terminal to ask for the passphrase on")
            .help(format!("set {PASSPHRASE_VARIABLE}, or make a key with `--no-passphrase`")));
    }
    rpassword::prompt_password(prompt)
        .map_err(|error| Error::external("E0965", format!("the passphrase cannot be read: {error}")))
}

pub(crate) async fn run(screen: &Screen, arguments: &SignArguments) -> Outcome {
    if arguments.new_key {
        make_key(screen, arguments)?;
    }
    let Some(file) = &arguments.file else { return Ok(Exit::Done) };
    let key = SigningKey::open(&arguments.key)?;
    let (package, inspection) = inspected(file).await?;
    let comment = comment_of(&inspection)?;
    let path = beside(file, ".minisig");
    write_new(&path, key.sign(&package.bytes, &comment)?.as_bytes())?;
    let result = json!({ "signature": path, "key": key.id, "comment": comment });
    screen.result(&result, || format!("{} by the key {}: {comment}", path.display(), key.id))?;
    Ok(Exit::Done)
}

fn make_key(screen: &Screen, arguments: &SignArguments) -> Result<()> {
    let passphrase = match arguments.no_passphrase {
        true => None,
        false => Some(passphrase("passphrase for the new signing key: ")?),
    };
    let key = new_key(passphrase.as_deref())?;
    let failed = |error: std::io::Error| {
        Error::configuration("E0965", format!("the key cannot be written to `{}`: {error}", arguments.key.display()))
            .help("a key file is never overwritten: name a new one")
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&arguments.key).map_err(failed)?;
    file.write_all(key.secret.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    let public = format!("untrusted comment: affluent public key {}\n{}\n", key.id, key.public);
    write_new(&beside(&arguments.key, ".pub"), public.as_bytes())?;
    let result = json!({ "key": key.id, "public": key.public });
    let trust = format!("plugins: {{ trust: [{}] }}", key.public);
    if arguments.file.is_some() {
        screen.say(&format!("made the key {}; who trusts it writes {trust}", key.id));
        return Ok(());
    }
    screen.result(&result, || format!("made the key {} in {}; who trusts it writes\n{trust}", key.id, arguments.key.display()))
}

/// A component and what it says of itself; the program's own host suffices.
pub(super) async fn inspected(file: &Path) -> Result<(Package, Inspection), Failure> {
    let package = Package::from_file(file, COMPONENT_BYTES_MAX)?;
    let inspection = wire::bare_host(Arc::new(AtomicBool::new(false)))?.inspect_file(file).await?;
    if inspection.digest != hex_digest(&package.bytes) {
        return Err(Error::external("E0962", format!("`{}` changed while it was looked at", file.display())).into());
    }
    Ok((package, inspection))
}

/// What the signature of a component says.
///
/// # Errors
/// `E0953` when its name or version is none that can be packed.
pub(super) fn comment_of(inspection: &Inspection) -> Result<String> {
    let manifest = &inspection.manifest;
    if !affluent_provenance::is_plugin_name(&manifest.name) || !is_version(&manifest.version) {
        let message = "the plugin's manifest has a name or a version that is none";
        return Err(Error::configuration("E0953", message).help("names read `acme/order-tagger`, versions `1.4.0`"));
    }
    Ok(comment_for(&manifest.name, &manifest.version, &inspection.digest))
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// `affluent plugin verify FILE`.
pub(crate) async fn verify(shared: &Shared, screen: &Screen, file: &Path, public_keys: &[String]) -> Outcome {
    let keys = match public_keys {
        [] => project::load(shared)?.plan.project.plugins.trust.clone(),
        keys => keys.to_vec(),
    };
    if keys.is_empty() {
        return Err(Error::configuration("E0956", "there is no key to verify with")
            .help("name one with `--public-key`, or list it in affluent.yaml under `plugins: { trust: [RW…] }`")
            .into());
    }
    let package = Package::from_file(file, COMPONENT_BYTES_MAX)?;
    let signature = package.signature.as_deref().ok_or_else(|| {
        Error::configuration("E0956", format!("there is no signature `{}`", beside(file, ".minisig").display()))
    })?;
    // Verified before anything of the component is compiled.
    let signed = verify_bytes(&package.bytes, signature, &keys)?;
    let (_, inspection) = inspected(file).await?;
    let manifest = &inspection.manifest;
    check_comment(&signed, &manifest.name, &manifest.version, &inspection.digest)?;
    let result = json!({
        "plugin": manifest.name, "version": manifest.version, "sha256": inspection.digest, "key": signed.key_id,
    });
    screen.result(&result, || format!("{} {} is signed by the key {}", manifest.name, manifest.version, signed.key_id))?;
    Ok(Exit::Done)
}
