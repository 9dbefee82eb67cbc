//! `plugins/CATALOGUE.md` and the generated part of each plugin's README are what plugins say of themselves, what the accounts at
//! the vendors' stand-ins offer, and what rows cost there. `AFFLUENT_WRITE_CATALOGUE=1` writes them.

mod accounts;
mod offers;
mod page;
mod project;

use std::fs;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, holds, root, rule, shared};
use accounts::ACCOUNTS;
use page::Described;

pub(crate) fn trials() -> Vec<Trial> {
    let is_absent = shared().is_none();
    let measured = ACCOUNTS.iter().map(|account| {
        let name = format!("catalogue: what {} offers and rows cost is what it says", account.plugin);
        rule(&name, || offers::measure(account, is_written())).with_ignored_flag(is_absent)
    });
    let pages = vec![
        rule("catalogue: it says what the plugins of the program say of themselves", catalogue_is_up_to_date),
        rule("catalogue: the page of each plugin shows what it offers and keeps to", pages_are_up_to_date),
    ];
    measured.chain(pages).collect()
}

fn is_written() -> bool {
    std::env::var_os("AFFLUENT_WRITE_CATALOGUE").is_some()
}

/// The plugins in the program, by name.
fn described() -> Result<Vec<Described>, Failed> {
    let project = Project::new();
    project.write("affluent.yaml", "version: 1\nproject: test\n");
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join("plugins"))? {
        let folder = entry?.path();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        let Some(name) = folder.file_name().and_then(|name| name.to_str()).filter(|_| manifest.contains("embed = true")) else {
            continue;
        };
        let (ended, inspected) = project.json(&["plugin", "inspect", name]);
        ended.expect(0)?;
        let consent = manifest.lines().find_map(|line| line.strip_prefix("consent = ")).unwrap_or("\"\"");
        all.push(Described {
            name: name.to_owned(),
            inspected,
            consent: serde_json::from_str::<Value>(consent)?.as_str().unwrap_or_default().to_owned(),
            offers: offers::kept(name),
        });
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

fn catalogue_is_up_to_date() -> Result<(), Failed> {
    let path = root().join("plugins/CATALOGUE.md");
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let text = page::catalogue(&described()?, &kept);
    if is_written() {
        fs::write(&path, &text)?;
        return Ok(());
    }
    holds(kept == text, format!("plugins/CATALOGUE.md should be:\n{text}"))
}

fn pages_are_up_to_date() -> Result<(), Failed> {
    for plugin in described()?.iter().filter(|plugin| plugin.offers.is_some()) {
        let path = root().join("plugins").join(&plugin.name).join("README.md");
        let kept = fs::read_to_string(&path).unwrap_or_default();
        let text = page::with_offers(&kept, plugin);
        if is_written() {
            fs::write(&path, &text)?;
        } else {
            holds(kept == text, format!("{} should be:\n{text}", path.display()))?;
        }
    }
    Ok(())
}
