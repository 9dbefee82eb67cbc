//! The decision whether a plugin runs. It is asked twice: with the bytes, before anything of them is compiled, and with
//! the manifest, before an instance gets any service. Nothing passes that was not approved; what belongs to the program
//! itself is approved by it, as long as it asks for no more than before.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use affluent_model::lock::{
    Approvals, Candidate, Denied, Grants, Isolation, IsolationRule, Lock, LockedPlugin, Origin, PluginRules, PluginSource, Said,
    plain,
};
use affluent_model::manifest::Manifest;
use affluent_model::{Error, Result};

use crate::denied::{Suspect, refuse_denied};
use crate::package::signature_beside;
use crate::section::manifest_section;
use crate::signature::{Signature, comment_for, key_id, verify};
use crate::version::is_lower;

/// The rules of a project.
pub struct Policy {
    lock: Lock,
    rules: PluginRules,
    denied: Vec<Denied>,
    found: Mutex<Found>,
}

/// What the lock does not say yet.
#[derive(Default)]
struct Found {
    changes: BTreeMap<String, LockedPlugin>,
    notes: Vec<String>,
}

impl Policy {
    /// # Errors
    /// A bug, when the deny list of this release is broken.
    pub fn new(lock: Lock, rules: PluginRules) -> Result<Self> {
        let denied = crate::denied::shipped()?.into_iter().chain(rules.deny.iter().cloned()).collect();
        Ok(Self { lock, rules, denied, found: Mutex::default() })
    }

    fn admit_embedded(&self, candidate: &Candidate<'_>, entry: Option<&LockedPlugin>) -> Result<()> {
        let name = candidate.name;
        match entry {
            None if self.rules.locked => Err(Error::configuration(
                "E0958",
                format!("plugin `{name}` is not in affluent.lock, and `--locked` adds nothing to it"),
            )
            .help("run once without `--locked` and commit affluent.lock")),
            Some(entry) if entry.source != PluginSource::Embedded => {
                let message = format!(
                    "plugin `{name}` was approved as one from outside ({}), and this release has one of its own by that name",
                    entry.source.as_str()
                );
                Err(Error::configuration("E0951", message).help(approve(name)))
            }
            Some(entry) if self.rules.locked && entry.sha256 != candidate.digest => {
                let message = format!(
                    "plugin `{name}` of this program is not the one in affluent.lock: {} instead of {}",
                    short(candidate.digest),
                    short(&entry.sha256)
                );
                Err(Error::configuration("E0958", message)
                    .help("use the release that wrote the lock, or run once without `--locked` and commit affluent.lock"))
            }
            _ => Ok(()),
        }
    }

    fn not_approved(&self, candidate: &Candidate<'_>) -> Error {
        let name = candidate.name;
        if self.rules.locked {
            return Error::configuration(
                "E0958",
                format!("plugin `{name}` is not in affluent.lock, and `--locked` adds nothing to it"),
            )
            .help(approve(name));
        }
        let asks = claimed(candidate.bytes)
            .map(|(_, grants)| format!("; it says it asks for {}", in_short(&grants.lines())))
            .unwrap_or_default();
        Error::configuration("E0950", format!("plugin `{name}` was not approved: it is not in affluent.lock"))
            .help(format!("{}{asks}", approve(name)))
    }

    /// A plugin from outside is what was approved, to the byte.
    fn check_digest(&self, candidate: &Candidate<'_>, entry: &LockedPlugin) -> Result<()> {
        let name = candidate.name;
        if entry.sha256 == candidate.digest && entry.source != PluginSource::Embedded {
            return Ok(());
        }
        let mut message = format!(
            "plugin `{name}` is not the one that was approved: its digest is {} instead of {}",
            short(candidate.digest),
            short(&entry.sha256)
        );
        if let Some((manifest, grants)) = claimed(candidate.bytes) {
            let growth = entry.grants.growth(&grants);
            let more = if growth.is_empty() { "no more than before".to_owned() } else { format!("more: {}", in_short(&growth)) };
            let lower = if is_lower(&manifest.version, &entry.version) { ", which is lower" } else { "" };
            let version = plain(&manifest.version);
            message
                .push_str(&format!("; it says it is version {version} instead of {}{lower}, and asks for {more}", entry.version));
        }
        let code = if self.rules.locked { "E0958" } else { "E0951" };
        Err(Error::configuration(code, message).help(format!("put the approved file back, or {}", approve(name))))
    }

    /// With trusted keys, a plugin from outside is signed by one of them.
    ///
    /// # Errors
    /// `E0956` unsigned or by another key, `E0957` not for these bytes.
    pub fn check_signature(&self, bytes: &[u8], signature: Option<&str>) -> Result<Option<Signature>> {
        match signature {
            _ if self.rules.trust.is_empty() => Ok(None),
            None => Err(Error::configuration(
                "E0956",
                "there is no signature, and this project trusts signed plugins alone (`plugins.trust`)",
            )
            .help("get the file `.minisig` that belongs to it from its author")),
            Some(signature) => verify(bytes, signature, &self.rules.trust).map(Some),
        }
    }

