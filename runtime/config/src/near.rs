//! "Did you mean": the known word nearest to a mistyped one, and how a help line says so.

/// Words listed in a help line at most.
const LISTED_MAX: usize = 20;

/// The candidate nearest to `word` within two edits, and within a third of its length; ties: the first.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let edits_max = 2.min(word.chars().count().div_ceil(3));
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= edits_max)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// `did you mean `orders`? `shop` offers customers, orders`; `offer` is the words before the list.
pub(crate) fn suggestion(word: &str, offer: &str, candidates: &[&str]) -> String {
    let mut listed = candidates.iter().take(LISTED_MAX).copied().collect::<Vec<_>>().join(", ");
    if candidates.len() > LISTED_MAX {
        listed.push_str(", …");
    }
    if listed.is_empty() {
        listed.push_str("nothing");
    }
    match nearest(word, candidates.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? {offer} {listed}"),
        None => format!("{offer} {listed}"),
    }
}
