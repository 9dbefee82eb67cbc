//! `affluent.lock` → [`Lock`].

use affluent_model::lock::{Grants, Lock, LockedPlugin};

use crate::lock::grants_digest;
use crate::mistake::{self, FileReport};
use crate::raw::lock::{RawLock, RawLocked};

pub(crate) fn lower(raw: &RawLock, report: &mut FileReport) -> Lock {
    let plugins = raw.plugins.iter().map(|(name, plugin)| (name.to_string(), locked(name, plugin, report)));
    Lock { plugins: plugins.collect() }
}

fn locked(name: &str, raw: &RawLocked, report: &mut FileReport) -> LockedPlugin {
    let categories = raw.grants.iter().map(|(category, lines)| (category.to_string(), lines.iter().cloned().collect()));
    let grants = Grants(categories.collect());
    if grants_digest(&grants) != raw.grants_sha256.as_str() {
        let message = format!("the grants of `{name}` are not those that were approved: the file was edited by hand");
        let help =
            format!("restore it from version control, or take the entry out and run `affluent plugin add {name} --approve`");
        report.add_help(mistake::LOCK_EDITED, raw.grants_sha256.place(), message, help);
    }
    LockedPlugin {
        version: raw.version.to_string(),
        source: raw.source,
        sha256: raw.sha256.to_string(),
        contract: raw.contract.to_string(),
        signer: raw.signer.as_ref().map(|signer| signer.to_string()),
        grants,
    }
}