    /// Refuses what the deny lists name, by what is known of it so far.
    ///
    /// # Errors
    /// `E0955`.
    pub fn check_denied(&self, name: &str, digest: &str, version: Option<&str>, signature: Option<&str>) -> Result<()> {
        let signer = signature.and_then(key_id);
        refuse_denied(&self.denied, Suspect { name, digest, version, signer: signer.as_deref() })
    }

    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, text: String) {
        let mut found = self.found();
        if !found.notes.contains(&text) {
            found.notes.push(text);
        }
    }

    fn change(&self, name: &str, plugin: LockedPlugin) {
        self.found().changes.insert(name.to_owned(), plugin);
    }

    /// Entries that the lock file should get, of plugins that were loaded; taken once.
    pub fn take_changes(&self) -> BTreeMap<String, LockedPlugin> {
        std::mem::take(&mut self.found().changes)
    }

    /// What a person should know; taken once.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.found().notes)
    }

    #[must_use]
    pub fn lock(&self) -> &Lock {
        &self.lock
    }
}

impl Approvals for Policy {
    /// The first question: may these bytes be compiled, and asked for their manifest?
    ///
    /// # Errors
    /// `E0950` no approval, `E0951` another digest, `E0955` denied, `E0956` and `E0957` signatures, `E0958` `--locked`.
    fn admit(&self, candidate: &Candidate<'_>) -> Result<()> {
        let entry = self.lock.plugins.get(candidate.name);
        let suspect = Suspect { name: candidate.name, digest: candidate.digest, version: None, signer: None };
        refuse_denied(&self.denied, suspect)?;
        match (candidate.origin, entry) {
            (Origin::Develop(_), _) if self.rules.locked => {
                let message = format!(
                    "plugin `{}` is under development (`plugins.develop`), which `--locked` does not run",
                    candidate.name
                );
                Err(Error::configuration("E0958", message)
                    .help("build it, approve it with `affluent plugin add`, and take it out of `develop`"))
            }
            (Origin::Develop(_), _) => Ok(()),
            (Origin::Embedded, entry) => self.admit_embedded(candidate, entry),
            (Origin::File(_), None) => Err(self.not_approved(candidate)),
            (Origin::File(path), Some(entry)) => {
                self.check_digest(candidate, entry)?;
                let signature = signature_beside(path)?;
                let signed = self.check_signature(candidate.bytes, signature.as_deref());
                let signed = signed
                    .map_err(|error| Error { message: format!("plugin `{}`: {}", candidate.name, error.message), ..error })?;
                if let Some(signed) = &signed {
                    check_comment(signed, candidate.name, &entry.version, candidate.digest)?;
                }
                let signer = signature.as_deref().and_then(key_id).or_else(|| entry.signer.clone());
                refuse_denied(&self.denied, Suspect { version: Some(&entry.version), signer: signer.as_deref(), ..suspect })
            }
        }
    }

    /// The second question: may it get what its manifest asks for?
    ///
    /// # Errors
    /// `E0952` it asks for more than was approved, `E0953` it is not what it says, `E0954` it is older, `E0955` denied.
    fn grant(&self, candidate: &Candidate<'_>, said: Said<'_>) -> Result<()> {
        let entry = self.lock.plugins.get(candidate.name);
        check_claim(candidate, said.manifest)?;
        let suspect =
            Suspect { name: candidate.name, digest: candidate.digest, version: Some(&said.manifest.version), signer: None };
        refuse_denied(&self.denied, suspect)?;
        let plugin = pinned(candidate, said, PluginSource::Embedded)?;
        match (candidate.origin, entry) {
            (Origin::Develop(path), _) => {
                self.note(format!(
                    "plugin `{}` runs from {} as it is: `plugins.develop` pins nothing",
                    candidate.name,
                    path.display()
                ));
                Ok(())
            }
            (Origin::Embedded, None) => {
                self.change(candidate.name, plugin);
                Ok(())
            }
            (Origin::Embedded, Some(entry)) if *entry == plugin => Ok(()),
            (Origin::Embedded, Some(entry)) => {
                let review = review(candidate.name, Some(entry), &plugin, false)?;
                refuse_growth(candidate.name, &review.growth)?;
                let change = if plugin.version == entry.version {
                    format!("another build of {}", plugin.version)
                } else {
                    format!("{} instead of {}", plugin.version, entry.version)
                };
                self.note(format!("plugin `{}` came with this release: {change}", candidate.name));
                self.change(candidate.name, plugin);
                Ok(())
            }
            (Origin::File(_), Some(entry)) => refuse_growth(candidate.name, &entry.grants.growth(&plugin.grants)),
            (Origin::File(_), None) => Err(self.not_approved(candidate)),
        }
    }
    /// A plugin of the program runs in it, and so does one that a trusted key signed, unless the project says otherwise.
    fn isolation(&self, candidate: &Candidate<'_>) -> Isolation {
        match (self.rules.isolation, candidate.origin) {
            (_, Origin::Embedded) | (IsolationRule::None, _) => Isolation::None,
            (IsolationRule::Process, _) | (IsolationRule::Unsigned, Origin::Develop(_)) => Isolation::Process,
            (IsolationRule::Unsigned, Origin::File(path)) => {
                let signature = signature_beside(path).ok().flatten();
                match self.check_signature(candidate.bytes, signature.as_deref()) {
                    Ok(Some(_)) => Isolation::None,
                    _ => Isolation::Process,
                }
            }
        }
    }
}

