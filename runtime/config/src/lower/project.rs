//! `affluent.yaml` → [`Project`].

use std::path::Path;

use affluent_model::pii::PiiClass;
use affluent_model::plan::{KeySource, Project};

use crate::placed::Named;
use crate::raw::project::RawProject;

/// Where the stores are when the file does not say.
const DATA_DIR: &str = ".affluent";
/// Where the keyring is when the file does not say.
const KEYRING: &str = ".affluent/keys/keyring";

pub(crate) fn lower(raw: &RawProject, root: &Path) -> Project {
    let name = raw.project.to_string();
    let keyring = raw.keys.as_ref().and_then(|keys| keys.file.as_ref()).map_or(KEYRING, |file| file.as_str());
    let keys = match raw.keys.as_ref().and_then(|keys| keys.env.as_ref()) {
        Some(id) => KeySource::Environment(id.to_string()),
        None => KeySource::File(root.join(keyring)),
    };
    let plugin_dirs = raw.plugins.iter().flat_map(|plugins| &plugins.dirs).map(|dir| root.join(dir.as_str())).collect();
    let policies = raw.pii.iter().flat_map(Named::iter);
    Project {
        root: root.to_owned(),
        workspace: raw.workspace.as_ref().map_or_else(|| name.clone(), |workspace| workspace.to_string()),
        name,
        data_dir: root.join(raw.data_dir.as_ref().map_or(DATA_DIR, |dir| dir.as_str())),
        keys,
        plugin_dirs,
        pii: policies.filter_map(|(class, policy)| Some((PiiClass::from_word(class)?, *policy))).collect(),
    }
}
