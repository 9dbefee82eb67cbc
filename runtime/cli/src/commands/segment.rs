//! `affluent segment size` and `affluent segment members`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_engine::{SegmentSizeNow, SilentObserver};
use affluent_model::{Error, Result};
use chrono::{DateTime, NaiveDate, NaiveTime};
use serde::Serialize;

use crate::arguments::{SegmentCommand, Shared};
use crate::failure::{Exit, Outcome};
use crate::project::{self, Project};
use crate::render::screen::{Screen, number, table};
use crate::wire;

pub(crate) async fn run(shared: &Shared, screen: &Screen, command: &SegmentCommand) -> Outcome {
    let project = project::load(shared)?;
    match command {
        SegmentCommand::Size { segment, condition } => {
            size(&project, screen, segment.as_deref(), condition.as_deref()).await?;
        }
        SegmentCommand::Members { segment, at, limit } => members(&project, screen, segment, at.as_deref(), *limit)?,
    }
    Ok(Exit::Done)
}

async fn size(project: &Project, screen: &Screen, segment: Option<&str>, condition: Option<&str>) -> Result<()> {
    if let Some(segment) = segment {
        require_segment(project, segment)?;
    }
    let wired = wire::open(project, Arc::new(SilentObserver), Arc::new(AtomicBool::new(false)))?;
    let mut sizes = wired.engine.segment_sizes_now(condition).await?;
    sizes.retain(|size| segment.is_none_or(|asked| asked == size.segment));
    screen.result(&sizes, || {
        let mut rows = table(&["segment", "members", "share", "entering", "leaving"]);
        for size in &sizes {
            let numbers = [number(size.members), share(size), number(size.entering), number(size.leaving)];
            rows.add_row(std::iter::once(size.segment.clone()).chain(numbers));
        }
        rows.to_string()
    })
}

/// Members of all profiles, per cent to one digit.
fn share(size: &SegmentSizeNow) -> String {
    let thousandths = size.members.saturating_mul(1_000).checked_div(size.profiles).unwrap_or(0);
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

#[derive(Serialize)]
struct Members {
    segment: String,
    members: usize,
    /// The first of them, by id.
    profiles: Vec<String>,
}

fn members(project: &Project, screen: &Screen, segment: &str, at: Option<&str>, limit: usize) -> Result<()> {
    require_segment(project, segment)?;
    let at_us = at.map(instant_us).transpose()?;
    let wired = wire::open(project, Arc::new(SilentObserver), Arc::new(AtomicBool::new(false)))?;
    let ledger = &wired.engine.ledger;
    let found = match at_us {
        Some(at_us) => ledger.members_at(segment, at_us)?,
        None => ledger.members(segment)?,
    };
    let profiles = found.iter().take(limit).map(ToString::to_string).collect();
    let members = Members { segment: segment.to_owned(), members: found.len(), profiles };
    screen.result(&members, || {
        let mut lines = members.profiles.clone();
        let more = members.members - members.profiles.len();
        if more > 0 {
            lines.push(format!("and {more} more: `--limit` shows them"));
        }
        if lines.is_empty() { "nobody".to_owned() } else { lines.join("\n") }
    })
}

fn require_segment(project: &Project, asked: &str) -> Result<()> {
    let names: Vec<&str> = project.plan.segments.iter().map(|known| known.name.as_str()).collect();
    if names.contains(&asked) {
        return Ok(());
    }
    let help =
        if names.is_empty() { "this project has none".to_owned() } else { format!("this project has {}", names.join(", ")) };
    Err(Error::configuration("E0822", format!("there is no segment `{asked}`")).help(help))
}

fn instant_us(text: &str) -> Result<i64> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|date| date.and_time(NaiveTime::MIN).and_utc());
    let instant = date.or_else(|_| DateTime::parse_from_rfc3339(text).map(|instant| instant.to_utc()));
    instant.map(|instant| instant.timestamp_micros()).map_err(|_| {
        Error::configuration("E0822", format!("`{text}` is no time")).help("such as `2026-11-01` or `2026-11-01T08:00:00Z`")
    })
}
