//! Profiles that merge, split and come by other addresses, as a destination sees them: no duplicate stays, nobody's only row is
//! removed, and a mirror keeps nobody under a former address.

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
        .chain([
            rule("merges: mirror: who has another address is there under that alone", || another_address("mirror")),
            rule("merges: upsert: who has another address is there under both, which is told", || another_address("upsert")),
        ])
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

fn another_address(mode: &str) -> Result<(), Failed> {
    let project = two_accounts(mode)?;
    let customers = project.read("exports/customers.csv").replace("2,bo@x.test,Bo", "2,bo@new.test,Bo");
    project.write("exports/customers.csv", &customers);
    project.affluent(&["run", "shop_to_profiles", "--quiet"]).expect(0)?;
    let is_mirror = mode == "mirror";
    let expected = [1, u64::from(is_mirror)].map(Some);
    let of = |sent: &Value, names: [&str; 2]| names.map(|name| sent[name].as_u64());

    let (ended, plan) = project.json(&["plan", "all_to_tool"]);
    ended.expect(0)?;
    same("planned", of(&plan[0]["sends"]["counts"], ["upserts", "removes"]), expected)?;
    let sent = sync(&project)?;
    same("sent", of(&sent, ["upserts", "removes"]), expected)?;
    same("told", of(&sent, ["former", "former_left"]), if is_mirror { [Some(1), None] } else { [None, Some(1)] })?;

    let rows = held(&project)?;
    let addresses: Vec<&str> = rows.iter().filter(|(_, name)| *name == "Bo").map(|(address, _)| address.as_str()).collect();
    same("where Bo is", addresses, if is_mirror { vec!["bo@new.test"] } else { vec!["bo@new.test", "bo@x.test"] })?;
    same("sent again", of(&sync(&project)?, ["upserts", "removes"]), [Some(0); 2])
}
