//! The report of a run: what was read, what became of it, what was sent, and what to try next.

use affluent_model::report::{ActivationReport, ProfilesReport, RunOutcome, RunReport};

use crate::render::screen::{duration, number, table};

/// The reports of one `affluent run`, as one text.
pub(crate) fn reports(reports: &[RunReport]) -> String {
    let mut parts = Vec::new();
    if let Some(read) = streams(reports) {
        parts.push(read);
    }
    for profiles in reports.iter().filter_map(|report| report.profiles.as_ref()) {
        parts.push(unified(profiles));
    }
    for report in reports {
        if let Some(sent) = &report.activation {
            parts.push(activation(&report.pipeline, sent));
        }
    }
    parts.push(outcomes(reports));
    parts.join("\n\n")
}

fn streams(reports: &[RunReport]) -> Option<String> {
    let mut rows = table(&["read", "records", "filtered", "refused", "kept", "values sealed"]);
    let mut count = 0;
    for report in reports {
        for stream in &report.streams {
            count += 1;
            rows.add_row([
                format!("{} · {}", report.pipeline, stream.stream),
                number(stream.read),
                number(stream.filtered),
                number(stream.rejected),
                number(stream.admitted),
                number(stream.sealed),
            ]);
        }
    }
    let dropped: u64 = reports.iter().flat_map(|report| &report.streams).map(|stream| stream.suppressed).sum();
    let note = if dropped > 0 { format!("\n{} records of erased persons were dropped", number(dropped)) } else { String::new() };
    (count > 0).then(|| format!("{rows}{note}"))
}

fn unified(profiles: &ProfilesReport) -> String {
    let mut text = format!(
        "profiles  {} from {} new records: {} created, {} merged away, {} split",
        number(profiles.profiles),
        number(profiles.nodes_new),
        number(profiles.created),
        number(profiles.merged),
        number(profiles.split)
    );
    if !profiles.links_by_rule.is_empty() {
        let rules = profiles.links_by_rule.iter().map(|(rule, count)| format!("{rule} {}", number(*count)));
        text.push_str(&format!("\n  joined by    {}", rules.collect::<Vec<_>>().join(" · ")));
    }
    if profiles.links_refused + profiles.identifiers_blocked > 0 {
        text.push_str(&format!(
            "\n  held apart   {} links refused by a limit, {} identifiers blocked for pointing to too many",
            number(profiles.links_refused),
            number(profiles.identifiers_blocked)
        ));
        for (reason, links) in &profiles.refused_by_reason {
            text.push_str(&format!("\n               {} because {reason}", number(*links)));
        }
    }
    if profiles.withdrawn > 0 {
        let withdrawn = number(profiles.withdrawn);
        text.push_str(&format!("\n  suppressed   {withdrawn} identifiers for which every purpose was withdrawn"));
    }
    let computed = match profiles.computed {
        all if all >= profiles.profiles => "all".to_owned(),
        0 => "none, since nothing new is about anybody".to_owned(),
        some => format!("the {} touched, not the others", number(some)),
    };
    text.push_str(&format!("\n  computed     {computed}"));
    if let Some(changed) = profiles.changed {
        text.push_str(&format!("; {} have other values than before", number(changed)));
    }
    text.push_str(&format!(
        "\n  took         {} to unify, {} to compute",
        duration(profiles.unified_ms),
        duration(profiles.computed_ms)
    ));
    for (name, segment) in &profiles.segments {
        text.push_str(&format!(
            "\n  segment      {name}: {} members ({} entered, {} left)",
            number(segment.members),
            number(segment.entered),
            number(segment.left)
        ));
        if segment.is_alert {
            text.push_str(&format!("\n  alert        {}", size_alert(name, segment.members_before(), segment.members)));
        }
    }
    text
}

/// A change of size that is more than a segment's `alert` lets pass.
pub(crate) fn size_alert(segment: &str, before: u64, now: u64) -> String {
    let percent = before.abs_diff(now).saturating_mul(100).checked_div(before).unwrap_or(0);
    let sign = if now < before { "−" } else { "+" };
    let (before, now) = (number(before), number(now));
    format!("{segment} went from {before} to {now} members ({sign}{percent} %), more than its `alert` lets pass")
}

