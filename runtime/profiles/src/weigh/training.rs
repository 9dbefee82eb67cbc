//! Learns how matches and strangers agree, without labels. Strangers: pairs of nodes drawn from all. Matches: expectation
//! maximisation within blocks of nodes that share one or two values, each time over the other attributes alone, because
//! what defines a block says nothing inside it; what the blocks teach is added up.

use std::collections::BTreeMap;

use super::levels::{Comparer, LEVELS_MAX, Pattern, level_words};
use crate::evidence::Column;

/// Pairs of strangers that are looked at.
const STRANGER_PAIRS: usize = 200_000;
/// Nodes of a block at most; larger ones are strangers' for the most part.
const BLOCK_NODES_MAX: usize = 50;
/// Pairs that one kind of block teaches with, at most and at least.
const BLOCK_PAIRS: std::ops::RangeInclusive<usize> = 20..=20_000;
/// Rounds of expectation maximisation.
const ROUNDS: usize = 60;
/// The share of matches stands still when a round moves it by less.
const SHARE_MOVES_MIN: f64 = 1e-6;
/// Share of matches in a block with which a round begins.
const BLOCK_MATCHES_AT_FIRST: f64 = 0.3;
/// Share of matches that agree fully on an attribute with which a round begins.
const AGREEMENT_AT_FIRST: f64 = 0.9;
/// A block kind with fewer or more matches than this teaches nothing that can be trusted.
const BLOCK_MATCHES: std::ops::Range<f64> = 0.05..0.99;
/// Counted beside what was seen, so that nothing is impossible.
const PSEUDO_COUNT: f64 = 0.5;
const PSEUDO_COUNT_IN_BLOCK: f64 = 0.01;

/// Share of matches and of strangers at each level of one attribute.
pub(super) type Shares = [(f64, f64); LEVELS_MAX];
type Counts = [f64; LEVELS_MAX];

/// What the nodes taught.
pub(super) struct Learnt {
    /// By attribute.
    pub(super) shares: Vec<Shares>,
    /// Expected pairs that match.
    pub(super) matches: f64,
    /// Probability that any two nodes match.
    pub(super) prior: f64,
}

/// What one kind of block taught.
struct Lesson {
    /// The attributes that define the blocks.
    defining: Vec<usize>,
    /// Expected pairs that match in all its blocks.
    matches: f64,
    /// Share of matches among the pairs of its blocks.
    match_share: f64,
    /// Attribute → level → expected matches.
    counts: Vec<Counts>,
}

pub(super) fn train(comparer: &Comparer<'_>, nodes: usize) -> Learnt {
    let columns = comparer.columns();
    let strangers = strangers(comparer, nodes);
    let mut counts = vec![[PSEUDO_COUNT; LEVELS_MAX]; columns.len()];
    let mut lessons = Vec::new();
    for defining in block_kinds(columns.len()) {
        let Some(lesson) = lesson(comparer, &strangers, defining) else { continue };
        for (counts, seen) in counts.iter_mut().zip(&lesson.counts) {
            counts.iter_mut().zip(seen).for_each(|(count, seen)| *count += seen);
        }
        lessons.push(lesson);
    }
    let matches = if lessons.is_empty() { untaught(columns) } else { shares_of(columns, &counts) };
    let all_pairs = (nodes as f64 * (nodes as f64 - 1.0) / 2.0).max(1.0);
    let expected = matches_expected(columns, &matches, &lessons, nodes).clamp(1.0, (all_pairs / 2.0).max(1.0));
    let shares = matches.iter().zip(&strangers).map(|(matches, strangers)| {
        let mut shares = [(1.0, 1.0); LEVELS_MAX];
        let levels = matches.iter().zip(strangers);
        shares.iter_mut().zip(levels).for_each(|(share, (one, other))| *share = (*one, *other));
        shares
    });
    Learnt { shares: shares.collect(), matches: expected, prior: (expected / all_pairs).min(0.5) }
}

