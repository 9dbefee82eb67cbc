//! `affluent plugin add NAME[@VERSION]`: shows what a plugin asks for and, when that is approved, puts it into the project.
//! Nothing of it is compiled before its signature and the deny lists were asked; nothing comes over a network.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_host::{Host, Inspection};
use affluent_model::lock::{Candidate, LockedPlugin, Origin, PluginSource, Said, plain};
use affluent_model::plan::Plan;
use affluent_model::{Error, Result};
use affluent_provenance::{
    Package, Policy, Review, check_claim, check_comment, hex_digest, is_plugin_name, is_version, oci, pinned, registry, review,
};
use serde_json::json;

use crate::arguments::{AddArguments, Shared};
use crate::failure::{Exit, Failure, Outcome};
use crate::render::screen::Screen;
use crate::{lock_file, project, wire};

/// Bytes of a component at most (security B-6).
pub(super) const COMPONENT_BYTES_MAX: usize = 20 << 20;

pub(crate) async fn run(shared: &Shared, screen: &Screen, arguments: &AddArguments) -> Outcome {
    let project = project::load(shared)?;
    let plan = &project.plan;
    if plan.project.plugins.locked {
        return Err(Error::configuration("E0958", "`plugin add` changes affluent.lock, which `--locked` forbids").into());
    }
    let (name, version) = split(&arguments.plugin)?;
    let host = wire::host(plan, None, Arc::new(AtomicBool::new(false)))?;
    let found = find(plan, &host, (name, version), arguments.from.as_deref())?;
    let plugin = look_at(plan, &host, (name, version), &found).await?;
    let reviewed = review(name, plan.lock.plugins.get(name), &plugin, arguments.allow_downgrade)?;
    let is_known = plan.lock.plugins.get(name) == Some(&plugin);
    screen.say(&shown(name, &plugin, &reviewed, &found));
    if !arguments.approve && !is_known && !is_approved_by_hand(screen) {
        let message = format!("plugin `{name}` {} waits for approval; nothing was changed", plugin.version);
        return Err(Error::held("E0964", message).help("add `--approve` when what it asks for is right").into());
    }
    let path = put(plan, &host, name, &found)?;
    lock_file::update(plan, |lock| drop(lock.plugins.insert(name.to_owned(), plugin.clone())))?;
    let result = json!({
        "plugin": name, "version": plugin.version, "sha256": plugin.sha256, "source": plugin.source, "signer": plugin.signer,
        "contract": plugin.contract, "file": path, "asks": plugin.grants.lines(), "growth": reviewed.growth,
    });
    screen.result(&result, || format!("{name} {} is approved and pinned in affluent.lock: commit it", plugin.version))?;
    Ok(Exit::Done)
}

/// `acme/x@1.4.0` → name and version.
fn split(asked: &str) -> Result<(&str, Option<&str>)> {
    let (name, version) = asked.split_once('@').map_or((asked, None), |(name, version)| (name, Some(version)));
    if is_plugin_name(name) && version.is_none_or(is_version) {
        return Ok((name, version));
    }
    let message = format!("`{}` is not the name of a plugin", plain(asked));
    Err(Error::configuration("E0963", message).help("such as `acme/order-tagger` or `acme/order-tagger@1.4.0`"))
}

/// A package, and the file its component is in; none for a plugin of the program.
struct Found {
    package: Package,
    path: Option<PathBuf>,
}

fn find(plan: &Plan, host: &Host, (name, version): (&str, Option<&str>), from: Option<&Path>) -> Result<Found> {
    let embedded = wire::EMBEDDED.iter().find(|(known, _)| *known == name);
    let is_developed = plan.project.plugins.develop.contains_key(name);
    let at = |(path, package): (PathBuf, Package)| Found { package, path: Some(path) };
    match (from, embedded) {
        (Some(_), Some(_)) => Err(Error::configuration(
            "E0953",
            format!("this program has a plugin `{name}` of its own, which comes before any other"),
        )
        .help("give the one from outside another name, such as `acme/NAME`")),
        (None, Some((_, bytes))) if !is_developed => {
            let package = Package { bytes: bytes.to_vec(), signature: None, source: PluginSource::Embedded, listed_as: None };
            Ok(Found { package, path: None })
        }
        (Some(folder), None) if folder.is_dir() && oci::is_layout(folder) => {
            oci::read(folder, name, version, COMPONENT_BYTES_MAX).map(at)
        }
        (Some(folder), None) if folder.is_dir() => registry::read(folder, name, version, &plan.project.plugins.trust).map(at),
        (Some(file), None) => Package::from_file(file, COMPONENT_BYTES_MAX).map(|package| at((file.to_owned(), package))),
        (None, _) => {
            let path = host.file_of(name).ok_or_else(|| {
                Error::configuration("E0961", format!("there is no plugin `{name}` in the project's plugin folders"))
                    .help("name where it is: `--from FILE`, `--from REGISTRY_FOLDER` or `--from OCI_LAYOUT_FOLDER`")
            })?;
            Package::from_file(&path, COMPONENT_BYTES_MAX).map(|package| at((path, package)))
        }
    }
}

