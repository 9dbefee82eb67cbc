//! How well groups fit the truth, where it is known: pairwise precision, recall and F1, and B-cubed (Bagga and Baldwin,
//! 1998), which weighs every record the same however large its group.

use std::collections::HashMap;

/// Shares are 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// Of the pairs that the groups join, those of one person.
    pub precision: f64,
    /// Of the pairs of one person, those that the groups join.
    pub recall: f64,
    pub f1: f64,
    pub b3_precision: f64,
    pub b3_recall: f64,
    pub b3_f1: f64,
    pub records: u64,
    pub persons: u64,
    pub largest_person: u64,
    pub false_pairs: u64,
    pub missed_pairs: u64,
}

/// Scores records, each given as (person, group).
#[must_use]
pub fn score(records: &[(u32, u32)]) -> Scores {
    let mut persons: HashMap<u32, u64> = HashMap::new();
    let mut groups: HashMap<u32, u64> = HashMap::new();
    let mut both: HashMap<(u32, u32), u64> = HashMap::new();
    for (person, group) in records {
        *persons.entry(*person).or_default() += 1;
        *groups.entry(*group).or_default() += 1;
        *both.entry((*person, *group)).or_default() += 1;
    }
    let (in_persons, in_groups, in_both) = (pairs(persons.values()), pairs(groups.values()), pairs(both.values()));
    let cubed = |sizes: &dyn Fn(u32, u32) -> u64| {
        // Summed in a fixed order, so that the last digit is always the same.
        let mut parts: Vec<f64> = both
            .iter()
            .map(|((person, group), count)| (*count as f64) * (*count as f64) / (sizes(*person, *group).max(1) as f64))
            .collect();
        parts.sort_by(f64::total_cmp);
        share(parts.iter().sum(), records.len() as f64)
    };
    let b3_precision = cubed(&|_, group| groups.get(&group).copied().unwrap_or(0));
    let b3_recall = cubed(&|person, _| persons.get(&person).copied().unwrap_or(0));
    let precision = share(in_both as f64, in_groups as f64);
    let recall = share(in_both as f64, in_persons as f64);
    Scores {
        precision,
        recall,
        f1: harmonic(precision, recall),
        b3_precision,
        b3_recall,
        b3_f1: harmonic(b3_precision, b3_recall),
        records: records.len() as u64,
        persons: persons.len() as u64,
        largest_person: persons.values().copied().max().unwrap_or(0),
        false_pairs: in_groups.saturating_sub(in_both),
        missed_pairs: in_persons.saturating_sub(in_both),
    }
}

fn pairs<'a>(counts: impl Iterator<Item = &'a u64>) -> u64 {
    counts.map(|count| count * count.saturating_sub(1) / 2).sum()
}

/// Nothing of nothing is all of it.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 1.0 }
}

fn harmonic(a: f64, b: f64) -> f64 {
    if a + b > 0.0 { 2.0 * a * b / (a + b) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_scored_by_pairs_and_by_records() {
        // Person 1 has three records of which two are together with one of person 2.
        let scores = score(&[(1, 1), (1, 1), (2, 1), (1, 2)]);

        assert_eq!((scores.false_pairs, scores.missed_pairs), (2, 2));
        assert!((scores.precision - 1.0 / 3.0).abs() < 1e-12 && (scores.recall - 1.0 / 3.0).abs() < 1e-12);
        assert!((scores.b3_precision - 2.0 / 3.0).abs() < 1e-12, "{}", scores.b3_precision);
        assert!((scores.b3_recall - (4.0 / 3.0 + 1.0 / 3.0 + 1.0) / 4.0).abs() < 1e-12, "{}", scores.b3_recall);
    }

    #[test]
    fn groups_that_are_the_persons_score_one_and_no_records_too() {
        for records in [&[(1, 7), (1, 7), (2, 8)][..], &[]] {
            let scores = score(records);
            assert_eq!((scores.precision, scores.recall, scores.b3_f1), (1.0, 1.0, 1.0));
        }
    }
}