/// Blocks by one attribute, then by two.
fn block_kinds(columns: usize) -> impl Iterator<Item = Vec<usize>> {
    let pairs = (0..columns).flat_map(move |first| (first + 1..columns).map(move |second| vec![first, second]));
    (0..columns).map(|column| vec![column]).chain(pairs)
}

/// Share of strangers at each level. The nodes stand in an order in which only equal records are near each other, so that
/// those far from each other are strangers.
fn strangers(comparer: &Comparer<'_>, nodes: usize) -> Vec<Counts> {
    let mut counts = vec![[PSEUDO_COUNT; LEVELS_MAX]; comparer.columns().len()];
    let distances = (STRANGER_PAIRS / nodes.max(1)).clamp(1, (nodes.saturating_sub(1) / 2).max(1));
    for step in 1..=distances {
        let distance = (step * nodes / (2 * distances + 1)).max(1);
        for node in (0..nodes).filter(|_| distance < nodes) {
            let other = (node + distance) % nodes;
            let pattern = comparer.pattern(narrow(node), narrow(other));
            add(&mut counts, pattern, 1.0);
        }
    }
    shares_of(comparer.columns(), &counts)
}

fn add(counts: &mut [Counts], pattern: Pattern, weight: f64) {
    for (counts, level) in counts.iter_mut().zip(pattern.levels()) {
        if let Some(count) = level.and_then(|level| counts.get_mut(level)) {
            *count += weight;
        }
    }
}

/// Counts as shares of one; levels that an attribute has not stay 1, so that they weigh nothing.
fn shares_of(columns: &[&Column], counts: &[Counts]) -> Vec<Counts> {
    let share = |(column, counts): (&&Column, &Counts)| {
        let levels = level_words(column.form).len();
        let sum: f64 = counts.iter().take(levels).sum();
        let mut shares = [1.0; LEVELS_MAX];
        shares.iter_mut().zip(counts).take(levels).for_each(|(share, count)| *share = count / sum);
        shares
    };
    columns.iter().zip(counts).map(share).collect()
}

/// What matches are taken to be before anything is learnt, and where nothing can be.
fn untaught(columns: &[&Column]) -> Vec<Counts> {
    let share = |column: &&Column| {
        let levels = level_words(column.form).len();
        let mut shares = [1.0; LEVELS_MAX];
        shares.iter_mut().take(levels).for_each(|share| *share = (1.0 - AGREEMENT_AT_FIRST) / (levels - 1) as f64);
        if let Some(best) = shares.get_mut(levels - 1) {
            *best = AGREEMENT_AT_FIRST;
        }
        shares
    };
    columns.iter().map(share).collect()
}

fn lesson(comparer: &Comparer<'_>, strangers: &[Counts], defining: Vec<usize>) -> Option<Lesson> {
    let columns: Vec<&Column> = defining.iter().filter_map(|at| comparer.columns().get(*at).copied()).collect();
    let (patterns, pairs) = block_patterns(comparer, &columns);
    let looked_at: f64 = patterns.values().sum();
    if pairs < *BLOCK_PAIRS.start() {
        return None;
    }
    let told: Vec<Told> = patterns.iter().map(|(pattern, times)| Told::new(*pattern, *times, &defining, strangers)).collect();
    let mut matches = untaught(comparer.columns());
    let mut match_share = BLOCK_MATCHES_AT_FIRST;
    let mut counts = Vec::new();
    for _ in 0..ROUNDS {
        counts = vec![[PSEUDO_COUNT_IN_BLOCK; LEVELS_MAX]; comparer.columns().len()];
        let mut found = 0.0;
        for told in &told {
            let match_odds = match_share * told.odds(&matches);
            let stranger_odds = (1.0 - match_share) * told.stranger_odds;
            let weight = told.times * match_odds / (match_odds + stranger_odds).max(f64::MIN_POSITIVE);
            found += weight;
            for (at, level) in &told.levels {
                counts.get_mut(*at).and_then(|counts| counts.get_mut(*level)).into_iter().for_each(|count| *count += weight);
            }
        }
        let before = match_share;
        match_share = (found / looked_at).clamp(1e-6, 1.0 - 1e-6);
        matches = shares_of(comparer.columns(), &counts);
        if (match_share - before).abs() < SHARE_MOVES_MIN {
            break;
        }
    }
    let lesson = Lesson { defining, matches: match_share * pairs as f64, match_share, counts };
    BLOCK_MATCHES.contains(&lesson.match_share).then_some(lesson)
}