/// Checks a package and asks it for its manifest; gives the entry it would have in the lock file.
async fn look_at(
    plan: &Plan,
    host: &Host,
    (name, version): (&str, Option<&str>),
    found: &Found,
) -> Result<LockedPlugin, Failure> {
    let policy = Policy::new(plan.lock.clone(), plan.project.plugins.clone())?;
    let package = &found.package;
    let digest = hex_digest(&package.bytes);
    policy.check_denied(name, &digest, None, package.signature.as_deref())?;
    let Some(path) = &found.path else {
        let inspection = host.inspect(name).await?;
        let candidate = Candidate { name, digest: &digest, bytes: &package.bytes, origin: Origin::Embedded };
        return Ok(pinned(&candidate, said(&inspection), PluginSource::Embedded)?);
    };
    let signed = policy.check_signature(&package.bytes, package.signature.as_deref())?;
    let inspection = host.inspect_file(path).await?;
    if inspection.digest != digest {
        let message = format!("`{}` changed while it was looked at", path.display());
        return Err(Error::external("E0962", message).into());
    }
    let candidate = Candidate { name, digest: &digest, bytes: &package.bytes, origin: Origin::File(path) };
    let manifest = &inspection.manifest;
    check_claim(&candidate, manifest)?;
    check_version(name, &manifest.version, [version, package.listed_as.as_ref().map(|(_, version)| version.as_str())])?;
    if let Some(signed) = &signed {
        check_comment(signed, name, &manifest.version, &digest)?;
    }
    policy.check_denied(name, &digest, Some(&manifest.version), package.signature.as_deref())?;
    let signer = signed.map(|signed| signed.key_id);
    Ok(LockedPlugin { signer, ..pinned(&candidate, said(&inspection), package.source)? })
}

fn said(inspection: &Inspection) -> Said<'_> {
    Said { manifest: &inspection.manifest, contract: &inspection.contract, imports: &inspection.imports }
}

/// The version is a version, and the one that was asked for and listed.
fn check_version(name: &str, version: &str, expected: [Option<&str>; 2]) -> Result<()> {
    if !is_version(version) {
        let message = format!("plugin `{name}` says its version is `{}`, which is no semantic version", plain(version));
        return Err(Error::configuration("E0953", message).help("versions read `1.4.0`: tell its author"));
    }
    match expected.into_iter().flatten().find(|expected| *expected != version) {
        None => Ok(()),
        Some(expected) => {
            let message = format!("plugin `{name}` says it is version {version}, and stands there as {}", plain(expected));
            Err(Error::configuration("E0953", message).help("do not use it; tell whoever runs the place it comes from"))
        }
    }
}

fn shown(name: &str, plugin: &LockedPlugin, review: &Review, found: &Found) -> String {
    let place = found.path.as_ref().map_or_else(|| "this program".to_owned(), |path| path.display().to_string());
    let mut text = format!("{name} {} from {place}\n  sha256 {}", plugin.version, plugin.sha256);
    let signer = plugin
        .signer
        .as_ref()
        .map_or("not verified: the project trusts no keys".to_owned(), |id| format!("by the trusted key {id}"));
    if found.path.is_some() {
        text.push_str(&format!("\n  signature {signer}"));
    }
    text.push_str("\n  it asks for");
    for line in plugin.grants.lines() {
        let is_more = !review.is_new && review.growth.contains(&line);
        text.push_str(&format!("\n  {} {line}", if is_more { "+" } else { " " }));
    }
    for line in review.growth.iter().filter(|line| !plugin.grants.lines().contains(line)) {
        text.push_str(&format!("\n  + {line}"));
    }
    if !review.growth.is_empty() && !review.is_new {
        text.push_str("\n  lines with + are more than was approved before");
    }
    text
}

/// A person at the terminal says yes.
fn is_approved_by_hand(screen: &Screen) -> bool {
    if screen.quiet || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return false;
    }
    let asked = write!(std::io::stderr().lock(), "let the project run it with these grants? [y/N] ");
    let mut answer = String::new();
    asked.is_ok() && std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Copies a plugin to where the project looks for it, unless it is there.
fn put(plan: &Plan, host: &Host, name: &str, found: &Found) -> Result<Option<PathBuf>> {
    let Some(from) = &found.path else { return Ok(None) };
    let is_developed = plan.project.plugins.develop.contains_key(name);
    let present = host.file_of(name).filter(|_| !is_developed);
    let first = plan.project.plugin_dirs.first().map(|folder| folder.join(format!("{name}.wasm")));
    let target = present.or(first).ok_or_else(|| {
        Error::configuration("E0966", "the project has no plugin folder").help("list one under `plugins: { dirs: [plugins] }`")
    })?;
    let is_there = from.canonicalize().is_ok_and(|from| target.canonicalize().is_ok_and(|target| from == target));
    if !is_there {
        found.package.write_to(&target)?;
    }
    Ok(Some(target))
}