fn activation(pipeline: &str, sent: &ActivationReport) -> String {
    let mut text = format!("{pipeline} → {} ({})", sent.destination, sent.object);
    if sent.accepted + sent.removed + sent.failed + sent.skipped + sent.retryable == 0 {
        text.push_str(&format!("\n  nothing to send: {} rows are as they should be", number(sent.unchanged)));
    } else {
        text.push_str(&format!(
            "\n  sent         {} created or updated, {} removed, {} unchanged, in {} batches",
            number(sent.accepted),
            number(sent.removed),
            number(sent.unchanged),
            number(sent.batches)
        ));
    }
    if sent.merged > 0 {
        text.push_str(&format!(
            "\n  merged       {} rows of profiles that are one with others now are removed",
            number(sent.merged)
        ));
    }
    if sent.merged_left > 0 {
        let left = number(sent.merged_left);
        text.push_str(&format!(
            "\n  merged       {left} rows of profiles that are one with others now stay: it cannot remove them"
        ));
    }
    if sent.former > 0 {
        text.push_str(&format!(
            "\n  changed      {} rows of persons who are matched by other values now are removed",
            number(sent.former)
        ));
    }
    if sent.former_left > 0 {
        text.push_str(&format!(
            "\n  changed      {} rows of persons who are matched by other values now stay: the mode removes nothing, `mode: mirror` would",
            number(sent.former_left)
        ));
    }
    if sent.erased + sent.erasures_refused > 0 {
        let (taken, refused) = (number(sent.erased), number(sent.erasures_refused));
        text.push_str(&format!(
            "\n  erased       {taken} requests to erase a person taken, {refused} not: see `profile erasures`"
        ));
    }
    if sent.failed + sent.skipped + sent.retryable > 0 {
        text.push_str(&format!(
            "\n  not taken    {} refused, {} skipped, {} to be tried again",
            number(sent.failed),
            number(sent.skipped),
            number(sent.retryable)
        ));
    }
    if sent.without_consent + sent.without_match + sent.duplicate_match + sent.suppressed > 0 {
        text.push_str(&format!(
            "\n  left out     {} without consent, {} without a value to match by, {} with one that another profile has",
            number(sent.without_consent),
            number(sent.without_match),
            number(sent.duplicate_match)
        ));
        if sent.suppressed > 0 {
            text.push_str(&format!(", {} suppressed", number(sent.suppressed)));
        }
    }
    if sent.kept_after_withdrawal > 0 {
        text.push_str(&format!(
            "\n  still there  {} who may not be sent any more: the mode removes nothing, `mode: mirror` would",
            number(sent.kept_after_withdrawal)
        ));
    }
    text
}

fn outcomes(reports: &[RunReport]) -> String {
    let took_ms = reports.iter().map(|report| report.took_ms).sum();
    let bad: Vec<String> = reports
        .iter()
        .filter(|report| report.outcome != RunOutcome::Succeeded)
        .map(|report| format!("{} {}", report.pipeline, word(report.outcome)))
        .collect();
    let plural = if reports.len() == 1 { "pipeline" } else { "pipelines" };
    let mut text = if bad.is_empty() {
        format!("done: {} {plural} in {}", reports.len(), duration(took_ms))
    } else {
        format!("{} {plural} in {}: {}", reports.len(), duration(took_ms), bad.join(", "))
    };
    if reports.iter().any(has_refused) {
        text.push_str("\nrefused records are kept with their reason: affluent dead-letters list");
    }
    text
}

fn has_refused(report: &RunReport) -> bool {
    let sent = report.activation.as_ref().map_or(0, |sent| sent.failed + sent.retryable);
    sent + report.streams.iter().map(|stream| stream.rejected).sum::<u64>() > 0
}

/// How a run ended, in one word.
pub(crate) fn word(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Succeeded => "succeeded",
        RunOutcome::Partial => "done, with something to look at",
        RunOutcome::Paused => "paused",
        RunOutcome::Held => "held",
        RunOutcome::Failed => "failed",
        RunOutcome::Cancelled => "stopped",
    }
}