/// What changes when a plugin is approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Lines it gets and did not get before; all of them when it is new.
    pub growth: Vec<String>,
    pub is_new: bool,
}

/// Compares a plugin with what was approved under its name.
///
/// # Errors
/// `E0954` when its version is lower and that is not allowed.
pub fn review(name: &str, entry: Option<&LockedPlugin>, plugin: &LockedPlugin, allow_downgrade: bool) -> Result<Review> {
    let Some(entry) = entry else { return Ok(Review { growth: plugin.grants.lines(), is_new: true }) };
    if is_lower(&plugin.version, &entry.version) && !allow_downgrade {
        let message = format!("plugin `{name}` {} is older than {}, which was approved", plugin.version, entry.version);
        return Err(Error::configuration("E0954", message)
            .help(format!("an older version may bring back a mended flaw; if you mean it: `affluent plugin add {name} --allow-downgrade --approve`")));
    }
    Ok(Review { growth: entry.grants.growth(&plugin.grants), is_new: false })
}

/// The entry that a plugin gets in the lock file, without a signer.
///
/// # Errors
/// A bug: a manifest can always be written.
pub fn pinned(candidate: &Candidate<'_>, said: Said<'_>, source: PluginSource) -> Result<LockedPlugin> {
    Ok(LockedPlugin {
        version: plain(&said.manifest.version),
        source,
        sha256: candidate.digest.to_owned(),
        contract: plain(said.contract),
        signer: None,
        grants: Grants::of(said.manifest, said.imports.iter().map(String::as_str))?,
    })
}

/// The signature is for this name, version and digest.
///
/// # Errors
/// `E0957`.
pub fn check_comment(signed: &Signature, name: &str, version: &str, digest: &str) -> Result<()> {
    if signed.comment == comment_for(name, version, digest) {
        return Ok(());
    }
    let comment = plain(&signed.comment);
    let message = format!("plugin `{name}`: its signature is for `{comment}`, not for `{}`", comment_for(name, version, digest));
    Err(Error::configuration("E0957", message).help("it was signed as something else: do not use it, and tell the key's owner"))
}

/// A component is the plugin it is called, and says the same when asked as it has written in it.
///
/// # Errors
/// `E0953`.
pub fn check_claim(candidate: &Candidate<'_>, manifest: &Manifest) -> Result<()> {
    let name = candidate.name;
    if manifest.name != name && candidate.origin != Origin::Embedded {
        let own = plain(&manifest.name);
        return Err(Error::configuration("E0953", format!("plugin `{name}` says it is `{own}`"))
            .help(format!("name it `{own}` in the project, and its file too")));
    }
    let Some(claim) = manifest_section(candidate.bytes) else { return Ok(()) };
    if serde_json::from_str::<Manifest>(claim).is_ok_and(|claim| claim == *manifest) {
        return Ok(());
    }
    let message = format!("plugin `{name}` says something else of itself than what is written in its file");
    Err(Error::configuration("E0953", message)
        .help("pack it again with `affluent plugin pack`; if it is not yours, do not use it"))
}

fn refuse_growth(name: &str, growth: &[String]) -> Result<()> {
    if growth.is_empty() {
        return Ok(());
    }
    let message = format!("plugin `{name}` asks for more than was approved: {}", in_short(growth));
    Err(Error::configuration("E0952", message).help(approve(name)))
}

/// What is written in a file of itself, without running it.
fn claimed(bytes: &[u8]) -> Option<(Manifest, Grants)> {
    let manifest: Manifest = serde_json::from_str(manifest_section(bytes)?).ok()?;
    let grants = Grants::of(&manifest, []).ok()?;
    Some((manifest, grants))
}

fn approve(name: &str) -> String {
    format!("look at what it asks for and approve it: `affluent plugin add {name} --approve`")
}

/// The first twelve digits tell two digests apart.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// At most five lines in one.
fn in_short(lines: &[String]) -> String {
    let shown: Vec<String> = lines.iter().take(5).map(|line| line.chars().take(120).collect()).collect();
    let rest = lines.len().saturating_sub(shown.len());
    let rest = if rest == 0 { String::new() } else { format!(", and {rest} more") };
    format!("{}{rest}", shown.join(", "))
}

#[cfg(test)]
mod tests;
