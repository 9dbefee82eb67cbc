//! The main job end to end on the quickstart: messy exports in, unified sealed profiles, one segment out to a file.

use std::fs;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, files_below, holds, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("quickstart: the main job runs and a second run sends nothing", the_main_job_runs),
        rule("quickstart: every row sent has consent and every number adds up", every_row_has_consent),
        rule("quickstart: who leaves the segment is removed and a changed row is sent alone", changes_are_sent_alone),
        rule("quickstart: a profile can be shown and explained", a_profile_can_be_shown),
        rule("at rest: no marker of a thousand people stands in clear in any file", no_marker_in_clear),
    ]
}

fn the_main_job_runs() -> Result<(), Failed> {
    let project = Project::copy_of("quickstart");
    let (ended, first) = project.json(&["run"]);
    ended.expect(0)?;
    let sent = report_of(&first, "lapsed_vip_to_email_tool")?["activation"]["accepted"].as_u64().unwrap_or(0);
    holds(sent > 50, format!("{sent} rows were sent"))?;
    same("lines in the file", u64::try_from(project.lines_below("out").len())?, sent)?;
    let (ended, second) = project.json(&["run"]);
    ended.expect(0)?;
    let again = &report_of(&second, "lapsed_vip_to_email_tool")?["activation"];
    same("sent again", (again["accepted"].as_u64(), again["removed"].as_u64()), (Some(0), Some(0)))?;
    same("unchanged", again["unchanged"].as_u64(), Some(sent))
}

fn every_row_has_consent() -> Result<(), Failed> {
    let project = Project::copy_of("quickstart");
    let (ended, reports) = project.json(&["run"]);
    ended.expect(0)?;
    for report in reports.as_array().into_iter().flatten() {
        for stream in report["streams"].as_array().into_iter().flatten() {
            let number = |name: &str| stream[name].as_u64().unwrap_or(0);
            same(
                "read = kept + refused + filtered",
                number("read"),
                number("admitted") + number("rejected") + number("filtered"),
            )?;
        }
    }
    let denied: Vec<String> = project
        .read("exports/newsletter.csv")
        .lines()
        .filter(|line| line.contains(",unsubscribed,"))
        .filter_map(|line| line.split(',').nth(1).map(|email| email.trim().to_lowercase()))
        .collect();
    holds(denied.len() > 100, "the export has people who opted out")?;
    let sent: Vec<Value> = project.lines_below("out").iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let emails: Vec<&str> = sent.iter().filter_map(|row| row["email"].as_str()).collect();
    same("rows with an address", emails.len(), sent.len())?;
    let mut unique = emails.clone();
    unique.sort_unstable();
    unique.dedup();
    same("addresses sent once", unique.len(), emails.len())
}

fn changes_are_sent_alone() -> Result<(), Failed> {
    let project = Project::copy_of("quickstart");
    project.affluent(&["run", "--quiet"]).expect(0)?;
    let before = project.lines_below("out");
    let row: Value = serde_json::from_str(before.first().ok_or("nothing was sent")?)?;
    let email = row["email"].as_str().ok_or("a row without an address")?.to_owned();
    let opted_out = format!("nl-test,{email},,,unsubscribed,2026-11-01T00:00:00Z\n");
    project.write("exports/newsletter.csv", &(project.read("exports/newsletter.csv") + &opted_out));
    let (ended, reports) = project.json(&["run"]);
    ended.expect(0)?;
    let activation = &report_of(&reports, "lapsed_vip_to_email_tool")?["activation"];
    same("removed", activation["removed"].as_u64(), Some(1))?;
    same("sent besides", activation["accepted"].as_u64(), Some(0))?;
    let added: Vec<String> = project.lines_below("out").into_iter().filter(|line| !before.contains(line)).collect();
    holds(added.len() == 1 && added[0].contains("delete") && added[0].contains(&email), format!("{added:?}"))
}

fn a_profile_can_be_shown() -> Result<(), Failed> {
    let project = Project::copy_of("quickstart");
    project.affluent(&["run", "--quiet"]).expect(0)?;
    let row: Value = serde_json::from_str(project.lines_below("out").first().ok_or("nothing was sent")?)?;
    let email = format!("email:{}", row["email"].as_str().unwrap_or_default());
    let (ended, view) = project.json(&["profile", "show", &email]);
    ended.expect(0)?;
    holds(!view.to_string().contains(row["email"].as_str().unwrap_or("?")), "a sealed value was shown unasked")?;
    same("segment", view["segments"][0].as_str(), Some("lapsed_vip"))?;
    let (ended, revealed) = project.json(&["profile", "show", &email, "--reveal"]);
    ended.expect(0)?;
    holds(revealed.to_string().to_lowercase().contains(row["email"].as_str().unwrap_or("?")), "the address was not revealed")?;
    let (ended, _) = project.json(&["profile", "why", &email, view["profile"].as_str().unwrap_or_default()]);
    ended.expect(0)?;
    project.affluent(&["profile", "show", "email:nobody@nowhere.example"]).expect(2)?.says("E0813")?;
    Ok(())
}

fn no_marker_in_clear() -> Result<(), Failed> {
    let project = Project::new();
    let mut people = String::from("id,email,phone,first_name,last_name,address,ip_address,note,joined_at\n");
    for i in 0..1_000 {
        people.push_str(&format!(
            "{i},markermail{i}@marker.example,+336{i:08},Markerfirst{i},Markerlast{i},{i} Markerstreet,10.9.8.7,Markernote{i},2026-01-01T00:00:00Z\n"
        ));
    }
    people.push_str("1000,markermail-broken\"@marker.example,broken\n");
    project.write("people.csv", &people).write("affluent.yaml", "version: 1\nproject: markers\n");
    project.write("profiles/identity.yaml", "version: 1\nidentifiers:\n  email: { priority: 1 }\n  phone: { priority: 2 }\n");
    project.write("pipelines/people.yaml", MARKERS);
    project.affluent(&["run", "--quiet"]).expect(4)?;
    for file in files_below(&project.path().join(".affluent")) {
        let bytes = fs::read(&file)?;
        for marker in ["marker.example", "Markerfirst", "Markerlast", "Markerstreet", "Markernote", "+33600000", "10.9.8.7"] {
            let found = bytes.windows(marker.len()).any(|window| window == marker.as_bytes());
            holds(!found, format!("`{marker}` stands in clear in {}", file.display()))?;
        }
    }
    Ok(())
}

const MARKERS: &str = "version: 1
pipeline: people
source:
  connection:
    plugin: csv
    files: { read: [people.csv] }
    config: { streams: { people: { files: people.csv, primary_key: [id], columns: { phone: { type: text }, note: { type: text, pii: free_text } } } } }
  streams: { people: { sync: full_refresh } }
destination:
  profiles:
    people:
      subject: id
      identifiers: { email: email, phone: phone }
      attributes: { first_name: first_name, last_name: last_name }
";

/// The report of one pipeline.
pub(crate) fn report_of<'a>(reports: &'a Value, pipeline: &str) -> Result<&'a Value, Failed> {
    let found = reports.as_array().and_then(|all| all.iter().find(|report| report["pipeline"] == pipeline));
    found.ok_or_else(|| format!("no report of {pipeline} in {reports}").into())
}
