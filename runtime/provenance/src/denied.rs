//! The deny list that is shipped with the program (security B-42), and whom it meets.

use affluent_model::lock::{Denied, DeniedPlugin};
use affluent_model::{Error, Result};
use serde::Deserialize;

use crate::signature::key_id;
use crate::version::is_in;

/// Grows by releases; a project adds its own under `plugins.deny`.
const SHIPPED: &str = include_str!("../denied.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    denied: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    sha256: Option<String>,
    key: Option<String>,
    name: Option<String>,
    versions: Option<String>,
    reason: String,
}

/// The denials of this release.
///
/// # Errors
/// A bug: the list is tested before a release.
pub fn shipped() -> Result<Vec<Denied>> {
    read(SHIPPED)
}

fn read(text: &str) -> Result<Vec<Denied>> {
    let file: File = serde_json::from_str(text).map_err(|error| Error::bug(format!("the deny list is broken: {error}")))?;
    if file.format != 1 {
        return Err(Error::bug(format!("the deny list has the format {}", file.format)));
    }
    let one = |entry: Entry| {
        let what = match (entry.sha256, entry.key, entry.name) {
            (Some(digest), None, None) => DeniedPlugin::Digest(digest),
            (None, Some(key), None) => DeniedPlugin::Key(key),
            (None, None, Some(name)) => {
                DeniedPlugin::Versions { name, versions: entry.versions.unwrap_or_else(|| "*".to_owned()) }
            }
            _ => return Err(Error::bug("an entry of the deny list names not one thing")),
        };
        Ok(Denied { what, reason: entry.reason })
    };
    file.denied.into_iter().map(one).collect()
}

/// What is known of a plugin when the list is asked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Suspect<'a> {
    pub(crate) name: &'a str,
    pub(crate) digest: &'a str,
    pub(crate) version: Option<&'a str>,
    /// Id of the key that signed it, or says it did.
    pub(crate) signer: Option<&'a str>,
}

/// # Errors
/// `E0955` when an entry is about it.
pub(crate) fn refuse_denied(list: &[Denied], suspect: Suspect<'_>) -> Result<()> {
    let Some(denied) = list.iter().find(|denied| is_about(&denied.what, suspect)) else { return Ok(()) };
    let reason = if denied.reason.is_empty() { String::new() } else { format!(": {}", denied.reason) };
    let by = match &denied.what {
        DeniedPlugin::Digest(_) => "its digest".to_owned(),
        DeniedPlugin::Key(_) => "the key that signed it".to_owned(),
        DeniedPlugin::Versions { versions, .. } => format!("its name and version ({versions})"),
    };
    let message = format!("plugin `{}` is denied by {by}{reason}", suspect.name);
    Err(Error::configuration("E0955", message).help("use another version; it is refused by `plugins.deny` or by this release"))
}

fn is_about(denied: &DeniedPlugin, suspect: Suspect<'_>) -> bool {
    match denied {
        DeniedPlugin::Digest(digest) => digest == suspect.digest,
        DeniedPlugin::Key(key) => {
            let id = key_id(key).unwrap_or_else(|| key.clone());
            suspect.signer.is_some_and(|signer| signer.eq_ignore_ascii_case(&id))
        }
        DeniedPlugin::Versions { name, versions } => {
            name == suspect.name && suspect.version.is_some_and(|version| is_in(version, versions))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_list_can_be_read() {
        shipped().unwrap();
    }

    #[test]
    fn each_kind_of_entry_meets_what_it_names_and_nothing_else() {
        let list = read(
            r#"{"format": 1, "denied": [
                {"sha256": "aa", "reason": "steals"},
                {"key": "00112233445566AA", "reason": "stolen key"},
                {"name": "acme/x", "versions": "<1.2.0", "reason": "leaks"}]}"#,
        )
        .unwrap();
        let clean = Suspect { name: "acme/x", digest: "bb", version: Some("1.2.0"), signer: None };
        for (suspect, reason) in [
            (clean, None),
            (Suspect { digest: "aa", ..clean }, Some("steals")),
            (Suspect { signer: Some("00112233445566aa"), ..clean }, Some("stolen key")),
            (Suspect { version: Some("1.1.9"), ..clean }, Some("leaks")),
            (Suspect { version: None, ..clean }, None),
            (Suspect { name: "acme/y", version: Some("1.1.9"), ..clean }, None),
        ] {
            let met = refuse_denied(&list, suspect).err();

            assert_eq!(met.is_some(), reason.is_some(), "{suspect:?}");
            assert!(met.is_none_or(|error| error.code == "E0955" && error.message.contains(reason.unwrap())), "{suspect:?}");
        }
    }
}
