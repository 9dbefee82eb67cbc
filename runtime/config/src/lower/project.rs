//! `affluent.yaml` → [`Project`].

use std::path::Path;

use affluent_model::lock::{Denied, DeniedPlugin, PluginRules};
use affluent_model::pii::PiiClass;
use affluent_model::plan::{KeySource, Project};

use super::money::money;
use super::texts;
use crate::mistake::{self, FileReport};
use crate::placed::{Named, Placed};
use crate::raw::project::{RawDenied, RawPlugins, RawProject};
use crate::scalar;

/// Where the stores are when the file does not say.
const DATA_DIR: &str = ".affluent";
/// Where the keyring is when the file does not say.
const KEYRING: &str = ".affluent/keys/keyring";

/// Where plugins from outside are when the file does not say.
const PLUGINS_DIR: &str = "plugins";

pub(crate) fn lower(raw: &RawProject, root: &Path, report: &mut FileReport) -> Project {
    let name = raw.project.to_string();
    let keyring = raw.keys.as_ref().and_then(|keys| keys.file.as_ref()).map_or(KEYRING, |file| file.as_str());
    let id = raw.keys.as_ref().and_then(|keys| keys.env.as_ref());
    let keys = match id.and_then(|id| scalar::key_id(id).ok()) {
        Some(id) => KeySource::Environment(id),
        None => KeySource::File(root.join(keyring)),
    };
    let dirs = raw.plugins.as_ref().and_then(|plugins| plugins.dirs.as_ref());
    let dirs = dirs.map_or_else(|| vec![PLUGINS_DIR.to_owned()], |dirs| texts(Some(dirs)));
    let policies = raw.pii.iter().flat_map(Named::iter);
    Project {
        root: root.to_owned(),
        workspace: raw.workspace.as_ref().map_or_else(|| name.clone(), |workspace| workspace.to_string()),
        name,
        data_dir: root.join(raw.data_dir.as_ref().map_or(DATA_DIR, |dir| dir.as_str())),
        keys,
        plugin_dirs: dirs.iter().map(|dir| root.join(dir)).collect(),
        plugins: raw.plugins.as_ref().map(|plugins| rules(plugins, root, report)).unwrap_or_default(),
        money: raw.money.as_ref().map(|raw| money(raw, root, report)),
        pii: policies.filter_map(|(class, policy)| Some((PiiClass::from_word(class)?, *policy))).collect(),
    }
}

fn rules(raw: &RawPlugins, root: &Path, report: &mut FileReport) -> PluginRules {
    let develop = raw.develop.iter().flat_map(Named::iter);
    PluginRules {
        trust: texts(raw.trust.as_ref()),
        deny: raw.deny.iter().flatten().filter_map(|denied| deny(denied, report)).collect(),
        develop: develop.map(|(name, file)| (name.to_string(), root.join(file.as_str()))).collect(),
        isolation: raw.isolation.unwrap_or_default(),
        locked: false,
    }
}

/// One denial is about one thing.
fn deny(raw: &Placed<RawDenied>, report: &mut FileReport) -> Option<Denied> {
    let versions = raw.versions.as_ref().map_or("*", |versions| versions.as_str()).to_owned();
    let what = match (&raw.sha256, &raw.key, &raw.name) {
        (Some(digest), None, None) if raw.versions.is_none() => DeniedPlugin::Digest(digest.to_string()),
        (None, Some(key), None) if raw.versions.is_none() => DeniedPlugin::Key(key.to_string()),
        (None, None, Some(name)) => DeniedPlugin::Versions { name: name.to_string(), versions },
        _ => {
            let message = "an entry of `deny` must name one thing: `sha256`, `key`, or `name` with or without `versions`";
            report.add_help(mistake::COMBINATION, raw.place(), message, "write one entry for each");
            return None;
        }
    };
    Some(Denied { what, reason: raw.reason.clone().unwrap_or_default() })
}
