//! A profile and the chain between two records, as text.

use affluent_engine::{ConsentRow, ErasureView, ProfileView, ProfileWhy, Refused, Suppression, ValueSource, Why, WhyStep};
use affluent_profiles::purchases::card::{FitCard, ModelCard};
use chrono::DateTime;

use crate::render::screen::{number, table};

/// One profile.
pub(crate) fn profile(view: &ProfileView) -> String {
    let mut values = table(&["", "value", "from", "by"]);
    for value in &view.values {
        values.add_row([value.name.clone(), value.value.clone(), value.source.clone(), value.rule.clone()]);
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
    if !view.consent.is_empty() {
        text.push_str(&format!("\n\n{}\n", consent(&view.consent)));
    }
    for (name, card) in &view.cards {
        text.push_str(&format!("\n{name:<12} {}", model_card(card).join("\n             ")));
    }
    for (rule, reason) in &view.refused {
        text.push_str(&format!("\nnot joined   by `{rule}`: {reason}"));
    }
    for one in &view.refused_identifiers {
        text.push_str(&format!("\nleft out     {}", refused(one)));
    }
    text
}

/// What was said of consent, one line per identifier.
fn consent(rows: &[ConsentRow]) -> String {
    let mut shown = table(&["consent", "about", "channel", "scope", "status", "since", "until", "basis", "law of", "from"]);
    for row in rows {
        let text = |word: &Option<String>| word.clone().unwrap_or_default();
        shown.add_row([
            row.purpose.clone(),
            format!("{} {}", row.subject.0, row.subject.1),
            text(&row.channel),
            text(&row.scope),
            row.status.clone(),
            row.obtained_at.clone(),
            text(&row.expires_at),
            row.legal_basis.unwrap_or_default().to_owned(),
            text(&row.jurisdiction),
            row.source.clone(),
        ]);
    }
    shown.to_string()
}

/// A model card in lines: what was fitted to what, or why nothing was, and what to know of it.
pub(crate) fn model_card(card: &ModelCard) -> Vec<String> {
    if let Some(refusal) = &card.refusal {
        return vec![format!("not predicted: {refusal}")];
    }
    let models: Vec<String> = card.fits.iter().map(fitted_model).collect();
    let data = format!(
        "{} buyers, {} days with orders, {} to {}",
        number(card.buyers),
        number(card.orders),
        card.first_order_on,
        card.end_on
    );
    let mut lines = vec![format!("predicted over {} days from {data}", card.horizon_days)];
    lines.extend(models);
    lines.extend(card.notes.iter().cloned());
    lines
}

fn fitted_model(fit: &FitCard) -> String {
    let parameters: Vec<String> = fit.parameters.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
    format!("{} with {}, LL {:.2}", fit.model, parameters.join(", "), fit.ln_likelihood)
}

/// Why two records are one person.
pub(crate) fn why(why: Option<&Why>) -> String {
    let Some(why) = why else { return "nothing joins them: they are two profiles".to_owned() };
    if !why.refused.is_empty() {
        let refused: Vec<String> = why.refused.iter().map(refused).collect();
        return format!("they are two profiles; refused was\n  {}", refused.join("\n  "));
    }
    if why.steps.is_empty() {
        return "they are the same record".to_owned();
    }
    let mut chain = table(&["", "from", "to", "rule", "identifier", "compared", "since"]);
    for (place, step) in why.steps.iter().enumerate() {
        chain.add_row([
            (place + 1).to_string(),
            step.from.clone(),
            step.to.clone(),
            step.rule.clone(),
            identifier(step),
            step.compared.join(", "),
            day(step.since_us),
        ]);
    }
    let mut lines = vec![chain.to_string(), String::new()];
    for one in why.without.iter().filter(|one| one.is_two || one.profiles > 1) {
        let profiles = number(one.profiles);
        lines.push(match one.is_two {
            true if one.profiles > 2 => {
                format!("without {} they are two profiles, and the profile falls into {profiles}", one.without)
            }
            true => format!("without {} they are two profiles", one.without),
            false => format!("without {} they are still one, but the profile falls into {profiles}", one.without),
        });
    }
    if why.without.is_empty() {
        lines.push("what would be without it is not told: a rule joins by attributes alone".to_owned());
    } else if why.without.iter().all(|one| !one.is_two) {
        lines.push("no single piece of this evidence parts them: other evidence joins them too".to_owned());
    }
    lines.join("\n")
}

/// Evidence that was refused, in one line.
fn refused(one: &Refused) -> String {
    let what = match (one.identifier.is_empty(), one.other.is_empty()) {
        (true, _) => format!("{} and {} by `{}`", one.record, one.other, one.rule),
        (false, true) => format!("{} of {}", one.identifier, one.record),
        (false, false) => format!("{} of {} and {}", one.identifier, one.record, one.other),
    };
    format!("{what}: {}", one.reason)
}

/// Where each attribute comes from, and which identifiers were refused.
pub(crate) fn lineage(why: &ProfileWhy) -> String {
    let fields = &why.values;
    let shown = |one: &ValueSource| format!("{} record {}, {}", one.table, one.node, day(one.at_us));
    let mut lines = table(&["", "by", "from", "not from"]);
    for field in fields {
        let from: Vec<String> = std::iter::once(&field.from).chain(&field.with).map(shown).collect();
        let others: Vec<String> = field.others.iter().map(shown).collect();
        lines.add_row([field.name.clone(), field.rule.clone(), from.join("\n"), others.join("\n")]);
    }
    let left_out = why.refused.iter().map(|one| format!("\nleft out: {}", refused(one)));
    format!("{lines}{}", left_out.collect::<String>())
}

/// What was done about a person who is delivered nowhere, or is again.
pub(crate) fn suppression(done: &Suppression) -> String {
    let who = done.profile.as_ref().map_or_else(|| "a person who is not known yet".to_owned(), |id| format!("profile {id}"));
    let text = match (done.is_suppressed, done.has_changed) {
        (true, true) => format!("{who} is delivered nowhere from now on"),
        (true, false) => format!("{who} was suppressed before"),
        (false, true) => format!("{who} may be delivered again, as far as there is consent"),
        (false, false) => format!("{who} was not suppressed"),
    };
    if !done.is_suppressed || done.held_by.is_empty() {
        return text;
    }
    format!("{text}\nheld by {}: their next runs remove what their modes can", done.held_by.join(", "))
}

/// Kind and first digits of the identifier that two records share; `none` where attributes alone joined them.
fn identifier(step: &WhyStep) -> String {
    if step.identifier.is_empty() { "none".to_owned() } else { format!("{} {}…", step.identifier, step.value) }
}

/// Erasures and what became of them at destinations.
pub(crate) fn erasures(erasures: &[ErasureView]) -> String {
    if erasures.is_empty() {
        return "nobody was erased".to_owned();
    }
    let mut lines = Vec::new();
    for erasure in erasures {
        let done = match &erasure.forgotten_at {
            Some(at) => format!("nothing left here since {at}"),
            None => "begun; `affluent profile erase --resume` goes on".to_owned(),
        };
        lines.push(format!("erasure {}  profile {}, {} records: {done}", erasure.erasure, erasure.profile, erasure.records));
        for receipt in &erasure.receipts {
            lines.push(format!("  {} → {}: {} ({})", receipt.pipeline, receipt.destination, receipt.state, receipt.at));
            lines.extend(receipt.references.iter().map(|reference| format!("    its reference is {reference}")));
            lines.extend(receipt.refusals.iter().map(|refusal| format!("    asked again by the next run: {refusal}")));
        }
        if erasure.receipts.is_empty() {
            lines.push("  no destination held anything".to_owned());
        }
    }
    lines.join("\n")
}

fn day(us: i64) -> String {
    DateTime::from_timestamp_micros(us).map_or_else(String::new, |time| time.format("%Y-%m-%d").to_string())
}
