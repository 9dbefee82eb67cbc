//! Killed anywhere: SIGKILL at random points of the whole job, run again each time, ends as an undisturbed run does.
//! `AFFLUENT_KILLS` sets how many kills (default 6; the campaign is 30 and more).

use std::time::Instant;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Project, holds, killed, rule, same};

pub(crate) fn trials() -> Vec<Trial> {
    vec![rule("crash: killed anywhere and run again ends as if never killed", killed_anywhere)]
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