/// A pattern ready for many rounds: what it tells beside the attributes that define the block.
struct Told {
    times: f64,
    /// Attribute and level.
    levels: Vec<(usize, usize)>,
    stranger_odds: f64,
}

impl Told {
    fn new(pattern: Pattern, times: f64, defining: &[usize], strangers: &[Counts]) -> Self {
        let levels = pattern.levels().enumerate().filter_map(|(at, level)| Some((at, level?)));
        let levels: Vec<_> = levels.filter(|(at, _)| !defining.contains(at)).collect();
        let mut told = Self { times, levels, stranger_odds: 1.0 };
        told.stranger_odds = told.odds(strangers);
        told
    }

    fn odds(&self, shares: &[Counts]) -> f64 {
        let share = |(at, level): &(usize, usize)| shares.get(*at).and_then(|shares| shares.get(*level)).copied().unwrap_or(1.0);
        self.levels.iter().map(share).product()
    }
}

/// The patterns of the pairs of all blocks, each with how often it was seen, and how many pairs there are; of very many
/// only the first are looked at.
fn block_patterns(comparer: &Comparer<'_>, columns: &[&Column]) -> (BTreeMap<Pattern, f64>, usize) {
    let mut keyed: Vec<(u64, u32)> = Vec::new();
    let rows = columns.first().map_or(0, |column| column.ids.len());
    for row in (0..rows).map(narrow) {
        let mut ids = columns.iter().map(|column| u64::from(column.id(row)));
        let (first, second) = (ids.next().unwrap_or(0), ids.next().unwrap_or(1));
        if first != 0 && second != 0 {
            keyed.push((first << 32 | second, row));
        }
    }
    keyed.sort_unstable();
    let mut patterns: BTreeMap<Pattern, f64> = BTreeMap::new();
    let (mut pairs, mut looked_at) = (0, 0);
    for block in keyed.chunk_by(|a, b| a.0 == b.0).filter(|block| (2..=BLOCK_NODES_MAX).contains(&block.len())) {
        pairs += block.len() * (block.len() - 1) / 2;
        if looked_at > *BLOCK_PAIRS.end() {
            continue;
        }
        for (at, (_, a)) in block.iter().enumerate() {
            for (_, b) in block.iter().skip(at + 1) {
                *patterns.entry(comparer.pattern(*a, *b)).or_default() += 1.0;
                looked_at += 1;
            }
        }
    }
    (patterns, pairs)
}

/// Expected matches among all nodes: those found in the blocks of one kind, divided by the share of matches that such
/// blocks can find; the median over the kinds.
fn matches_expected(columns: &[&Column], matches: &[Counts], lessons: &[Lesson], nodes: usize) -> f64 {
    let mut expected: Vec<f64> = Vec::new();
    for lesson in lessons {
        let mut found_share = 1.0;
        for at in &lesson.defining {
            let Some((column, shares)) = columns.get(*at).zip(matches.get(*at)) else { continue };
            found_share *= shares.get(level_words(column.form).len() - 1).copied().unwrap_or(1.0);
        }
        let defining = || lesson.defining.iter().filter_map(|at| columns.get(*at));
        let filled = (0..nodes).map(narrow).filter(|row| defining().all(|column| column.id(*row) != 0)).count();
        let filled = filled as f64 / nodes.max(1) as f64;
        expected.push(lesson.matches / (found_share * filled * filled));
    }
    expected.sort_by(f64::total_cmp);
    expected.get(expected.len() / 2).copied().unwrap_or(nodes as f64 / 10.0)
}

fn narrow(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}
