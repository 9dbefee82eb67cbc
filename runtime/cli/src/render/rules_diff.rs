//! What other rules of identity would make of the profiles, as text.

use affluent_engine::{ChangeKind, ProfileChange, RulesDiff};

use crate::render::screen::{number, table};

/// Changes in the table; JSON has more.
const ROWS_MAX: usize = 20;

pub(crate) fn text(diff: &RulesDiff) -> String {
    let counts = format!(
        "profiles  {} → {}: {} created, {} merged away, {} split; {} links refused, {} identifiers blocked",
        number(diff.profiles_before),
        number(diff.profiles_after),
        number(diff.created),
        number(diff.merged),
        number(diff.split),
        number(diff.links_refused),
        number(diff.identifiers_blocked),
    );
    if diff.changes.is_empty() {
        return format!("{counts}\nno profile would merge or split");
    }
    let mut rows = table(&["", "profile", "records", "with", "because", "identifiers"]);
    for change in diff.changes.iter().take(ROWS_MAX) {
        rows.add_row([
            word(change.change).to_owned(),
            change.profile.clone(),
            format!("{} → {}", change.records_before, change.records_after),
            others(change),
            change.because.join("\n"),
            change.identifiers.join("\n"),
        ]);
    }
    let shown = u64::try_from(diff.changes.len().min(ROWS_MAX)).unwrap_or(0);
    let all = u64::try_from(diff.changes.len()).unwrap_or(0) + diff.changes_more;
    let more = if all > shown { format!("\nand {} smaller changes", number(all - shown)) } else { String::new() };
    format!("{counts}\n\n{rows}{more}\n\nnothing was changed: the next `affluent run` does it")
}

fn word(change: ChangeKind) -> &'static str {
    match change {
        ChangeKind::Merge => "takes in",
        ChangeKind::Split => "splits into",
        ChangeKind::Move => "loses to",
    }
}

fn others(change: &ProfileChange) -> String {
    let others = change.others.iter().map(|(profile, records)| format!("{profile} ({records})"));
    others.collect::<Vec<_>>().join("\n")
}
