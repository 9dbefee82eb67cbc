//! A profile and the chain between two records, as text.

use affluent_engine::{ProfileView, WhyStep};
use chrono::DateTime;

use crate::render::screen::table;

/// One profile.
pub(crate) fn profile(view: &ProfileView) -> String {
    let mut values = table(&["", "value", "from"]);
    for value in &view.values {
        values.add_row([value.name.clone(), value.value.clone(), value.source.clone()]);
    }
    let list = |items: Vec<String>| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
    let identifiers = view.identifiers.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
    let records = view.records.iter().map(|(source, node)| format!("{source} {node}")).collect();
    let mut text = format!(
        "profile {}\n\n{values}\n\nsegments     {}\nidentifiers  {}\nrecords      {}",
        view.profile,
        list(view.segments.clone()),
        list(identifiers),
        list(records),
    );
    for (rule, reason) in &view.refused {
        text.push_str(&format!("\nnot joined   by `{rule}`: {reason}"));
    }
    text
}

/// Why two records are one person.
pub(crate) fn why(steps: Option<&[WhyStep]>) -> String {
    match steps {
        None => "nothing joins them: they are two profiles".to_owned(),
        Some([]) => "they are the same record".to_owned(),
        Some(steps) => {
            let mut chain = table(&["", "from", "to", "rule", "identifier", "since"]);
            for (place, step) in steps.iter().enumerate() {
                chain.add_row([
                    (place + 1).to_string(),
                    step.from.clone(),
                    step.to.clone(),
                    step.rule.clone(),
                    format!("{} {}…", step.identifier, step.value),
                    day(step.since_us),
                ]);
            }
            chain.to_string()
        }
    }
}

fn day(us: i64) -> String {
    DateTime::from_timestamp_micros(us).map_or_else(String::new, |time| time.format("%Y-%m-%d").to_string())
}
