//! What stewards decided, as text.

use affluent_engine::{DecisionOutcome, DecisionView, Quarantined};

/// What one decision did.
pub(crate) fn outcome(outcome: &DecisionOutcome) -> String {
    let is_same = outcome.before.len() == outcome.profiles.len();
    let mut lines = vec![match (outcome.before.len(), outcome.profiles.len()) {
        _ if outcome.attribute.is_some() => pinned(outcome),
        (before, now) if is_same => {
            format!(
                "decision {}: {} before and after; `affluent profile why` says what joins or parts them",
                outcome.decision,
                profiles(before.max(now))
            )
        }
        (before, now) => format!("decision {}: {} became {now}", outcome.decision, profiles(before)),
    }];
    for (profile, records) in &outcome.profiles {
        lines.push(format!("  {profile}  {}", records.join(", ")));
    }
    lines.push("traits, segments and destinations follow at the next run".to_owned());
    lines.join("\n")
}

fn pinned(outcome: &DecisionOutcome) -> String {
    let attribute = outcome.attribute.as_deref().unwrap_or_default();
    let what = if outcome.is_undone { "is chosen by rules again" } else { "is what that record says, whatever rules say" };
    format!("decision {}: `{attribute}` {what}", outcome.decision)
}

fn profiles(count: usize) -> String {
    if count == 1 { "1 profile".to_owned() } else { format!("{count} profiles") }
}

/// Profiles that guard rails keep apart or take identifiers from, reason by reason.
pub(crate) fn quarantine(rows: &[Quarantined]) -> String {
    if rows.is_empty() {
        return "guard rails keep no profiles apart and refuse no identifiers".to_owned();
    }
    let mut lines = Vec::new();
    for same in rows.chunk_by(|a, b| a.reason == b.reason) {
        lines.extend(same.first().map(|row| row.reason.clone()));
        lines.extend(same.iter().map(|row| {
            let what = if row.profiles.len() > 1 { "links" } else { "identifiers" };
            format!("  {}  {} {what} refused", row.profiles.join("  "), row.links)
        }));
    }
    lines.join("\n")
}

/// All decisions.
pub(crate) fn list(rows: &[DecisionView]) -> String {
    if rows.is_empty() {
        return "nobody decided anything about profiles".to_owned();
    }
    rows.iter().map(decision).collect::<Vec<_>>().join("\n")
}

fn decision(row: &DecisionView) -> String {
    let what = match (&row.identifier, row.verdict.as_str(), row.records.split_first()) {
        (None, "pin", _) => {
            format!("{} is what {} says", row.attribute.as_deref().unwrap_or_default(), row.records.join(", "))
        }
        (Some(identifier), _, _) => format!("{identifier} joins none of {}", row.records.join(", ")),
        (None, "split", Some((first, others))) => format!("{first} is not {}", others.join(", ")),
        _ => row.records.join(" is "),
    };
    let mut text = format!("{:>4}  {}  by {}, {}", row.decision, what, row.by, row.decided_at);
    if let Some(reason) = &row.reason {
        text.push_str(&format!(": {reason}"));
    }
    if let (Some(by), Some(at)) = (&row.undone_by, &row.undone_at) {
        text.push_str(&format!("\n      taken back by {by}, {at}"));
    }
    text
}
