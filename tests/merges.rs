//! Profiles that merge and split, as a destination sees them: no duplicate stays, and nobody's only row is removed.

use std::collections::BTreeMap;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::decisions::two_accounts;
use crate::support::{Project, files_below, holds, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    ["mirror", "upsert"]
        .into_iter()
        .flat_map(|mode| {
            [
                rule(&format!("merges: {mode}: two rows become the one of the survivor, and two again"), move || {
                    two_rows_become_one(mode)
                }),
                rule(&format!("merges: {mode}: a second run after a merge sends nothing"), move || it_settles(mode)),
            ]
        })
        .collect()
}

/// What the tool holds after all runs: address → first name.
fn held(project: &Project) -> Result<BTreeMap<String, String>, Failed> {
    let mut files = files_below(&project.path().join("tool"));
    files.sort_by_key(|file| file.file_stem().and_then(|stem| stem.to_str()).and_then(|run| run.parse::<u64>().ok()));
    let mut rows = BTreeMap::new();
    for file in files {
        for line in std::fs::read_to_string(file)?.lines() {
            let row: Value = serde_json::from_str(line)?;
            let email = row["email"].as_str().unwrap_or_default().to_owned();
            match row["_op"].as_str() {
                Some("delete") => drop(rows.remove(&email)),
                _ => drop(rows.insert(email, row["first_name"].as_str().unwrap_or_default().to_owned())),
            }
        }
    }
    Ok(rows)
}

fn names(rows: &BTreeMap<String, String>) -> Vec<&str> {
    rows.values().map(String::as_str).collect()
}

fn sync(project: &Project) -> Result<Value, Failed> {
    let (ended, reports) = project.json(&["run", "all_to_tool"]);
    ended.expect(0)?;
    Ok(reports[0]["activation"].clone())
}

/// Bo and Ed, Di and Ann are one each: the newest gives the address, whichever profile survives.
fn merged(mode: &str) -> Result<(Project, Value), Failed> {
    let project = two_accounts(mode)?;
    same("before", names(&held(&project)?), vec!["Anna", "Bo", "Di", "Ed"])?;
    project.affluent(&["profile", "link", "shop/2", "shop/5"]).expect(0)?;
    project.affluent(&["profile", "link", "shop/1", "shop/4"]).expect(0)?;
    let sent = sync(&project)?;
    Ok((project, sent))
}

fn two_rows_become_one(mode: &str) -> Result<(), Failed> {
    let (project, sent) = merged(mode)?;
    same("rows of merged profiles", sent["merged"].as_u64(), Some(2))?;
    same("one row for each", names(&held(&project)?), vec!["Anna", "Ed"])?;

    project.affluent(&["profile", "undo", "1"]).expect(0)?;
    project.affluent(&["profile", "undo", "2"]).expect(0)?;
    sync(&project)?;

    same("two again", names(&held(&project)?), vec!["Anna", "Bo", "Di", "Ed"])
}

fn it_settles(mode: &str) -> Result<(), Failed> {
    let (project, _) = merged(mode)?;
    let rows = held(&project)?;

    let again = sync(&project)?;

    let counts = ["upserts", "removes", "merged", "merged_left"].map(|name| again[name].as_u64());
    same("sent again", counts, [Some(0); 4])?;
    holds(held(&project)? == rows, "the tool holds something else")
}
