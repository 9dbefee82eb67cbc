//! Killed anywhere: SIGKILL at random points of the whole job, run again each time, ends as an undisturbed run does.
//! `AFFLUENT_KILLS` sets how many kills (default 6; the campaign is 30 and more).

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, holds, killed, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        rule("crash: killed anywhere and run again ends as if never killed", killed_anywhere),
        rule("crash: killed while many rows are written at once, all of them are there or none", killed_among_many),
    ]
}

/// What must be equal in the end: profiles by their rows sent, counts, and the destination's file content.
fn outcome(project: &Project) -> Result<(Vec<String>, Value), Failed> {
    let (ended, status) = project.json(&["status"]);
    ended.expect(0)?;
    let mut lines = project.lines_below("out");
    lines.dedup();
    let streams =
        status["pipelines"].as_array().into_iter().flatten().map(|one| (one["pipeline"].clone(), one["at_destination"].clone()));
    let counts = serde_json::json!([status["profiles"], status["segments"], status["dead_letters"], streams.collect::<Vec<_>>()]);
    Ok((lines, counts))
}

fn killed_anywhere() -> Result<(), Failed> {
    let kills: u32 = std::env::var("AFFLUENT_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(6);
    // One store with its keys, not a row in it: blind indexes, and so the order in which limits are met, are the same.
    let fresh = Project::copy_of("quickstart");
    fresh.affluent(&["validate"]).expect(0)?;
    fresh.affluent(&["status"]).expect(0)?;
    let calm = fresh.twin();
    let started = Instant::now();
    calm.affluent(&["run", "--quiet"]).expect(0)?;
    let whole = started.elapsed();
    let expected = outcome(&calm)?;
    let mut seed = 0x2545_f491_4f6c_dd1d_u64 ^ u64::from(std::process::id());
    let mut survived = 0;
    let mut project = fresh.twin();
    while survived < kills {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let after = whole.mul_f64(f64::from(u32::try_from(seed >> 40)?) / f64::from(1_u32 << 24));
        let had_ended = killed(&project, &["run", "--quiet"], after)?;
        if !had_ended {
            survived += 1;
        }
        if had_ended || seed.is_multiple_of(4) {
            project.affluent(&["run", "--quiet"]).expect(0)?;
            compare(&project, &expected)?;
            project = fresh.twin();
        }
    }
    project.affluent(&["run", "--quiet"]).expect(0)?;
    compare(&project, &expected)
}

fn compare(project: &Project, expected: &(Vec<String>, Value)) -> Result<(), Failed> {
    let (lines, counts) = outcome(project)?;
    same("profiles, segments, dead letters and image", &counts, &expected.1)?;
    let lost: Vec<&String> = expected.0.iter().filter(|line| !lines.contains(line)).collect();
    let extra: Vec<&String> = lines.iter().filter(|line| !expected.0.contains(line)).collect();
    holds(lost.is_empty() && extra.is_empty(), format!("lost {lost:?}\nextra {extra:?}"))?;
    let mut repeated = project.lines_below("out");
    let all = repeated.len();
    repeated.dedup();
    same("rows sent twice", all - repeated.len(), 0)
}

/// So many identifiers go into the ledger past its log.
const MANY: usize = 60_000;
/// Beside the ledger while they are written.
const JOURNAL: &str = ".affluent/ledger.sqlite-journal";

fn killed_among_many() -> Result<(), Failed> {
    let fresh = Project::new();
    let mut people = "id,mail\n".to_owned();
    (0..MANY).try_for_each(|person| writeln!(people, "{person},p{}@x.test", person / 3 * 2))?;
    fresh.write("affluent.yaml", "version: 1\nproject: many\n").write("people.csv", &people).write(
        "connections/list.yaml",
        "version: 1\nconnection: list\nplugin: csv\nfiles: { read: [\"*.csv\"] }\nconfig:\n  streams: { people: { files: people.csv, \
         primary_key: [id], columns: { id: { type: text } } } }\n",
    );
    fresh.write("profiles/identity.yaml", "version: 1\nidentifiers: { email: {} }\n").write(
        "pipelines/list.yaml",
        "version: 1\npipeline: list\nsource: { connection: list, streams: { people: { sync: incremental } } }\ndestination:\n  \
         profiles: { people: { identifiers: { email: mail } } }\n",
    );
    fresh.affluent(&["status"]).expect(0)?;
    for wait_ms in [0, 1, 5, 20, 60] {
        let project = fresh.twin();
        let was_killed = killed_beside_journal(&project, Duration::from_millis(wait_ms))?;
        holds(was_killed, "it ended without a journal beside the ledger")?;
        let (ended, status) = project.json(&["status"]);
        ended.expect(0)?;
        let profiles = status["profiles"].as_u64().unwrap_or_default();
        holds([0, 20_000].contains(&profiles), format!("{profiles} profiles after {wait_ms} ms"))?;
        project.affluent(&["run", "--quiet"]).expect(0)?;
        let (ended, status) = project.json(&["status"]);
        ended.expect(0)?;
        same("profiles", status["profiles"].as_u64(), Some(20_000))?;
    }
    Ok(())
}

/// Runs and kills, this long after there is a journal; false when the run ended before.
fn killed_beside_journal(project: &Project, wait: Duration) -> Result<bool, Failed> {
    let mut child = project.command(&["run", "--quiet"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let journal = project.path().join(JOURNAL);
    while !journal.exists() {
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    std::thread::sleep(wait);
    child.kill()?;
    child.wait()?;
    Ok(true)
}
